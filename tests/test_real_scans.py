"""The main job on real scans: with and without skull, lesions, T1w; isotropic and thick slices."""

import nibabel as nib
import numpy as np
import pytest
import torch

from lesionaug.assemble import assemble_scan
from lesionaug.intensity import lesion_contrast, robust_scale
from lesionaug.plan_options import PlanOptions
from lesionaug.synthesis import load_synthesizer

pytestmark = pytest.mark.realdata

SCANS = {
    "patient": {
        "flair": "open_ms/subjects_mni/patient07/flair.nii.gz",
        "t1w": "open_ms/subjects_mni/patient07/t1.nii.gz",
        "t2w": "open_ms/subjects_mni/patient07/t2.nii.gz",
        "lesion": "open_ms/subjects_mni/patient07/lesion.nii.gz",
    },
    "integer_patient": {
        "flair": "mslesseg/P18_T1/flair.nii.gz",
        "t1w": "mslesseg/P18_T1/t1.nii.gz",
        "lesion": "mslesseg/P18_T1/lesion.nii.gz",
    },
    "healthy_flair": {"flair": "healthy/flair_example/flair_native.nii.gz"},
    "template_t1w": {"t1w": "healthy/icbm2009a/t1_mni.nii.gz"},
    "thick_slices_with_skull": {"flair": "open_ms/longitudinal/patient01/study1_flair.nii.gz"},
}


@pytest.fixture(scope="module", params=SCANS)
def rendered(request, shared):
    files = dict(SCANS[request.param])
    lesions = files.pop("lesion", None)
    images = {channel: nib.load(shared / "data" / file) for channel, file in files.items()}
    first = next(iter(images.values()))
    mask = (
        np.zeros(first.shape, bool) if lesions is None else np.asarray(nib.load(shared / "data" / lesions).dataobj) > 0
    )
    tensors = {
        channel: torch.from_numpy(np.asarray(image.dataobj, np.float32))[None] for channel, image in images.items()
    }
    scan = assemble_scan(tensors, first.affine, torch.from_numpy(mask)[None])
    synthesizer = load_synthesizer()
    plan = synthesizer.plan(scan, torch.Generator().manual_seed(1), PlanOptions(num_lesions=6, halo=False))
    return scan, plan, *synthesizer.render_instances(scan, plan)


def test_lesions_are_there_and_nothing_else_changed(rendered):
    scan, plan, after, numbers = rendered
    new = after.lesion_mask & ~scan.lesion_mask
    assert len(plan) == 6
    assert torch.equal(after.image.masked_fill(new, 0), scan.image.masked_fill(new, 0))
    assert not (new & ~scan.brain).any()
    there = [spec for number, spec in enumerate(plan, start=1) if (numbers == number).any()]
    assert len(there) >= 3
    planned = sum(spec.volume_mm3 for spec in there)
    assert new.sum() * scan.voxel_mm3 == pytest.approx(planned, rel=0.3, abs=3 * scan.voxel_mm3)


def test_lesions_are_bright_in_flair_and_dark_in_t1w(rendered):
    scan, _, after, _ = rendered
    new = after.lesion_mask & ~scan.lesion_mask
    image = robust_scale(scan.image, scan.brain).normalise(after.image)
    contrast = dict(zip(scan.channels, lesion_contrast(image, new, scan.brain).tolist(), strict=True))
    assert contrast.get("flair", 1) > 0.3
    assert contrast.get("t1w", -1) < 0.2


def test_only_white_matter_and_its_margin_is_eligible(rendered):
    """The eligible share of a brain: some of it, but not nearly all."""
    scan, *_ = rendered
    share = ((scan.eligible > 0) & scan.brain).sum() / scan.brain.sum()
    assert 0.1 < share < 0.65
