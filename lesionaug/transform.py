"""New lesions as TorchIO transforms: a random half that plans, and a deterministic half that renders.

SyntheticMSLesion ──seed──► plan ──► RenderMSLesions ──► history: replays the same voxels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torchio as tio
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.intensity_transform import IntensityTransform

from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice, loaded_synthesizer
from lesionaug.prior import PlanOptions
from lesionaug.scan import LesionPlan, Scan
from lesionaug.subjects import IMAGES, SubjectKeys


class SyntheticMSLesion(RandomTransform, IntensityTransform):
    """Add random multiple-sclerosis lesions to a subject's images and to its label.

    Everything random is drawn while planning, from one integer out of torch's global generator; what is recorded in
    the subject's history is the `RenderMSLesions` that replays it exactly.

    Images may have any orientation and intensity unit and spacings from 0.4 to 3.5 mm, but share one grid. They keep
    their type, and every voxel outside the new lesions its value. The label keeps its type and gains the new lesions.
    With `include` or `exclude`, lesions are painted only into the images that remain; the label always changes.

    Args:
        images: Channel (`flair`, `t1w`, `t2w`) to the name of the image in the subject.
        label: Name of the binary lesion label in the subject.
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from; the prior's when not given.
        load_ml: Total lesion volume to add in ml, or a range; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball that has the lesion's volume.
        regions: Names from `lesionaug.scan.REGIONS` to which lesions are confined.
        contrast: Factor on the contrast that the prior draws, or a range to draw the factor from.
        overlap: Whether new lesions may touch old ones.
        eligible: Name of a map in the subject: relative probability that a lesion is centred at a voxel. Without it
            the map is found in the images at every call.
        model: Packaged pair of models: `default` (diffusion) or `parametric` (the baseline without a network).
        diffmask: Folder of another mask model.
        lefusion: Folder of another inpainting model.
        prior: File written by `lesionaug prior fit`.
        device: Where the networks run. The result is always on the CPU.
        num_steps: Network calls per lesion, instead of each model's own number.
        create_label: Add an empty label to subjects that have none, also to those that `p` leaves alone.
        **kwargs: `p`, `copy`, `include`, `exclude`, `keep` and others of every TorchIO transform.

    Raises:
        LesionAugError: An unknown channel, region or model. When applied: a subject that lacks an image or the
            label, images that do not match, or one that cannot be worked with.

    Example:
        >>> import torchio as tio
        >>> from lesionaug import SyntheticMSLesion
        >>> transform = tio.Compose([
        ...     tio.ToCanonical(),
        ...     SyntheticMSLesion(images={"flair": "flair"}, num_lesions=(1, 10), p=0.5),
        ...     tio.RandomAffine(),
        ... ])
    """

    def __init__(
        self,
        images: Mapping[str, str] = IMAGES,
        label: str = "lesion",
        *,
        num_lesions: int | tuple[int, int] | None = None,
        load_ml: float | tuple[float, float] | None = None,
        diameter_mm: tuple[float, float] | None = None,
        regions: Sequence[str] | None = None,
        contrast: float | tuple[float, float] = 1.0,
        overlap: bool = False,
        eligible: str | None = None,
        model: str = "default",
        diffmask: str | Path | None = None,
        lefusion: str | Path | None = None,
        prior: str | Path | None = None,
        device: str = "cpu",
        num_steps: int | None = None,
        create_label: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = PlanOptions(
            num_lesions=num_lesions,
            load_ml=load_ml,
            diameter_mm=diameter_mm,
            regions=None if regions is None else tuple(regions),
            contrast=contrast,
            overlap=overlap,
        )
        self.prior = _plain(prior)
        self.rendering: dict[str, Any] = {
            "images": dict(images),
            "label": label,
            "eligible": eligible,
            "model": model,
            "diffmask": _plain(diffmask),
            "lefusion": _plain(lefusion),
            "device": str(device),
            "num_steps": num_steps,
            "create_label": create_label,
        }
        self.choice, self.keys = _choice(self.rendering), _keys(self.rendering)

    def __call__(self, data: Any) -> Any:
        """Apply with probability `p`; see `torchio.Transform`."""
        # Also subjects that `p` skips need the label: a loader collates the keys of a batch's first subject.
        return super().__call__(self.keys.with_label(data) if isinstance(data, tio.Subject) else data)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Plan, and hand the plan to `RenderMSLesions`."""
        seed = self._get_random_seed()
        base: dict[str, Any] = self._get_base_args()
        render = RenderMSLesions(digests=self.choice.digests(), **self.rendering, **base)
        with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            scan = render.scan(subject)
            synthesizer = loaded_synthesizer(self.choice, self.prior)
            plan = synthesizer.plan(scan, torch.Generator().manual_seed(seed), self.options)
        return render.planned(plan, scan)(subject)


