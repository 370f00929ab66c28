"""What the published sampler would cost here: one call of its network, and how many it makes."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import stopwatch
from benchmarks.published_row import repaint_calls

JUMP_LENGTH, JUMP_SAMPLES = 2, 2


@dataclass(frozen=True)
class RePaintCost:
    """Time of published RePaint on this machine.

    Args:
        call_s: Seconds of one call, measured once, at the published size with random weights.
        calls: Of one lesion.
    """

    call_s: float
    calls: int

    @property
    def lesion_h(self) -> float:
        """Hours per lesion, if every call takes as long."""
        return self.call_s * self.calls / 3600

    def line(self) -> str:
        """For the terminal."""
        return (
            f"published RePaint {JUMP_LENGTH}/{JUMP_SAMPLES}: not affordable here and not run. One call of its network "
            f"took {self.call_s:.1f} s (measured once), a lesion takes {self.calls}: about {self.lesion_h:.1f} h. "
            "No published weights are at hand, and it is another network: nothing is said of its lesions"
        )


def repaint_cost(patch_shape: tuple[int, int, int] = (32, 64, 64)) -> RePaintCost:
    """Time one call of the published network."""
    import torch

    from lesionaug.models.published_config import LeFusionConfig
    from lesionaug.networks.unet3d import Unet3D

    config = LeFusionConfig(patch_shape=patch_shape)
    network = Unet3D(config.network).eval().requires_grad_(False)
    seconds: list[float] = []
    x, condition = torch.zeros(1, 1, *patch_shape), torch.zeros(1, config.network.condition_size)
    with torch.inference_mode(), stopwatch(seconds.append):
        network(x, torch.zeros(1, dtype=torch.long), condition)
    return RePaintCost(seconds[0], repaint_calls(config.diffusion_steps, JUMP_LENGTH, JUMP_SAMPLES))
