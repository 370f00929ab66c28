"""Small scans and small random models, for laws that must hold whatever the anatomy and the weights."""

import torch

from lesionaug.models.diffmask import DiffMask, DiffMaskConfig
from lesionaug.models.lefusion import LeFusion, LeFusionConfig
from lesionaug.networks.compact import CompactUNet
from lesionaug.scan import LesionPlan, LesionSpec, Scan


def small_scan(seed=0, shape=(40, 44, 36), spacing_mm=(1.0, 1.0, 1.0), channels=("flair", "t1w")) -> Scan:
    """Noise in a box of brain, with one old lesion; everything but the old lesion is eligible."""
    generator = torch.Generator().manual_seed(seed)
    brain = torch.zeros(1, *shape, dtype=torch.bool)
    brain[:, 3:-3, 3:-3, 3:-3] = True
    lesions = torch.zeros_like(brain)
    lesions[0, 8:11, 8:11, 8:11] = True
    image = 200 + 25 * torch.randn(len(channels), *shape, generator=generator)
    return Scan(image, channels, lesions, brain, (brain & ~lesions).float(), brain.byte() * 4, spacing_mm)


def small_plan(count=4) -> LesionPlan:
    """Lesions of several sizes, one of them at the edge of the brain and one beside the old lesion."""
    centers = ((20, 22, 18), (12, 12, 10), (3, 30, 20), (28, 10, 26))[:count]
    return LesionPlan(
        tuple(
            LesionSpec(center, 4.0 + n, 7.0 + n, (("flair", 2.0), ("t1w", -1.0), ("t2w", 1.5)), seed=100 + n)
            for n, center in enumerate(centers)
        )
    )


def random_diffmask() -> DiffMask:
    """The packaged architecture, narrower, with weights that mean nothing."""
    config = DiffMaskConfig(widths=(8, 16), blocks=1, num_steps=2)
    return DiffMask(_random(config.network), config, config.num_steps)


def random_lefusion(**changes) -> LeFusion:
    """Likewise."""
    config = LeFusionConfig(widths=(8, 16), blocks=1, num_steps=2, **changes)
    return LeFusion(_random(config.network), config, config.num_steps)


def _random(size) -> CompactUNet:
    torch.manual_seed(0)
    network = CompactUNet(size)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return network.eval().requires_grad_(False)
