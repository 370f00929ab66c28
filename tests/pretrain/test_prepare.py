"""From files of any layout to a store: what is read, what is derived, what is left out and what is refused."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_files import (
    affine,
    arrays,
    as_bids,
    as_folders,
    as_mslesseg,
    as_nnunet,
    as_open_ms,
    as_table,
    plain,
    save_named,
)
from lesionaug.pretrain.index import PUBLISHED, read_index
from lesionaug.pretrain.patches import BRAIN, CUT, OTHER, THIS, read_store
from lesionaug.pretrain.prepare import Prepare
from lesionaug.pretrain.published_patches import published_mask
from lesionaug.pretrain.reading import read_scan
from lesionaug.pretrain.stats import Stats
from phantoms import brain_phantom

from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan


def phantom_files(folder: Path, *, skull=False, given=False) -> SourceScan:
    """A brain of 3 mm voxels."""
    scan = brain_phantom((50, 60, 50), (3.0, 3.0, 3.0), skull=skull)
    content = {channel: image.numpy() for channel, image in scan.images.items()}
    content["lesion"] = scan.lesion_mask[0].numpy().astype(np.uint8)
    content["brain"] = ((scan.labels > 0) & (scan.labels < 500)).astype(np.uint8)
    names = {"flair": "flair", "t1w": "t1w", "lesion": "lesion", "brain": "brainmask"}
    save_named(folder, names, content, scan.affine)
    images = {channel: folder / f"{channel}.nii.gz" for channel in ("flair", "t1w")}
    brain = folder / "brainmask.nii.gz" if given else None
    return SourceScan("P1_T1", "P1", images, folder / "lesion.nii.gz", brain=brain)


def prepare(sources, output, **options):
    sources = sources if isinstance(sources, tuple) else (sources,)
    Prepare(sources, output / "store", **{"healthy": 3, **options}).run()
    return read_index(output / "store")


@pytest.mark.parametrize("skull", [False, True])
def test_a_missing_brain_mask_is_derived(skull, tmp_path):
    derived = read_scan(phantom_files(tmp_path, skull=skull))
    truth = read_scan(phantom_files(tmp_path, skull=skull, given=True))
    assert (truth.brain_from, derived.brain_from) == (
        "file",
        "found in the images" if skull else "voxels that are not zero",
    )
    dice = 2 * (derived.brain & truth.brain).sum() / (derived.brain.sum() + truth.brain.sum())
    assert dice > (0.9 if skull else 0.99)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_orientation_changes_nothing(axes, tmp_path):
    straight = read_scan(phantom_files(tmp_path, given=True))
    for path in tmp_path.glob("*.nii.gz"):
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
        )
        nib.save(nib.Nifti1Image.from_image(image).as_reoriented(turn), path)
    turned = read_scan(phantom_paths(tmp_path))
    assert np.array_equal(turned.image, straight.image)
    assert np.array_equal(turned.lesions, straight.lesions)
    np.testing.assert_allclose(turned.to_world, straight.to_world)


def phantom_paths(folder):
    images = {channel: folder / f"{channel}.nii.gz" for channel in ("flair", "t1w")}
    return SourceScan("P1_T1", "P1", images, folder / "lesion.nii.gz", brain=folder / "brainmask.nii.gz")


def test_scale_corrects_the_voxel_size_and_leaves_the_world_alone(tmp_path):
    plain(tmp_path, "P1_T1")
    index = prepare(tmp_path, tmp_path / "out", scale=(0.5,))
    assert index.scans[0].spacing_mm == (0.5, 0.5, 0.5)
    assert [lesion.volume_mm3 for lesion in index.scans[0].lesions] == [1, 1]
    assert index.sources[0]["scale"] == 0.5
    as_they_are = prepare(tmp_path, tmp_path / "plain")
    assert [a.center_mm for a in as_they_are.scans[0].lesions] == [a.center_mm for a in index.scans[0].lesions]


LAYOUTS = [as_mslesseg, as_open_ms, as_nnunet, as_bids, as_table, as_folders]


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_becomes_a_store(write, tmp_path, capsys):
    index = prepare(write(tmp_path / "data"), tmp_path)
    out = capsys.readouterr().out
    groups = read_store(tmp_path / "store")
    assert f"in layout {index.sources[0]['layout']}" in out
    for scan in index.scans:
        assert f"{scan.subject}: 2 lesions" in out
        own = [group for group in groups if group.subject == scan.subject]
        assert sum(len(group) for group in own if not group.healthy) == scan.patches == 2
        assert sum(len(group) for group in own if group.healthy) == scan.healthy == (3 if scan.channels else 0)
    for scan in index.unused:
        assert f"{scan['subject']}: not used: {scan['reason']}" in out


def test_labels_of_changes_are_used_only_when_asked_for(tmp_path):
    data = as_open_ms(tmp_path / "data")
    index = prepare(data, tmp_path / "without")
    assert {scan["subject"] for scan in index.unused} == {"longitudinal-patient01_T1", "longitudinal-patient01_T2"}
    index = prepare(data, tmp_path / "with", partial=True)
    (change,) = (scan for scan in index.scans if scan.subject.startswith("longitudinal"))
    assert (change.subject, change.patches, change.healthy) == ("longitudinal-patient01_T2", 2, 0)


def lesions_moved(folder, apart_mm):
    """A label whose header lies that far from the image's."""
    plain(folder, "P1_T1")
    matrix = affine()
    matrix[0, 3] += apart_mm
    return plain(folder, "P1_T1", ("lesion",), matrix=matrix)


