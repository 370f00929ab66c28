"""Where a lesion may appear: laws on a phantom head, and what real scans and labels show."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import Phantom, brain_phantom
from scipy import ndimage

from lesionaug.anatomy import anatomy_from_images, anatomy_from_labels, anatomy_from_white_matter, prepare
from lesionaug.anatomy.grids import ReducedGrid
from lesionaug.anatomy.labels import TISSUES
from lesionaug.anatomy.regions import PERIVENTRICULAR
from lesionaug.errors import LesionAugError
from lesionaug.scan import REGIONS

DATA = Path(os.environ.get("LESIONAUG_SHARED", Path(__file__).parents[2] / "shared")) / "data"
realdata = pytest.mark.realdata
SMALL = {"shape": (72, 88, 72), "spacing": (2.0, 2.0, 2.0)}


def stacked(phantom: Phantom) -> torch.Tensor:
    return torch.stack(list(phantom.images.values()))


def of(phantom: Phantom, image=None, **kwargs):
    return anatomy_from_images(
        stacked(phantom) if image is None else image, tuple(phantom.images), phantom.affine, **kwargs
    )


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return brain_phantom(**SMALL)


@pytest.fixture(scope="module")
def anatomy(phantom):
    return of(phantom)


def share(where, of_what) -> float:
    """Of the second mask, the share that lies in the first."""
    return float(np.asarray(where)[np.asarray(of_what)].mean())


def test_eligible_is_white_matter_and_nothing_else(phantom, anatomy):
    eligible = anatomy.eligible[0].numpy() > 0
    inner = ndimage.binary_erosion(np.isin(phantom.labels, (2, 41)))
    assert share(eligible, inner) > 0.9
    assert share(eligible, ndimage.binary_erosion(np.isin(phantom.labels, (4, 43)))) == 0
    assert share(eligible, np.isin(phantom.labels, (4, 43))) < 0.1
    assert share(eligible, np.isin(phantom.labels, (3, 42))) < 0.15
    assert share(eligible, phantom.labels == 0) == 0


def test_real_lesions_lie_where_lesions_may_be(phantom, anatomy):
    assert share(anatomy.eligible > 0, phantom.lesion_mask) > 0.9


def test_maps_agree_with_each_other(anatomy):
    eligible = anatomy.eligible > 0
    assert (anatomy.eligible >= 0).all()
    assert (anatomy.brain | ~eligible).all()
    assert torch.equal(anatomy.regions > 0, eligible)
    assert int(anatomy.regions.max()) <= len(REGIONS)
    assert anatomy.brain.dtype == torch.bool
    assert anatomy.eligible.dtype == torch.float32
    assert anatomy.regions.dtype == torch.uint8


def test_old_lesions_are_not_eligible(phantom, anatomy):
    respected = of(phantom, lesion_mask=phantom.lesion_mask)
    assert not (respected.eligible > 0)[phantom.lesion_mask].any()
    elsewhere = ~phantom.lesion_mask
    changed = ((respected.eligible > 0) != (anatomy.eligible > 0)) & elsewhere
    assert changed.sum() < 0.02 * (anatomy.eligible > 0).sum()


@pytest.mark.parametrize("channels", [("flair",), ("t1w",), ("t2w",), ("flair", "t1w", "t2w")])
def test_any_channels_find_white_matter(channels):
    phantom = brain_phantom(**SMALL, channels=channels)
    eligible = of(phantom).eligible[0].numpy() > 0
    assert share(eligible, np.isin(phantom.labels, (2, 41))) > 0.75
    assert share(eligible, np.isin(phantom.labels, (4, 43))) < 0.15
    assert share(eligible, np.isin(phantom.labels, (3, 42))) < 0.25


def test_brain_is_found_inside_a_skull():
    phantom = brain_phantom(**SMALL, skull=True)
    found = of(phantom).brain[0].numpy()
    brain = (phantom.labels > 0) & (phantom.labels < 500)
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.9
    assert share(found, phantom.labels == 530) < 0.05


@pytest.mark.parametrize(("scale", "shift"), [(7.0, 0.0), (0.01, -3.0), (1.0, 1000.0)])
def test_unchanged_by_intensity_scale_and_offset(phantom, anatomy, scale, shift):
    changed = of(phantom, stacked(phantom) * scale + shift)
    different = (changed.eligible > 0) != (anatomy.eligible > 0)
    assert different.sum() <= 1e-3 * (anatomy.eligible > 0).sum()  # rounding in single precision
    assert (changed.brain != anatomy.brain).sum() <= 1e-3 * anatomy.brain.sum()


@pytest.mark.parametrize(
    ("order", "flips"), [((0, 1, 2), (0,)), ((0, 1, 2), (1, 2)), ((2, 0, 1), ()), ((1, 2, 0), (0, 2))]
)
def test_axes_do_not_matter(phantom, anatomy, order, flips):
    """The same head stored otherwise has the same anatomy, stored otherwise."""

    def turned(volume: torch.Tensor) -> torch.Tensor:
        return volume.permute(0, *(axis + 1 for axis in order)).flip([axis + 1 for axis in flips])

    index = np.zeros((4, 4))  # from turned voxels to the phantom's
    index[3, 3] = 1
    for axis, source in enumerate(order):
        size = phantom.labels.shape[source]
        index[source, axis] = -1 if axis in flips else 1
        index[source, 3] = size - 1 if axis in flips else 0
    result = anatomy_from_images(turned(stacked(phantom)).contiguous(), tuple(phantom.images), phantom.affine @ index)
    assert torch.equal(result.brain, turned(anatomy.brain))
    assert torch.allclose(result.eligible, turned(anatomy.eligible), atol=1e-6)
    assert torch.equal(result.regions, turned(anatomy.regions))


@pytest.mark.parametrize(("shape", "spacing"), [((144, 176, 144), (1.0, 1.0, 1.0)), ((180, 220, 48), (0.8, 0.8, 3.0))])
def test_spacing_does_not_matter_much(shape, spacing):
    phantom = brain_phantom(shape, spacing)
    eligible = of(phantom).eligible[0].numpy() > 0
    assert share(eligible, np.isin(phantom.labels, (2, 41))) > 0.85
    assert share(eligible, np.isin(phantom.labels, (4, 43))) < 0.1


def test_regions_lie_where_their_names_say(phantom, anatomy):
    region = anatomy.regions[0].numpy()
    to_ventricles = ndimage.distance_transform_edt(~np.isin(phantom.labels, (4, 43)), sampling=SMALL["spacing"])
    to_cortex = ndimage.distance_transform_edt(~np.isin(phantom.labels, (3, 42)), sampling=SMALL["spacing"])
    index = {name: REGIONS.index(name) + 1 for name in REGIONS}
    assert np.median(to_ventricles[region == index["periventricular"]]) <= 4
    assert np.median(to_cortex[region == index["juxtacortical"]]) <= 5
    assert np.quantile(to_ventricles[region == index["deep_white_matter"]], 0.05) > 3
    heights = [np.argwhere(region == index[name])[:, 2].mean() for name in REGIONS]
    assert np.argmin(heights) == REGIONS.index("infratentorial")


def test_labels_give_the_same_kind_of_anatomy(phantom):
    anatomy = anatomy_from_labels(phantom.labels, phantom.affine, phantom.lesion_mask)
    eligible = anatomy.eligible[0].numpy() > 0
    white = np.isin(phantom.labels, TISSUES["white"]) & ~phantom.lesion_mask[0].numpy()
    assert np.array_equal(eligible, white)
    assert torch.equal(anatomy.regions > 0, anatomy.eligible > 0)
    infratentorial = anatomy.regions[0].numpy() == REGIONS.index("infratentorial") + 1
    assert share(infratentorial, np.isin(phantom.labels, (16, 7, 46))) == 1


def test_white_matter_map_gives_the_same_kind_of_anatomy(phantom):
    white = np.isin(phantom.labels, (2, 41, 7, 46, 16)).astype(np.float32)
    brain = (phantom.labels > 0) & (phantom.labels < 500)
    anatomy = anatomy_from_white_matter(white, brain, phantom.affine)
    assert np.array_equal(anatomy.eligible[0].numpy() > 0, white > 0)
    assert set(np.unique(anatomy.regions.numpy())) == {0, 1, 2, 3, 4}


def test_nothing_to_see_is_an_error(phantom):
    with pytest.raises(LesionAugError, match="constant"):
        of(phantom, torch.zeros_like(stacked(phantom)))
    with pytest.raises(LesionAugError, match="50 ml"):
        of(phantom, torch.rand(stacked(phantom).shape, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(LesionAugError, match="affine"):
        anatomy_from_images(stacked(phantom), tuple(phantom.images), np.diag((0.0, 1, 1, 1)))
    with pytest.raises(LesionAugError, match="white matter"):
        anatomy_from_labels(np.zeros_like(phantom.labels), phantom.affine)


def test_grid_returns_what_it_reduced():
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt("LPI"), (11, 14, 9))
    grid = ReducedGrid.of((11, 14, 9), affine)
    volume = torch.randn(11, 14, 9)
    assert torch.equal(grid.restore(grid.orient(volume)), volume)
    assert grid.expand(grid.reduce(grid.orient(volume))).shape == grid.orient(volume).shape
    assert np.allclose(grid.spacing_mm, 2)


def test_prepare_writes_maps_on_the_grid_of_the_labels(tmp_path, phantom):
    for name, volume in (("flair", phantom.images["flair"].numpy()), ("labels", phantom.labels)):
        nib.save(nib.Nifti1Image(volume, phantom.affine), tmp_path / f"{name}.nii.gz")
    written = prepare({"flair": tmp_path / "flair.nii.gz"}, tmp_path / "out", labels=tmp_path / "labels.nii.gz")
    assert sorted(written) == ["brain", "eligible", "regions"]
    for path in written.values():
        image = nib.load(path)
        assert image.shape == phantom.labels.shape
        assert np.allclose(image.affine, phantom.affine)
    expected = anatomy_from_labels(phantom.labels, phantom.affine)
    assert np.allclose(nib.load(written["eligible"]).get_fdata(), expected.eligible[0].numpy())


@pytest.mark.slow
def test_prepare_registers_images(tmp_path, phantom):
    pytest.importorskip("dipy")
    pytest.importorskip("nilearn")
    nib.save(nib.Nifti1Image(phantom.images["t1w"].numpy(), phantom.affine), tmp_path / "t1w.nii.gz")
    written = prepare({"t1w": tmp_path / "t1w.nii.gz"}, tmp_path / "out")
    eligible = nib.load(written["eligible"]).get_fdata() > 0
    assert share(eligible, np.isin(phantom.labels, (2, 41))) > 0.7
    assert share(eligible, np.isin(phantom.labels, (4, 43))) < 0.1


def load(folder: Path, **files: str) -> tuple[torch.Tensor, tuple[str, ...], np.ndarray]:
    images = {channel: nib.load(folder / f"{name}.nii.gz") for channel, name in files.items()}
    volumes = [torch.from_numpy(np.asarray(image.dataobj, np.float32)) for image in images.values()]
    return torch.stack(volumes), tuple(images), next(iter(images.values())).affine


@realdata
@pytest.mark.skipif(not DATA.exists(), reason="shared data not here")
@pytest.mark.parametrize(
    ("folder", "at_least"),
    [("open_ms/subjects_mni/patient07", 0.85), ("open_ms/subjects_mni/patient19", 0.88), ("mslesseg/P14_T1", 0.9)],
)
def test_real_lesions_are_eligible_and_ventricles_are_not(folder, at_least):
    image, channels, affine = load(DATA / folder, flair="flair", t1w="t1")
    lesion = np.asarray(nib.load(DATA / folder / "lesion.nii.gz").dataobj) > 0
    anatomy = anatomy_from_images(image, channels, affine)
    eligible = anatomy.eligible[0].numpy() > 0
    assert share(eligible, lesion) > at_least
    assert 0.3 < eligible.sum() / anatomy.brain.sum() < 0.5
    flair = image[0].numpy()
    dark = (flair < 0.35 * np.median(flair[anatomy.brain[0].numpy()])) & anatomy.brain[0].numpy() & ~lesion
    assert share(eligible, dark) < 0.05


@realdata
@pytest.mark.skipif(not DATA.exists(), reason="shared data not here")
def test_periventricular_tissue_begins_at_the_wall():
    """Half a voxel of white matter beside half a voxel of fluid looks grey, and yet belongs to it."""
    image, channels, affine = load(DATA / "mslesseg/P18_T1", flair="flair", t1w="t1")
    anatomy = anatomy_from_images(image, channels, affine)
    near_ventricles = (anatomy.regions[0] == PERIVENTRICULAR).numpy()
    t1w, white = image[1].numpy(), image[1][anatomy.eligible[0] > 0].median().item()
    fluid = ndimage.binary_opening((t1w < 0.55 * white) & anatomy.brain[0].numpy(), iterations=2)
    assert (ndimage.distance_transform_edt(~fluid)[near_ventricles] < 1.5).mean() > 0.045  # 0.032 without the wall


@realdata
@pytest.mark.skipif(not DATA.exists(), reason="shared data not here")
@pytest.mark.parametrize("folder", ["mslesseg/P14_T2", "mslesseg/P14_T3"])
def test_brain_is_what_the_channels_share_where_one_kept_membranes(folder):
    image, channels, affine = load(DATA / folder, flair="flair", t1w="t1")
    brain = np.asarray(nib.load(DATA / folder / "brainmask.nii.gz").dataobj) > 0
    anatomy = anatomy_from_images(image, channels, affine)
    found, eligible = anatomy.brain[0].numpy(), anatomy.eligible[0].numpy() > 0
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.98
    dark = found & (image[0].numpy() < 0.35 * np.median(image[0].numpy()[found]))
    assert share(eligible, dark) < 0.03


@realdata
@pytest.mark.skipif(not DATA.exists(), reason="shared data not here")
def test_brain_is_found_in_a_raw_anisotropic_scan():
    folder = DATA / "open_ms/longitudinal/patient09"
    image, channels, affine = load(folder, flair="study2_flair")
    brain = np.asarray(nib.load(folder / "brainmask.nii.gz").dataobj) > 0
    found = anatomy_from_images(image, channels, affine).brain[0].numpy()
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.93


@realdata
@pytest.mark.skipif(not DATA.exists(), reason="shared data not here")
def test_label_maps_of_real_heads_have_all_regions():
    image = nib.load(DATA / "anatomy/labels_03.nii.gz")
    anatomy = anatomy_from_labels(np.asarray(image.dataobj).astype(np.int32), image.affine)
    sizes = np.bincount(anatomy.regions.numpy().ravel(), minlength=5)[1:]
    assert (sizes > 10_000).all()
