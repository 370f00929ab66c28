"""Lesions while the network trains: the first of nnU-Net's training transforms, which asks a render server.

crop + map ──► Scan ──NumPy's seed──► plan ──► render server ──► crop with lesions, label with their number
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.ledger import Ledger
from lesionaug.integrations.nnunet.maps import Codes, decoded
from torch import Tensor

from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.loaded import loaded_prior
from lesionaug.plan_options import PlanOptions
from lesionaug.rendering import Renderer
from lesionaug.room import in_regions
from lesionaug.scan import Scan
from lesionaug.scan_parts import LEAST_BRAIN_ML
from lesionaug.serving.errors import LateRenderError, RemoteRenderError
from lesionaug.synthesis import LesionSynthesizer

FAINT = 1e-9
"""Weight outside of the middle; the least within is that of `lesionaug.integrations.nnunet.maps.LEVELS`."""

Image = Float[Tensor, "channels i j k"]
Segmentation = Int16[Tensor, "1 i j k"]


@dataclass(frozen=True)
class LiveLesions:
    """Adds lesions to nnU-Net's crops before anything else is done to them.

    It needs the second channel of the segmentation, `lesionaug.integrations.nnunet.maps`, and takes it away. All that
    is random comes from NumPy, whose state differs between workers; torch's is the same in all that were forked.

    Args:
        roles: Of channels and labels.
        spacing_mm: Voxel size of the configuration.
        kept: Shape that the later crop keeps of the middle; lesions are centred there.
        options: What is not left to the prior.
        prior: File of another prior.
        renderer: Draws and paints.
        lenient: Whether a crop goes without lesions when the renderer is late or refuses.
        chance: Probability that a crop gets lesions, asked each time.
        ledger: Told about each crop that is to get lesions.
    """

    roles: Roles
    spacing_mm: tuple[float, float, float]
    kept: tuple[int, int, int]
    options: PlanOptions
    prior: str | None
    renderer: Renderer
    lenient: bool
    chance: Callable[[], float]
    ledger: Ledger

    def __call__(self, **sample: Any) -> dict[str, Any]:
        """The sample, with lesions or without.

        Args:
            **sample: `image` of shape `(channels, i, j, k)`; `segmentation` with label, map and, in a cascade, the
                segmentation of the previous stage.
        """
        label, codes, previous = sample["segmentation"].split([1, 1, len(sample["segmentation"]) - 2])
        if np.random.uniform() < self.chance():
            seed = int(np.random.randint(2**63 - 1, dtype=np.int64))
            sample["image"], label = self.painted(sample["image"], label, codes, seed)
        return {**sample, "segmentation": torch.cat([label, previous])}

    def painted(self, image: Image, label: Segmentation, codes: Codes, seed: int) -> tuple[Image, Segmentation]:
        """Image and label with the lesions of a seed; the same ones where there is no place for any.

        Args:
            image: All channels of nnU-Net, in its units.
            label: Below 0 outside the scan.
            codes: Map of the crop.
            seed: Of the plan.

        Raises:
            LesionAugError: The renderer is late or refuses, and that is not to be skipped.
            RemoteRenderError: The models failed in the server, likewise.
        """
        scan = self._scan(image, label, codes)
        reason = self._nowhere(scan)
        if reason:
            self.ledger.add(none=reason, seed=seed)
            return image, label
        try:
            after, count = self._rendered(scan, seed)
        except (LesionAugError, RemoteRenderError) as error:
            if not self.lenient:
                raise
            self.ledger.add(none=_in_short(error), seed=seed, error=str(error))
            return image, label
        new = after.lesion_mask & ~scan.lesion_mask
        self.ledger.add(lesions=count, seed=seed, voxels=int(new.sum()))
        image = image.index_copy(0, torch.tensor(self.roles.indices), after.image.to(image.dtype))
        return image, label.masked_fill(new & self.roles.writable(label), self.roles.lesion)

    def _scan(self, image: Image, label: Segmentation, codes: Codes) -> Scan:
        anatomy = decoded(codes)
        # A lesion may reach out of the middle, so voxels there stay eligible; hardly any is centred there.
        weight = torch.full_like(anatomy.eligible, FAINT)
        weight[(slice(None), *_middle(label.shape[1:], self.kept))] = 1
        return Scan(
            image=image[self.roles.indices],
            channels=self.roles.names,
            lesion_mask=self.roles.lesion_mask(label),
            brain=anatomy.brain & (label >= 0),
            eligible=anatomy.eligible * weight * self.roles.writable(label),
            regions=anatomy.regions,
            spacing_mm=self.spacing_mm,
        )

    def _nowhere(self, scan: Scan) -> str | None:
        """Why there is no place for a lesion."""
        if int(scan.brain.sum()) * scan.voxel_mm3 < 1000 * LEAST_BRAIN_ML:
            return "little brain in the crop"
        free = (scan.eligible > FAINT) & scan.brain & ~scan.lesion_mask
        if not bool(free.any()):
            return "no white matter in the middle of the crop"
        if self.options.regions and not bool((free & in_regions(scan.regions, self.options.regions)).any()):
            return "none of the regions in the middle of the crop"
        return None

    def _rendered(self, scan: Scan, seed: int) -> tuple[Scan, int]:
        synthesizer = LesionSynthesizer(loaded_prior(self.prior), self.renderer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LesionAugWarning)  # a full crop is no news, and the ledger counts
            plan = synthesizer.plan(scan, torch.Generator().manual_seed(seed), self.options)
        return synthesizer.render(scan, plan), len(plan)


def _in_short(error: Exception) -> str:
    if isinstance(error, LateRenderError):
        return "render server late"
    return "render server failed" if isinstance(error, RemoteRenderError) else "cannot be rendered"


def _middle(shape: Sequence[int], kept: Sequence[int]) -> tuple[slice, ...]:
    """Box of a shape in the middle of another; as large as that where it is larger."""
    starts = [max(n - k, 0) // 2 for n, k in zip(shape, kept, strict=True)]
    return tuple(slice(start, start + k) for start, k in zip(starts, kept, strict=True))
