"""The example for SLURM does in a shell what it does in an array."""

import os
import subprocess
import sys
from pathlib import Path

from scan_files import call, content, write_phantom

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm" / "generate.sbatch"
OPTIONS = ("--variants", "3", "--model", "parametric", "--num-lesions", "2", "--output-layout", "nnunet")


def submit(*words: object, **variables: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )


def test_an_array_makes_what_one_process_makes(tmp_path, capsys):
    paths = write_phantom(tmp_path)
    (tmp_path / "scans.csv").write_text(f"subject,flair\nA,{paths['flair'].name}\n")
    for part in ("1", "0"):
        array = {"SLURM_ARRAY_TASK_ID": part, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        done = submit(tmp_path / "scans.csv", tmp_path / "array", *OPTIONS, **array)
        assert done.returncode == 0, done.stderr
    assert call(capsys, "generate", tmp_path / "scans.csv", "--output", tmp_path / "one", *OPTIONS).code == 0
    assert content(tmp_path / "array") == content(tmp_path / "one")


def test_it_explains_itself_outside_of_an_array():
    done = submit("only-one", SLURM_ARRAY_TASK_ID="")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: sbatch")
