"""`lesionaug pretrain diffmask --data STORE --output RUN`: train the default DiffMask on lesion masks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lesionaug.pretrain.augment import chance, draw, elastic, turn
from lesionaug.pretrain.course import Course, device_of, teach, to_device
from lesionaug.pretrain.division import divide
from lesionaug.pretrain.fit import FitConfig
from lesionaug.pretrain.options import Split, Store, run_training
from lesionaug.pretrain.pages import examples, mask_page
from lesionaug.pretrain.patches import NEAR_CORTEX, NEAR_VENTRICLES, THIS, TISSUE, PatchGroup
from lesionaug.pretrain.warm_start import start_from
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lesionaug.diffusion.edm import Preconditioning, training_sigmas
from lesionaug.models.base import MaskConditions, patch_offsets_mm
from lesionaug.models.diffmask import (
    FIELD_LIMIT,
    FIELD_MEAN,
    USUAL_SLACK,
    DiffMask,
    DiffMaskConfig,
    DrawProblem,
    pose,
    predictor,
)
from lesionaug.models.few_steps import network_precision
from lesionaug.models.forms import FORMS, Forms, form_of, size_and_stretch
from lesionaug.networks.compact import CompactUNet, channels_last
from lesionaug.prior_fit import control_extent_mm

BATCH = {16: 12, 24: 5, 32: 2, 48: 1}
"""Patches per step by their size: about the same work."""
BEND_VOXELS = 0.6


@dataclass(frozen=True)
class DiffMaskTraining:
    """Train DiffMask on a patch store.

    Args:
        patches: Store; images are not needed.
        output: Folder of checkpoint, log and, at the end, the model.
        split: Patients to learn from and to hold out.
        start: Model whose weights to start from: `default`, the packaged one, or a folder.
        hold_out: Patients not to learn from; their loss is logged.
        batch: Factor on the patches per step, which are 12 of 16 voxels, 5 of 24, 2 of 32, 1 of 48.
        elastic: Share of lesions that are bent, of those whose anatomy is not known.
        forget: Probability that a lesion's anatomy is not told (condition dropout).
        sigma_mean: Of the logarithm of the noise levels.
        sigma_spread: Likewise.
        model: Network and sampler.
        fit: How long and how fast.
    """

    patches: Store
    output: Path
    split: Split = None
    start: Path | None = None
    hold_out: tuple[str, ...] = ()
    batch: float = 1.0
    elastic: float = 0.3
    forget: float = 0.15
    sigma_mean: float = -0.4
    sigma_spread: float = 1.0
    model: DiffMaskConfig = field(default_factory=DiffMaskConfig)
    fit: FitConfig = field(default_factory=FitConfig)

    def run(self) -> None:
        """Train."""
        teach(self)

    def course(self) -> Course[CompactUNet]:
        """What there is to learn."""
        return course(self)


def patches_per_step(size: int, factor: float) -> int:
    """How many patches of a size make a batch."""
    return max(1, round(BATCH[size] * factor))


def distance_field(mask: np.ndarray) -> np.ndarray:
    """Signed distance to the surface, positive inside, cut off at `FIELD_LIMIT` voxels, scaled to one and centred."""
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    distance = inside - outside - np.where(mask, 0.5, -0.5)
    return (np.clip(distance / FIELD_LIMIT, -1, 1) - FIELD_MEAN).astype(np.float32)


def extent_of(mask: Tensor) -> float:
    """Diameter in voxels of the smallest ball around the centre voxel that holds the mask."""
    distance = patch_offsets_mm(mask.shape[1:], 1.0).norm(dim=0)
    return 2 * float(distance[mask[0]].max()) + 1


class Lessons:
    """Draws batches of lesions of one patch size; sizes as frequent as in the store, large ones a little more."""

    def __init__(self, groups: list[PatchGroup], config: DiffMaskTraining) -> None:
        self.config = config
        self.labels = _by_size(groups)
        self.masks = {size: (labels & THIS) > 0 for size, labels in self.labels.items()}
        self.fields = {
            size: torch.stack([torch.from_numpy(distance_field(m[0].numpy()))[None] for m in masks])
            for size, masks in self.masks.items()
        }
        self.sizes = sorted(self.masks)
        self.weights = torch.tensor([len(self.masks[size]) ** 0.7 for size in self.sizes])

    def draw(self, generator: torch.Generator) -> tuple[DrawProblem, Tensor]:
        """What the network is told, and the distance field it is to draw."""
        size = self.sizes[int(torch.multinomial(self.weights, 1, generator=generator))]
        lesions = [self._lesion(size, generator) for _ in range(patches_per_step(size, self.config.batch))]
        mask, field_, label, known = (torch.stack(parts) for parts in zip(*lesions, strict=True))
        extent = torch.tensor([extent_of(m) for m in mask])
        form = torch.stack([form_of(m) for m in mask]) if self.config.model.told_form else None
        # A control sphere need not touch the lesion: some slack, so that the two may be drawn apart.
        slack = 2 * USUAL_SLACK * torch.rand(extent.shape, generator=generator)
        volume = mask.flatten(1).sum(dim=1).float()
        tissue, near_ventricles, near_cortex = (label & bit > 0 for bit in (TISSUE, NEAR_VENTRICLES, NEAR_CORTEX))
        allowed = tissue | ~known[:, None, None, None, None]
        conditions = MaskConditions(extent + slack, volume, allowed, near_ventricles, near_cortex)
        problem = _without_unknown(pose(conditions, 1.0, form=form), known)
        return problem, field_ * problem.room

    def forms(self) -> Tensor:
        """Volume, stretch and form of every lesion, for a model that draws forms; see `Forms`."""
        masks = [mask for masks in self.masks.values() for mask in masks]
        volume = torch.tensor([float(mask.sum()) for mask in masks])
        # As the prior measures spheres: around the centroid, not around the voxel nearest to it.
        extent = torch.tensor([control_extent_mm(mask[0].nonzero().numpy(), np.ones(3)) for mask in masks])
        return torch.cat([size_and_stretch(volume, extent), torch.stack([form_of(mask) for mask in masks])], dim=1)

    def _lesion(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index = draw(len(self.masks[size]), generator)
        parts = [self.masks[size][index], self.fields[size][index], self.labels[size][index]]
        mask, field_, label = turn(parts, generator)
        known = (label & TISSUE > 0).any() and not chance(self.config.forget, generator)
        if not known and chance(self.config.elastic, generator):
            mask, field_ = _bent(mask, field_, generator)
        return mask, field_, label * known, torch.tensor(bool(known))


def _without_unknown(problem: DrawProblem, known: Tensor) -> DrawProblem:
    """`pose` takes the anatomy of all lesions for known; here that of some is not."""
    facts = problem.facts.clone()
    facts[:, -1] = known.float()
    return replace(problem, facts=facts)


def _bent(mask: Tensor, field_: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """An elastic deformation, unless nothing is left of the lesion."""
    (bent,) = elastic([field_], generator, BEND_VOXELS)
    inside = bent + FIELD_MEAN > 0
    return (inside, bent) if inside.any() else (mask, field_)


def _by_size(groups: list[PatchGroup]) -> dict[int, Tensor]:
    sizes = sorted({group.size for group in groups})
    return {size: torch.cat([group.label for group in groups if group.size == size]) for size in sizes}


def loss_of(
    network: CompactUNet,
    problem: DrawProblem,
    clean: Tensor,
    sigma: Tensor,
    noise: Tensor,
    precondition: Preconditioning,
) -> Tensor:
    """Weighted squared error of the denoiser inside the control sphere, each lesion counting the same."""
    x = clean + sigma[:, None, None, None, None] * noise * problem.room
    with network_precision(x.device):
        denoised = precondition.denoise(predictor(network, problem), x, sigma)
    error = precondition.weight(sigma, x) * (denoised.float() - clean) ** 2 * problem.room
    return (error.flatten(1).sum(dim=1) / problem.room.flatten(1).sum(dim=1)).mean()


def draw_loss(config: DiffMaskTraining, lessons: Lessons, network: CompactUNet, generator: torch.Generator) -> Tensor:
    """Loss of one drawn batch."""
    device, precondition = device_of(network), Preconditioning(config.model.sigma_data)
    problem, clean = lessons.draw(generator)
    sigma = training_sigmas(len(clean), config.sigma_mean, config.sigma_spread, generator)
    noise = torch.randn(clean.shape, generator=generator)
    problem, clean, sigma, noise = (to_device(part, device) for part in (problem, clean, sigma, noise))
    return loss_of(network, problem, clean, sigma, noise, precondition)


def course(config: DiffMaskTraining) -> Course[CompactUNet]:
    """What there is to learn."""
    learned, held = divide(config.patches, config.split, config.hold_out, healthy=False)
    lessons, plain = Lessons(learned, config), replace(config, elastic=0.0)
    torch.manual_seed(config.fit.seed)
    network = channels_last(CompactUNet(config.model.network))
    if config.start:
        start_from(network, config.start, "diffmask")
    extra = {FORMS: lessons.forms()} if config.model.told_form else {}
    chosen, heading = examples(held or learned), "held out" if held else "learned from"

    def page(average: CompactUNet) -> np.ndarray:
        forms = Forms(extra[FORMS]) if extra else None
        model = DiffMask(average, config.model, config.model.num_steps, forms)
        return mask_page(model, chosen, heading, device_of(average))

    return Course(
        network=network,
        loss=partial(draw_loss, config, lessons),
        held_loss=partial(draw_loss, plain, Lessons(held, plain)) if held else None,
        held_batches=16,
        page=page,
        settings={"model": "diffmask", "architecture": "compact", **asdict(config.model)},
        extra=extra,
        learned=learned,
        held=held,
    )


def main(config: DiffMaskTraining) -> None:
    """Train and write the model folder."""
    teach(config)


if __name__ == "__main__":
    run_training("diffmask")
