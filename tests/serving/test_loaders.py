"""Every kind of loader gets from a server what it would have rendered itself, and its workers leave the GPU alone."""

from multiprocessing import forkserver

import pytest
import torch
import torchio as tio
from loading import LesionBatches, WhatAWorkerHas, dataset, tensors, the_item
from torch.utils.data import DataLoader

from lesionaug.loaded import SERVER, ModelChoice, loaded_renderer, needs_server
from lesionaug.rendering import DiffusionRenderer
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.place import Place


def loaded(make_loader):
    torch.manual_seed(3)
    return [tensor for batch in make_loader() for tensor in batch]


def assert_same_served(make_loader, make_served, server, monkeypatch):
    monkeypatch.delenv(SERVER, raising=False)
    expected = loaded(make_loader)
    monkeypatch.setenv(SERVER, server.address)
    before = ServedRenderer(server.address).status()["answered"]
    found = loaded(make_served)
    assert ServedRenderer(server.address).status()["answered"] > before
    assert len(found) == len(expected) > 0
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def torchs_loader(method):
    return DataLoader(
        dataset(), batch_size=2, num_workers=2, multiprocessing_context=method, collate_fn=tensors, timeout=300
    )


@pytest.fixture
def _new_forkserver():
    """Its environment, which names the server, is that of the moment in which it started."""
    forkserver._forkserver._stop()
    yield
    forkserver._forkserver._stop()


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver"))]
)
@pytest.mark.usefixtures("_new_forkserver")
def test_torchs_loader(server, monkeypatch, method):
    assert_same_served(lambda: torchs_loader("fork"), lambda: torchs_loader(method), server, monkeypatch)


@pytest.mark.slow
def test_torchios_queue(server, monkeypatch):
    def loader():
        sampler = tio.UniformSampler(24)
        queue = tio.Queue(dataset(), 4, 2, sampler, num_workers=2, shuffle_subjects=False, shuffle_patches=False)
        return DataLoader(queue, batch_size=2, num_workers=0, collate_fn=tensors)

    assert_same_served(loader, loader, server, monkeypatch)


@pytest.mark.slow
def test_nnunets_augmenter(shared_server, here, request_of_four):
    module = pytest.importorskip("batchgenerators.dataloading.nondet_multi_threaded_augmenter")
    expected = torch.stack([lesion.image for lesion in here(request_of_four)])
    augmenter = module.NonDetMultiThreadedAugmenter(LesionBatches(request_of_four), None, 2, num_cached=2)
    try:
        found = [next(augmenter)["data"] for _ in range(6)]
    finally:
        augmenter._finish()
    assert all(torch.equal(torch.as_tensor(batch), expected) for batch in found)


@pytest.mark.parametrize("shared", [True, False], ids=["shared server", "own server"])
def test_a_worker_leaves_gpu_and_weights_alone(server, monkeypatch, shared, runtime):
    monkeypatch.setenv(SERVER, server.address) if shared else monkeypatch.delenv(SERVER, raising=False)
    probe = WhatAWorkerHas(model="default", device="cuda")
    loader = DataLoader(probe, num_workers=1, multiprocessing_context="spawn", collate_fn=the_item, timeout=300)
    ((renderer, networks, cuda),) = list(loader)
    assert isinstance(renderer, ServedRenderer)
    assert (renderer.address == server.address) == shared
    assert renderer.address.startswith(str(runtime))
    assert dict(renderer.identity) == ModelChoice().identity()
    assert not networks
    assert not cuda
    if not shared:
        Place(renderer.address).remove()  # prepared, but nobody asked anything that would have started it


def test_only_workers_that_want_a_gpu_need_a_server(monkeypatch):
    monkeypatch.delenv(SERVER, raising=False)
    assert not needs_server(ModelChoice(device="cuda"))  # this is no worker
    assert isinstance(loaded_renderer(ModelChoice(model="parametric")), DiffusionRenderer)
