"""What differs between published checkpoints, as values; presets are instances.

Intensities reach a network through its window: the two robust units (`lesionaug.intensity`) that become -1 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from lesionaug.errors import LesionAugError
from lesionaug.networks.unet3d import Unet3DConfig

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class DiffMaskConfig:
    """Settings of a published mask model.

    Args:
        network: Its size; two channels in, the noisy mask and the control.
        diffusion_steps: T of the cosine schedule.
        clip: Largest absolute value of a clean mask.
        control_inside: Number the network sees in a control sphere.
        control_outside: Number it sees elsewhere: 255, because training subtracted from unsigned bytes.
        spacing_mm: Voxel size it was trained on.
        patch_shape: Frames, rows and columns it was trained on.
    """

    network: Unet3DConfig = Unet3DConfig(in_channels=2)  # noqa: RUF009, frozen
    diffusion_steps: int = 300
    clip: float = 1.0
    control_inside: float = 1.0
    control_outside: float = 255.0
    spacing_mm: float = 1.0
    patch_shape: Shape = (32, 64, 64)


@dataclass(frozen=True)
class LeFusionConfig:
    """Settings of a published texture model.

    Args:
        network: Its size; the condition is a histogram.
        diffusion_steps: T of the cosine schedule.
        clip: Largest absolute value of a clean image.
        channels: Contrast it was trained on.
        window: Robust units that become -1 and 1.
        lesion_spread: Standard deviation of intensities within a lesion, in robust units.
        guidance_scale: 1 for none; published training never trained the null condition that others need.
        jump_length: Steps RePaint goes back at a time.
        jump_n_sample: How often RePaint denoises each stretch.
        spacing_mm: Voxel size it was trained on.
        patch_shape: Frames, rows and columns it was trained on.
    """

    network: Unet3DConfig = Unet3DConfig(condition_size=16)  # noqa: RUF009, frozen
    diffusion_steps: int = 300
    clip: float = 1.0
    channels: tuple[str, ...] = ("flair",)
    window: tuple[float, float] = (-5.0, 5.0)
    lesion_spread: float = 0.4
    guidance_scale: float = 1.0
    jump_length: int = 10
    jump_n_sample: int = 10
    spacing_mm: float = 1.0
    patch_shape: Shape = (32, 64, 64)

    @property
    def slope(self) -> float:
        """Network units per robust unit."""
        low, high = self.window
        return 2 / (high - low)

    def to_network(self, robust: Tensor) -> Tensor:
        """Robust units to the network's, not clipped."""
        return (robust - self.window[0]) * self.slope - 1

    def from_network(self, value: Tensor) -> Tensor:
        """Inverse of `to_network`."""
        return (value + 1) / self.slope + self.window[0]


DIFFMASK_PRESETS = {
    "original": DiffMaskConfig(),
    "fork": DiffMaskConfig(),
    # The MS fork trained with 255 outside its spheres and then sampled with -1.
    "fork-as-sampled": DiffMaskConfig(control_outside=-1.0),
}

LEFUSION_PRESETS = {
    "original": LeFusionConfig(jump_length=5, jump_n_sample=5),
    # -1000 to 400 raw units, on FLAIR of a median of 150 and a spread of 36: what the MS fork's network was trained on.
    "fork": LeFusionConfig(window=(-32.0, 7.0)),
    "fork-as-sampled": LeFusionConfig(window=(-32.0, 7.0), guidance_scale=3.0),
}

Settings = TypeVar("Settings", DiffMaskConfig, LeFusionConfig)


def read_settings(kind: type[Settings], config: dict[str, Any]) -> Settings:
    """Settings in a `config.json`.

    Args:
        kind: Which.
        config: Has them under `settings`.

    Raises:
        LesionAugError: Names or values that are none.
    """
    try:
        given = {name: _tuples(value) for name, value in config["settings"].items() if name != "network"}
        network = {name: _tuples(value) for name, value in config["settings"]["network"].items()}
        return replace(kind(), network=Unet3DConfig(**network), **given)
    except (KeyError, AttributeError, TypeError) as error:
        raise LesionAugError(
            f"Expected 'settings' of a {kind.__name__} in config.json, got {error}; convert the checkpoint again"
        ) from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
