"""From a request to rendered lesions. A request is all a renderer may depend on: patches and specifications.

    RenderRequest ──► MaskGenerator ──► gate ──► Inpainter ──► RenderedLesions
                          ▲              │ drawn again
                          └──────────────┘

The same request gives the same result from every renderer, in this process, in a server or out of a cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lesionaug.errors import LesionAugError
from lesionaug.gate import TRIES, is_good
from lesionaug.models.base import Inpainter, MaskConditions, MaskGenerator, PaintConditions
from lesionaug.models.grain import scanner_blur
from lesionaug.models.growth import grown_parts
from lesionaug.scan import LesionSpec
from lesionaug.threads import side_by_side
from lesionaug.types import Mask, Patches, PatchMasks, Volume

Progress = Callable[[int], None]

CONTEXT = 6
"""Voxels that a patch is wider than its lesion: three of the tissue around on either side."""


@dataclass(frozen=True)
class LesionRequest:
    """One patch, with the lesion to be in its middle.

    Args:
        background: Healthy tissue in units of the scan's robust scale.
        brain: Brain tissue and ventricles.
        allowed: Voxels the lesion may use.
        near: Periventricular and juxtacortical tissue, shape `(2, i, j, k)`.
        spec: The lesion.
        coarse: Axes along which the scan's voxels are larger than those of the patch.
    """

    background: Volume
    brain: Mask
    allowed: Mask
    near: Bool[Tensor, "2 i j k"]
    spec: LesionSpec
    coarse: tuple[bool, bool, bool] = (False, False, False)


@dataclass(frozen=True)
class RenderRequest:
    """The lesions of one scan; patches may differ in shape."""

    channels: tuple[str, ...]
    lesions: tuple[LesionRequest, ...]


@dataclass(frozen=True)
class RenderedLesion:
    """A lesion in its patch: the mask, and the background with the lesion.

    Outside the mask intensities count only where the lesion may have a halo, and are the background's elsewhere.

    Args:
        mask: Of the lesion as it is; empty where the gate has left it out.
        full_grown: Of the lesion when it is full-grown; holds `mask`.
        image: Background and lesion.
    """

    mask: Mask
    full_grown: Mask
    image: Volume


@runtime_checkable
class Renderer(Protocol):
    """Renders requests; `patch_shape` says how large a patch it wants for a lesion."""

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts that can be painted."""
        ...

    def patch_shape(self, extent_mm: float) -> tuple[int, int, int]:
        """Voxels of the patch for a control sphere of this diameter."""
        ...

    def __call__(self, request: RenderRequest, progress: Progress | None = None) -> tuple[RenderedLesion, ...]:
        """One rendered lesion per request, in order."""
        ...


