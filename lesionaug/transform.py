"""New lesions as TorchIO 1.x transforms: a random half, and a deterministic half that replays it from the history.

SyntheticMSLesion ──seed──► plan ──► RenderMSLesions ──► history: replays the same voxels
        └─────────variant──► cache of plans, and of what rendering them changes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchio as tio

from lesionaug.augmenter import OnBadScan, lesion_augmenter, plain_path
from lesionaug.render_transform import FLOATING, RenderMSLesions
from lesionaug.scan import LesionPlan
from lesionaug.scan_parts import ScanParts
from lesionaug.serving.late import OnLate
from lesionaug.subjects import IMAGES, SubjectKeys, images_by_channel
from lesionaug.torchio1 import IntensityTransform, RandomTransform

__all__ = ["RenderMSLesions", "SyntheticMSLesion"]


class SyntheticMSLesion(RandomTransform, IntensityTransform):
    """Add random multiple-sclerosis lesions to a subject's images and to its label.

    Everything random is drawn while planning, from one integer out of torch's global generator; what is recorded in
    the subject's history is the `RenderMSLesions` that replays it exactly.

    Images may have any orientation and intensity unit and spacings from 0.4 to 10 mm, but share one grid. They keep
    their type, and every voxel outside the new lesions its value. The label keeps its type and gains the new lesions.
    With `include` or `exclude`, lesions are painted only into the images that remain; the label always changes.

    With a `cache`, each scan has `variants` sets of lesions, of which one is drawn each time. The first time it is
    rendered and kept; later it is read and pasted, with the same bits. What comes before this transform must then be
    the same each time, or no scan is ever seen twice: put random transforms after it.

    Args:
        images: Channel (`flair`, `t1w`, `t2w`) to the name of the image in the subject, or a list of names that tell
            the channel.
        label: Name of the lesion label in the subject: 0 and one other whole number, or several with `lesion_value`.
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from, 1 to 10 if nothing is given;
            `"patients"` draws whole patients' numbers and sizes.
        load_ml: Total lesion volume to add in ml, or a range; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball that has the lesion's volume, 3 to 20 mm if not given.
        regions: Names from `lesionaug.scan.REGIONS` to which lesions are confined, or one of them.
        contrast: Factor on the contrast that the prior draws, or a range to draw the factor from.
        overlap: Whether new lesions may touch old ones.
        halo: Whether lesions show their partial volume around the label, as far as the scan's own blur says; without
            it no voxel outside new labels changes. Leave it on for training; turn it off where that promise matters
            more than looks.
        gate: Whether lesions that turn out badly are drawn again, and left out if that does not help: those that nobody
            could see, wires, labels over tissue as bright as the lesion.
        eligible: Name of a map in the subject: relative probability that a lesion is centred at a voxel. Without it
            the map is found in the images at every call.
        brain_mask: Name of a brain mask in the subject (brain tissue and ventricles, not 0), taken as it is. Without it
            the brain is found in the images.
        anatomy: Name of what `AddAnatomy` has added to the subject before it was cropped.
        lesion_value: Which value of a label of several classes is lesion; new lesions get it, other voxels keep theirs.
        on_bad_scan: What to do with a scan that cannot be worked with (no brain is found, or it does not fit the atlas;
            NaN; a label of several classes): `error`, or `skip`: leave it as it is, and warn once.
        model: Packaged pair of models: `default` (diffusion) or `parametric` (the baseline without a network).
        diffmask: Folder of another mask model.
        lefusion: Folder of another inpainting model.
        prior: File written by `lesionaug prior fit`.
        device: Where the networks run. The result is always on the CPU.
        num_steps: Network calls per lesion, instead of each model's own number.
        create_label: Add an empty label to subjects that have none, also to those that `p` leaves alone.
        cache: Folder for results, which any number of processes may share.
        variants: Sets of lesions per scan when there is a cache.
        cache_only: Use nothing but the cache: what is not there is an error, and models are never loaded.
        cache_gb: Size of the cache beyond which the longest unused results go; no limit if not given.
        on_late: What to do when a render server gives no answer in time: `wait`, take a variant that is in the
            `cache` already, `skip` the lesions, or stop with an `error`.
        deadline_s: Seconds after which the server counts as late.
        **kwargs: `p`, `copy`, `include`, `exclude`, `keep` and others of every TorchIO transform.

    Raises:
        LesionAugError: An unknown channel, region or model, or options of a cache without one. When applied: a subject
            that lacks an image or the label, images that do not match, one that cannot be worked with, or with
            `cache_only` one that is not in the cache.

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
        images: Mapping[str, str] | Sequence[str] = IMAGES,
        label: str = "lesion",
        *,
        num_lesions: int | tuple[int, int] | Literal["patients"] | None = None,
        load_ml: float | tuple[float, float] | None = None,
        diameter_mm: tuple[float, float] | None = None,
        regions: str | Sequence[str] | None = None,
        contrast: float | tuple[float, float] = 1.0,
        overlap: bool = False,
        halo: bool = True,
        gate: bool = True,
        eligible: str | None = None,
        brain_mask: str | None = None,
        anatomy: str | None = None,
        lesion_value: float | None = None,
        on_bad_scan: OnBadScan = "error",
        model: str = "default",
        diffmask: str | Path | None = None,
        lefusion: str | Path | None = None,
        prior: str | Path | None = None,
        device: str = "cpu",
        num_steps: int | None = None,
        create_label: bool = False,
        cache: str | Path | None = None,
        variants: int = 20,
        cache_only: bool = False,
        cache_gb: float | None = None,
        on_late: OnLate = "wait",
        deadline_s: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        models = {"model": model, "diffmask": plain_path(diffmask), "lefusion": plain_path(lefusion)}
        work = {"device": str(device), "num_steps": num_steps}
        kept = {"cache": plain_path(cache), "cache_only": cache_only, "cache_gb": cache_gb}
        names = {"images": images_by_channel(images), "label": label, "eligible": eligible}
        names |= {"create_label": create_label, "brain_mask": brain_mask, "anatomy": anatomy}
        names |= {"lesion_value": lesion_value}
        self.keys = SubjectKeys(**names)
        self.augmenter = lesion_augmenter(
            num_lesions=num_lesions,
            load_ml=load_ml,
            diameter_mm=diameter_mm,
            regions=regions,
            contrast=contrast,
            overlap=overlap,
            halo=halo,
            gate=gate,
            prior=prior,
            variants=variants,
            on_bad_scan=on_bad_scan,
            on_late=on_late,
            deadline_s=deadline_s,
            **models,
            **work,
            **kept,
        )
        self.replaying: dict[str, Any] = {**names, **models, **work, **kept}

    def __call__(self, data: Any) -> Any:
        """Apply with probability `p`; see `torchio.Transform`."""
        # Also subjects that `p` skips need the label: a loader collates the keys of a batch's first subject.
        return super().__call__(self.keys.with_label(data) if isinstance(data, tio.Subject) else data)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Plan, render, and leave a `RenderMSLesions` with the plan in the history."""
        with np.errstate(**FLOATING):
            parts = self._parts(subject)
            plan, change = self.augmenter(parts, _draw)
            self.keys.write(subject, parts, change, in_place=self.copy)
        render = self._replay(plan)
        # Not called but recorded, because TorchIO's call would copy the subject once more.
        subject.add_transform(render, render._get_reproducing_arguments())
        return subject

    def fill(self, subject: tio.Subject) -> Iterator[bool]:
        """Put the variants of a subject into the cache, one at a time, where they are not there yet.

        Args:
            subject: As this transform will get it, after whatever comes before; not changed.

        Yields:
            For each variant, whether it was rendered now.

        Raises:
            LesionAugError: There is no cache, or the subject cannot be worked with.
        """
        yield from self.augmenter.fill(self._parts(self.keys.with_label(subject)))

    def _parts(self, subject: tio.Subject) -> ScanParts:
        return self.keys.parts(subject, self.get_images_dict(subject))

    def _replay(self, plan: LesionPlan) -> RenderMSLesions:
        base: dict[str, Any] = self._get_base_args()
        return RenderMSLesions(plan.to_dict(), self.augmenter.rendering.choice.digests(), **self.replaying, **base)


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))
