"""Every lesion has its patch, every lesion in a patch its label, and every patch its place in the world."""

import json

import numpy as np
import pytest
import torch
from labelled_files import affine
from lesionaug.pretrain.cutting import cut_scan, normalised
from lesionaug.pretrain.index import MODEL, PUBLISHED, StoreIndex, write_index
from lesionaug.pretrain.patches import BRAIN, CUT, OTHER, THIS, LabelledScan, read_store, write_scan
from lesionaug.pretrain.published_patches import lesion_patches, published_mask

from lesionaug.errors import LesionAugError
from lesionaug.patches import PatchGrid
from lesionaug.patches import cut as cut_volume

SHAPE = (72, 80, 76)
SPACINGS = [(1.0, 1.0, 1.0), (0.86, 0.86, 0.86), (1.0, 0.5, 3.0)]


def scan_with(boxes, spacing=(1.0, 1.0, 1.0), shape=SHAPE, channels=("flair",), **changes) -> LabelledScan:
    """Noise, with lesions that are boxes: first voxel and lengths."""
    rng = np.random.default_rng(0)
    lesions, brain = np.zeros(shape, bool), np.ones(shape, bool)
    for (i, j, k), (a, b, c) in boxes:
        lesions[i : i + a, j : j + b, k : k + c] = True
    image = rng.normal(100, 10, (len(channels), *shape)).astype(np.float32)
    return LabelledScan("P1_T1", "P1", channels, image, lesions, brain, spacing, affine(spacing), **changes)


def cut(scan, **options):
    return cut_scan(scan, **options).tensors


def counts(label, bit):
    return ((label & bit) > 0).flatten(1).sum(dim=1).tolist()


def test_a_neighbour_is_whole_or_cut_and_never_missing():
    whole, crossing = ((30, 40, 34), (1, 1, 1)), ((30, 44, 40), (2, 2, 12))
    labels = cut(scan_with([((30, 40, 40), (2, 2, 2)), whole, crossing]))["lesion_16_label"]
    (label,) = (label for label in labels if counts(label[None], THIS) == [8])
    other, cut_off = (label & OTHER) > 0, (label & CUT) > 0
    assert other.sum() == 1 + 2 * 2 * 8  # the patch ends 8 voxels after its middle
    assert cut_off.sum() == 2 * 2 * 8
    assert not (cut_off & ~other).any()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_lesion_keeps_its_volume_at_any_spacing(spacing):
    boxes = [((20, 20, 20), (1, 1, 1)), ((40, 40, 40), (5, 6, 4)), ((20, 60, 20), (8, 3, 2))]
    scan = scan_with(boxes, spacing)
    cutout = cut_scan(scan)
    for kind in {name.removesuffix("_label") for name in cutout.tensors if name.endswith("_label")}:
        volumes = cutout.tensors[f"{kind}_volume_mm3"].tolist()
        for found, volume in zip(counts(cutout.tensors[f"{kind}_label"], THIS), volumes, strict=True):
            assert found == max(1, round(volume))
    expected = sorted(np.prod(size) * np.prod(spacing) for _, size in boxes)
    np.testing.assert_allclose(sorted(lesion.volume_mm3 for lesion in cutout.record.lesions), expected, atol=1e-3)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_patch_lies_where_its_lesion_is(spacing):
    scan = scan_with([((40, 40, 40), (6, 5, 3))], spacing)
    cutout = cut_scan(scan)
    ((kind, label),) = [(n.removesuffix("_label"), t[0, 0]) for n, t in cutout.tensors.items() if n.endswith("_label")]
    voxels = ((label & THIS) > 0).nonzero().double().mean(dim=0)
    to_world = cutout.tensors[f"{kind}_affine"][0].double()
    center = to_world[:3, :3] @ voxels + to_world[:3, 3]
    np.testing.assert_allclose(center.numpy(), cutout.record.lesions[0].center_mm, atol=0.6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("first", [(40, 40, 40), (1, 3, 70)])
def test_a_patch_shows_what_it_would_if_the_whole_scan_were_resampled(spacing, first):
    scan = scan_with([(first, (3, 3, 3))], spacing)
    tensors = cut(scan)
    (kind,) = (name.removesuffix("_image") for name in tensors if name.endswith("_image"))
    shape = tensors[f"{kind}_image"].shape[2:]
    grid = PatchGrid.around(tuple(n + 1 for n in first), tuple(shape), spacing, 1.0)
    whole = cut_volume(normalised(scan), grid)
    torch.testing.assert_close(tensors[f"{kind}_image"][0].float(), whole, atol=4e-3, rtol=0)


def test_too_large_lesions_are_listed_and_seen_by_their_neighbours():
    record = cut_scan(scan := scan_with([((5, 5, 5), (60, 4, 4)), ((30, 12, 7), (2, 2, 2))])).record
    assert (record.patches, record.too_large) == (1, 1)
    large = next(lesion for lesion in record.lesions if not lesion.patch)
    assert large.volume_mm3 == 960
    assert (cut(scan)["lesion_16_label"] & CUT).any()


def test_healthy_patches_need_all_lesions_to_be_known():
    boxes = [((20, 20, 20), (2, 2, 2))]
    healthy = cut(scan_with(boxes), healthy=5)["healthy_24_label"]
    assert len(healthy) == 5
    assert not (healthy & THIS).any()
    assert "healthy_24_label" not in cut(scan_with(boxes, complete=False), healthy=5)
    assert "healthy_24_label" not in cut(scan_with(boxes, channels=()), healthy=5)


def stored(folder, scan=None, settings=MODEL, **changes):
    """A store of one scan, whose index may tell something else."""
    scan = scan or scan_with([((30, 40, 40), (2, 2, 2)), ((40, 20, 30), (4, 4, 4))])
    record = write_scan(scan, folder, settings=settings)
    write_index(folder, StoreIndex(settings, (), (record,)))
    content = json.loads((folder / "store.json").read_text())
    content["settings"].update(changes)
    (folder / "store.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing_mm": 0.7}, "with spacing_mm 1.0, got spacing_mm 0.7"),
        ({"shapes": [[16, 16, 16]]}, "shapes"),
        ({"context": 2, "connectivity": 6}, "context 6, connectivity 26, got context 2, connectivity 6"),
        ({"format": 3}, "Expected a patch store of format 2, got 3"),
        ({"kind": "published"}, "got kind published .* prepare the patches again with --preset model"),
        ({"flavour": 1}, "Expected the index of a patch store"),
    ],
)
def test_a_store_of_other_settings_is_refused(changes, message, tmp_path):
    with pytest.raises(LesionAugError, match=message):
        read_store(stored(tmp_path, **changes))


