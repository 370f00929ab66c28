"""Slices show what was added, as it lies in the head."""

from dataclasses import replace

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
import torch
from scans import small_scan

from lesionaug.preview import save_preview
from lesionaug.views import AXIAL, CORONAL, PLANES, SAGITTAL, View, fullest_cuts, section, thick_axis, turned_spacing

ISOTROPIC = (1.0, 1.0, 1.0)


def lesions_at(*centers: tuple[int, int, int], shape=(30, 30, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for i, j, k in centers:
        mask[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = True
    return mask


@pytest.mark.parametrize("axis", PLANES)
def test_the_slice_that_cuts_the_most_lesions_is_chosen_and_large_ones_do_not_count_double(axis: int):
    along = [[5, 5, 20], [5, 20, 20], [20, 5, 20]]
    new = lesions_at(*(tuple(np.roll(center, axis - AXIAL)) for center in along))
    block = [slice(3, 27)] * 3
    block[axis] = slice(3, 8)
    new[tuple(block)] = True
    ((chosen, index),) = fullest_cuts(new, ISOTROPIC, (axis,))
    assert chosen == axis
    assert 19 <= index <= 21


def test_a_second_slice_along_an_axis_shows_other_lesions_and_another_plane_may_show_the_same():
    new = lesions_at((5, 5, 20), (5, 20, 20), (20, 20, 7))
    cuts = fullest_cuts(new, ISOTROPIC, (AXIAL, AXIAL, SAGITTAL))
    assert [axis for axis, _ in cuts] == [AXIAL, AXIAL, SAGITTAL]
    assert [6 <= index <= 8 for _, index in cuts[:2]] == [False, True]
    assert 4 <= cuts[2][1] <= 6


def test_thick_slices_are_cut_as_they_were_scanned():
    new = lesions_at((5, 5, 4), (20, 20, 4), shape=(30, 30, 9))
    assert thick_axis((0.9, 0.9, 7.0)) == AXIAL
    assert thick_axis((0.8, 0.8, 1.6)) is None
    assert {axis for axis, _ in fullest_cuts(new, (0.9, 0.9, 7.0), (AXIAL, CORONAL, SAGITTAL))} == {AXIAL}


def test_a_scan_without_new_lesions_is_cut_in_the_middle():
    assert fullest_cuts(np.zeros((30, 20, 10), bool), ISOTROPIC, (AXIAL, CORONAL)) == [(AXIAL, 5), (CORONAL, 10)]


def test_spacing_turns_with_the_axes():
    affine = nib.affines.from_matvec([[0, 0, -3.0], [0.8, 0, 0], [0, 1.2, 0]])
    assert turned_spacing(affine) == pytest.approx((3.0, 0.8, 1.2))


def test_a_section_has_rows_upwards_and_works_on_masked_arrays():
    volume = np.arange(24).reshape(2, 3, 4)
    assert section(volume, (AXIAL, 1)).shape == (3, 2)
    assert section(volume, (SAGITTAL, 1)).shape == (4, 3)
    assert section(np.ma.masked_equal(volume, 13), (CORONAL, 0)).mask[1, 1]


@pytest.mark.parametrize("channels", [("t1w",), ("flair", "t1w", "t2w")])
@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, (0.9, 0.9, 7.0)])
def test_every_scan_has_a_preview_even_one_that_nothing_was_added_to(tmp_path, channels, spacing_mm):
    scan = small_scan(channels=channels, spacing_mm=spacing_mm)
    new = torch.zeros_like(scan.lesion_mask)
    new[0, 20:25, 20:25, 20:25] = True
    after = replace(scan, image=scan.image + 50 * new, lesion_mask=scan.lesion_mask | new)
    sizes = []
    for name, changed in (("same.png", scan), ("new.png", after)):
        save_preview(tmp_path / name, scan, changed, np.diag((*spacing_mm, 1.0)))
        sizes.append(matplotlib.image.imread(tmp_path / name).shape)
    assert sizes[0] == sizes[1]
    assert (tmp_path / "same.png").read_bytes() != (tmp_path / "new.png").read_bytes()


def test_the_grey_window_is_that_of_the_brain():
    scan = small_scan()
    bright = scan.image.clone()
    bright[:, ~scan.brain[0]] = 1e5
    windows = [View.of(one, one, np.eye(4)).windows() for one in (scan, replace(scan, image=bright))]
    assert windows[0] == windows[1]
    assert windows[0]["flair"][1] < 500


def test_the_change_of_unsigned_images_may_be_negative():
    before, after = ({"flair": np.full((2, 2, 2), value, np.uint16)} for value in (5, 3))
    none = np.zeros((2, 2, 2), bool)
    assert (View(before, after, none, none, ISOTROPIC).change("flair") == -2).all()
