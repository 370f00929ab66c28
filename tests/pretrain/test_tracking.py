"""Curves go where the user looks at them, and nowhere without a word."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lesionaug.pretrain.fit import FitConfig, fit
from lesionaug.pretrain.samples import Column, draw_page, mid_slice, save_picture
from torch import nn

CONFIG = FitConfig(steps=4, keep_every=2, picture_every=4, warmup=1)


def train(config, run, picture=None):
    network = nn.Linear(2, 1)
    fit(network, lambda g: (network(torch.randn(3, 2, generator=g)) ** 2).mean(), config, run, picture=picture)


def test_tensorboard_has_curves_and_pictures(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(CONFIG, tmp_path, picture=lambda _: np.full((20, 30, 3), 128, np.uint8))
    curves = accumulator.EventAccumulator(str(tmp_path / "curves"))
    curves.Reload()
    assert [point.step for point in curves.Scalars("loss")] == [2, 4]
    assert {"learning_rate", "steps_per_s"} <= set(curves.Tags()["scalars"])
    (pictures,) = curves.Tags()["images"]
    assert [picture.step for picture in curves.Images(pictures)] == [4]
    assert (tmp_path / "samples" / "step-00000004.png").exists()


def test_a_tracker_that_is_not_installed_is_said_once(tmp_path, capsys):
    train(replace(CONFIG, track=("wandb",)), tmp_path)
    out = capsys.readouterr().out
    assert out.count("wandb: it is not installed") == 1
    assert (tmp_path / "log.jsonl").exists()
    assert not (tmp_path / "curves").exists()


def test_a_page_shows_each_lesion_beside_what_was_made_of_it():
    columns = [Column("rater", torch.zeros(3, 8, 8)), Column("model", torch.ones(3, 8, 8))]
    page = draw_page("held out", columns)
    assert page.dtype == np.uint8
    assert page.shape[2] == 3
    left, right = np.array_split(page[40:], 2, axis=1)
    assert (left == 0).mean() > 2 * (right == 0).mean()


def test_mid_slices_go_through_the_centre_voxel():
    patch = torch.zeros(1, 2, 8, 8, 8)
    patch[:, 0, :, :, 4] = 7
    assert (mid_slice(patch) == 7).all()


def test_pictures_are_files(tmp_path):
    import matplotlib.image

    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    save_picture(pixels, tmp_path, 7)
    read = matplotlib.image.imread(tmp_path / "samples" / "step-00000007.png")[..., :3]
    assert np.array_equal((read * 255).round().astype(np.uint8), pixels)