def test_what_is_damaged_is_named(tmp_path):
    file = next(stored(tmp_path).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LesionAugError, match=f"damaged file .*{file.name}"):
        read_store(tmp_path)


def test_a_store_without_an_index_is_read(tmp_path):
    stored(tmp_path)
    (tmp_path / "store.json").unlink()
    assert sum(map(len, read_store(tmp_path))) == 2


def test_patients_are_picked(tmp_path):
    assert read_store(stored(tmp_path), ["nobody"]) == []
    assert {group.patient for group in read_store(tmp_path, ["P1"])} == {"P1"}


BOXES = [((30, 40, 40), (2, 2, 2)), ((30, 40, 50), (2, 3, 2)), ((40, 60, 40), (2, 20, 2)), ((5, 5, 60), (60, 2, 2))]


def test_the_published_preset_is_the_published_geometry(tmp_path):
    scan = scan_with(BOXES)
    (group,) = read_store(stored(tmp_path, scan, PUBLISHED), settings=PUBLISHED)
    patches = list(lesion_patches(scan.lesions))
    assert len(group) == len(patches) == 3
    for patch, label, to_world in zip(patches, group.label, group.affine, strict=True):
        assert np.array_equal(published_mask(label)[0].numpy(), patch.mask)
        assert np.array_equal(((label & (THIS | OTHER)) > 0)[0].numpy(), scan.lesions[patch.box])
        np.testing.assert_allclose(to_world[:3, 3], scan.world(np.array(patch.start)), atol=0.01)
    assert (group.label & BRAIN).any()
    with pytest.raises(LesionAugError, match="kind model"):
        read_store(tmp_path)


def test_the_published_preset_does_not_resample(tmp_path):
    with pytest.raises(LesionAugError, match=r"Expected voxels of 1 mm, got 0.86 x 0.86 x 0.86 mm in P1_T1"):
        write_scan(scan_with(BOXES, SPACINGS[1]), tmp_path, settings=PUBLISHED)
