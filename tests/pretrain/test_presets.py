"""A preset is a value, options replace its fields, and `--dry-run` says what would be."""

from dataclasses import replace

import pytest
import torch
from lesionaug.pretrain.labelled import LabelledScan
from lesionaug.pretrain.patches import write_scan
from lesionaug.pretrain.presets import PRESETS, parse
from phantoms import brain_phantom
from scan_files import call
from scans import small_plan, small_scan

from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import load_config, load_model
from lesionaug.networks.unet3d import Unet3D, Unet3DConfig
from lesionaug.synthesis import load_synthesizer

SHORT = ("--fit.steps", 2, "--fit.keep-every", 1, "--fit.picture-every", 2, "--fit.threads", 1, "--fit.track", "none")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    for number in (1, 2):
        phantom = brain_phantom((64, 72, 64), (1.0, 1.0, 1.0), channels=("flair",), seed=number)
        image, lesions = phantom.images["flair"].numpy()[None], phantom.lesion_mask[0].numpy()
        scan = LabelledScan(f"P{number}_T1", f"P{number}", ("flair",), image, lesions, phantom.labels > 0, (1.0,) * 3)
        write_scan(scan, folder, healthy=2)
    return folder


def train(capsys, job, store, output, *more):
    return call(capsys, "pretrain", job, "--preset", "tiny", "--data", store, "--output", output, *SHORT, *more)


@pytest.mark.parametrize("job", PRESETS)
@pytest.mark.parametrize("name", ["compact", "tiny", "published"])
def test_a_preset_without_options_is_itself(job, name):
    parsed = parse(job, ["--preset", name, "--data", "store", "--output", "run"])
    preset = PRESETS[job][name]
    assert replace(parsed, patches=preset.patches, output=preset.output) == preset


def test_options_replace_fields():
    words = "--data store --output run --preset=published --batch 2 --fit.steps 9 --model.window -32 7 --forget 0"
    parsed = parse("lefusion", words.split())
    assert (parsed.batch, parsed.fit.steps, parsed.model.window, parsed.forget) == (2, 9, (-32.0, 7.0), 0.0)
    assert parsed.fit.learning_rate == PRESETS["lefusion"]["published"].fit.learning_rate


def test_an_unknown_preset_is_refused():
    with pytest.raises(LesionAugError, match="among compact, tiny, published, got 'huge'"):
        parse("diffmask", ["--preset", "huge"])


def test_a_dry_run_tells_sizes_and_writes_nothing(store, tmp_path, capsys):
    outcome = train(capsys, "diffmask", store, tmp_path / "run", "--dry-run", "--hold-out", "P2")
    assert outcome.code == 0, outcome.err
    for told in ("widths: (8, 16)", "steps: 2", "parameters", "held out   5 patches", "1 scans of 1 patients", "GB"):
        assert told in outcome.out
    assert not (tmp_path / "run").exists()


def test_memory_of_a_dry_run_grows_with_the_batch(store):
    from lesionaug.pretrain.dry_run import activation_bytes

    words = ["--preset", "tiny", "--data", str(store), "--output", "run", "--batch"]
    small, large = (activation_bytes(parse("diffmask", [*words, factor]).course()) for factor in ("0.5", "1"))
    assert large == pytest.approx(2 * small, rel=0.1)


def test_without_held_out_patients_there_is_no_best_model(store, tmp_path, capsys):
    outcome = train(capsys, "diffmask", store, tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "held " not in outcome.out
    assert load_config(tmp_path / "run" / "model")["architecture"] == "compact"
    assert not (tmp_path / "run" / "best").exists()
    outcome = call(capsys, "pretrain", "package", tmp_path / "run", "--weights", "best", "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "best is there only where patients were held out" in outcome.err


def test_a_run_of_other_options_is_refused(store, tmp_path, capsys):
    assert train(capsys, "diffmask", store, tmp_path / "run").code == 0
    for more, told in ((("--model.widths", 8, 8), "model was"), (("--hold-out", "P2"), "it learned from 2 scans")):
        outcome = train(capsys, "diffmask", store, tmp_path / "run", *more)
        assert outcome.code == 2
        assert told in outcome.err
        assert "another --output" in outcome.err
    assert train(capsys, "diffmask", store, tmp_path / "run", "--fit.learning-rate", 1e-5).code == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [(("--hold-out", "P9"), "got P9"), (("--hold-out", "P1", "P2"), "hold out fewer")],
    ids=["unknown patient", "nobody left"],
)
def test_nobody_to_learn_from_is_refused(store, tmp_path, capsys, more, told):
    outcome = train(capsys, "lefusion", store, tmp_path / "run", *more)
    assert outcome.code == 2
    assert told in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_split_of_another_store_is_refused(store, tmp_path, capsys):
    split = tmp_path / "split.json"
    split.write_text('{"train": ["P1"], "held_out": ["Q7"]}')
    outcome = train(capsys, "diffmask", store, tmp_path / "run", "--split", split)
    assert outcome.code == 2
    assert "got none of Q7" in outcome.err
    assert "leave out --split" in outcome.err


def small_published(job, store, output):
    words = ["--preset", "published", "--data", str(store), "--output", str(output), "--hold-out", "P2", "--batch", "2"]
    training = parse(job, [*words, "--model.patch-shape", "16", "16", "16", "--model.diffusion-steps", "4"])
    network = Unet3DConfig(dim=8, dim_mults=(1, 2), in_channels=2 - (job == "lefusion"))
    if job == "lefusion":
        network = replace(network, condition_size=16)
    fit = replace(training.fit, steps=2, keep_every=1, picture_every=2, accumulate=2, bf16=False, threads=1, track=())
    return replace(training, model=replace(training.model, network=network), fit=fit)


@pytest.mark.slow
def test_what_was_trained_as_published_loads_and_synthesises(store, tmp_path):
    for job in PRESETS:
        training = small_published(job, store, tmp_path / job)
        training.run()
        config, state = load_model(tmp_path / job / "model")
        assert config["architecture"] == "unet3d"
        assert state.keys() == Unet3D(training.model.network).state_dict().keys()
        assert all(value.dtype == torch.half for value in state.values())
        assert (tmp_path / job / "samples" / "step-00000002.png").exists()
    models = {job: tmp_path / job / "best" for job in PRESETS}
    synthesizer = load_synthesizer(**models, num_steps=2)
    scan = small_scan(channels=("flair",))
    assert (synthesizer.render(scan, small_plan(1)).lesion_mask & ~scan.lesion_mask).any()
