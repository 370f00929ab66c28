"""What data sets are made for finds nothing wrong with them: nnU-Net's own check, and the BIDS validator."""

import json
import shutil
import subprocess

import pytest
from scan_files import call

ALL = ("--model", "parametric", "--num-lesions", 3, "--instances", "--new-only")
KINDS = pytest.mark.parametrize("more", [(), ("--longitudinal",)], ids=["cases", "pairs"])
BIDS_VALIDATOR = shutil.which("bids-validator-deno")


@pytest.mark.slow
@KINDS
def test_nnunet_finds_its_data_set_sound(more, patients, tmp_path, capsys):
    pytest.importorskip("nnunetv2")
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    out = tmp_path / "Dataset601_MS"
    outcome = call(capsys, "generate", patients, "--output", out, "--output-layout", "nnunet", *ALL, *more)
    assert outcome.code == 0, outcome.err
    verify_dataset_integrity(str(out), 1)
    assert "verify_dataset_integrity Done" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(BIDS_VALIDATOR is None, reason="no bids-validator-deno")
@KINDS
def test_the_bids_validator_finds_no_errors(more, patients, tmp_path, capsys):
    out = tmp_path / "out"
    outcome = call(capsys, "generate", patients, "--output", out, "--output-layout", "bids", *ALL, *more)
    assert outcome.code == 0, outcome.err
    command = [BIDS_VALIDATOR, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert not [issue for issue in issues if issue.get("severity") == "error"]
    assert done.returncode == 0
