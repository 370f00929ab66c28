"""How many lesions, how large, where and how bright: what was asked for is what is planned."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from lesionaug.contrast import measure
from lesionaug.distributions import Quantiles
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.plan_options import DIAMETER_MM, PATIENTS, PlanOptions
from lesionaug.planning import CONFLUENT_MM3
from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import ObservedScan, fit_contrast, measure_lesions
from lesionaug.scan import CHANNELS, REGIONS, LesionPlan, Scan

SPACING = (1.0, 1.5, 2.0)


def make_scan(*, lesions: bool = True, spacing=SPACING, channels=("flair", "t1w"), bright: float = 4.0) -> Scan:
    """A box of tissue with an eligible box inside, four regions along its first axis, and small old lesions."""
    shape = tuple(round(96 / s) for s in spacing)
    generator = torch.Generator().manual_seed(3)
    image = 100 + 10 * torch.randn(len(channels), *shape, generator=generator)
    brain = torch.ones(1, *shape, dtype=torch.bool)
    eligible = torch.zeros(1, *shape)
    inner = tuple(slice(n // 8, n - n // 8) for n in shape)
    eligible[(0, *inner)] = torch.rand(1, generator=generator) + 0.5
    regions = torch.zeros(1, *shape, dtype=torch.uint8)
    quarter = (torch.arange(shape[0]) * len(REGIONS) // shape[0] + 1).byte()
    regions[:] = quarter[None, :, None, None] * (eligible > 0)
    mask = torch.zeros(1, *shape, dtype=torch.bool)
    if lesions:
        for place in (0.3, 0.45, 0.6, 0.7):
            box = tuple(
                slice(int(place * n), int(place * n) + max(2, round(5 / s)))
                for n, s in zip(shape, spacing, strict=True)
            )
            mask[(0, *box)] = True
        image[0][mask[0]] += 10 * bright
    return Scan(image, channels, mask, brain, eligible, regions, spacing)


@pytest.fixture(scope="module")
def prior() -> LesionPrior:
    return LesionPrior.load()


@pytest.fixture(scope="module")
def scan() -> Scan:
    return make_scan()


def plan(prior, scan, seed=0, **options) -> LesionPlan:
    return prior.sample(scan, torch.Generator().manual_seed(seed), PlanOptions(**options))


def test_same_generator_same_plan(prior, scan):
    torch.manual_seed(0)
    first = plan(prior, scan, seed=5)
    torch.manual_seed(1)
    np.random.seed(1)
    assert plan(prior, scan, seed=5) == first
    assert plan(prior, scan, seed=6) != first


def test_plans_are_json(prior, scan):
    drawn = plan(prior, scan, num_lesions=4)
    assert LesionPlan.from_dict(json.loads(json.dumps(drawn.to_dict()))) == drawn
    assert all(0 <= lesion.seed < 2**63 for lesion in drawn)
    assert len({lesion.seed for lesion in drawn}) == 4


def test_scan_is_left_alone(prior):
    scan = make_scan()
    before = [getattr(scan, field).clone() for field in ("image", "lesion_mask", "brain", "eligible", "regions")]
    plan(prior, scan, num_lesions=6)
    for field, old in zip(("image", "lesion_mask", "brain", "eligible", "regions"), before, strict=True):
        assert torch.equal(getattr(scan, field), old)


@pytest.mark.parametrize("seed", range(5))
def test_number_asked_for(prior, scan, seed):
    assert len(plan(prior, scan, seed, num_lesions=7)) == 7
    assert 2 <= len(plan(prior, scan, seed, num_lesions=(2, 5))) <= 5
    assert len(plan(prior, scan, seed, num_lesions=0)) == 0


def test_every_number_of_a_range_is_drawn(prior, scan):
    numbers = {len(plan(prior, scan, seed, num_lesions=(1, 3))) for seed in range(30)}
    assert numbers == {1, 2, 3}


@pytest.mark.parametrize("load_ml", [0.3, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_load_asked_for(prior, scan, load_ml, seed):
    drawn = plan(prior, scan, seed, load_ml=load_ml)
    assert sum(lesion.volume_mm3 for lesion in drawn) == pytest.approx(1000 * load_ml, rel=0.1)


def test_a_load_that_no_lesion_has_is_said(prior, scan):
    with pytest.warns(LesionAugWarning, match="smallest lesion"):
        assert len(plan(prior, scan, load_ml=0.005)) == 0


@pytest.mark.parametrize("seed", range(30))
def test_nothing_asked_for_is_an_augmentation_and_no_patient(prior, scan, seed):
    drawn = plan(prior, scan, seed)
    assert 1 <= len(drawn) <= 10
    assert all(DIAMETER_MM[0] - 1e-6 <= lesion.diameter_mm <= DIAMETER_MM[1] + 1e-6 for lesion in drawn)
    assert all(lesion.halo and lesion.gate for lesion in drawn)


def test_every_number_from_one_to_ten_is_drawn(prior, scan):
    assert {len(plan(prior, scan, seed)) for seed in range(80)} == set(range(1, 11))


def test_patients_numbers_are_drawn_on_request(prior):
    scan = make_scan(lesions=False)
    few = dataclasses.replace(prior, count=Quantiles((14.0, 14.0)))
    assert len(plan(few, scan, num_lesions=PATIENTS)) >= 14


def test_confluent_lesions_are_several_that_have_grown_together(prior):
    """No focus is larger than a lesion may be; each overlaps another of its group; all are as bright as each other."""
    large = math.log(7_500.0)
    confluent = dataclasses.replace(
        prior, count=Quantiles((1.0, 1.0)), log_volume=(Quantiles((large, large)),) * len(REGIONS)
    )
    foci = plan(confluent, make_scan(lesions=False), num_lesions=PATIENTS).lesions
    assert len(foci) > 2
    assert max(lesion.diameter_mm for lesion in foci) <= DIAMETER_MM[1]
    assert len({lesion.contrast for lesion in foci}) == 1
    for index, lesion in enumerate(foci[1:], start=1):
        gaps = [
            np.linalg.norm((np.array(lesion.center) - other.center) * SPACING)
            / ((lesion.diameter_mm + other.diameter_mm) / 2)
            for other in foci[:index]
        ]
        assert 0.5 < min(gaps) < 0.9


def test_confluent_lesions_lie_at_the_ventricles_and_end_at_what_can_be_drawn(prior):
    sizes = Quantiles((math.log(5_000.0), math.log(50_000.0)))
    confluent = dataclasses.replace(prior, count=Quantiles((1.0, 1.0)), log_volume=(sizes,) * len(REGIONS))
    scan = make_scan(lesions=False)
    for seed in range(6):
        foci = plan(confluent, scan, seed, num_lesions=PATIENTS).lesions
        assert sum(lesion.volume_mm3 for lesion in foci) <= CONFLUENT_MM3 * 1.001
        assert scan.regions[(0, *foci[0].center)] == REGIONS.index("periventricular") + 1


def test_regions_have_the_shares_of_patients(prior):
    scan = make_scan(lesions=False)
    shares = (0.7, 0.1, 0.1, 0.1)
    biased = dataclasses.replace(prior, region_share=shares)
    found = [
        int(scan.regions[0][lesion.center])
        for seed in range(40)
        for lesion in plan(biased, scan, seed, num_lesions=5, diameter_mm=(3.0, 3.5))
    ]
    assert np.bincount(found, minlength=5)[1:] / len(found) == pytest.approx(shares, abs=0.1)


def test_a_thin_strand_has_no_room_for_a_large_lesion(prior):
    scan = make_scan(lesions=False, spacing=(1.0, 1.0, 1.0))
    strand = torch.zeros_like(scan.eligible)
    strand[:, 40:43, 40:43, 10:80] = 1.0
    strand = dataclasses.replace(scan, eligible=strand, regions=(4 * (strand > 0)).byte())
    with pytest.warns(LesionAugWarning, match="room"):
        assert len(plan(prior, strand, num_lesions=1, diameter_mm=(9.0, 9.5))) == 0
    assert len(plan(prior, strand, num_lesions=1, diameter_mm=(3.0, 3.2))) == 1


@pytest.mark.parametrize("diameter_mm", [(2.0, 4.0), (6.0, 9.0), (14.0, 14.5)])
def test_diameters_asked_for(prior, scan, diameter_mm):
    low, high = diameter_mm
    for lesion in plan(prior, scan, num_lesions=4, diameter_mm=diameter_mm):
        assert low - 1e-6 <= lesion.diameter_mm <= high + 1e-6
        assert lesion.diameter_mm <= lesion.extent_mm


@pytest.mark.parametrize("region", REGIONS)
def test_regions_asked_for(prior, scan, region):
    for lesion in plan(prior, scan, num_lesions=3, regions=(region,), diameter_mm=(3.0, 5.0)):
        assert int(scan.regions[0][lesion.center]) == REGIONS.index(region) + 1


def test_contrast_is_scaled(prior, scan):
    once = plan(prior, scan, num_lesions=5)
    twice = plan(prior, scan, num_lesions=5, contrast=2.0)
    for a, b in zip(once, twice, strict=True):
        assert (a.center, a.diameter_mm) == (b.center, b.diameter_mm)
        assert np.allclose(2 * np.array([v for _, v in a.contrast]), [v for _, v in b.contrast], atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING, (0.7, 0.7, 3.0)])
def test_lesions_keep_apart_from_old_ones_and_from_each_other(prior, spacing):
    scan = make_scan(spacing=spacing)
    drawn = plan(prior, scan, num_lesions=25, diameter_mm=(2.0, 6.0))
    old = scan.lesion_mask[0].nonzero().numpy() * np.array(spacing)
    for index, lesion in enumerate(drawn):
        center = np.array(lesion.center) * np.array(spacing)
        assert float(scan.eligible[0][lesion.center]) > 0
        assert np.linalg.norm(old - center, axis=1).min() > lesion.diameter_mm / 2 + 1
        for other in drawn.lesions[:index]:
            gap = np.linalg.norm(center - np.array(other.center) * np.array(spacing))
            assert gap > (lesion.diameter_mm + other.diameter_mm) / 2 + 1


def test_overlap_is_allowed_on_request(prior):
    scan = make_scan()
    eligible = torch.where(scan.lesion_mask, 1.0, 0.0)
    only_old = dataclasses.replace(scan, eligible=eligible)
    with pytest.raises(LesionAugError, match="eligible"):
        plan(prior, only_old, num_lesions=1)
    assert len(plan(prior, only_old, num_lesions=1, overlap=True, diameter_mm=(2.0, 3.0))) == 1


def test_control_spheres_hold_their_lesions(prior, scan):
    """There is room for the mask in the allowed part of the control sphere."""
    allowed = (scan.eligible > 0) & scan.brain & ~scan.lesion_mask
    places = allowed[0].nonzero().numpy() * np.array(SPACING)
    for lesion in plan(prior, scan, num_lesions=12):
        reach = lesion.extent_mm / 2 + max(SPACING) / 2
        near = np.linalg.norm(places - np.array(lesion.center) * np.array(SPACING), axis=1) <= reach
        assert near.sum() * scan.voxel_mm3 >= lesion.volume_mm3
        assert lesion.diameter_mm <= lesion.extent_mm <= prior.max_extent_mm


def test_a_control_sphere_that_is_too_wide_costs_its_lesion_no_volume(prior):
    scan = make_scan(lesions=False)
    narrow = dataclasses.replace(prior, max_extent_mm=12.0)
    for seed in range(10):
        for lesion in plan(narrow, scan, seed, num_lesions=4, diameter_mm=(8.0, 16.0)):
            assert lesion.extent_mm <= max(12.0, lesion.diameter_mm) + 1e-6
            assert lesion.diameter_mm >= 8.0 - 1e-6


def test_the_largest_lesion_finds_its_place_first(prior, scan):
    volumes = [lesion.volume_mm3 for lesion in plan(prior, scan, num_lesions=12)]
    assert volumes == sorted(volumes, reverse=True)


def test_centres_follow_the_eligible_map(prior):
    scan = make_scan(lesions=False)
    weight = scan.eligible.clone()
    weight[:, :, : scan.shape[1] // 2] *= 9
    weighted = dataclasses.replace(scan, eligible=weight)
    centers = [
        lesion.center[1]
        for seed in range(30)
        for lesion in plan(prior, weighted, seed, num_lesions=5, diameter_mm=(2, 3))
    ]
    assert 0.82 < np.mean(np.array(centers) < scan.shape[1] // 2) < 0.97


def test_eligible_voxels_without_region_count(prior, scan):
    anywhere = dataclasses.replace(scan, regions=torch.zeros_like(scan.regions))
    assert len(plan(prior, anywhere, num_lesions=3)) == 3


def test_more_than_fits_warns_with_numbers(prior, scan):
    with pytest.warns(LesionAugWarning, match="500"):
        drawn = plan(prior, scan, num_lesions=500, diameter_mm=(9.0, 10.0))
    assert 0 < len(drawn) < 500


def test_nowhere_to_go_is_an_error(prior, scan):
    with pytest.raises(LesionAugError, match="eligible"):
        plan(prior, dataclasses.replace(scan, eligible=torch.zeros_like(scan.eligible)), num_lesions=1)


def test_one_region_may_be_a_word():
    assert PlanOptions(regions="periventricular").regions == ("periventricular",)


@pytest.mark.parametrize(
    "options",
    [
        {"num_lesions": -1},
        {"num_lesions": (5, 2)},
        {"num_lesions": 2, "load_ml": 1.0},
        {"load_ml": 0.0},
        {"diameter_mm": (4.0, 3.0)},
        {"regions": ("spinal_cord",)},
        {"regions": ()},
        {"contrast": -1.0},
        {"num_lesions": "many"},
        {"load_ml": "much"},
        {"regions": "cord"},
    ],
)
def test_options_that_cannot_be_meant(options):
    with pytest.raises(LesionAugError, match="Expected"):
        PlanOptions(**options)


def test_flair_lesions_are_bright(prior):
    scan = make_scan(lesions=False)
    contrast = [dict(lesion.contrast) for seed in range(8) for lesion in plan(prior, scan, seed, num_lesions=8)]
    flair, t1w = np.array([c["flair"] for c in contrast]), np.array([c["t1w"] for c in contrast])
    assert (flair > 0.2).all()
    assert 0.8 < np.median(flair) < 2.2
    assert np.median(t1w) < 0
    assert np.abs(np.concatenate([flair, t1w])).max() < 6


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_few_lesions_are_hardly_seen_and_few_are_very_bright(prior, offset):
    """As in patients; a Gaussian has too many of the first kind and too few of the second."""
    model, generator = prior.contrast, torch.Generator().manual_seed(0)
    rows = [CHANNELS.index(name) for name in ("t1w", "flair")]
    scan = model._in_scan(np.array([0.0, offset]), rows)
    drawn = [model.draw_lesion(50.0, rows, scan, generator) for _ in range(2000)]
    flair, mean = np.array(drawn)[:, 1], model.mean[CHANNELS.index("flair")]
    assert flair.mean() == pytest.approx(mean + offset, rel=0.03)
    assert flair.std() == pytest.approx(model.within[0][0] ** 0.5 * (mean + offset) / mean, rel=0.08)
    assert (flair < 0.5 * flair.mean()).mean() < 0.02
    assert (flair > 1.5 * flair.mean()).mean() > 0.04


@pytest.mark.parametrize("channels", [("flair",), ("t1w",), ("t2w", "flair")])
def test_contrast_has_the_scans_channels(prior, channels):
    drawn = plan(prior, make_scan(lesions=False, channels=channels), num_lesions=2)
    assert all(tuple(name for name, _ in lesion.contrast) == channels for lesion in drawn)


def test_new_lesions_look_like_the_scans_own(prior):
    """A scan with very bright lesions gets brighter ones than a scan with faint lesions."""

    def mean_flair(bright: float) -> float:
        scan = make_scan(bright=bright)
        return np.mean(
            [dict(lesion.contrast)["flair"] for s in range(5) for lesion in plan(prior, scan, s, num_lesions=8)]
        )

    assert mean_flair(6.0) > mean_flair(1.0) + 0.5


def test_new_lesions_differ_as_the_scans_own_do(prior):
    """Four old lesions of equal brightness: new ones differ less than in a scan of which nothing is known."""
    rows, generator = [0, 1], torch.Generator().manual_seed(0)
    own = prior.contrast.draw_scan(make_scan(), rows, generator)
    unknown = prior.contrast.draw_any_scan(rows, generator)
    assert own.within[1, 1] < 0.9 * unknown.within[1, 1]


def test_a_lesion_goes_where_its_brightness_is_seen(prior):
    """Places suit the contrast: none is in the noisy half, and lesions are as bright as without the gate."""
    scan = make_scan(lesions=False)
    noise = 60 * torch.randn(scan.image[:, :, 48:].shape, generator=torch.Generator().manual_seed(0))
    image = scan.image.clone()
    image[:, :, 48:] += noise
    noisy = dataclasses.replace(scan, image=image)
    lesions = [lesion for s in range(6) for lesion in plan(prior, noisy, s, num_lesions=6, diameter_mm=(3, 6))]
    free = [lesion for s in range(6) for lesion in plan(prior, noisy, s, num_lesions=6, diameter_mm=(3, 6), gate=False)]
    assert sum(lesion.center[1] >= 52 for lesion in lesions) < 0.1 * len(lesions)
    seen, any_ = (np.mean([dict(lesion.contrast)["flair"] for lesion in some]) for some in (lesions, free))
    assert seen == pytest.approx(any_, rel=0.25)


def test_plans_do_not_see_intensity_units(prior, scan):
    other = dataclasses.replace(scan, image=scan.image * 16 + 1024)  # exact in binary
    for a, b in zip(plan(prior, scan, num_lesions=4), plan(prior, other, num_lesions=4), strict=True):
        assert (a.center, a.extent_mm, a.seed) == (b.center, b.extent_mm, b.seed)
        assert np.allclose([v for _, v in a.contrast], [v for _, v in b.contrast], atol=2e-3)


def test_save_and_load(prior, tmp_path):
    prior.save(tmp_path / "prior.json")
    loaded = LesionPrior.load(tmp_path / "prior.json")
    assert loaded == prior
    assert loaded.digest == prior.digest
    assert dataclasses.replace(prior, max_extent_mm=30.0).digest != prior.digest


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": 99}', "\x00\xff"])
def test_a_file_that_is_no_prior(content, tmp_path):
    path = tmp_path / "prior.json"
    path.write_text(content)
    with pytest.raises(LesionAugError, match="Expected a prior"):
        LesionPrior.load(path)
    with pytest.raises(LesionAugError, match="no file"):
        LesionPrior.load(tmp_path / "missing.json")


def cubes(edges, seed=0) -> ObservedScan:
    """Cubic lesions of these edges in a row."""
    mask = np.zeros((12, 12, 12 * len(edges)), bool)
    for index, edge in enumerate(edges):
        mask[1 : 1 + edge, 1 : 1 + edge, 12 * index : 12 * index + edge] = True
    return ObservedScan(mask, np.diag((1.0, 1, 1, 1)), patient=str(seed))


def test_measures_of_known_lesions():
    lesions = measure_lesions(cubes([3, 5]))
    assert lesions.volume_mm3.tolist() == [27, 125]
    assert np.allclose(lesions.extent_mm, [2 * math.sqrt(3) + 1, 4 * math.sqrt(3) + 1])
    assert np.allclose(lesions.centroid, [[2, 2, 1], [3, 3, 14]])


def test_fit_gives_back_sizes_and_numbers(scan):
    observed = [cubes([2, 3, 4, 5, 6, 3, 4, 5], seed) for seed in range(6)]
    prior = LesionPrior.fit(observed)
    assert len(plan(prior, scan, num_lesions=PATIENTS)) == 8
    drawn = [lesion for seed in range(20) for lesion in plan(prior, scan, seed, num_lesions=PATIENTS)]
    volumes = [lesion.volume_mm3 for lesion in drawn]
    assert 14 < min(volumes) < 30
    assert 100 < max(volumes) < 230
    assert abs(np.median(volumes) - np.median([27, 64, 125, 216, 27, 64, 125])) < 40


def test_nothing_to_fit_is_an_error():
    with pytest.raises(LesionAugError, match="two lesions"):
        LesionPrior.fit([ObservedScan(np.zeros((5, 5, 5), bool), np.eye(4))])


def test_contrast_fit_finds_what_was_put_in():
    scans = []
    for patient, bright in enumerate((2.0, 3.0, 4.0)):
        seen = make_scan(spacing=(1.0, 1.0, 1.0), channels=("flair", "t1w", "t2w"), bright=bright)
        images = {name: volume.numpy() for name, volume in zip(seen.channels, seen.image, strict=True)}
        affine = np.diag((*seen.spacing_mm, 1.0))
        scans.append(ObservedScan(seen.lesion_mask[0].numpy(), affine, seen.brain[0].numpy(), images, str(patient)))
    model = fit_contrast(scans)
    volume = 125.0
    assert model.expected(volume, [0])[0] == pytest.approx(3.0, abs=0.4)
    assert model.expected(volume, [1])[0] == pytest.approx(0.0, abs=0.2)
    assert all(np.linalg.eigvalsh(np.array(matrix)).min() > 0 for matrix in (model.between, model.within))


def test_own_lesions_are_measured():
    contrasts, volumes = measure(make_scan(bright=4.0, spacing=(1.0, 1.0, 1.0)))
    assert len(contrasts) == 4
    assert np.allclose([c[0] for c in contrasts], 4.0, atol=0.5)
    assert volumes == [125.0] * 4
    assert measure(make_scan(lesions=False)) == ([], [])
