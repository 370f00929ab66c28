"""`lesionaug convert`: a published checkpoint as a model folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from lesionaug.commands.progress import spinner


@dataclass(frozen=True)
class Convert:
    """Turn a published DiffMask or LeFusion checkpoint into weights.safetensors and config.json.

    Nothing in the checkpoint is run. The folder then works wherever the packaged models do.

    Examples:
      lesionaug convert diffmask.pt --model diffmask --output models/diffmask
      lesionaug convert hf://Kate-03/DiffMask_MultipleSclerosis/FILE --model diffmask --output models/diffmask
      lesionaug synthesize --flair flair.nii.gz --diffmask models/diffmask --output out

    Args:
        checkpoint: A .pt file, or hf://OWNER/REPOSITORY/FILE (needs lesionaug[hub]).
        model: What it is.
        output: Folder to write.
        weights: Those of the last step, as the published scripts use, or their running average.
        preset: Intensity window, control coding and sampling: fork (for MS), fork-as-sampled or original. Each value
            can be changed in config.json afterwards.
    """

    checkpoint: tyro.conf.Positional[str]
    model: Literal["diffmask", "lefusion"]
    output: Path
    weights: Literal["model", "ema"] = "model"
    preset: str = "fork"

    def run(self) -> None:
        """Convert."""
        from lesionaug.models.conversion import convert_published

        with spinner("converting"):
            config = convert_published(
                self.checkpoint, self.model, self.output, weights=self.weights, preset=self.preset
            )
        print(f"wrote {self.output}: {self.model}, {self.weights} weights, digest {config['digest'][:12]}")