def without_masks(folder):
    plain(folder, "P1_T1", ("flair", "brain"))
    return plain(folder, "P2_T1")


def without_lesions(folder):
    plain(folder, "P1_T1", content=arrays(lesions=()))
    plain(folder, "P2_T1", ("lesion", "brain"), content=arrays(lesions=()))
    return plain(folder, "P3_T1")


def one_lesion(folder):
    return plain(folder, "P1_T1", content=arrays(lesions=[(20, 20, 20)]))


def mixed_spacings(folder):
    plain(folder, "P1_T1")
    return plain(folder, "P2_T1", matrix=affine((1.0, 1.2, 2.0)))


def missing_channels(folder):
    plain(folder, "P1_T1", ("flair", "lesion", "brain"))
    plain(folder, "P2_T1", ("t1w", "t2w", "lesion", "brain"))
    return plain(folder, "P3_T1", ("lesion", "brain"))


def no_brain_and_no_image(folder):
    return plain(folder, "P1_T1", ("lesion",))


KEPT = {  # what is documented: subject to patches, healthy patches, channels; what is printed
    "images without masks are left out": (
        without_masks,
        {"P2_T1": (2, 3, "flair t1w")},
        "P1_T1: not used: no lesion label",
    ),
    "masks without lesions give healthy patches, or none": (
        without_lesions,
        {"P1_T1": (0, 3, "flair t1w"), "P2_T1": (0, 0, ""), "P3_T1": (2, 3, "flair t1w")},
        "P2_T1: 0 lesions, 0 healthy patches, no lesion, no image",
    ),
    "one lesion is enough": (one_lesion, {"P1_T1": (1, 3, "flair t1w")}, "P1_T1: 1 lesions"),
    "spacings may differ": (
        mixed_spacings,
        {"P1_T1": (2, 3, "flair t1w"), "P2_T1": (2, 3, "flair t1w")},
        "4 lesions and 6 healthy patches of 2 scans of 2 patients",
    ),
    "channels may be missing": (
        missing_channels,
        {"P1_T1": (2, 3, "flair"), "P2_T1": (2, 3, "t1w t2w"), "P3_T1": (2, 0, "")},
        "P3_T1: 2 lesions, 0 healthy patches, no image",
    ),
    "a mask alone teaches shapes": (no_brain_and_no_image, {"P1_T1": (2, 0, "")}, "brain unknown, no image"),
}


