"""What a training tells: a bar or plain lines, `log.jsonl`, and curves wherever the user looks at curves."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from tqdm import tqdm

LOG = "log.jsonl"
CURVES = "curves"
NONE = "none"


class Tracker(Protocol):
    """Somewhere that curves go."""

    def __call__(self, step: int, figures: dict[str, float], picture: np.ndarray | None = None) -> None:
        """Add a point to each curve, and a picture."""
        ...


@dataclass(frozen=True)
class AccelerateTracker:
    """One of accelerate's trackers, as a `Tracker`.

    Args:
        tracker: A started `GeneralTracker`.
    """

    tracker: Any

    def __call__(self, step: int, figures: dict[str, float], picture: np.ndarray | None = None) -> None:
        """See `Tracker`; only TensorBoard is shown pictures, which are files in the run's folder anyway."""
        if figures:
            self.tracker.log(figures, step=step)
        if picture is not None and self.tracker.name == "tensorboard":
            self.tracker.log_images({"samples": picture.transpose(2, 0, 1)[None]}, step=step)


@contextmanager
def trackers(names: tuple[str, ...], run: Path) -> Iterator[list[Tracker]]:
    """Start those that are installed, and say which are not.

    Args:
        names: As accelerate knows them.
        run: Folder whose name a run is shown under; file-based trackers write into it.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    started = []
    for name in (name for name in names if name != NONE):
        if name not in [str(available.value) for available in get_available_trackers()]:
            print(f"no curves in {name}: it is not installed (pip install {name}); {LOG} has every figure")
            continue
        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind(CURVES, logging_dir=run) if kind.requires_logging_directory else kind(run.name)
        tracker.start()
        started.append(tracker)
    try:
        yield [AccelerateTracker(tracker) for tracker in started]
    finally:
        for tracker in started:
            tracker.finish()


@dataclass
class Report:
    """Collects what happened since the last milestone, and tells it there.

    Args:
        run: Folder of the log.
        steps: Of the whole training.
        first: Step this part begins at.
        bar: Shown on a terminal only.
        trackers: Where curves go.
        speaks: Whether this process is the one that talks.
    """

    run: Path
    steps: int
    first: int
    bar: tqdm
    trackers: list[Tracker]
    speaks: bool
    losses: list[float] = field(default_factory=list)
    learning_rate: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @classmethod
    @contextmanager
    def to(cls, run: Path, steps: int, first: int, track: tuple[str, ...], speaks: bool) -> Iterator[Report]:
        """A report that is closed at the end, however it ends; arguments as of the class, `track` as of `FitConfig`."""
        from tqdm import tqdm

        hidden = None if speaks else True  # None: hidden where there is no terminal
        with (
            trackers(track if speaks else (), run) as started,
            tqdm(total=steps, initial=first, desc=run.name, unit="step", disable=hidden, dynamic_ncols=True) as bar,
        ):
            yield cls(run, steps, first, bar, started, speaks)

    def say_where(self, device: torch.device, processes: int, continued: bool) -> None:
        """One line at the start of a part."""
        where = f"{self.run.name}: on {device}" + (f" and {processes - 1} others" if processes > 1 else "")
        if self.first:
            where += f", going on from step {self.first}"
        if not continued:
            where += "; other number of processes than before, so data are drawn anew"
        self._say(f"{where}, to step {self.steps}")

    def step(self, loss: float, learning_rate: float) -> None:
        """One step is done."""
        self.losses.append(loss)
        self.learning_rate = learning_rate
        self.bar.update()
        self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def milestone(self, step: int, figures: dict[str, float]) -> None:
        """Tell the figures since the last one."""
        if not self.speaks:
            return
        rate = (step - self.first) / (time.monotonic() - self.started)
        loss = sum(self.losses) / len(self.losses)
        line = {"step": step, "loss": float(f"{loss:.5g}"), "steps_per_s": round(rate, 2), **figures}
        with (self.run / LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")
        for tracker in self.trackers:
            tracker(step, {**line, "learning_rate": self.learning_rate})
        self._say(self._line(step, loss, rate, figures))
        self.losses.clear()

    def picture(self, step: int, pixels: np.ndarray) -> None:
        """Show what the model makes."""
        for tracker in self.trackers:
            tracker(step, {}, pixels)

    def _line(self, step: int, loss: float, rate: float, figures: dict[str, float]) -> str:
        told = "".join(f"  {name} {value:.4g}" for name, value in figures.items())
        left = f"  {time_left((self.steps - step) / rate)} left" if step < self.steps else ""
        return f"step {step:>{len(str(self.steps))}}/{self.steps}  loss {loss:.4g}{told}  {rate:.3g} steps/s{left}"

    def _say(self, line: str) -> None:
        if self.speaks:
            self.bar.write(line, file=sys.stdout)
            sys.stdout.flush()


def time_left(seconds: float) -> str:
    """For people.

    >>> time_left(41), time_left(600), time_left(9000)
    ('41 s', '10 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
