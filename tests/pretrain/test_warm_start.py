"""Starting from weights that are there changes nothing, even where the new network is told more."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lesionaug.pretrain.presets import PRESETS
from lesionaug.pretrain.warm_start import start_from

from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import load_model, save_model
from lesionaug.models.registry import model_folder
from lesionaug.networks.compact import CompactConfig, CompactUNet

SMALL = CompactConfig(in_channels=3, out_channels=1, facts=3, widths=(8, 16), blocks=1)


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    network = CompactUNet(SMALL)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(tmp_path, {"model": "diffmask", "architecture": "compact"}, network.state_dict())
    return network, tmp_path


def inputs(facts):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 8, 8, 8, generator=generator), torch.zeros(2), torch.randn(2, facts, generator=generator)


def test_the_same_network_predicts_the_same(trained):
    network, folder = trained
    other = CompactUNet(SMALL)
    start_from(other, folder, "diffmask")
    assert torch.equal(network(*inputs(3)), other(*inputs(3)))


def test_a_network_that_is_told_more_starts_where_the_other_ended(trained):
    network, folder = trained
    other = CompactUNet(replace(SMALL, facts=5))
    start_from(other, folder, "diffmask")
    patch, noise, facts = inputs(5)
    torch.testing.assert_close(network(patch, noise, facts[:, :3]), other(patch, noise, facts))


def test_another_size_is_refused(trained):
    _, folder = trained
    with pytest.raises(LesionAugError, match="got"):
        start_from(CompactUNet(replace(SMALL, widths=(16, 32))), folder, "diffmask")
    with pytest.raises(LesionAugError, match="got none"):
        start_from(CompactUNet(replace(SMALL, blocks=2)), folder, "diffmask")


def test_a_model_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LesionAugError, match="among default"):
        start_from(CompactUNet(SMALL), tmp_path / "nowhere", "diffmask")


@pytest.mark.parametrize("job", PRESETS)
def test_training_goes_on_from_the_packaged_weights_without_further_options(job):
    """The default preset is the network that is packaged."""
    network = CompactUNet(PRESETS[job]["compact"].model.network)
    start_from(network, Path("default"), job)
    _, packaged = load_model(model_folder("default", job))
    assert all(torch.equal(value, packaged[name].to(value)) for name, value in network.state_dict().items())
