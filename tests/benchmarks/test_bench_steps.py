"""What is the same is not told apart, what differs is; the slow sampler draws from the distribution it should."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the benchmark of steps needs scikit-learn")

from benchmarks import bench_steps
from benchmarks.bench_steps import BenchSteps, Row, Subject
from benchmarks.steps import shapes, tissue
from benchmarks.steps.repaint import RePaintCost
from benchmarks.steps.schedule import Schedule, sample_with_fresh_noise
from benchmarks.steps.sets import Draws, Lesion, distance, histogram_distance, paired_auc, variance_ratio
from lesionaug.diffusion.edm import Preconditioning, karras_sigmas
from lesionaug.models.base import PaintConditions
from lesionaug.models.diffmask import DiffMask, DiffMaskConfig
from lesionaug.models.few_steps import sample_in_few_steps
from lesionaug.models.lefusion import LeFusion, LeFusionConfig
from lesionaug.networks.compact import CompactUNet

CLEAN_SD = 0.7


def made_draws(seed: int, shift: float = 0.0, spread: float = 1.0, lesions: int = 30, seeds: int = 4) -> Draws:
    """Lesions with levels of their own, the same for every `seed`, and noise of their draws."""
    levels = np.random.default_rng(99).normal(0, 3, lesions)
    rng = np.random.default_rng(seed)
    made = []
    for level in levels:
        values = level + shift + spread * rng.standard_normal((seeds, 1, 60))
        features = np.stack([values.mean(axis=(1, 2)) - level, values.std(axis=(1, 2))], axis=1)
        profiles = {"flair": np.linspace(1, 0, 5) + shift + 0.01 * rng.standard_normal((seeds, 5))}
        made.append(Lesion(features, values, {"contrast error": np.full(seeds, abs(shift))}, profiles))
    return Draws(tuple(made))


def denoise_gaussian(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The exact denoiser of Gaussian data."""
    s = sigma.view(-1, 1, 1, 1, 1)
    return x * CLEAN_SD**2 / (CLEAN_SD**2 + s**2)


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def paint_conditions() -> PaintConditions:
    generator = torch.Generator().manual_seed(0)
    background = torch.randn(1, 2, 16, 16, 16, generator=generator)
    mask = torch.zeros(1, 1, 16, 16, 16, dtype=torch.bool)
    mask[..., 6:10, 6:10, 6:9] = True
    return PaintConditions(background, ("flair", "t1w"), mask, torch.ones_like(mask), torch.tensor([[1.5, -1.0]]))


@pytest.fixture(scope="module")
def painter() -> LeFusion:
    torch.manual_seed(0)
    config = LeFusionConfig(widths=(8, 8, 8))
    return LeFusion(CompactUNet(config.network).eval().requires_grad_(False), config, 4)


@pytest.fixture(scope="module")
def drawer() -> DiffMask:
    torch.manual_seed(0)
    config = DiffMaskConfig(widths=(8, 8, 8))
    return DiffMask(CompactUNet(config.network).eval().requires_grad_(False), config, 4)


def test_draws_of_one_sampler_are_not_told_apart():
    found = distance(made_draws(1), made_draws(2))
    assert found.worst_auc[0] < 0.5 + 3 * found.worst_auc[1]
    assert found.variance_ratio == pytest.approx(1, abs=0.1)
    assert max(found.edge.values()) < 0.01
    assert found.errors == {"contrast error": 0}


def test_a_shift_shows_in_all_but_the_variance():
    same, shifted = distance(made_draws(1), made_draws(2)), distance(made_draws(1, shift=0.5), made_draws(2))
    assert shifted.logreg > 0.9
    assert shifted.histogram > 2 * same.histogram
    assert shifted.edge["flair"] == pytest.approx(0.5, abs=0.02)
    assert shifted.variance_ratio == pytest.approx(1, abs=0.1)


def test_a_sampler_without_diversity_is_found_out():
    ratio, error = variance_ratio(made_draws(1, spread=0.5), made_draws(2))
    assert ratio == pytest.approx(0.25, abs=0.05)
    assert 0 < error < 0.05
    assert variance_ratio(made_draws(1, seeds=1), made_draws(2, seeds=1)) == (None, None)


def test_differences_between_lesions_are_no_differences_between_samplers():
    """Every draw of a lesion is on one side of the folds: knowing the lesion must not help."""
    draws = made_draws(1)
    known = Draws(tuple(Lesion(np.full((4, 1), float(k)), one.values) for k, one in enumerate(draws.lesions)))
    assert paired_auc(known, known)["forest"] == pytest.approx(0.5, abs=0.01)


def test_histogram_distance_is_the_shift_of_the_values():
    draws = made_draws(1)
    moved = Draws(tuple(Lesion(one.features, one.values + 2) for one in draws.lesions))
    assert histogram_distance(moved, draws) == pytest.approx(2, abs=0.1)


def test_too_few_lesions_for_the_folds_say_so():
    with pytest.raises(ValueError, match="got 3"):
        distance(made_draws(1, lesions=3), made_draws(2, lesions=3))


