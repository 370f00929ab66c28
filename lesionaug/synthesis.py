"""Plan, then render: a scan in, the same scan with new lesions out.

scan ──► plan ──────► render ─────────────────────────► scan
LesionPrior  cut patches → Renderer → paste    image changed only inside new lesions and their halos
+ generator                                    label = old lesions + new lesions
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lesionaug.anatomy.regions import JUXTACORTICAL, PERIVENTRICULAR
from lesionaug.intensity import Scale, robust_scale, surrounding_level
from lesionaug.patches import PatchGrid, before_slices, cut, cut_mask, model_lengths, uncut, uncut_mask
from lesionaug.plan_options import PlanOptions
from lesionaug.prior import LesionPrior
from lesionaug.rendering import (
    DiffusionRenderer,
    LesionRequest,
    Progress,
    RenderedLesion,
    Renderer,
    RenderRequest,
    contrasts,
)
from lesionaug.scan import LesionPlan, LesionSpec, Scan
from lesionaug.threads import torch_threads
from lesionaug.types import Instances, Mask, Volume, triple

COARSE = 0.67  # patch voxels per scan voxel, inverted: 1.5 mm and more

STRENGTH = (0.3, 5.0)
"""Bounds of the factor that gives a label in thick slices its contrast: what hardly reaches a slice stays dim there."""

FAINTEST = 0.01
"""Units of the scan's robust scale below which the tail of a halo is left out."""


@dataclass(frozen=True)
class LesionSynthesizer:
    """Puts lesions into scans.

    Args:
        prior: How many, how large, where and how bright.
        renderer: Draws and paints them.
    """

    prior: LesionPrior
    renderer: Renderer

    @torch_threads(1)
    def plan(self, scan: Scan, generator: torch.Generator, options: PlanOptions | None = None) -> LesionPlan:
        """Draw the lesions of one scan; cheap.

        Args:
            scan: Where they are to go.
            generator: On the CPU; all that is random comes from it.
            options: What the user fixed instead of leaving it to the prior.
        """
        return self.prior.sample(scan, generator, options or PlanOptions())

    def render(self, scan: Scan, plan: LesionPlan, progress: Progress | None = None) -> Scan:
        """The scan with the plan's lesions; depends on nothing but its arguments.

        Every voxel outside the new lesions, and outside their halos where they have any, keeps its bits. Lesions are
        painted into the scan as it was given, not into each other; where two meet, a voxel shows what changes it most,
        so that they grow together without a seam.
        """
        return self.render_instances(scan, plan, progress)[0]

    def render_instances(
        self, scan: Scan, plan: LesionPlan, progress: Progress | None = None
    ) -> tuple[Scan, Instances]:
        """What `render` gives, and the number of each new lesion in the plan, from 1, at the voxels of its label.

        A lesion that the gate has left out has no voxel.
        """
        if not plan.lesions:
            return scan, torch.zeros(scan.lesion_mask.shape, dtype=torch.int32)
        scale = robust_scale(scan.image, scan.brain)
        request, grids = self.request(scan, plan, scale)
        return paste(scan, self.renderer(request, progress), request, grids, scale, paintable(scan, plan))

    @torch_threads(1)
    def request(self, scan: Scan, plan: LesionPlan, scale: Scale) -> tuple[RenderRequest, list[PatchGrid]]:
        """What the renderer needs to know of the scan, and where its patches lie."""
        allowed = ((scan.eligible > 0) | scan.lesion_mask) & paintable(scan, plan)
        scaling = model_lengths(scan.spacing_mm, self.renderer.spacing_mm)
        specs = [_scaled(spec, scaling * before_slices(spec.diameter_mm, scan.spacing_mm)) for spec in plan]
        grids = [self._grid(scan, spec) for spec in specs]
        near = torch.cat([scan.regions == PERIVENTRICULAR, scan.regions == JUXTACORTICAL])
        centred = scan.image.float() - scale.center[:, None, None, None]
        lesions = tuple(
            LesionRequest(
                background=cut(centred, grid) / scale.spread[:, None, None, None],
                brain=cut_mask(scan.brain, grid),
                allowed=cut_mask(allowed, grid),
                near=cut_mask(near, grid),
                spec=spec,
                coarse=triple(step < COARSE for step in grid.step),
            )
            for grid, spec in zip(grids, specs, strict=True)
        )
        return RenderRequest(scan.channels, lesions), grids

    def _grid(self, scan: Scan, spec: LesionSpec) -> PatchGrid:
        shape = self.renderer.patch_shape(spec.extent_mm)
        return PatchGrid.around(spec.center, shape, scan.spacing_mm, self.renderer.spacing_mm)


def left_out(plan: LesionPlan, instances: Instances) -> tuple[int, ...]:
    """Places in the plan of lesions that the gate has left out, from 0."""
    there = set(instances.unique().tolist())
    return tuple(index for index in range(len(plan)) if index + 1 not in there)