class RenderMSLesions(IntensityTransform):
    """Render planned lesions into a subject: the deterministic half of `SyntheticMSLesion`.

    Args:
        plan: `LesionPlan.to_dict()`.
        digests: What the models must have been when the plan was made, `ModelChoice.digests()`; not checked when empty.
        images: As for `SyntheticMSLesion`, like all that follow.
        label: Likewise.
        eligible: Likewise.
        model: Likewise.
        diffmask: Likewise.
        lefusion: Likewise.
        device: Likewise.
        num_steps: Likewise.
        create_label: Likewise.
        **kwargs: Likewise.

    Raises:
        LesionAugError: As `SyntheticMSLesion`, and for models other than those of `digests`.
    """

    def __init__(
        self,
        plan: Mapping[str, Any] | None = None,
        digests: Mapping[str, str] | None = None,
        images: Mapping[str, str] = IMAGES,
        label: str = "lesion",
        *,
        eligible: str | None = None,
        model: str = "default",
        diffmask: str | None = None,
        lefusion: str | None = None,
        device: str = "cpu",
        num_steps: int | None = None,
        create_label: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = dict(plan) if plan else LesionPlan().to_dict()
        self.digests = dict(digests or {})
        self.images = dict(images)
        self.label, self.eligible, self.create_label = label, eligible, create_label
        self.model, self.diffmask, self.lefusion = model, diffmask, lefusion
        self.device, self.num_steps = device, num_steps
        self.args_names = [
            *("plan", "digests", "images", "label", "eligible", "model", "diffmask", "lefusion"),
            *("device", "num_steps", "create_label"),
        ]
        rendering = self._get_named_arguments()
        self.choice, self.keys = _choice(rendering), _keys(rendering)
        self._scan: Scan | None = None

    def planned(self, plan: LesionPlan, scan: Scan) -> Self:
        """Take a plan, and the scan it was made for, so that the anatomy need not be found twice."""
        self.plan, self._scan = plan.to_dict(), scan
        return self

    def scan(self, subject: tio.Subject) -> Scan:
        """What the synthesiser sees of a subject."""
        return self.keys.scan(subject, self.get_images_dict(subject))

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Render, and write into the images and the label."""
        self._check_digests()
        # TorchIO makes NumPy raise at underflow and division by zero, which libraries handle by themselves.
        with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            before, self._scan = self._scan or self.scan(subject), None
            after = loaded_synthesizer(self.choice).render(before, LesionPlan.from_dict(self.plan))
            self.keys.write(subject, before, after)
        return subject

    def _check_digests(self) -> None:
        found = self.choice.digests()
        if self.digests and found != self.digests:
            raise LesionAugError(
                f"Expected the models that the plan was made with, {self.digests}, got {found}; use those or plan again"
            )


def _choice(arguments: Mapping[str, Any]) -> ModelChoice:
    return ModelChoice(**{name: arguments[name] for name in ("model", "diffmask", "lefusion", "device", "num_steps")})


def _keys(arguments: Mapping[str, Any]) -> SubjectKeys:
    return SubjectKeys(**{name: arguments[name] for name in ("images", "label", "eligible", "create_label")})


def _plain(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
