"""`lesionaug serve` serves until it is told to stop, and says what it has done."""

import signal
import subprocess
import sys

import pytest
from renderers import assert_same_lesions

from lesionaug.cli import main
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.place import Place


@pytest.fixture
def command(runtime):
    """Its process, and where it serves."""
    address = runtime / "command"
    arguments = ["-m", "lesionaug.cli", "serve", "--model", "parametric", "--max-batch", "3", "--address", str(address)]
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert f"export LESIONAUG_SERVER={address}" in process.stdout.readline()
            yield process, address
        finally:
            process.kill()
    Place(address).remove()


def test_it_serves_reports_and_stops(command, here, request_of_four, capsys):
    process, address = command
    assert_same_lesions(ServedRenderer(str(address))(request_of_four), here(request_of_four))
    assert main(["serve", "--status", "--address", str(address)]) == 0
    assert "1 requests, 1 answered, 0 failed" in capsys.readouterr().out
    assert main(["serve", "--model", "parametric", "--address", str(address)]) == 2
    assert "Expected no server at" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not (address / "socket").exists()
    assert main(["serve", "--status", "--address", str(address)]) == 2
    assert "start one with lesionaug serve" in capsys.readouterr().err