@dataclass(frozen=True)
class DiffusionRenderer:
    """Renders in this process; on a CPU as many lesions at once as torch has threads, whose number no bit depends on.

    Args:
        masks: Draws the lesion masks.
        inpainter: Paints their tissue.
        device: Where both models live.
        max_batch: Patches per network call. One makes a lesion's bits independent of its company, and costs little on
            a CPU; on a GPU results then agree to rounding.
    """

    masks: MaskGenerator
    inpainter: Inpainter
    device: torch.device | str = "cpu"
    max_batch: int = 1

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.inpainter.spacing_mm

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts that can be painted."""
        return self.inpainter.channels

    def patch_shape(self, extent_mm: float) -> tuple[int, int, int]:
        """Smallest shape that both models know and that holds the lesion with the tissue around it."""
        need = extent_mm / self.spacing_mm + CONTEXT
        shapes = [_smallest(model.patch_shapes, need) for model in (self.masks, self.inpainter)]
        i, j, k = (max(sizes) for sizes in zip(*shapes, strict=True))
        return i, j, k

    def __call__(self, request: RenderRequest, progress: Progress | None = None) -> tuple[RenderedLesion, ...]:
        """See `Renderer`."""
        self._check(request)
        rendered: dict[int, RenderedLesion] = {}
        batches = _batches(request.lesions, self.max_batch)
        at_once = None if torch.device(self.device).type == "cpu" else 1
        with closing(side_by_side(lambda indices: self._render(request, indices), batches, at_once)) as results:
            for indices, lesions in zip(batches, results, strict=True):
                rendered.update(zip(indices, lesions, strict=True))
                if progress:
                    progress(len(indices))
        return tuple(rendered[index] for index in range(len(request.lesions)))

    def _check(self, request: RenderRequest) -> None:
        unknown = set(request.channels) - set(self.channels)
        if unknown:
            raise LesionAugError(
                f"Expected channels among {', '.join(self.channels)}, got {', '.join(sorted(unknown))}; "
                "leave them out or choose another model"
            )

    @torch.inference_mode()
    def _render(self, request: RenderRequest, indices: Sequence[int]) -> list[RenderedLesion]:
        """Masks are drawn until they pass the gate, a few times at most; what never does is left out."""
        batch, channels = [request.lesions[index] for index in indices], request.channels
        masks = [torch.zeros_like(lesion.brain) for lesion in batch]
        generators: list[torch.Generator] = [torch.Generator() for _ in batch]
        missing = list(range(len(batch)))
        for attempt in range(TRIES):
            asked = [_tighter(batch[index], attempt) for index in missing]
            drawn_with = [torch.Generator().manual_seed(_seed(lesion.spec, attempt)) for lesion in asked]
            drawn = self._draw(asked, channels, drawn_with)
            good = [_accepted(mask, lesion, channels) for mask, lesion in zip(drawn, asked, strict=True)]
            for index, mask, generator, accepted in zip(missing, drawn, drawn_with, good, strict=True):
                if accepted:
                    masks[index], generators[index] = mask, generator
            missing = [index for index, accepted in zip(missing, good, strict=True) if not accepted]
            if not missing:
                break
        rendered = [RenderedLesion(mask, mask, lesion.background) for mask, lesion in zip(masks, batch, strict=True)]
        kept = [index for index in range(len(batch)) if index not in missing]
        if kept:
            painted = self._paint(
                [batch[i] for i in kept], [masks[i] for i in kept], channels, [generators[i] for i in kept]
            )
            for index, lesion in zip(kept, painted, strict=True):
                rendered[index] = lesion
        return rendered

    def _draw(
        self, batch: Sequence[LesionRequest], channels: tuple[str, ...], generators: Sequence[torch.Generator]
    ) -> list[Mask]:
        """Full-grown masks."""
        brain, near = self._stack(lesion.brain for lesion in batch), self._stack(lesion.near for lesion in batch)
        background = self._stack(lesion.background[:1] for lesion in batch)
        masks = self.masks(
            MaskConditions(
                extent_mm=_single([self._extent_mm(lesion) for lesion in batch]),
                volume_mm3=_single([lesion.spec.volume_mm3 for lesion in batch]),
                allowed=self._stack(lesion.allowed for lesion in batch),
                near_ventricles=near[:, :1],
                near_cortex=near[:, 1:],
                blur=_blur(background, brain, _middle(brain), [lesion.coarse for lesion in batch])[:, 0],
            ),
            generators,
        )
        return list(masks.cpu())

    def _extent_mm(self, lesion: LesionRequest) -> float:
        """Of the control sphere, as far as its patch holds it: no lesion is cut by a patch."""
        return min(lesion.spec.extent_mm, (min(lesion.brain.shape[1:]) - CONTEXT) * self.spacing_mm)

    def _paint(
        self,
        batch: Sequence[LesionRequest],
        full_grown: Sequence[Mask],
        channels: tuple[str, ...],
        generators: Sequence[torch.Generator],
    ) -> list[RenderedLesion]:
        mask = grown_parts(torch.stack(list(full_grown)), [lesion.spec.grown for lesion in batch])
        background, brain = (
            self._stack(parts) for parts in zip(*((b.background, b.brain) for b in batch), strict=True)
        )
        there = self._stack(mask)
        image = self.inpainter(
            PaintConditions(
                background=background,
                channels=channels,
                mask=there,
                brain=brain,
                halo=torch.tensor([lesion.spec.halo for lesion in batch]),
                contrast=torch.stack([contrasts(lesion.spec, channels) for lesion in batch]).to(self.device),
                blur=_blur(background, brain & ~there, there, [lesion.coarse for lesion in batch]),
            ),
            generators,
        )
        return [RenderedLesion(*parts) for parts in zip(mask, full_grown, image.float().cpu(), strict=True)]

    def _stack(self, patches) -> Tensor:
        stacked, device = torch.stack(list(patches)), torch.device(self.device)
        if device.type != "cuda":
            return stacked.to(device)
        # Pinned memory is copied while the GPU goes on computing, and torch keeps it for the next batch.
        return stacked.pin_memory().to(device, non_blocking=True)


def _single(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _blur(
    background: Patches, tissue: PatchMasks, around: PatchMasks, coarse: Sequence[tuple[bool, ...]]
) -> Float[Tensor, "batch channels 3"]:
    """How blurred the scan is around lesions, in mm.

    Along axes whose voxels are coarser than the patch's, what is painted is averaged over them afterwards. There it is
    as sharp as along the others.
    """
    widths = scanner_blur(background, tissue, around)
    thick = torch.tensor(coarse, device=widths.device)[:, None]
    fine = torch.where(thick, torch.inf, widths).amin(dim=2, keepdim=True)
    return torch.where(thick & fine.isfinite(), fine, widths)


def _middle(brain: PatchMasks) -> PatchMasks:
    """The voxels around the centre."""
    middle = torch.zeros_like(brain)
    middle[(..., *(slice(n // 2 - 2, n // 2 + 3) for n in brain.shape[2:]))] = True
    return middle


def _smallest(shapes: Sequence[tuple[int, int, int]], need: float) -> tuple[int, int, int]:
    return next((shape for shape in shapes if min(shape) >= need), shapes[-1])


def _batches(lesions: Sequence[LesionRequest], size: int) -> list[list[int]]:
    """Indices of lesions whose patches have one shape, in groups of at most `size`."""
    by_shape = defaultdict(list)
    for index, lesion in enumerate(lesions):
        by_shape[tuple(lesion.background.shape)].append(index)
    return [group[start : start + size] for group in by_shape.values() for start in range(0, len(group), size)]


TIGHTER = 0.8  # control sphere of an attempt over that of the one before
LEAST_EXTENT = 1.2  # of a control sphere, over the diameter of the lesion's ball
SEEDS = 2**63 - 1
STRIDE = 7_640_891_576_956_012_809
"""Between the seeds of two attempts; odd, and 2**63 over the golden ratio."""


def _seed(spec: LesionSpec, attempt: int) -> int:
    return (spec.seed + attempt * STRIDE) % SEEDS


def _tighter(lesion: LesionRequest, attempt: int) -> LesionRequest:
    """In a smaller control sphere each time, as what fails is spread too far more often than anything else."""
    spec = lesion.spec
    extent = min(spec.extent_mm, max(spec.extent_mm * TIGHTER**attempt, LEAST_EXTENT * spec.diameter_mm))
    return replace(lesion, spec=replace(spec, extent_mm=extent))


def _accepted(mask: Mask, lesion: LesionRequest, channels: tuple[str, ...]) -> bool:
    contrast = contrasts(lesion.spec, channels)
    wanted = lesion.spec.volume_mm3
    return not lesion.spec.gate or is_good(mask, wanted, lesion.background, lesion.brain, contrast, channels)


def contrasts(spec: LesionSpec, channels: tuple[str, ...]) -> Tensor:
    """Of a lesion in these channels, shape `(channels,)`.

    Raises:
        LesionAugError: The plan does not have them all.
    """
    known = dict(spec.contrast)
    missing = [channel for channel in channels if channel not in known]
    if missing:
        raise LesionAugError(
            f"Expected a contrast for {', '.join(missing)} in the plan, got {sorted(known)}; plan again"
        )
    return torch.tensor([known[channel] for channel in channels], dtype=torch.float32)
