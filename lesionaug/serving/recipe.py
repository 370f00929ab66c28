"""How to start a server, as plain data: which models, how they are batched, and for whom."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from lesionaug.errors import LesionAugError
from lesionaug.rendering import Renderer


@dataclass(frozen=True)
class Recipe:
    """How a server makes its renderer; the factory is named, so that nothing but its name has to travel.

    Args:
        factory: `module:function`, called with the arguments; returns the renderer, and what identifies its models.
        arguments: Numbers, strings, lists.
    """

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> tuple[Renderer, Mapping[str, Any]]:
        """The renderer, and what identifies its models."""
        module, _, name = self.factory.partition(":")
        return getattr(importlib.import_module(module), name)(**self.arguments)

    def batching(self) -> Batching:
        """What suits the device: batches pay on a GPU; on a CPU lesions one by one take the same time."""
        on_cpu = str(self.arguments.get("device", "cpu")).startswith("cpu")
        return Batching(max_batch=1, max_wait_ms=0) if on_cpu else Batching(max_batch=16)


class HasRecipe(Protocol):
    """A choice of models that can say how to serve it."""

    def recipe(self) -> Recipe:
        """How to serve it."""
        ...


@dataclass(frozen=True)
class Batching:
    """How lesions of several requests share a call of the networks.

    Args:
        max_batch: Lesions per call.
        max_wait_ms: How long a lesion waits for company.
        padded: Fill up every batch to `max_batch`, so that a lesion's bits do not depend on what shares its batch.
        threads: Lesions rendered at once on a CPU, each by one thread.

    Raises:
        LesionAugError: A number is out of range.
    """

    max_batch: int = 1
    max_wait_ms: float = 5.0
    padded: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.max_batch < 1 or self.max_wait_ms < 0 or self.threads < 1:
            raise LesionAugError(
                f"Expected a max_batch of 1 or more, a max_wait_ms of 0 or more and threads of 1 or more, got "
                f"{self.max_batch}, {self.max_wait_ms:g} and {self.threads}; choose others"
            )


@dataclass(frozen=True)
class Start:
    """All a server needs to know.

    Args:
        recipe: Its models.
        batching: Its batches.
        owner: Process with whose end the server ends; None for a server that runs until it is told to stop.
    """

    recipe: Recipe
    batching: Batching = Batching()
    owner: int | None = None

    def to_json(self) -> str:
        """As text; equal starts make equal texts."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Start:
        """Inverse of `to_json`."""
        fields = json.loads(text)
        return cls(Recipe(**fields["recipe"]), Batching(**fields["batching"]), fields["owner"])

    def digest(self) -> str:
        """Of all of it, for a folder's name."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]
