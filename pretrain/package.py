"""`lesionaug pretrain package RUN --output FOLDER`: the model of a finished run, with its card."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from lesionaug.pretrain.provenance import read_provenance

from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import CONFIG, WEIGHTS, load_config

CARD = "CARD.md"
CURVE_POINTS = 12
NO_NOTES = "Data, licences, figures and limits: not written down (--notes)."

JOBS = {
    "diffmask": "Draws the mask of a multiple-sclerosis lesion inside a control sphere.",
    "lefusion": "Paints multiple-sclerosis lesion tissue into healthy tissue of FLAIR, T1w and T2w images.",
}


@dataclass(frozen=True)
class Package:
    """Make a model folder with a card of a finished run: what it is, from whom it learned, how it went.

    Examples:
      lesionaug pretrain package runs/diffmask --output models/diffmask
      lesionaug pretrain package runs/lefusion --weights best --notes notes.md --output models/lefusion

    Args:
        source: Folder of the run.
        output: Folder of the package.
        notes: Markdown file with data, licences, citations, figures and limits, the second half of the card.
        earlier: Folders of runs that this one continued, first to last.
        weights: model, the average at the end, or best, the average of the lowest held-out loss.
    """

    source: tyro.conf.Positional[Path]
    output: Path
    notes: Path | None = None
    earlier: tuple[Path, ...] = ()
    weights: Literal["model", "best"] = "model"

    def run(self) -> None:
        """Write the folder."""
        main(self)


def card(run: Path, notes: str, earlier: tuple[Path, ...] = (), weights: str = "model") -> str:
    """Text of the card: what, from what, how; then the notes."""
    config = load_config(run / weights)
    sections = [
        f"# {config['model']} ({config['architecture']})",
        f"{JOBS[config['model']]} Not for diagnosis; meant for training and testing segmentation networks.",
        f"- Digest: `{config['digest']}`\n- {_size(run / weights)}",
        *[_training(part) for part in (*earlier, run)],
        notes.strip(),
    ]
    return "\n\n".join(sections) + "\n"


def _size(model: Path) -> str:
    return f"Weights: {(model / WEIGHTS).stat().st_size / 1e6:.1f} MB, half precision"


def _training(run: Path) -> str:
    facts = read_provenance(run)
    held = ", ".join(facts["held_out"]) or "nobody"
    return "\n".join(
        [
            f"## Training run {run.name}",
            "",
            f"- Command: `{' '.join(facts['command'])}`",
            f"- Commit {facts['commit']}, torch {facts['torch']}, {facts['hardware']}",
            f"- Learned from: {', '.join(facts['subjects'])}",
            f"- Held out: {held}",
            "",
            _curve(run),
        ]
    )


def _curve(run: Path) -> str:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    chosen = lines[:: max(1, len(lines) // CURVE_POINTS)]
    chosen += lines[-1:] if chosen[-1] is not lines[-1] else []
    rows = [f"| {line['step']} | {line['loss']:.4f} | {line.get('held', '')} |" for line in chosen]
    return "\n".join(["| step | loss | held out |", "| --- | --- | --- |", *rows])


def main(config: Package) -> None:
    """Write the folder.

    Raises:
        LesionAugError: The run is not finished.
    """
    model = config.source / config.weights
    if not (model / CONFIG).exists():
        raise LesionAugError(
            f"Expected a finished run with a folder {config.weights}, got none in {config.source}; run its training to "
            "the end (best is there only where patients were held out)"
        )
    text = card(config.source, config.notes.read_text() if config.notes else NO_NOTES, config.earlier, config.weights)
    config.output.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CONFIG):
        shutil.copyfile(model / name, config.output / name)
    (config.output / CARD).write_text(text)
    print(f"wrote {config.output}: {_size(model)}")


if __name__ == "__main__":
    main(tyro.cli(Package))
