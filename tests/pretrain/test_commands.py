"""`lesionaug pretrain`: from files to lesions, by commands alone."""

import numpy as np
import pytest
from labelled_files import plain
from lesionaug.pretrain.presets import PRESETS
from phantoms import brain_phantom
from scan_files import call, write_phantom

from lesionaug.commands.pretrain import PROGRAMS


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three patients of one scan."""
    folder = tmp_path_factory.mktemp("scans")
    for number in (1, 2, 3):
        phantom = brain_phantom((64, 72, 64), (1.0, 1.0, 1.0), seed=number)
        content = {channel: np.round(100 * image.numpy()) for channel, image in phantom.images.items()}
        content |= {"lesion": phantom.lesion_mask[0].numpy().astype(np.uint8)}
        content |= {"brain": (phantom.labels > 0).astype(np.uint8)}
        plain(folder, f"P{number}_T1", content=content, matrix=phantom.affine)
    return folder


def succeed(capsys, *words):
    outcome = call(capsys, *words)
    assert outcome.code == 0, outcome.err
    return outcome.out


def run_every_program(capsys, scans, folder, *more):
    """Train both models and give their packages."""
    succeed(capsys, "pretrain", "prepare", scans, "--output", folder / "patches", "--healthy", 4)
    succeed(capsys, "pretrain", "split", folder / "patches", "--output", folder / "split.json")
    for job in PRESETS:
        data = ("--data", folder / "patches", "--split", folder / "split.json")
        out = succeed(capsys, "pretrain", job, "--preset", "tiny", *data, "--output", folder / job, *more)
        assert "held " in out
        succeed(capsys, "pretrain", "package", folder / job, "--output", folder / "models" / job)
        assert "Held out: P" in (folder / "models" / job / "CARD.md").read_text()
    return [part for job in PRESETS for part in (f"--{job}", folder / "models" / job)]


def synthesize(capsys, folder, models):
    folder.mkdir()
    files = [part for role, path in write_phantom(folder).items() for part in (f"--{role}", path)]
    return succeed(capsys, "synthesize", *files, *models, "--num-lesions", 2, "--output", folder / "out")


def test_from_scans_to_lesions(scans, tmp_path, capsys):
    short = ("--fit.steps", 4, "--fit.keep-every", 2, "--fit.picture-every", 4, "--fit.threads", 1)
    models = run_every_program(capsys, scans, tmp_path, *short)
    assert "2 lesions" in synthesize(capsys, tmp_path / "scan", models)
    for job in PRESETS:
        names = {path.name for path in (tmp_path / job).iterdir()}
        assert {"last.pt", "step-00000002.pt", "log.jsonl", "run.json", "model", "best", "samples", "curves"} <= names


@pytest.mark.slow
def test_the_tiny_preset_makes_models(scans, tmp_path, capsys):
    models = run_every_program(capsys, scans, tmp_path)
    assert "2 lesions" in synthesize(capsys, tmp_path / "scan", models)


def test_help_names_every_program(capsys):
    for words in ((), ("--help",)):
        outcome = call(capsys, "pretrain", *words)
        assert outcome.code == 0
        assert all(f"  {name} " in outcome.out for name in PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_explains_itself(name, capsys):
    outcome = call(capsys, "pretrain", name, "--help")
    assert outcome.code == 0
    assert f"lesionaug pretrain {name}" in outcome.out


def test_an_unknown_program_is_refused(capsys):
    outcome = call(capsys, "pretrain", "train")
    assert outcome.code == 2
    assert "got 'train'" in outcome.err
    assert outcome.err.count("\n") == 1


def test_an_interrupted_training_says_how_to_go_on(scans, tmp_path, capsys, monkeypatch):
    succeed(capsys, "pretrain", "prepare", scans, "--output", tmp_path / "patches", "--healthy", 0)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("lesionaug.pretrain.diffmask.DiffMaskTraining.run", interrupt)
    outcome = call(capsys, "pretrain", "diffmask", "--data", tmp_path / "patches", "--output", tmp_path / "run")
    assert outcome.code == 130
    assert "run the same command again" in outcome.err