@torch_threads(1)
def paintable(scan: Scan, plan: LesionPlan) -> Mask:
    """Voxels that new lesions may change: the brain, and old lesions only if the plan says so."""
    return scan.brain if plan.overlap else scan.brain & ~scan.lesion_mask


@torch_threads(1)
def paste(
    scan: Scan,
    rendered: tuple[RenderedLesion, ...],
    request: RenderRequest,
    grids: list[PatchGrid],
    scale: Scale,
    free: Mask,
) -> tuple[Scan, Instances]:
    """Write rendered lesions into a copy of the scan, and number their voxels: the label is where there is a number."""
    image, instances = scan.image.clone(), torch.zeros(scan.lesion_mask.shape, dtype=torch.int32)
    strongest = torch.zeros(scan.lesion_mask.shape)
    for number, (lesion, asked, grid) in enumerate(zip(rendered, request.lesions, grids, strict=True), start=1):
        if not lesion.mask.any():
            continue
        mask, box = uncut_mask(lesion.mask, grid, scan.shape, within=lesion.full_grown)
        # The change, not the value, is brought to the scan's voxels: its own detail stays where patches are coarser.
        change, _ = uncut(lesion.image - asked.background, grid, scan.shape)
        here = (slice(None), *box)
        mask = mask & free[here]
        if not grid.is_exact and mask.any():
            change = change * _strength(
                asked, request.channels, lesion.mask, scale.normalise(scan.image[here].float()), change, mask
            )
        reach = mask | (_visible(change) & free[here]) if asked.spec.halo else mask
        strength = change.abs().amax(dim=0, keepdim=True)
        stronger = reach & (strength > strongest[here])
        changed = scan.image[here].float() + change * scale.spread[:, None, None, None]
        image[here] = torch.where(stronger, changed.to(image.dtype), image[here])
        strongest[here] = torch.where(stronger, strength, strongest[here])
        instances[here] = torch.where(mask & (instances[here] == 0), number, instances[here])
    return replace(scan, image=image, lesion_mask=scan.lesion_mask | (instances > 0)), instances


def _visible(change: Volume) -> Mask:
    return (change.abs() > FAINTEST).any(dim=0, keepdim=True)


def _strength(
    asked: LesionRequest, channels: tuple[str, ...], drawn: Mask, before: Volume, change: Volume, label: Mask
) -> Tensor:
    """Factor per channel on a change, shape `(channels, 1, 1, 1)`, that gives the label the contrast of the plan.

    A voxel of a thick slice holds a part of a lesion and shows a part of its contrast, and a label there is another
    than in the patch.

    Args:
        asked: The lesion, with the tissue around it.
        channels: Of the scan.
        drawn: Its mask in the patch.
        before: The scan where the lesion goes, robust units.
        change: To it.
        label: Where the scan's label will be.
    """
    level = surrounding_level(asked.background, drawn, asked.brain & ~drawn)
    wanted = level + contrasts(asked.spec, channels) - before[:, label[0]].mean(dim=1)
    made = change[:, label[0]].mean(dim=1)
    factor = torch.where(made.abs() > FAINTEST, wanted / made, 1.0)
    return factor.clamp(*STRENGTH)[:, None, None, None]


def _scaled(spec: LesionSpec, factor: float) -> LesionSpec:
    return replace(spec, diameter_mm=factor * spec.diameter_mm, extent_mm=factor * spec.extent_mm)


def load_synthesizer(
    model: str = "default",
    *,
    diffmask: str | Path | None = None,
    lefusion: str | Path | None = None,
    prior: str | Path | None = None,
    device: torch.device | str = "cpu",
    num_steps: int | None = None,
) -> LesionSynthesizer:
    """A synthesiser with packaged or own weights.

    Args:
        model: Packaged pair of models: `default` (diffusion) or `parametric` (ellipsoids of constant contrast, the
            baseline without a network).
        diffmask: Folder of a converted or trained mask model, instead of the packaged one.
        lefusion: Folder of a converted or trained inpainting model, likewise.
        prior: JSON file written by `lesionaug prior fit`, instead of the packaged prior.
        device: Where the networks run.
        num_steps: Network calls per lesion, instead of each model's own number.

    Raises:
        LesionAugError: An unknown model, missing weights, or a device that is not there.
    """
    from lesionaug.models.registry import load_inpainter, load_mask_generator

    renderer = DiffusionRenderer(
        masks=load_mask_generator(diffmask or model, device=device, num_steps=num_steps),
        inpainter=load_inpainter(lefusion or model, device=device, num_steps=num_steps),
        device=device,
    )
    return LesionSynthesizer(prior=LesionPrior.load(prior), renderer=renderer)
