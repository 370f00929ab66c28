"""What all cases of a data set have in common, kept in it so that nobody goes on with something else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lesionaug.dataset.atomic import write_atomically
from lesionaug.dataset.place import PLAN_FILE
from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice, loaded_prior
from lesionaug.plan_options import PlanOptions
from lesionaug.record import versions

FILE = "generate.json"


@dataclass(frozen=True)
class Settings:
    """Everything besides source and variant that a case depends on.

    Args:
        seed: Of the data set.
        options: What is not left to the prior.
        models: Draw and paint.
        prior: File of a prior, or the packaged one.
        layout: Of the output, from `layouts_out.LAYOUTS`.
        channels: That every case has, or all that its source has.
        instances: Whether to write a label that numbers the new lesions.
        new_only: Whether to write a label of the new lesions alone.
        changes: What may become of new lesions, from `lesionaug.evolution.CHANGES`; no pairs are made if not given.
    """

    seed: int
    options: PlanOptions
    models: ModelChoice
    prior: str | None
    layout: str
    channels: tuple[str, ...] | None = None
    instances: bool = False
    new_only: bool = False
    changes: tuple[str, ...] | None = None

    def identity(self) -> dict:
        """Plain data that is the same whenever cases are: digests instead of paths, and any GPU like another."""
        return {
            "seed": self.seed,
            "options": json.loads(json.dumps(asdict(self.options))),
            "model": self.models.model,
            "num_steps": self.models.num_steps,
            "device": self.models.device.partition(":")[0],
            "digests": self.models.digests(),
            "prior": loaded_prior(self.prior).digest,
            "layout": self.layout,
            "channels": list(self.channels) if self.channels else None,
            "instances": self.instances,
            "new_only": self.new_only,
            "changes": list(self.changes) if self.changes else None,
            "versions": versions(),
        }


def begin(out: Path, settings: Settings) -> None:
    """Start a data set, or go on with one.

    Raises:
        LesionAugError: It was started with other settings, or there are files of something else.
    """
    path, identity = out / FILE, settings.identity()
    if not path.exists():
        if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise LesionAugError(f"Expected an empty output folder, got files in {out}; choose another --output")
        write_atomically(path, (json.dumps(identity, indent=2) + "\n").encode())
    # Read back even if just written: another part may have been faster, with other settings.
    then = read_settings(out)
    if changed := [name for name in identity if then.get(name) != identity[name]]:
        differing = "; ".join(f"{name}: {then.get(name)} then, {identity[name]} now" for name in changed)
        raise LesionAugError(
            f"Expected the settings that the data set in {out} was begun with, got others ({differing}); "
            "use those, or choose another --output"
        )


def read_settings(out: Path) -> dict:
    """`Settings.identity()` of a data set.

    Raises:
        LesionAugError: There is no data set.
    """
    try:
        return json.loads((out / FILE).read_text())
    except (OSError, ValueError) as error:
        if (out / PLAN_FILE).is_file():
            raise LesionAugError(
                f"Expected a data set made by `lesionaug generate`, got one scan in {out}; look at it by "
                f"lesionaug replay {out / PLAN_FILE} --preview, which draws preview.png"
            ) from error
        raise LesionAugError(
            f"Expected a data set made by `lesionaug generate`, got no {FILE} that can be read in {out}; check the path"
        ) from error
