"""Options that all trainings have, spelt and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

Store = Annotated[Path, tyro.conf.arg(name="data", aliases=("--patches",), help="Patch store.")]
Split = Annotated[
    Path | None,
    tyro.conf.arg(help="File written by lesionaug pretrain split: patients to learn from, and to be judged by."),
]


def run_training(job: str) -> None:
    """What `python -m lesionaug.pretrain.JOB` does: the same as `lesionaug pretrain JOB`.

    Args:
        job: `diffmask` or `lefusion`.
    """
    from lesionaug.pretrain.presets import parse

    parse(job).run()
