"""Where a training's lesions come from: rendered while it runs, or before it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.ledger import Ledger
from lesionaug.integrations.nnunet.live import LiveLesions
from lesionaug.integrations.nnunet.maps import CaseMaps, WithMaps
from lesionaug.integrations.nnunet.overlays import is_prepared, open_overlays, with_overlays
from lesionaug.integrations.nnunet.settings import NnunetSettings

from lesionaug.checks import SPACING_MM
from lesionaug.errors import LesionAugError
from lesionaug.loaded import SERVER, loaded_prior
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.starting import RenderServer
from lesionaug.types import triple


@dataclass(frozen=True)
class Training:
    """What one training process is to do, as far as lesions are concerned.

    Args:
        settings: What is asked for.
        roles: Of the dataset's channels and labels.
        preprocessed: Folder of the preprocessed cases.
        transpose: `transpose_forward` of the plans.
        spacing_mm: Of the configuration; two values in two dimensions.
        patch_size: Likewise.
        device: On which the network trains.
        chance: Probability that a sample gets lesions, asked each time.
        ledger: Told about each.
    """

    settings: NnunetSettings
    roles: Roles
    preprocessed: Path
    transpose: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    patch_size: tuple[int, ...]
    device: str
    chance: Callable[[], float]
    ledger: Ledger


class Source(Protocol):
    """Changes what nnU-Net trains from, and nothing that it validates with."""

    def dataset(self, cases: Any) -> Any:
        """nnU-Net's training dataset, with what the source needs of it."""
        ...

    def transforms(self, others: Any) -> Any:
        """nnU-Net's training transforms, with what the source puts before them."""
        ...

    def about(self) -> dict[str, Any]:
        """Plain data for the record of the training."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def source_of(training: Training) -> Source:
    """What the settings ask for: prepared lesions where there are any, or those alone, or live ones alone.

    Raises:
        LesionAugError: It cannot be done with this dataset.
    """
    mode = training.settings.mode
    if mode == "cached" or (mode == "auto" and is_prepared(training.preprocessed)):
        return CachedSource(training)
    return LiveSource(training)


@dataclass
class CachedSource:
    """Lesions that `lesionaug nnunet prepare` has rendered; needs neither models nor a GPU.

    Args:
        training: What to do.
    """

    training: Training
    _about: dict[str, Any] = field(default_factory=dict)

    def dataset(self, cases: Any) -> Any:
        """See `Source`; cases get lesions when they are loaded."""
        training = self.training
        overlays = open_overlays(training.preprocessed, cases.identifiers, training.settings, training.roles)
        self._about = overlays.about()
        return with_overlays(cases, overlays, training.chance, note=training.ledger.add)

    def transforms(self, others: Any) -> Any:
        """See `Source`; there is nothing to put before them."""
        return others

    def about(self) -> dict[str, Any]:
        """See `Source`."""
        return {"mode": "cached", "overlays": self._about}

    def close(self) -> None:
        """See `Source`; nothing was started."""


class LiveSource:
    """Lesions that a render server makes for each crop; it runs from now on until `close`.

    Args:
        training: What to do.

    Raises:
        LesionAugError: The configuration is one of slices or has other spacings than the models were made for, or
            the server does not start.
    """

    def __init__(self, training: Training) -> None:
        _check_volumes(training)
        self.training = training
        self.choice = training.settings.choice(training.device)
        given = training.settings.server or os.environ.get(SERVER)
        self._server = None if given else RenderServer(self.choice).__enter__()
        self.address = given or self._address()
        self._check_server()

    def dataset(self, cases: Any) -> Any:
        """See `Source`; segmentations get a channel that says where lesions may be."""
        maps = CaseMaps(self.training.preprocessed, self.training.transpose, self.training.roles)
        return WithMaps(cases, maps, self.training.ledger, self.training.settings.on_bad_scan)

    def transforms(self, others: Any) -> Any:
        """See `Source`."""
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

        first: Any = self.lesions()
        return ComposeTransforms([first, others])

    def lesions(self) -> LiveLesions:
        """The transform; it finds the server from any process."""
        training, settings = self.training, self.training.settings
        return LiveLesions(
            roles=training.roles,
            spacing_mm=triple(training.spacing_mm),
            kept=triple(training.patch_size),
            options=settings.patch_options(),
            prior=settings.prior,
            renderer=self._renderer(),
            lenient=settings.on_late == "skip",
            chance=training.chance,
            ledger=training.ledger,
        )

    def about(self) -> dict[str, Any]:
        """See `Source`."""
        prior = loaded_prior(self.training.settings.prior)
        return {"mode": "live", "models": self.choice.identity(), "prior": prior.digest, "device": self.choice.device}

    def close(self) -> None:
        """See `Source`; may be called again."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _address(self) -> str:
        assert self._server is not None
        return self._server.address

    def _renderer(self) -> ServedRenderer:
        patience = self.training.settings.patience()
        identity = tuple(sorted(self.choice.identity().items()))
        return ServedRenderer(self.address, patience.on_late, patience.deadline_s, identity)

    def _check_server(self) -> None:
        """Before any worker is there: that it answers, has these models, and knows these channels."""
        try:
            unknown = set(self.training.roles.names) - set(self._renderer().channels)
            if unknown:
                raise LesionAugError(
                    f"Expected models that paint {', '.join(self.training.roles.names)}, got none for "
                    f"{', '.join(sorted(unknown))}; name the other channels in the settings, or choose other models"
                )
        except BaseException:
            self.close()
            raise


def _check_volumes(training: Training) -> None:
    remedy = "lesionaug nnunet prepare, and train from that"
    if len(training.patch_size) != 3:
        raise LesionAugError(
            f"Expected a three-dimensional configuration for live lesions, got patches of {list(training.patch_size)}, "
            f"which do not show the tissue around a lesion; {remedy}"
        )
    low, high = SPACING_MM
    if not all(low <= size <= high for size in training.spacing_mm):
        raise LesionAugError(
            f"Expected a configuration with spacings from {low} to {high} mm, got {list(training.spacing_mm)}; "
            "plan with others"
        )