@pytest.mark.parametrize("case", KEPT)
def test_odd_data_are_used_as_documented(case, tmp_path, capsys):
    write, expected, printed = KEPT[case]
    index = prepare(write(tmp_path / "data"), tmp_path)
    assert {s.subject: (s.patches, s.healthy, " ".join(s.channels)) for s in index.scans} == expected
    assert printed in capsys.readouterr().out
    for group in read_store(tmp_path / "store"):
        known = [scan for scan in index.scans if scan.subject == group.subject]
        assert group.image.shape[:2] == (len(group), len(known[0].channels))
        assert torch.isfinite(group.image).all()


def unlabelled(folder):
    return plain(folder, "P1_T1", ("flair", "brain")), {"layout": "folders"}  # auto sees no label to go by


def one_name_twice(folder):
    plain(folder / "a", "P1_T1")
    return (folder / "a", plain(folder / "b", "P1_T1")), {}


def many_values(folder):
    content = arrays()
    content["lesion"][20, 20, 20] = 7
    return plain(folder, "P1_T1", content=content), {}


def not_finite(folder):
    content = arrays()
    content["flair"][5, 5, 5] = np.nan
    return plain(folder, "P1_T1", content=content), {}


def other_shape(folder):
    plain(folder, "P1_T1")
    content = {"lesion": arrays()["lesion"][:-1]}
    return plain(folder, "P1_T1", ("lesion",), content=content), {}


def full_output(folder):
    (folder.parent / "store").mkdir()
    (folder.parent / "store" / "thesis.txt").write_text("mine")
    return plain(folder, "P1_T1"), {}


