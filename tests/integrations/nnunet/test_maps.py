"""A map of a case tells again what was found in the case, crop by crop."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.ledger import Ledger
from lesionaug.integrations.nnunet.maps import LEVELS, CaseMaps, Stacked, WithMaps, decoded, encoded
from nnunet_dataset import case_name
from scans import small_scan

from lesionaug.errors import LesionAugError

ROLES = Roles((("flair", 1), ("t1w", 0)), lesion=1, lesions=(1,))


def test_a_map_tells_what_was_encoded():
    scan = small_scan()
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(scan.eligible.shape, generator=generator) * scan.eligible
    scan = type(scan)(**{**vars(scan), "eligible": weights, "regions": (weights * 5).byte()})
    found = decoded(encoded(scan))
    assert torch.equal(found.brain, scan.brain)
    assert torch.equal(found.eligible > 0, scan.eligible > 0)
    assert torch.equal(found.regions[scan.eligible > 0], scan.regions[scan.eligible > 0])
    assert (found.eligible - weights / weights.max()).abs().max() <= 1.5 / LEVELS


def test_outside_of_the_case_is_outside_of_the_brain():
    found = decoded(torch.full((1, 2, 2, 2), -1, dtype=torch.int16))
    assert not found.brain.any()
    assert not found.eligible.any()


def test_a_box_of_stacked_arrays_is_the_box_of_both():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-1, 9, (n, 5, 6, 7)).astype(kind) for n, kind in ((1, np.int8), (2, np.int16)))
    stacked, whole = Stacked(first, second), np.concatenate([first, second])
    box = (slice(None), slice(1, 4), slice(0, 6), slice(2, 3))
    assert (stacked.shape, stacked.ndim, stacked.dtype) == (whole.shape, whole.ndim, whole.dtype)
    assert np.array_equal(stacked[box], whole[box])


@pytest.fixture
def cases(folders, tmp_path):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    copy = shutil.copytree(folders.cases, tmp_path / "dataset" / folders.cases.name)
    return WithMaps(nnUNetDatasetBlosc2(str(copy)), CaseMaps(copy, (0, 1, 2), ROLES), Ledger(tmp_path / "ledger.jsonl"))


def test_a_case_has_its_map_in_a_second_channel(cases):
    images, segmentation, previous, _ = cases.load_case(case_name(0))
    plain_images, plain_segmentation, *_ = cases.dataset.load_case(case_name(0))
    assert previous is None
    assert np.array_equal(images[:], plain_images[:])
    assert np.array_equal(segmentation[:][:1], plain_segmentation[:])
    anatomy = decoded(torch.from_numpy(segmentation[:][1:]))
    assert 0.05 < float((anatomy.eligible > 0).float().mean()) < 0.5
    assert not (anatomy.eligible > 0)[torch.from_numpy(plain_segmentation[:] != 0)].any()


def files(cases):
    return sorted((cases.maps.preprocessed.parent / "lesionaug").rglob("*.b2nd"))


def test_a_map_is_made_once_until_the_case_is_preprocessed_again(cases):
    cases.load_case(case_name(1))
    before = [(path, path.stat().st_mtime_ns) for path in files(cases)]
    cases.load_case(case_name(1))
    assert [(path, path.stat().st_mtime_ns) for path in files(cases)] == before
    os.utime(cases.maps.preprocessed / f"{case_name(1)}.pkl")
    cases.load_case(case_name(1))
    assert len(files(cases)) == len(before) + 1


@pytest.mark.parametrize("accident", [KeyboardInterrupt, MemoryError])
def test_a_map_that_was_interrupted_is_made_the_next_time(cases, monkeypatch, accident):
    def interrupted(*_):
        raise accident

    with monkeypatch.context() as patch:
        patch.setattr("lesionaug.integrations.nnunet.maps.host_scan", interrupted)
        with pytest.raises(accident):
            cases.load_case(case_name(1))
    assert cases.load_case(case_name(1))[1][:][1].any()


class Blank:
    """A dataset whose images show nothing."""

    def __init__(self, dataset):
        self.dataset = dataset

    def load_case(self, identifier):
        data, *others = self.dataset.load_case(identifier)
        return np.zeros(data.shape, np.float32), *others


def test_a_case_without_a_brain_is_an_error_each_time_where_it_shall_be(cases):
    strict = replace(cases, dataset=Blank(cases.dataset), on_bad_scan="error")
    for _ in range(2):
        with pytest.raises(LesionAugError, match="got a constant image"):
            strict.load_case(case_name(2))


def test_a_case_without_a_brain_is_counted_and_gets_no_lesions(cases):
    blank = replace(cases, dataset=Blank(cases.dataset))
    for _ in range(2):
        segmentation = blank.load_case(case_name(2))[1]
        assert not segmentation[:][1].any()
    assert cases.ledger.news() == {"none: case without a brain that can be found": 1}
