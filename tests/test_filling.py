"""Filled lesions are gone, nothing else is, and nobody can say from the scan's units or the machine what fills them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import brain_phantom

from lesionaug.anatomy.morphology import near
from lesionaug.assemble import assemble_scan
from lesionaug.errors import LesionAugError
from lesionaug.filling import fill_lesions


def scan_of(lesions=True):
    phantom = brain_phantom((60, 72, 60), (2.4, 2.4, 2.4), lesions=lesions)
    images = {channel: image[None] for channel, image in phantom.images.items()}
    return assemble_scan(images, phantom.affine, phantom.lesion_mask)


@pytest.fixture(scope="module")
def patient():
    return scan_of()


@pytest.fixture(scope="module")
def healthy():
    """The same person before the lesions came, to the last bit elsewhere."""
    return scan_of(lesions=False)


@pytest.fixture(scope="module")
def filled(patient):
    return fill_lesions(patient)


def test_lesions_become_the_tissue_that_was_there(patient, healthy, filled):
    mask = patient.lesion_mask[0]
    for was, before, after in zip(healthy.image, patient.image, filled.image, strict=True):
        noise = was[mask].std()
        assert abs(before[mask].mean() - was[mask].mean()) > 5 * noise
        assert abs(after[mask].mean() - was[mask].mean()) < 0.3 * noise
        assert 0.7 < after[mask].std() / noise < 1.3
    assert not filled.lesion_mask.any()


def test_nothing_changes_farther_away_than_the_margin(patient, filled):
    around = near(patient.lesion_mask[0].numpy(), 2.0, patient.spacing_mm)
    assert torch.equal(filled.image[:, ~around], patient.image[:, ~around])
    wide = fill_lesions(patient, margin_mm=5.0)
    changed = (wide.image != patient.image).any(dim=0).numpy()
    assert (changed & ~around).any()
    assert not (changed & ~near(patient.lesion_mask[0].numpy(), 5.0, patient.spacing_mm)).any()


def test_fluid_beside_a_lesion_stays(patient):
    """Even where it counts as eligible, as maps of eligible tissue are coarse."""
    fluid = patient.brain[0] & (patient.image[0] < 50)
    lesion = torch.zeros_like(patient.lesion_mask)
    beside = torch.from_numpy(near(fluid.numpy(), 5.0, patient.spacing_mm)) & ~fluid & (patient.eligible[0] > 0)
    place = beside.nonzero()[len(beside.nonzero()) // 2].tolist()
    lesion[(0, *(slice(p - 1, p + 2) for p in place))] = True
    lesion &= ~fluid
    coarse = torch.from_numpy(near(lesion[0].numpy(), 8.0, patient.spacing_mm))[None] & patient.brain
    bright = patient.image + 80 * lesion
    host = replace(patient, image=bright, lesion_mask=lesion, eligible=patient.eligible.clamp(min=coarse.float()))
    after = fill_lesions(host, margin_mm=8.0)
    assert (fluid & coarse[0]).sum() > 20
    assert torch.equal(after.image[:, fluid], patient.image[:, fluid])
    assert (after.image != bright)[0][lesion[0]].all()


def test_units_of_the_scanner_do_not_matter(patient, filled):
    gain = torch.tensor([3.0, 0.5])[:, None, None, None]
    other = fill_lesions(replace(patient, image=patient.image * gain + 40))
    assert torch.allclose(other.image, filled.image * gain + 40, atol=0.02)


def test_the_seed_decides_where_grain_comes_from(patient, filled):
    assert torch.equal(fill_lesions(patient).image, filled.image)
    other = fill_lesions(patient, seed=1).image
    changed = (other != filled.image).any(dim=0)
    assert changed.any()
    assert not (changed & ~(filled.image != patient.image).any(dim=0)).any()


def test_the_scan_that_was_given_is_left_alone(patient):
    before = patient.image.clone()
    fill_lesions(patient)
    assert torch.equal(patient.image, before)


def test_a_scan_without_lesions_stays_as_it_is(healthy):
    nobody = replace(healthy, lesion_mask=torch.zeros_like(healthy.lesion_mask))
    assert fill_lesions(nobody) is nobody


def test_where_nothing_is_healthy_nothing_is_made_up(patient):
    everywhere = replace(patient, lesion_mask=patient.brain.clone())
    with pytest.raises(LesionAugError, match="Expected healthy tissue"):
        fill_lesions(everywhere)


def test_coarse_slices_are_filled_too():
    phantom = brain_phantom((72, 90, 42), (2.0, 2.0, 3.4))
    images = {"flair": phantom.images["flair"][None]}
    scan = assemble_scan(images, phantom.affine, phantom.lesion_mask)
    after = fill_lesions(scan).image[0][scan.lesion_mask[0]].numpy()
    assert abs(np.mean(after) - 80) < 3
