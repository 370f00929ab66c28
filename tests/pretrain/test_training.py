"""From labelled scans to a model that draws and paints: every stage once, on a phantom, with networks of toy size."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesionaug.pretrain import diffmask, lefusion
from lesionaug.pretrain.fit import FitConfig
from lesionaug.pretrain.package import Package
from lesionaug.pretrain.package import main as package
from lesionaug.pretrain.patches import BRAIN, OTHER, THIS, LabelledScan, read_store, write_scan
from phantoms import brain_phantom
from scans import small_plan, small_scan

from lesionaug.models.diffmask import DiffMaskConfig
from lesionaug.models.lefusion import LeFusionConfig
from lesionaug.prior import LesionPrior
from lesionaug.synthesis import load_synthesizer

FIT = FitConfig(steps=3, warmup=1, keep_every=2, threads=1)


def labelled_scan(subject="sub-1_T1", channels=("flair", "t1w"), seed=0) -> LabelledScan:
    phantom = brain_phantom((64, 72, 64), (1.0, 1.0, 1.0), channels=channels, seed=seed)
    image = np.stack([phantom.images[channel].numpy() for channel in channels])
    lesions = phantom.lesion_mask[0].numpy()
    return LabelledScan(subject, subject.split("_")[0], channels, image, lesions, phantom.labels > 0, (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    write_scan(labelled_scan(), folder, healthy=4)
    write_scan(labelled_scan("sub-2_T1", channels=("flair",), seed=1), folder, healthy=2)
    return folder


def test_every_lesion_has_its_patch_and_its_voxels(store):
    scan = labelled_scan()
    groups = [group for group in read_store(store, ["sub-1"]) if not group.healthy]
    this = sum(int(((group.label & THIS) > 0).sum()) for group in groups)
    assert this == scan.lesions.sum()
    for group in groups:
        assert group.channels == ("flair", "t1w")
        assert ((group.label & THIS) > 0).flatten(1).any(dim=1).all()
        assert not (((group.label & THIS) > 0) & ((group.label & OTHER) > 0)).any()


def test_patches_are_in_robust_units(store):
    for group in read_store(store, ["sub-2"]):
        inside = group.image[((group.label & BRAIN) > 0).expand_as(group.image)]
        assert abs(inside.float().median()) < 3


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"prepare"):
        read_store(tmp_path)


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    diffmask.main(
        diffmask.DiffMaskTraining(
            store, folder / "diffmask", hold_out=("sub-2",), model=DiffMaskConfig(widths=(8, 16), blocks=1), fit=FIT
        )
    )
    lefusion.main(
        lefusion.LeFusionTraining(
            store, folder / "lefusion", hold_out=("sub-2",), model=LeFusionConfig(widths=(8, 16), blocks=1), fit=FIT
        )
    )
    return folder


def test_what_was_trained_synthesises(runs):
    synthesizer = load_synthesizer(diffmask=runs / "diffmask" / "model", lefusion=runs / "lefusion" / "model")
    assert isinstance(synthesizer.prior, LesionPrior)
    scan = small_scan()
    after = synthesizer.render(scan, small_plan(2))
    assert (after.lesion_mask & ~scan.lesion_mask).any()


def test_the_package_has_a_card(runs, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text("## Data\n\nA phantom.\n")
    package(Package(runs / "lefusion", tmp_path / "packaged", notes))
    card = (tmp_path / "packaged" / "CARD.md").read_text()
    assert "Learned from: sub-1_T1" in card
    assert "Held out: sub-2_T1" in card
    assert "A phantom." in card
    assert "| 3 |" in card
    load_synthesizer(lefusion=tmp_path / "packaged")


def test_the_loss_counts_each_lesion_the_same(store):
    """A lesion alone has the loss it contributes beside a larger one: the mean over lesions, not over voxels."""
    config = lefusion.LeFusionTraining(store, store, model=LeFusionConfig(widths=(8, 16), blocks=1))
    groups = read_store(store, ["sub-1"])
    lesson = lefusion.Lessons(groups, groups, config).draw(torch.Generator().manual_seed(0))
    network = lefusion.CompactUNet(config.model.network)
    precondition = lefusion.Preconditioning(config.model.sigma_data)
    count = len(lesson.image)
    sigma, noise = torch.full((count,), 0.5), torch.randn(lesson.image.shape)
    whole = lefusion.loss_of(network, lesson, sigma, noise, precondition)
    parts = [
        lefusion.loss_of(network, _only(lesson, n), sigma[n : n + 1], noise[n : n + 1], precondition)
        for n in range(count)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole, rtol=0.03, atol=0.03)


@pytest.fixture
def store_with_a_bare_mask(store, tmp_path):
    """One more time point, of which only the mask is known."""
    scan = labelled_scan("sub-3_T2", seed=2)
    folder = tmp_path / "patches"
    shutil.copytree(store, folder)
    write_scan(replace(scan, channels=(), image=np.zeros((0, *scan.lesions.shape), np.float32)), folder)
    return folder


def test_masks_without_images_teach_no_tissue(store_with_a_bare_mask, tmp_path):
    """They are left to DiffMask."""
    groups = read_store(store_with_a_bare_mask)
    lessons = lefusion.Lessons(groups, groups, lefusion.LeFusionTraining(store_with_a_bare_mask, tmp_path))
    generator = torch.Generator().manual_seed(0)
    assert all(lessons.draw(generator).image.isfinite().all() for _ in range(12))


def test_where_held_out_patients_have_masks_alone_the_page_shows_those_learned_from(store_with_a_bare_mask, tmp_path):
    model = LeFusionConfig(widths=(8, 8, 8))
    config = lefusion.LeFusionTraining(store_with_a_bare_mask, tmp_path, hold_out=("sub-3",), model=model)
    course = lefusion.course(config)
    assert course.held_loss is None
    assert course.page(course.network).size


def _only(lesson, n):
    problem = lesson.problem
    fields = {name: getattr(problem, name)[n : n + 1] for name in problem.__dataclass_fields__}
    return lefusion.Lesson(type(problem)(**fields), lesson.image[n : n + 1])
