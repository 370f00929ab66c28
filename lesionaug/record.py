"""`plan.json`: what was done to which files, complete enough to do it again, byte for byte."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lesionaug.errors import LesionAugError
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import LesionPlan

FORMAT = 1
LIBRARIES = ("lesionaug", "torch", "numpy", "scipy", "nibabel")


@dataclass(frozen=True)
class InputFile:
    """A file that went in; a relative path is one from the folder of the record."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Record:
    """Content of `plan.json`.

    Args:
        inputs: By role: `flair`, `t1w`, `t2w`, `lesions`, `eligible`, `labels`, `brain`.
        spacing_mm: Voxel size of the scan.
        seed: What the plan was drawn from.
        options: `PlanOptions` as a dictionary.
        models: `ModelChoice` as a dictionary.
        digests: Of the models.
        prior: File and digest of the prior; no file for the packaged one.
        plan: `LesionPlan.to_dict()`.
        left_out: Places in the plan of lesions that the gate has left out, from 0.
        outputs: SHA-256 by file name.
        versions: Of what computed it.
        lesion_value: Value of lesions in a label of several classes.
    """

    inputs: dict[str, InputFile]
    spacing_mm: tuple[float, float, float]
    seed: int
    options: dict[str, Any]
    models: dict[str, Any]
    digests: dict[str, str]
    prior: dict[str, str | None]
    plan: dict[str, Any]
    outputs: dict[str, str]
    versions: dict[str, str]
    lesion_value: float | None = None
    left_out: tuple[int, ...] = ()

    def to_json(self) -> str:
        """Readable, and the same for the same content."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> Record:
        """Inverse of `to_json`, from a file.

        Raises:
            LesionAugError: The file cannot be read or is no such record.
        """
        try:
            fields = json.loads(Path(path).read_text())
            if fields.pop("format") != FORMAT:
                raise LesionAugError(f"Expected a plan of format {FORMAT}, got another in {path}; update lesionaug")
            fields.pop("threads", None)  # written when bits depended on them
            inputs = {role: InputFile(**file) for role, file in fields.pop("inputs").items()}
            places = tuple(fields.pop("left_out", ()))
            return cls(inputs=inputs, spacing_mm=tuple(fields.pop("spacing_mm")), left_out=places, **fields)
        except OSError as error:
            raise LesionAugError(f"Expected a plan.json, got no readable file at {path}; check the path") from error
        except LesionAugError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LesionAugError(
                f"Expected a plan.json written by lesionaug, got something else in {path} ({error}); synthesize again"
            ) from error


def versions() -> dict[str, str]:
    """Of Python and of the libraries that decide about voxels."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def missed_load(record: Record, got_ml: float) -> str | None:
    """What to say where the volume of the new lesions is off the one asked for by more than a tenth, and why.

    Args:
        record: Of what was made.
        got_ml: Volume of the new label.
    """
    missed = PlanOptions(**record.options).missed(got_ml)
    if missed is None:
        return None
    planned, gone = LesionPlan.from_dict(record.plan), len(record.left_out)
    if not gone:
        planned_ml = sum(spec.volume_mm3 for spec in planned) / 1000
        return f"{missed}: lesions planned as {planned_ml:.3g} ml turned out otherwise there; take another seed"
    return (
        f"{missed}: {gone} of {len(planned)} planned lesions could not be drawn as one would look there, and are left "
        "out; ask for more, take another seed, or take all as they turn out (--no-gate, gate=False)"
    )
