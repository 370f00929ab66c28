"""What is asked of nnU-Net's training, as a value: out of a file, the plans, or what is usual."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import CHANNELS
from lesionaug.serving.late import Patience

CONFIG = "LESIONAUG_NNUNET_CONFIG"
"""Environment variable: a JSON or TOML file with fields of `NnunetSettings`."""

PLANS_KEY = "lesionaug"
"""Key in nnU-Net's plans file that holds the same."""

Mode = Literal["auto", "cached", "live"]
OnLate = Literal["wait", "skip", "error"]
OnBadScan = Literal["error", "skip"]


@dataclass(frozen=True)
class NnunetSettings:
    """How training cases get lesions.

    Args:
        mode: `cached` takes lesions that `lesionaug nnunet prepare` has rendered, `live` renders them while the network
            trains, `auto` is cached where it is prepared.
        probability: That a patch (live) or a loaded case (cached) gets lesions.
        schedule: Pairs of a share of all epochs and a factor on the probability from there on: ((0, 1), (0.9, 0))
            trains the last tenth without.
        lesions_per_patch: Number, or range to draw it from; live.
        lesions_per_case: Number, or range to draw it from; cached.
        diameter_mm: Range of the diameter of the ball that has the lesion's volume.
        regions: Names from `lesionaug.scan.REGIONS` to which lesions are confined.
        contrast: Factor on the contrast that the prior draws, or a range to draw the factor from.
        overlap: Whether new lesions may touch old ones.
        halo: Whether lesions show their partial volume around the label, as real ones do; without it no voxel outside
            new labels changes.
        gate: Whether lesions that turn out badly are drawn again, and left out if that does not help.
        channels: Model channel (`flair`, `t1w`, `t2w`) to name or number in dataset.json; found by name if empty.
        lesion_label: Name of the label in dataset.json; the one whose name says so if not given.
        model: Packaged pair of models.
        diffmask: Folder of another mask model.
        lefusion: Folder of another inpainting model.
        prior: File written by `lesionaug prior fit`.
        num_steps: Network calls per lesion, instead of each model's own number.
        device: Where lesions are rendered; `auto` is where the network trains.
        server: Address of a render server that runs already; one is started if not given.
        on_late: What to do when the render server is late or gone: `wait` as long as it gets something done, `skip` the
            lesions of that patch and count it, or stop training with an `error`.
        deadline_s: Seconds after which it counts as late.
        on_bad_scan: What to do with a case that cannot be worked with, as no brain is found in it, or none that fits
            the atlas: train with it as it is (`skip`, counted and told), or stop with an `error`.
        variants: Sets of lesions per case that `prepare` renders.
        seed: Of `prepare`: the same seed gives the same lesions.
        plain_checkpoint: Whether checkpoints name the trainer without lesions, so that nnU-Net predicts with them
            where lesionaug is not installed.

    Raises:
        LesionAugError: A value that cannot be meant.
    """

    mode: Mode = "auto"
    probability: float = 0.5
    schedule: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    lesions_per_patch: int | tuple[int, int] = (1, 4)
    lesions_per_case: int | tuple[int, int] = (1, 10)
    diameter_mm: tuple[float, float] | None = None
    regions: tuple[str, ...] | None = None
    contrast: float | tuple[float, float] = 1.0
    overlap: bool = False
    halo: bool = True
    gate: bool = True
    channels: Mapping[str, str | int] = field(default_factory=dict)
    lesion_label: str | None = None
    model: str = "default"
    diffmask: str | None = None
    lefusion: str | None = None
    prior: str | None = None
    num_steps: int | None = None
    device: str = "auto"
    server: str | None = None
    on_late: OnLate = "skip"
    deadline_s: float = 60.0
    on_bad_scan: OnBadScan = "skip"
    variants: int = 8
    seed: int = 0
    plain_checkpoint: bool = True

    def __post_init__(self) -> None:
        """Check what was asked for."""
        check_known("mode", [self.mode], get_args(Mode))
        check_known("on_late", [self.on_late], get_args(OnLate))
        check_known("on_bad_scan", [self.on_bad_scan], get_args(OnBadScan))
        check_known("channel", self.channels, CHANNELS)
        if not 0 <= self.probability <= 1:
            raise LesionAugError(f"Expected a probability from 0 to 1, got {self.probability}; correct it")
        if self.variants < 1:
            raise LesionAugError(f"Expected 1 variant or more, got {self.variants}; leave it out for 8")
        _check_schedule(self.schedule)
        for part in (self.choice, self.patience, self.patch_options, self.case_options):
            part()  # each checks its own

    def choice(self, device: str = "cpu") -> ModelChoice:
        """Which models.

        Args:
            device: Instead of `auto`.
        """
        chosen = device if self.device == "auto" else self.device
        return ModelChoice(self.model, self.diffmask, self.lefusion, chosen, self.num_steps)

    def patience(self) -> Patience:
        """What to do when the render server is late."""
        return Patience(self.on_late, self.deadline_s)

    def patch_options(self) -> PlanOptions:
        """What is not left to the prior in a patch."""
        return self._options(self.lesions_per_patch)

    def case_options(self) -> PlanOptions:
        """What is not left to the prior in a whole case."""
        return self._options(self.lesions_per_case)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return json.loads(json.dumps(asdict(self)))

    def _options(self, num_lesions: int | tuple[int, int]) -> PlanOptions:
        return PlanOptions(
            num_lesions=num_lesions,
            diameter_mm=self.diameter_mm,
            regions=self.regions,
            contrast=self.contrast,
            overlap=self.overlap,
            halo=self.halo,
            gate=self.gate,
        )


def read_settings(plans: Mapping[str, Any]) -> NnunetSettings:
    """Settings from nnU-Net's plans and, before them, from the file that `LESIONAUG_NNUNET_CONFIG` names.

    Args:
        plans: Content of the plans file.

    Raises:
        LesionAugError: A file that cannot be read, an unknown key, or a value that cannot be meant.
    """
    given = dict(plans.get(PLANS_KEY) or {})
    path = os.environ.get(CONFIG)
    if path:
        given |= _read(Path(path).expanduser())
    check_known("setting", given, [known.name for known in fields(NnunetSettings)])
    try:
        return NnunetSettings(**{name: _frozen(value) for name, value in given.items()})
    except TypeError as error:
        raise LesionAugError(
            f"Expected settings of the types that docs/nnunet.md names, got {given} ({error}); correct them"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise LesionAugError(
            f"Expected a JSON or TOML file of settings at {path}, got none that can be read ({error}); "
            f"correct it or {CONFIG}"
        ) from error
    if not isinstance(content, dict):
        raise LesionAugError(
            f"Expected settings with names in {path}, got {type(content).__name__}; see docs/nnunet.md"
        )
    return content


def _frozen(value: Any) -> Any:
    """Lists as tuples, at any depth."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _check_schedule(schedule: tuple[tuple[float, float], ...]) -> None:
    shares = [pair[0] for pair in schedule]
    valid = all(len(pair) == 2 and 0 <= pair[0] <= 1 and pair[1] >= 0 for pair in schedule)
    if not schedule or not valid or shares != sorted(shares):
        raise LesionAugError(
            f"Expected a schedule of pairs (share of all epochs from 0 to 1, factor from 0 up) with ascending shares, "
            f"got {schedule}; for example [[0, 1], [0.9, 0]]"
        )
