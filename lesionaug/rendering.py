"""From a request to rendered lesions. A request is all a renderer may depend on: patches and specifications.

    RenderRequest ──► MaskGenerator ──► Inpainter ──► RenderedLesions

The same request gives the same result from every renderer, in this process, in a server or out of a cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.errors import LesionAugError
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

    At model spacing, or coarser where the lesion would not fit any of the model's patches, see `patch_zoom`.

    Args:
        background: Healthy tissue in units of the scan's robust scale.
        brain: Brain tissue and ventricles.
        allowed: Voxels the lesion may use.
        spec: The lesion.
    """

    background: Volume
    brain: Mask
    allowed: Mask
    spec: LesionSpec


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
        mask: Of the lesion as it is.
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
        batch, channels = [request.lesions[index] for index in indices], request.channels
        generators = [torch.Generator().manual_seed(lesion.spec.seed) for lesion in batch]
        brain = self._stack(lesion.brain for lesion in batch)
        background = self._stack(lesion.background for lesion in batch)
        specs = [lesion.spec for lesion in batch]
        zoom = [patch_zoom(spec.extent_mm, brain.shape[2:], self.spacing_mm) for spec in specs]
        full_grown = self.masks(
            MaskConditions(
                extent_mm=_single([spec.extent_mm / z for spec, z in zip(specs, zoom, strict=True)]),
                volume_mm3=_single([spec.volume_mm3 / z**3 for spec, z in zip(specs, zoom, strict=True)]),
                allowed=self._stack(lesion.allowed for lesion in batch),
                blur=_blur_in_the_middle(background, brain),
            ),
            generators,
        )
        mask = grown_parts(full_grown, [lesion.spec.grown for lesion in batch])
        image = self.inpainter(
            PaintConditions(
                background=background,
                channels=channels,
                mask=mask,
                brain=brain,
                halo=torch.tensor([lesion.spec.halo for lesion in batch]),
                contrast=torch.stack([_contrast(lesion.spec, channels) for lesion in batch]).to(self.device),
            ),
            generators,
        )
        parts = zip(mask.cpu(), full_grown.cpu(), image.float().cpu(), strict=True)
        return [RenderedLesion(*part) for part in parts]

    def _stack(self, patches) -> Tensor:
        stacked, device = torch.stack(list(patches)), torch.device(self.device)
        if device.type != "cuda":
            return stacked.to(device)
        # Pinned memory is copied while the GPU goes on computing, and torch keeps it for the next batch.
        return stacked.pin_memory().to(device, non_blocking=True)


def patch_zoom(extent_mm: float, shape: Sequence[int], spacing_mm: float) -> float:
    """How much coarser than the model's the voxels of a patch are: 1, but for lesions that would not fit.

    A confluent lesion is drawn and painted like a smaller one, on larger voxels. The change that it makes is brought to
    the scan's voxels, whose own detail stays.

    Args:
        extent_mm: Diameter of the control sphere.
        shape: Voxels of the patch along each axis.
        spacing_mm: Of the model.
    """
    return max(1.0, extent_mm / spacing_mm / (min(shape) - CONTEXT))


def _single(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _blur_in_the_middle(background: Patches, brain: PatchMasks) -> Float[Tensor, "batch 3"]:
    """Blur of the scan's first channel along each axis around the centre voxels."""
    middle = torch.zeros_like(brain)
    middle[(..., *(slice(n // 2 - 2, n // 2 + 3) for n in brain.shape[2:]))] = True
    return scanner_blur(background[:, :1], brain, middle)[:, 0]


def _smallest(shapes: Sequence[tuple[int, int, int]], need: float) -> tuple[int, int, int]:
    return next((shape for shape in shapes if min(shape) >= need), shapes[-1])


def _batches(lesions: Sequence[LesionRequest], size: int) -> list[list[int]]:
    """Indices of lesions whose patches have one shape, in groups of at most `size`."""
    by_shape = defaultdict(list)
    for index, lesion in enumerate(lesions):
        by_shape[tuple(lesion.background.shape)].append(index)
    return [group[start : start + size] for group in by_shape.values() for start in range(0, len(group), size)]


def _contrast(spec: LesionSpec, channels: tuple[str, ...]) -> Tensor:
    known = dict(spec.contrast)
    missing = [channel for channel in channels if channel not in known]
    if missing:
        raise LesionAugError(
            f"Expected a contrast for {', '.join(missing)} in the plan, got {sorted(known)}; plan again"
        )
    return torch.tensor([known[channel] for channel in channels], dtype=torch.float32)
