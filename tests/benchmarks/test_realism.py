"""Laws of the yardsticks: what is the same scores zero, what differs does not, units and hosts do not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from benchmarks.realism import generator, hosts, location, masks, memorisation, report, shape, textures
from benchmarks.realism.appearance import CHANNEL_FEATURES, channel_features, feature_names, robust_units, scan_features
from benchmarks.realism.baselines import MAKERS, OWN_MAKERS, donors_of, ellipsoid, populate
from benchmarks.realism.carved import clear_lesions, populate_by_carving
from benchmarks.realism.hosts import CLEAR_MM, HostResult, HostScan, evaluate_scan_pairs
from benchmarks.realism.twosample import auc, in_host_auc
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.rendering import DiffusionRenderer
from lesionaug.scan import Scan
from lesionaug.synthesis import LesionSynthesizer


def ball(radius: float, side: int = 41, stretch: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    axis = np.arange(side) - side // 2
    grids = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.sqrt(sum((grid / s) ** 2 for grid, s in zip(grids, stretch, strict=True))) <= radius


def blob(rng: np.random.Generator, side: int = 24) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.standard_normal((side,) * 3), 2) + 0.12 * ball(4, side)
    labels, _ = ndimage.label(noise > 0.1)
    return labels == np.bincount(labels[labels > 0]).argmax()


def made_host(seed: int, name: str) -> HostScan:
    """White matter with a few bright, soft, textured lesions, in a shell of darker cortex."""
    rng = np.random.default_rng(seed)
    brain = ball(30, 64)
    white = ndimage.binary_erosion(brain, iterations=6)
    lesions = np.zeros_like(brain)
    for center in ((20, 30, 30), (42, 30, 30), (32, 44, 30), (32, 20, 30), (32, 32, 44), (32, 32, 19)):
        lesions |= np.roll(ball(2.6, 64, tuple(rng.uniform(0.7, 1.4, 3))), np.array(center) - 32, axis=(0, 1, 2))
    texture = ndimage.gaussian_filter(rng.standard_normal(brain.shape), 0.6)
    soft = ndimage.gaussian_filter(lesions.astype(float), 0.8)
    flair = np.where(white, 100, 130) + 12 * texture + soft * (70 + 60 * texture)
    t1w = np.where(white, 200, 140) + 12 * texture - soft * 50
    return HostScan(name, {"flair": flair * brain, "t1w": t1w * brain}, brain, lesions & brain)


def test_ball_has_the_volume_surface_and_extent_of_a_ball():
    found = shape.shape_features(ball(9))
    assert found["volume_mm3"] == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.03)
    assert found["sphericity"] == pytest.approx(1, abs=0.04)
    assert found["elongation"] == pytest.approx(1, abs=0.01)
    assert found["extent_mm"] == pytest.approx(19, rel=0.02)


def test_elongation_is_the_ratio_of_the_axes():
    assert shape.shape_features(ball(5, stretch=(3, 1, 1)))["elongation"] == pytest.approx(3, rel=0.04)


def test_shape_is_measured_in_millimetres():
    coarse = shape.shape_features(ball(9), (2, 2, 2))
    fine = shape.shape_features(ball(9))
    assert coarse["volume_mm3"] == pytest.approx(8 * fine["volume_mm3"])
    assert coarse["surface_to_volume"] == pytest.approx(fine["surface_to_volume"] / 2)
    assert coarse["extent_mm"] == pytest.approx(2 * fine["extent_mm"])
    assert coarse["sphericity"] == pytest.approx(fine["sphericity"])


def test_diagonal_contact_joins_lesions_and_small_ones_are_left_out():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:3, 1:4, 1:3] = True
    mask[3:5, 4:7, 3:5] = True
    mask[10, 10, 10] = True
    assert [int(crop.sum()) for crop in shape.lesions_of(mask)] == [24]


def test_ks_of_a_sample_with_itself_is_zero_and_of_disjoint_ones_one():
    a = np.random.default_rng(0).normal(size=50)
    assert shape.ks_distance(a, a) == 0
    assert shape.ks_distance(a, a + 100) == pytest.approx(1)


def test_volume_matching_removes_what_volume_alone_explains():
    rng = np.random.default_rng(0)
    small, large = np.exp(rng.normal(3, 1, 4000)), np.exp(rng.normal(4, 1, 4000))
    matched = shape.volume_matched_ks(np.sqrt(small), np.sqrt(large), small, large)
    assert shape.ks_distance(np.sqrt(small), np.sqrt(large)) > 0.3
    assert matched < 0.1


def test_appearance_does_not_depend_on_scanner_units():
    host = made_host(0, "a")
    rows = [
        scan_features(
            {"flair": robust_units(gain * host.images["flair"] + 7, host.brain)}, host.brain, host.lesions, host.lesions
        )
        for gain in (1, 40)
    ]
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-3, atol=1e-3)


def test_appearance_of_a_known_lesion():
    mask, tissue = ball(5, 25), ~ball(5, 25)
    found = channel_features(np.where(mask, 2.0, 0.5), mask, tissue)
    assert tuple(found) == CHANNEL_FEATURES
    assert found["contrast"] == pytest.approx(1.5)
    assert found["profile_-2"] == pytest.approx(1.5)
    assert found["profile_+2"] == pytest.approx(0)
    assert found["bin_4"] + found["bin_3"] == pytest.approx(1)
    assert found["sd"] == found["highpass"] == found["gradient_energy"] == 0


def test_other_lesions_do_not_count_as_surroundings():
    mask, other = ball(4, 31), np.zeros((31, 31, 31), bool)
    other[:, :, 21:] = True
    image = np.where(mask, 1.0, 0.0) + 50.0 * other
    assert channel_features(image, mask, ~mask & ~other)["contrast"] == pytest.approx(1)


def test_auc_counts_pairs():
    assert auc(np.array([0.1, 0.2, 0.3]), np.array([False, False, True])) == 1
    assert auc(np.zeros(4), np.array([False, True, False, True])) == 0.5


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.3, 0.7), (3.0, 0.95, 1.0)])
def test_two_sample_test_finds_a_shift_and_only_a_shift(shift: float, low: float, high: float):
    rng = np.random.default_rng(1)
    real, synthetic = rng.normal(size=(40, 8)), rng.normal(size=(60, 8)) + shift
    found = in_host_auc(real, synthetic, np.repeat(["a", "b"], 20), np.repeat(["a", "b"], 30), trees=50)
    assert low <= found.logreg <= high
    assert low <= found.forest <= high


def test_two_sample_test_of_too_few_lesions_says_so():
    with pytest.raises(ValueError, match="got 3 real"):
        in_host_auc(np.zeros((3, 2)), np.zeros((9, 2)), np.repeat("a", 3), np.repeat("a", 9))


def test_ellipsoid_keeps_the_volume():
    mask = blob(np.random.default_rng(3))
    assert ellipsoid(mask).sum() == mask.sum()


@pytest.mark.parametrize("name", MAKERS)
def test_makers_write_near_new_lesions_only_and_keep_clear_of_real_ones(name: str):
    host, donor = made_host(0, "a"), made_host(1, "b")
    result = populate(host, donors_of(donor), MAKERS[name], seed=0)
    changed = np.abs(result.rendered["flair"] - host.images["flair"]) > 1e-2
    distance = ndimage.distance_transform_edt(~result.new_lesions)
    assert len(shape.lesions_of(result.new_lesions)) >= 0.7 * hosts.synthetic_count(host)
    assert not (result.new_lesions & ndimage.binary_dilation(host.lesions, iterations=3)).any()
    assert distance[changed].max() < 4


def test_own_lesions_moved_keep_what_they_look_like_and_one_way_every_voxel_outside_the_label():
    host = made_host(0, "a")
    within, blended = (
        populate(host, (), OWN_MAKERS[f"own_lesions_{way}"], own=True) for way in ("within_label", "blended")
    )
    assert len(shape.lesions_of(within.new_lesions)) >= 0.7 * hosts.synthetic_count(host)
    outside = {
        name: (result.rendered["flair"] != host.images["flair"]) & ~result.new_lesions
        for name, result in (("within", within), ("blended", blended))
    }
    assert not outside["within"].any()
    assert outside["blended"].any()
    sizes = [
        set(map(int, (crop.sum() for crop in shape.lesions_of(mask)))) for mask in (within.new_lesions, host.lesions)
    ]
    assert sizes[0] <= sizes[1]


def test_a_patients_own_lesions_are_no_donors():
    host = made_host(0, "a_T1")
    with pytest.raises(ValueError, match="Expected lesions of other patients"):
        populate(host, donors_of(made_host(1, "a_T2")), MAKERS["hard_copy_paste"])


def test_constant_ellipsoids_are_found_out():
    made = [made_host(seed, f"host{seed}") for seed in range(3)]
    donors = [donor for host in made for donor in donors_of(host)]
    found = evaluate_scan_pairs(
        [populate(host, donors, MAKERS["constant_ellipsoids"], seed=1) for host in made], trees=30
    )
    assert min(found.logreg, found.forest) > 0.9


def test_real_lesions_as_synthetic_ones_score_at_chance():
    results = []
    for seed in range(4):
        host = made_host(seed, f"host{seed}")
        labels, count = ndimage.label(host.lesions)
        half = np.isin(labels, np.random.default_rng(seed).permutation(np.arange(1, count + 1))[: count // 2])
        pretended = HostScan(host.name, host.images, host.brain, host.lesions & ~half)
        results.append(HostResult(pretended, host.images, half))
    found = evaluate_scan_pairs(results, trees=30)
    assert abs(found.forest - 0.5) < 3.5 * found.forest_se


def test_given_masks_are_rendered_where_they_were_placed_and_as_they_are():
    host, rng = made_host(0, "a"), np.random.default_rng(0)
    image = torch.from_numpy(np.stack(list(host.images.values()))).float()
    brain, lesions = (torch.from_numpy(mask)[None] for mask in (host.brain, host.lesions))
    scan = Scan(image, ("flair", "t1w"), lesions, brain, brain.float(), brain.to(torch.uint8), (1.0, 1.0, 1.0))
    wanted = generator.real_shapes(host, {"b": made_host(1, "b").lesions}, rng)
    contrasts = [(("flair", 2.0), ("t1w", -1.0))] * len(wanted)
    plan, footprints = generator.placed_plan(host, scan, wanted, contrasts, rng)
    renderer = DiffusionRenderer(generator.GivenMasks(footprints), ConstantContrast())
    rendered = LesionSynthesizer(None, renderer).render(scan, plan)
    new = (rendered.lesion_mask & ~lesions)[0].numpy()
    assert len(plan) >= 0.7 * hosts.synthetic_count(host)
    assert sorted(crop.sum() for crop in shape.lesions_of(new)) == sorted(mask.sum() for mask in footprints.values())
    assert all(
        new[spec.center] == footprints[spec.seed][tuple(n // 2 for n in footprints[spec.seed].shape)] for spec in plan
    )


def test_wanted_lesions_have_the_volumes_of_the_real_ones():
    host = made_host(0, "a")
    wanted = generator.like_the_real(host, np.random.default_rng(0))
    volumes = {float(crop.sum()) for crop, _ in host.test_lesions()}
    assert len(wanted) == hosts.synthetic_count(host)
    assert {round(np.pi / 6 * item.diameter_mm**3, 6) for item in wanted} == {round(volume, 6) for volume in volumes}
    assert all(item.extent_mm >= item.diameter_mm for item in wanted)


def test_drawn_masks_of_real_shapes_are_as_far_as_chance_and_ellipsoids_farther():
    rng = np.random.default_rng(0)
    real = [lesion for lesion in (blob(rng) for _ in range(60)) if lesion.sum() <= hosts.MAX_MM3]
    reference = shape.shape_table(real)
    drawn = masks.draw_masks(EllipsoidMasks(), real, len(real))
    chance = report.by_chance(reference, len(real), rounds=20)
    assert shape.shape_distances(shape.shape_table(drawn.real), reference)["sphericity"] <= chance["sphericity"]
    assert shape.shape_distances(shape.shape_table(drawn.parts), reference)["sphericity"] > chance["sphericity"]
    assert drawn.share_empty == 0
    assert drawn.volume_ratio[1] == pytest.approx(1, abs=0.25)


def test_feature_names_match_the_columns():
    host = made_host(0, "a")
    images = host.robust_images()
    rows = scan_features(images, host.brain, host.lesions, host.lesions)
    assert rows.shape == (len(host.test_lesions()), len(feature_names(tuple(images))))
    assert np.isfinite(rows).all()


def test_location_maps_of_the_same_lesions_agree_and_of_far_ones_do_not():
    points = np.random.default_rng(0).uniform(-20, 0, (100, 3))
    here, there = location.map_of_points(points), location.map_of_points(points + 60)
    assert here.sum() == pytest.approx(1)
    assert location.jensen_shannon(here, here) == pytest.approx(0, abs=1e-12)
    assert location.jensen_shannon(here, there) == pytest.approx(1, abs=0.05)
    assert location.correlation(here, here) == pytest.approx(1)
    assert location.correlation(here, there) < 0.1


def test_location_uses_world_coordinates():
    mask = np.zeros((40, 40, 40), bool)
    mask[4:8, 10:13, 20:23] = True
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 39
    np.testing.assert_allclose(
        location.centroids_mm(mask, np.eye(4)), location.centroids_mm(mask[::-1].copy(), flipped)
    )


def test_a_flipped_and_shifted_copy_is_recognised():
    rng = np.random.default_rng(0)
    mask = blob(rng)
    copy = np.roll(np.pad(mask[::-1, :, ::-1], 3), 2, axis=1)
    assert memorisation.best_dice(mask, copy) == pytest.approx(1)
    assert memorisation.best_dice(mask, blob(rng)) < 0.9


def test_copies_are_memorised_and_strangers_are_not():
    rng = np.random.default_rng(0)
    seen, unseen = [blob(rng) for _ in range(12)], [blob(rng) for _ in range(12)]
    copied = memorisation.memorisation(seen, seen, unseen)
    fresh = memorisation.memorisation([blob(rng) for _ in range(12)], seen, unseen)
    assert (copied.share_above, copied.closer_to_seen) == (1, 1)
    assert fresh.share_above == 0
    assert 0.2 <= fresh.closer_to_seen <= 0.8


def test_a_mirrored_copy_of_a_texture_is_recognised_at_any_brightness_and_a_stranger_is_not():
    cubes = np.random.default_rng(0).standard_normal((6, *(textures.SIDE,) * 3))
    copies = 40 - 3 * np.flip(cubes, (1, 3))
    assert textures.nearest(-copies, cubes) == pytest.approx(1)
    assert textures.nearest(copies[:3], cubes[3:]).max() < 0.3


def test_painted_copies_of_lesions_learnt_from_count_as_such():
    learnt, host = made_host(0, "a"), made_host(1, "b")
    copy = HostResult(learnt, learnt.images, learnt.lesions)
    fresh = HostResult(host, host.images, host.lesions)
    assert textures.texture_copies([copy], [learnt], "flair").share_above == 1
    assert textures.texture_copies([fresh], [learnt], "flair").share_above == 0


@pytest.fixture(scope="module")
def real_masks() -> dict[str, np.ndarray]:
    if not (hosts.shared() / "data" / "open_ms").is_dir():
        pytest.skip("needs the shared data (LESIONAUG_SHARED)")
    return hosts.load_masks()


@pytest.mark.realdata
def test_floors_are_those_measured_before(real_masks: dict[str, np.ndarray]):
    """Median over splits of 15 against 15 patients; fewer masks are at hand, so the floors lie a little higher."""
    floors = shape.split_half_floors([shape.shape_table(shape.lesions_of(mask)) for mask in real_masks.values()], 60)
    for name, median in (
        ("volume_mm3", 0.048),
        ("sphericity", 0.052),
        ("elongation", 0.056),
        ("surface_to_volume", 0.068),
    ):
        assert floors[name][0] == pytest.approx(median, abs=0.025)


@pytest.mark.realdata
def test_white_matter_is_a_plausible_share_of_the_brain_and_free_of_lesions(real_masks: dict[str, np.ndarray]):
    host = hosts.load_host("patient07")
    white = hosts.white_matter(host)
    assert 0.25 < white.sum() / host.brain.sum() < 0.5
    assert not (white & host.lesions).any()


def test_carved_lesions_are_another_patients_and_clear_of_the_hosts_own():
    host, donor = made_host(0, "a"), made_host(1, "b")
    moved = HostScan("b", donor.images, donor.brain, np.roll(donor.lesions, 14, axis=2) & donor.brain)
    assert not clear_lesions(host, host).any()
    free = clear_lesions(host, moved)
    result = populate_by_carving(host, [host, moved], seed=3)
    assert result.new_lesions.any()
    assert not (result.new_lesions & ~free).any()
    assert ndimage.distance_transform_edt(~host.lesions)[result.new_lesions].min() > CLEAR_MM
    assert np.array_equal(result.rendered["flair"][host.lesions], host.images["flair"][host.lesions].astype(np.float32))
    with pytest.raises(ValueError, match="Expected lesions of other patients clear of those of a"):
        populate_by_carving(host, [host])