def test_fresh_noise_draws_from_the_distribution_of_the_data():
    sigmas = torch.cat([karras_sigmas(300, 0.02, 20.0), torch.zeros(1)])
    noise = torch.Generator().manual_seed(0)
    x = 20.0 * torch.randn(4, 1, 16, 16, 16, generator=noise)
    found = sample_with_fresh_noise(denoise_gaussian, x, sigmas, lambda: torch.randn(x.shape, generator=noise))
    assert found.std().item() == pytest.approx(CLEAN_SD, rel=0.03)
    assert found.mean().item() == pytest.approx(0, abs=0.03)


def test_a_schedule_without_fresh_noise_is_the_packages_sampler():
    like, precondition = torch.zeros(2, 1, 8, 8, 8), Preconditioning((CLEAN_SD,))

    def predict(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return x.tanh() * noise.view(-1, 1, 1, 1, 1)

    ours = Schedule(4, 0.1, 4.0).sample(predict, precondition, like, generators(2))
    theirs = sample_in_few_steps(predict, precondition, (0.1, 4.0, 4), like, generators(2))
    assert torch.equal(ours, theirs)
    again = Schedule(4, 0.1, 4.0, fresh_noise=True).sample(predict, precondition, like, generators(2))
    assert not torch.equal(ours, again)


def test_painted_lesions_are_those_of_the_model(painter: LeFusion):
    job, config = paint_conditions(), painter.config
    found = tissue.paint(painter, job, Schedule(4, config.sigma_min, config.sigma_max), [5])
    level = tissue.pose(job, painter.channels).level[:, :2, None, None, None]
    expected = (painter(job, [torch.Generator().manual_seed(5)]) - level)[0][:, job.mask[0, 0]]
    np.testing.assert_allclose(found[tissue.PAINTED].values[0], expected.numpy(), atol=1e-5)
    assert max(error.max() for error in found[tissue.PAINTED].errors.values()) < 0.2


def test_drawn_masks_have_the_volume_asked_for_and_differ_by_seed(drawer: DiffMask):
    lesions = [np.ones((3, 4, k), bool) for k in range(3, 9)]
    jobs = shapes.draw_jobs(drawer, lesions, 5, patch=16, seed=0)
    draws = shapes.draw_all(drawer, jobs, Schedule(2, 0.1, 4.0), seeds=2, first_seed=0)
    assert all(lesion.errors["relative volume error"].max() == 0 for lesion in draws.lesions)
    assert min(lesion.variance for lesion in draws.lesions) > 0
    assert set(shapes.shape_ks(draws.features, draws.features).values()) == {0.0}
    assert shapes.real_shapes(jobs).shape == (5, len(shapes.SHAPE))


def test_lesions_that_need_a_larger_patch_are_left_out(drawer: DiffMask):
    with pytest.raises(ValueError, match="Expected 2 lesions"):
        shapes.draw_jobs(drawer, [np.ones((3, 3, 3), bool), np.ones((3, 3, 20), bool)], 2, patch=16, seed=0)


def made_row(calls: int, auc: float, ratio: float) -> Row:
    found = distance(made_draws(1, lesions=6), made_draws(2, lesions=6))
    changed = {**vars(found), "logreg": auc, "forest": 0.5, "logreg_se": 0.04, "variance_ratio": ratio}
    return Row("stage", Schedule(calls, 0.1, 4.0), 0.0, type(found)(**changed))


def test_the_rule_takes_the_fewest_calls_that_pass_both_tests():
    rows = [made_row(1, 0.9, 0.1), made_row(2, 0.58, 1.0), made_row(4, 0.52, 1.3), made_row(8, 0.54, 1.05)]
    assert bench_steps.smallest(rows, "stage", strict=True) == 8
    assert bench_steps.smallest(rows, "stage", strict=False) == 2
    assert bench_steps.smallest(rows[:1], "stage", strict=False) is None


def test_all_of_it_runs_and_is_written(tmp_path, monkeypatch, drawer: DiffMask):
    lesions = [np.ones((3, 4, k), bool) for k in range(3, 9)]
    jobs = shapes.draw_jobs(drawer, lesions, 5, patch=16, seed=0)
    config = BenchSteps(steps=(1, 2), ancestral=3, lesions=5, repaint=False, output=tmp_path / "new" / "steps.json")

    def run(plan, seed):
        return {shapes.FIELD: shapes.draw_all(drawer, jobs, plan, 2, seed)}

    def models(_):
        yield "diffmask", Subject(run, drawer.config, shapes.real_shapes(jobs))

    monkeypatch.setattr(bench_steps, "_models", models)
    config.run()
    written = json.loads(config.output.read_text())
    assert [row["schedule"]["calls"] for row in written["rows"]["diffmask"]] == [3, 1, 2]
    assert all(set(row["real_ks"]) == set(shapes.SHAPE) for row in written["rows"]["diffmask"])
    assert {"hardware", "versions", "commit", "config", "smallest"} <= set(written)


def test_repaint_is_counted_and_never_scaled_silently():
    line = RePaintCost(call_s=20.0, calls=598).line()
    assert "not run" in line
    assert "3.3 h" in line
