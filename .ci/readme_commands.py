"""Run the `lesionaug ...` lines of a page's shell blocks (```bash), in a copy of the folder that the demo wrote.

Usage: readme_commands.py PAGE.md DEMO_FOLDER
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SHELL_BLOCK = re.compile(r"^```(?:bash|sh|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """Lines that call lesionaug, continuation lines joined."""
    blocks = "\n".join(SHELL_BLOCK.findall(page)).replace("\\\n", " ")
    lines = (line.strip().removeprefix("$ ") for line in blocks.splitlines())
    return [line for line in lines if line.startswith("lesionaug ")]


def main(page: str, demo: str) -> None:
    """Stop at the first command that fails."""
    found = commands(Path(page).read_text())
    with tempfile.TemporaryDirectory() as folder:
        workplace = shutil.copytree(demo, Path(folder) / "brain")
        for command in found:
            print(f"$ {command}", flush=True)
            line = f'PATH="{Path(sys.executable).parent}:$PATH" {command}'
            subprocess.run(["bash", "-c", line], cwd=workplace, check=True)
    print(f"{len(found)} commands of {page} ran")


if __name__ == "__main__":
    main(*sys.argv[1:])