REFUSED = {
    "no source": (lambda f: ((), {}), "Expected a folder of scans or a table, got none"),
    "no scan has a label": (unlabelled, "Expected scans with lesion labels, got only others: no lesion label"),
    "two scans have one name": (one_name_twice, "Expected scans of different names, got P1_T1 twice"),
    "a label of many values": (many_values, "Expected a binary label, 0 and one other whole number"),
    "an image that is not finite": (not_finite, "Expected finite intensities"),
    "a label of another shape": (other_shape, "Expected images of one shape, got 51 x 56 x 48 .* resample"),
    "a label on another grid": (lambda f: (lesions_moved(f, 0.2), {}), "affines up to 0.2 mm apart .* resample"),
    "an output folder in use": (full_output, "Expected a new folder for the patches, got files"),
    "a scale for nobody": (lambda f: (plain(f, "P1_T1"), {"scale": (1.0, 0.86)}), "Expected one --scale"),
    "a scale out of reach": (lambda f: (plain(f, "P1_T1"), {"scale": (86.0,)}), "from 0.5 to 2.0, got 86"),
    "a contrast nobody knows": (lambda f: (plain(f, "P1_T1"), {"channels": ("pd",)}), "Expected a channel among"),
    "the published preset on thick slices": (
        lambda f: (plain(f, "P1_T1", matrix=affine((1.0, 1.0, 3.0))), {"preset": "published"}),
        "Expected voxels of 1 mm, got 1 x 1 x 3 mm",
    ),
    "the published preset on small scans": (
        lambda f: (plain(f, "P1_T1"), {"preset": "published"}),
        r"Expected a scan of at least \(32, 64, 64\) voxels, got \(52, 56, 48\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_explained_and_leaves_nothing_behind(case, tmp_path):
    write, message = REFUSED[case]
    sources, options = write(tmp_path / "data")
    with pytest.raises(LesionAugError, match=message):
        prepare(sources, tmp_path, **options)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("store.json"))


def test_headers_of_open_ms_may_disagree_by_half_a_voxel(tmp_path):
    data = as_open_ms(tmp_path) / "open_ms_data-master/cross_sectional/coregistered"
    matrix = affine()
    matrix[:3, 3] += 0.25
    save_named(data / "patient01", {"lesion": "consensus_gt"}, matrix=matrix)
    assert prepare(data, tmp_path / "out").scans[0].patches == 2
    matrix[:3, 3] += 0.25
    save_named(data / "patient01", {"lesion": "consensus_gt"}, matrix=matrix)
    with pytest.raises(LesionAugError, match="affines up to"):
        prepare(data, tmp_path / "again")


def as_published(shared: Path, root: Path, *patients: str) -> Path:
    """Real scans under the names that they were published with."""
    for patient in patients:
        folder = root / f"train/{patient}/T1"
        folder.mkdir(parents=True)
        for name, kind in (("flair", "FLAIR"), ("t1", "T1"), ("lesion", "MASK")):
            source = shared / f"data/mslesseg/{patient}_T1/{name}.nii.gz"
            (folder / f"{patient}_T1_{kind}.nii.gz").symlink_to(source)
    return root


@pytest.fixture(scope="module")
def mslesseg(shared, tmp_path_factory):
    return as_published(shared, tmp_path_factory.mktemp("mslesseg"), "P18")


@pytest.mark.realdata
def test_the_published_preset_makes_the_published_patches(shared, tmp_path):
    """`stats/` lists the lesion voxels of every published patch: ours hold as many."""
    data = as_published(shared, tmp_path / "data", "P14", "P18")
    prepare(data, tmp_path, preset="published")
    with (shared / "data/stats/mslesseg_patch_lesion_summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for group in read_store(tmp_path / "store", settings=PUBLISHED):
        published = [int(row["total_volume"]) for row in rows if row["mask"].startswith(f"{group.subject}_")]
        assert sorted(published_mask(group.label).flatten(1).sum(dim=1).tolist()) == sorted(published)


@pytest.mark.realdata
def test_a_real_scan_of_mslesseg(mslesseg, shared, tmp_path):
    index = prepare(mslesseg, tmp_path, scale=(0.86,))
    (scan,) = index.scans
    assert (index.sources[0]["layout"], scan.brain) == ("mslesseg", "voxels that are not zero")
    voxels = int((np.asarray(nib.load(shared / "data/mslesseg/P18_T1/lesion.nii.gz").dataobj) > 0).sum())
    volume = sum(lesion.volume_mm3 for lesion in scan.lesions)
    assert volume == pytest.approx(voxels * 0.86**3, rel=1e-3)
    groups = read_store(tmp_path / "store")
    for group in groups:
        inside = group.image[((group.label & BRAIN) > 0).expand_as(group.image)].float()
        assert abs(inside.median()) < 3
        assert not ((group.label & CUT) > (group.label & OTHER) * 4).any()
    lesions = [group for group in groups if not group.healthy]
    assert sum(int(((g.label & THIS) > 0).sum()) for g in lesions) == pytest.approx(volume, abs=len(scan.lesions))
    flair = torch.cat([(g.image[:, :1][(g.label & THIS) > 0]) for g in lesions]).float()
    assert flair.mean() > 1  # lesions are bright


@pytest.mark.realdata
def test_lesions_of_mslesseg_have_their_published_sizes(shared, mslesseg):
    """`stats/` lists a lesion once for each patch that shows it; every size that it lists is one of the scan's."""
    lines = (shared / "data/stats/mslesseg_patch_lesion_details.csv").read_text().splitlines()[1:]
    published = {float(line.split(",")[2]) for line in lines if line.startswith("P18_T1_")}
    (record,) = Stats((mslesseg,), connectivity=6)._records()
    assert published
    assert published <= {lesion.volume_mm3 for lesion in record.lesions}


@pytest.mark.realdata
def test_real_masks_of_open_ms(shared, tmp_path):
    """The names and the header of the published label, on the real patient."""
    folder = tmp_path / "coregistered_resampled/patient01"
    folder.mkdir(parents=True)
    for name, kind in (("lesion", "consensus_gt"), ("brainmask", "brainmask")):
        (folder / f"{kind}.nii.gz").symlink_to(shared / f"data/open_ms/masks_1mm/patient01_{name}.nii.gz")
    index = prepare(tmp_path / "coregistered_resampled", tmp_path)
    (scan,) = index.scans
    label = np.asarray(nib.load(folder / "consensus_gt.nii.gz").dataobj) > 0
    assert sum(lesion.volume_mm3 for lesion in scan.lesions) == label.sum()
    assert scan.patches + scan.too_large == len(scan.lesions)
