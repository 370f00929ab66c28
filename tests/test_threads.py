"""One thread for each sum, whatever torch is set to, and as it was afterwards: nobody waits by spinning."""

import threading
from contextlib import closing

import pytest
import torch
from phantoms import brain_phantom
from scans import random_diffmask, random_lefusion, small_plan, small_scan
from torch.utils._python_dispatch import TorchDispatchMode

from lesionaug.assemble import assemble_scan
from lesionaug.loaded import loaded_prior
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.plan_options import PlanOptions
from lesionaug.rendering import DiffusionRenderer
from lesionaug.synthesis import LesionSynthesizer
from lesionaug.threads import side_by_side, torch_threads

SPLIT = 32768
"""Voxels from which on torch shares an operation among threads."""


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    with torch_threads(request.param):
        yield request.param
        assert torch.get_num_threads() == request.param


class SplitOperations(TorchDispatchMode):
    """Operations on large tensors that torch may share among threads of this one."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [value for value in (*args, result) if isinstance(value, torch.Tensor)]
        if torch.get_num_threads() > 1 and any(tensor.numel() >= SPLIT for tensor in tensors):
            self.found.add(str(func))
        return result


class Watching:
    """A mask generator that writes down who calls it."""

    patch_shapes = EllipsoidMasks().patch_shapes

    def __init__(self):
        self.seen = []

    def __call__(self, conditions, generators):
        self.seen.append((torch.get_num_threads(), threading.current_thread()))
        return EllipsoidMasks()(conditions, generators)


def test_lesions_have_the_same_bits_for_any_number_of_threads():
    synthesizer = LesionSynthesizer(loaded_prior(), DiffusionRenderer(random_diffmask(), random_lefusion()))
    rendered = []
    for count in (1, 2, 3):
        with torch_threads(count):
            rendered.append(synthesizer.render(small_scan(), small_plan()).image)
            assert torch.get_num_threads() == count
    assert all(torch.equal(rendered[0], other) for other in rendered[1:])


def test_each_lesion_has_one_thread_and_several_are_made_at_once(threads):
    masks = Watching()
    LesionSynthesizer(loaded_prior(), DiffusionRenderer(masks, ConstantContrast())).render(small_scan(), small_plan())
    assert {count for count, _ in masks.seen} == {1}
    assert (threading.main_thread() in {who for _, who in masks.seen}) == (threads == 1)


def test_no_operation_is_shared_among_threads_that_wait_for_each_other():
    phantom = brain_phantom((50, 60, 50), (3.0, 3.0, 3.0))
    images = {channel: image[None] for channel, image in phantom.images.items()}
    synthesizer = LesionSynthesizer(loaded_prior(), DiffusionRenderer(EllipsoidMasks(), ConstantContrast()))
    with torch_threads(2), SplitOperations() as operations:
        scan = assemble_scan(images, phantom.affine, phantom.lesion_mask)
        plan = synthesizer.plan(scan, torch.Generator().manual_seed(0), PlanOptions(num_lesions=3))
        assert not operations.found
        after = synthesizer.render(scan, plan)
    assert (after.lesion_mask & ~scan.lesion_mask).any()
    assert not operations.found


def test_what_fails_is_raised_and_threads_are_as_before(threads):
    def work(number):
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"), closing(side_by_side(work, range(100))) as results:
        list(results)
    with closing(side_by_side(work, range(3))) as results:
        assert next(results) == 0
        assert torch.get_num_threads() == 1
    assert list(side_by_side(work, range(3))) == [0, 1, 2]
    assert list(side_by_side(work, [])) == []
