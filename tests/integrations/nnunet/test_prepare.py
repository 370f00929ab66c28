"""`lesionaug nnunet prepare` renders what training will lay over its cases: all of it, once, the same for everybody."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.geometry import case_affine
from lesionaug.integrations.nnunet.host import host_scan
from lesionaug.integrations.nnunet.job import Host, change_of, read_host
from nnunet_variants import Workplace, agreement, rewritten, whole
from scan_files import call, content

from lesionaug.anatomy import anatomy_from_images
from lesionaug.errors import LesionAugError
from lesionaug.io import read_nifti
from lesionaug.loaded import loaded_synthesizer
from lesionaug.scan import LesionPlan


@pytest.fixture
def workplace(datasets, tmp_path, monkeypatch):
    found = Workplace.copy_of(datasets, "plain", tmp_path)
    found.use(monkeypatch)
    return found


def rendered(workplace) -> dict[str, bytes]:
    return content(workplace.overlays / "changes")


def test_a_variant_is_what_the_synthesiser_makes_of_the_case_and_the_cases_stay(workplace, capsys):
    before = content(workplace.cases)
    outcome = workplace.prepare(capsys)
    assert outcome.code == 0, outcome.err
    assert "10 variants with 30 lesions" in outcome.out
    assert content(workplace.cases) == before
    assert workplace.dataset().identifiers == workplace.names
    settings, roles = workplace.settings()
    name = workplace.names[1]
    loaded = workplace.dataset().load_case(name)
    host = read_host(workplace.cases, name, (0, 1, 2), roles)
    record = json.loads((workplace.overlays / "plans" / f"{name}_v001.json").read_text())
    after = loaded_synthesizer(settings.choice()).render(host.scan, LesionPlan.from_dict(record["plan"]))
    image, seg = whole(workplace.open().laid_over(name, 1, loaded))
    assert np.array_equal(image[roles.indices], after.image.numpy())
    assert np.array_equal(seg[0] == roles.lesion, after.lesion_mask[0].numpy())
    assert ((seg != whole(loaded)[1]) <= (whole(loaded)[1] == 0)).all()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_it_does_not_matter_who_prepares_and_whether_at_once(
    workplace, datasets, tmp_path, monkeypatch, capsys, workers
):
    assert workplace.prepare(capsys, "--variants", 3).code == 0
    other = Workplace.copy_of(datasets, "plain", tmp_path / "other")
    other.use(monkeypatch)
    assert other.prepare(capsys, "--variants", 1).code == 0
    first = {path: (other.overlays / "changes" / path).stat().st_ino for path in rendered(other)}
    assert "10 to render" in other.prepare(capsys, "--variants", 3, "--workers", workers).out
    assert rendered(other) == rendered(workplace)
    assert {path: (other.overlays / "changes" / path).stat().st_ino for path in first} == first
    assert other.open().prepared == workplace.open().prepared


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "empty"])
def test_what_is_missing_or_damaged_is_rendered_again(workplace, capsys, damage):
    workplace.prepare(capsys)
    before = rendered(workplace)
    damage(sorted((workplace.overlays / "changes").rglob("*.lesions"))[0])
    outcome = workplace.prepare(capsys)
    assert "1 to render" in outcome.out
    assert rendered(workplace) == before


def test_dry_run_says_what_would_be_made(workplace, capsys):
    assert "10 to render" in workplace.prepare(capsys, "--dry-run").out
    assert not workplace.overlays.exists()


def test_other_settings_are_refused_until_they_are_meant(workplace, monkeypatch, capsys):
    workplace.prepare(capsys)
    workplace.use(monkeypatch, lesions_per_case=4)
    outcome = workplace.prepare(capsys)
    assert outcome.code == 2
    assert "num_lesions: 3 then, 4 now" in outcome.err
    assert "--overwrite" in outcome.err
    outcome = workplace.prepare(capsys, "--overwrite")
    assert "10 variants with 40 lesions" in outcome.out
    assert len(rendered(workplace)) == 10


def test_cases_that_were_preprocessed_again_are_refused_until_that_is_meant(workplace, capsys):
    workplace.prepare(capsys)
    other = workplace.names[3]
    for ending in (".b2nd", "_seg.b2nd", ".pkl"):
        (workplace.cases / f"{workplace.names[2]}{ending}").write_bytes(
            (workplace.cases / f"{other}{ending}").read_bytes()
        )
    outcome = workplace.prepare(capsys)
    assert outcome.code == 2
    assert f"got {workplace.names[2]} preprocessed again since" in outcome.err
    assert workplace.prepare(capsys, "--overwrite").code == 0


def test_a_bad_case_is_told_and_the_others_are_prepared(workplace, capsys):
    bad = workplace.names[0]
    (workplace.cases / f"{bad}.pkl").write_bytes(b"no pickle")
    outcome = workplace.prepare(capsys)
    assert outcome.code == 2
    assert f"Expected 10 variants, got 8:\n  {bad}: " in outcome.err
    assert f"--leave-alone {bad}" in outcome.err
    assert len(rendered(workplace)) == 8
    with pytest.raises(LesionAugError, match=f"too few of {bad}; run lesionaug nnunet prepare again"):
        workplace.open()
    assert workplace.prepare(capsys, "--leave-alone", bad).code == 0
    assert workplace.open().prepared.untouched == (bad,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["501", "--leave-alone", "nobody"], "Expected cases of the dataset for --leave-alone, got nobody"),
        (["501", "--workers", "0"], "Expected one worker or more, got 0"),
        (["501", "--variants", "0"], "Expected 1 variant or more, got 0"),
        (["501", "--configuration", "3d_lowres"], "among 3d_tiny, got '3d_lowres'"),
        (["502"], "Expected one preprocessed dataset 502"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(workplace, capsys, words, message):
    configuration = [] if "--configuration" in words else ["--configuration", "3d_tiny"]
    outcome = call(capsys, "nnunet", "prepare", *words, *configuration)
    assert outcome.code != 0
    assert message in outcome.err
    assert not workplace.overlays.exists()


def test_channels_that_nobody_knows_are_told(workplace, capsys):
    rewritten(workplace.cases.parent / "dataset.json", lambda content: {**content, "channel_names": {"0": "CT"}})
    outcome = workplace.prepare(capsys)
    assert outcome.code == 2
    assert "Expected channels called FLAIR, T1 or T2" in outcome.err


def test_the_anatomy_of_a_preprocessed_case_is_that_of_its_files(datasets, workplace):
    """Outside, nnU-Net leaves the mean of the tissue; cropped, transposed and normalised, it is the same brain."""
    _, roles = workplace.settings()
    name = workplace.names[0]
    data, seg, _, properties = workplace.dataset().load_case(name)
    assert (data[:][:, seg[0] < 0] == 0).all()
    found = read_host(workplace.cases, name, (0, 1, 2), roles).scan
    raw = datasets / "plain" / "raw" / workplace.cases.parent.name / "imagesTr"
    files = [read_nifti(raw / f"{name}_{index:04d}.nii.gz") for index in (1, 0)]
    image = torch.stack([torch.from_numpy(file.data) for file in files]).float()
    lesions = read_nifti(raw.parent / "labelsTr" / f"{name}.nii.gz").data
    expected = anatomy_from_images(image, ("flair", "t1w"), files[0].affine, torch.from_numpy(lesions > 0)[None])
    to_file = np.linalg.inv(files[0].affine) @ case_affine(properties, data.shape[1:], (0, 1, 2))
    assert agreement(found.brain, expected.brain, to_file) > 0.9
    assert agreement(found.eligible > 0, expected.eligible > 0, to_file) > 0.9
    assert found.spacing_mm == pytest.approx((3.4, 3.4, 3.4))
    assert not (found.eligible[0].numpy() > 0)[seg[0] < 0].any()


def test_what_is_ignored_keeps_its_label_and_gets_no_centre(workplace):
    _, roles = workplace.settings()
    ignoring = Roles(roles.channels, lesion=1, lesions=(1,), ignore=5)
    data, seg, _, properties = workplace.dataset().load_case(workplace.names[0])
    affine = case_affine(properties, data.shape[1:], (0, 1, 2))
    label = seg[:].copy()
    label[:, :, : label.shape[2] // 2][label[:, :, : label.shape[2] // 2] >= 0] = 5
    scan = host_scan(data[:], label, affine, ignoring)
    assert not (scan.eligible[0].numpy() > 0)[label[0] == 5].any()
    plain = host_scan(data[:], seg[:], affine, roles)
    assert torch.equal(scan.brain, plain.brain)
    spread = torch.nn.functional.max_pool3d((scan.eligible > 0).float(), 5, 1, 2).bool() & scan.brain
    after = type(scan)(**{**vars(scan), "lesion_mask": scan.lesion_mask | spread})
    change = change_of(Host(scan, label), after, ignoring)
    at = label.reshape(-1)[change.indices]
    assert (at == 5).any()
    assert not change.labelled[at == 5].any()
    assert change.labelled[at == 0].all()


def test_a_channel_that_is_not_there_is_told(workplace):
    _, roles = workplace.settings()
    data, seg, _, properties = workplace.dataset().load_case(workplace.names[0])
    with pytest.raises(LesionAugError, match=r"got a constant image \(all 0\) in flair"):
        host_scan(data[:] * 0, seg[:], case_affine(properties, data.shape[1:], (0, 1, 2)), roles)
