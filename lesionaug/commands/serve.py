"""`lesionaug serve`: the models in one process, for the loaders of all programs on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionaug.serving.place import Place
    from lesionaug.serving.recipe import Start


@dataclass(frozen=True)
class Serve:
    """Keep the models in one process, for the loader workers of every program that knows its address.

    Runs until Ctrl-C. Programs find it by LESIONAUG_SERVER; without it, transforms with device="cuda" start their own.

    Examples:
      lesionaug serve --device cuda:0
      LESIONAUG_SERVER=/run/user/1000/lesionaug-1000/shared python train.py
      lesionaug serve --status

    Args:
        device: cpu, cuda, cuda:1, ...
        model: default (diffusion), or parametric (ellipsoids of constant contrast, the baseline without a network).
        diffmask: Folder of another model that draws masks.
        lefusion: Folder of another model that paints tissue.
        num_steps: Network calls per lesion and model; fewer are faster.
        max_batch: Lesions per network call: 16 on a GPU, 1 on a CPU, unless told otherwise.
        max_wait_ms: How long a lesion waits for others to share a call.
        padded: Fill up every batch, so that a lesion's bits do not depend on what shares its batch.
        threads: Lesions rendered at once on a CPU, each by one thread.
        address: Folder to serve at, which only you may enter; LESIONAUG_SERVER, or one for all your servers.
        status: Only say what the server at this address has done.
    """

    device: str = "cpu"
    model: str = "default"
    diffmask: Path | None = None
    lefusion: Path | None = None
    num_steps: int | None = None
    max_batch: int | None = None
    max_wait_ms: float | None = None
    padded: bool = False
    threads: int = 1
    address: Path | None = None
    status: bool = False

    def run(self) -> None:
        """Serve, or say what is served."""
        from lesionaug.serving.place import Place, shared_folder

        place = Place(self.address or os.environ.get("LESIONAUG_SERVER") or shared_folder())
        if self.status:
            self._describe(place)
        else:
            self._serve(place)

    def _describe(self, place: Place) -> None:
        from lesionaug.serving.client import ServedRenderer
        from lesionaug.serving.status import describe

        print(describe(ServedRenderer(str(place.folder), on_late="error", deadline_s=10).status()))

    def _serve(self, place: Place) -> None:
        from lesionaug.errors import LesionAugError
        from lesionaug.serving.server import serve

        start = self._start()
        place.prepare()
        with place.locked() as lock:
            if lock is None:
                raise LesionAugError(f"Expected no server at {place.folder}, got one; choose another --address")
            place.record(os.getpid())
            serve(place, start, ready=lambda: print(_ready(place), flush=True))

    def _start(self) -> Start:
        from dataclasses import replace

        from lesionaug.commands.options import Models
        from lesionaug.serving.recipe import Start

        choice = Models(self.model, self.diffmask, self.lefusion, None, self.device, self.num_steps).choice()
        recipe = choice.recipe()
        given = {"max_batch": self.max_batch, "max_wait_ms": self.max_wait_ms}
        chosen = {name: value for name, value in given.items() if value is not None}
        batching = replace(recipe.batching(), padded=self.padded, threads=self.threads, **chosen)
        return Start(recipe, batching)


def _ready(place: Place) -> str:
    return f"serving at {place.folder}; in other programs: export LESIONAUG_SERVER={place.folder}"
