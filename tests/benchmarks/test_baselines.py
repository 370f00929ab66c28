"""CarveMix and copy-paste do what their papers say, and change no voxel besides."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.baselines import carvemix, copy_paste, donors_in
from benchmarks.baselines.carvemix import draw_lambda_mm
from benchmarks.bench_baselines import BenchBaselines
from benchmarks.realism.appearance import signed_distance_mm
from benchmarks.realism.baselines import FEATHER_MM
from lesionaug.scan import Scan

SIDE = 56


def ball(radius, center=(SIDE // 2,) * 3):
    grids = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    return sum((grid - c) ** 2 for grid, c in zip(grids, center, strict=True)) <= radius**2


def made_scan(seed, centers, radius=4.0, gain=1.0) -> Scan:
    """White matter with bright balls, the left half of it eligible."""
    rng = np.random.default_rng(seed)
    brain = ball(26)
    lesions = np.any([ball(radius, center) for center in centers], axis=0) if centers else np.zeros_like(brain)
    flair = gain * brain * (100 + 5 * rng.standard_normal(brain.shape) + 60 * lesions)
    t1w = gain * brain * (200 + 5 * rng.standard_normal(brain.shape) - 50 * lesions)
    eligible = ball(20) & (np.arange(SIDE) < SIDE // 2)[:, None, None]
    return Scan(
        image=torch.from_numpy(np.stack([flair, t1w])).float(),
        channels=("flair", "t1w"),
        lesion_mask=torch.from_numpy(lesions)[None],
        brain=torch.from_numpy(brain)[None],
        eligible=torch.from_numpy(eligible).float()[None],
        regions=torch.ones((1, *brain.shape), dtype=torch.uint8),
        spacing_mm=(1.0, 1.0, 1.0),
    )


@pytest.fixture(scope="module")
def target():
    return made_scan(0, [(36, 28, 28), (28, 40, 30)])


@pytest.fixture(scope="module")
def donor():
    return made_scan(1, [(18, 28, 28), (30, 20, 20)], radius=5.0)


def test_carved_voxels_are_the_donors_and_all_others_the_targets(target, donor):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        after = carvemix(target, donor, rng, harmonise=False)
        signed = signed_distance_mm(donor.lesion_mask[0].numpy(), donor.spacing_mm)
        reach = draw_lambda_mm(signed, np.random.default_rng(seed))
        carved = torch.from_numpy(signed <= reach)[None]
        assert carved.any()
        for part in ("image", "lesion_mask"):
            expected = torch.where(carved, getattr(donor, part), getattr(target, part))
            assert torch.equal(getattr(after, part), expected)
        assert torch.equal(after.eligible, target.eligible)


def test_lambda_has_the_distribution_of_the_paper(donor):
    signed = signed_distance_mm(donor.lesion_mask[0].numpy(), donor.spacing_mm)
    deepest = -signed.min()
    rng = np.random.default_rng(0)
    drawn = np.array([draw_lambda_mm(signed, rng) for _ in range(4000)])
    assert drawn.min() >= -deepest / 2
    assert drawn.max() <= deepest
    assert (drawn < 0).mean() == pytest.approx(0.5, abs=0.03)
    for part, low, high in ((drawn[drawn < 0], -deepest / 2, 0), (drawn[drawn > 0], 0, deepest)):
        quartiles = np.percentile((part - low) / (high - low), (25, 50, 75))
        assert quartiles == pytest.approx((0.25, 0.5, 0.75), abs=0.03)


def test_harmonised_lesions_have_the_targets_units(target, donor):
    brighter = replace(donor, image=3 * donor.image + 40)
    one, other = (carvemix(target, scan, np.random.default_rng(2)) for scan in (donor, brighter))
    assert torch.allclose(one.image, other.image, rtol=1e-4, atol=1e-2)
    raw = carvemix(target, brighter, np.random.default_rng(2), harmonise=False)
    assert not torch.allclose(raw.image, one.image, rtol=0.1)


@pytest.mark.parametrize("method", ["carvemix", "copy_paste"])
def test_arguments_stay_as_they_are_and_the_seed_decides(target, donor, method):
    before = [scan.image.clone() for scan in (target, donor)]

    def call(seed):
        rng = np.random.default_rng(seed)
        return carvemix(target, donor, rng) if method == "carvemix" else copy_paste(target, donors_in(donor, "a"), rng)

    one, same, other = call(1), call(1), call(5)
    assert torch.equal(one.image, same.image)
    assert not torch.equal(one.image, other.image)
    assert all(torch.equal(image, scan.image) for image, scan in zip(before, (target, donor), strict=True))


def test_pasted_lesions_lie_in_eligible_places_clear_of_all_others(target, donor):
    after = copy_paste(target, donors_in(donor, "a"), np.random.default_rng(3), (4, 4))
    new = (after.lesion_mask & ~target.lesion_mask)[0].numpy()
    _, count = ndimage.label(new)
    assert 1 <= count <= 4
    assert (after.lesion_mask & target.lesion_mask).sum() == target.lesion_mask.sum()
    assert target.eligible[0].numpy()[new].mean() > 0.85
    assert ndimage.distance_transform_edt(~target.lesion_mask[0].numpy())[new].min() > 2
    volumes = ndimage.sum_labels(new, *ndimage.label(new)[:1], range(1, count + 1))
    assert set(volumes) <= {float(lesion.mask.sum()) for lesion in donors_in(donor, "a")}


def test_pasted_lesions_look_like_the_donors_and_fade_out(target, donor):
    after = copy_paste(target, donors_in(donor, "a"), np.random.default_rng(3), (4, 4))
    new = (after.lesion_mask & ~target.lesion_mask)[0]
    flair, t1w = (after.image - target.image)[:, new].mean(dim=1)
    assert float(flair) == pytest.approx(60, rel=0.15)
    assert float(t1w) == pytest.approx(-50, rel=0.15)
    far = torch.from_numpy(signed_distance_mm(new.numpy(), (1, 1, 1)) > FEATHER_MM)
    assert torch.equal(after.image[:, far], target.image[:, far])


def test_a_scan_of_another_scanner_can_give(target, donor):
    other = replace(donor, image=3 * donor.image + 40)
    one, same = (copy_paste(target, donors_in(scan, "a"), np.random.default_rng(3)) for scan in (donor, other))
    assert torch.allclose(one.image, same.image, atol=0.05)


def test_what_cannot_be_done_is_told(target, donor):
    rng = np.random.default_rng(0)
    healthy = made_scan(2, [])
    with pytest.raises(ValueError, match="Expected a donor with lesions"):
        carvemix(target, healthy, rng)
    with pytest.raises(ValueError, match="Expected scans of one grid"):
        carvemix(target, replace(donor, spacing_mm=(1.0, 1.0, 2.0)), rng)
    with pytest.raises(ValueError, match="Expected lesions to paste"):
        copy_paste(target, donors_in(healthy, "a"), rng)
    with pytest.raises(ValueError, match="Expected voxels of 1 mm"):
        copy_paste(replace(target, spacing_mm=(1.0, 1.0, 2.0)), donors_in(donor, "a"), rng)
    with pytest.raises(ValueError, match="Expected eligible tissue"):
        copy_paste(replace(target, eligible=torch.zeros_like(target.eligible)), donors_in(donor, "a"), rng)
    one_channel = replace(donor, image=donor.image[:1], channels=("flair",))
    with pytest.raises(ValueError, match="Expected donors with flair, t1w"):
        copy_paste(target, donors_in(one_channel, "a"), rng)


@pytest.mark.slow
def test_the_benchmark_of_speed_runs(tmp_path, capsys):
    BenchBaselines(quick=True, lesions=2, output=tmp_path / "new" / "baselines.json").run()
    written = json.loads((tmp_path / "new" / "baselines.json").read_text())
    rows = {row["method"]: row for row in written["rows"]}
    assert set(rows) == {"anatomy", "CarveMix", "copy-paste", "lesionaug parametric"}
    assert rows["CarveMix"]["lesions"] is None
    assert rows["copy-paste"]["lesions"] == 2
    assert written["hardware"]["cores"]
    assert "copy-paste" in capsys.readouterr().out
