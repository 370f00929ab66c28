"""Does training go on whatever dies? Loaders ask the render server while parts are killed and stopped at random.

`python -m benchmarks.soak --minutes 20`: the server, loader workers and whole trainers are killed or stopped in the
first half; the second half is calm, and memory is compared within it. Every answer is compared with the right one.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tyro

from benchmarks.measure import provenance
from benchmarks.result_files import write_result
from benchmarks.soak_trainer import Asking, Question, digest, start_trainer
from lesionaug.loaded import ModelChoice, loaded_here
from lesionaug.serving.place import Place
from lesionaug.serving.starting import RenderServer

QUESTIONS = 200
LOOK_S = 1.0
LONG_S = 10.0
NO_WORKERS = ("serving.server", "resource_tracker")
"""Children of a trainer that are no loader workers."""


@dataclass(frozen=True)
class Soak:
    """Kill parts of a training at random, and count what that does to the rest.

    Args:
        minutes: How long; half of it disturbed.
        trainers: Processes with a loader each.
        workers: Of each loader.
        every_s: Mean time between two kills.
        model: What is served; parametric leaves the time to the machinery under test.
        seed: Of who is killed when.
        output: JSON file.
    """

    minutes: float = 20.0
    trainers: int = 2
    workers: int = 2
    every_s: float = 20.0
    model: str = "parametric"
    seed: int = 0
    output: Path | None = None

    def run(self) -> dict[str, Any]:
        """Soak, print, write."""
        choice, origin = ModelChoice(model=self.model), provenance()
        here = loaded_here(choice)
        digests = tuple(digest(here(Question(number).request())) for number in range(QUESTIONS))
        shared_memory = set(_shared_memory())
        with tempfile.TemporaryDirectory() as folder, RenderServer(choice) as server:
            asking, path = Asking(server.address, digests, 120.0), Path(folder) / "log.jsonl"
            scene = Scene(self, server, asking, path)
            try:
                scene.play()
            finally:
                scene.end()
            place = Place(server.address)
            report = scene.report()
        report["left"] = {
            "servers": sorted(scene.servers & _still_there(scene.seen)),
            # Torch's own: a worker whose trainer dies before the worker knows it waits for ever.
            "loader_workers": len(_killed(_still_there(scene.seen) - scene.servers)),
            "server_folder": place.folder.exists(),
            "shared_memory": sorted(set(_shared_memory()) - shared_memory),
        }
        print(json.dumps(report, indent=2))
        if self.output:
            write_result(self.output, "soak", asdict(self), origin, report)
        return report


@dataclass
class Scene:
    """What is going on: trainers, the server, and who was killed.

    Args:
        soak: What was asked for.
        server: Of all trainers.
        asking: What their loaders do.
        path: Where they write what came of it.
    """

    soak: Soak
    server: RenderServer
    asking: Asking
    path: Path
    trainers: list[Any] = field(default_factory=list)
    kills: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    servers: set[int] = field(default_factory=set)
    began_s: float = field(default_factory=time.time)

    def play(self) -> None:
        """Until the time is over."""
        chance = random.Random(self.soak.seed)
        start_s, calm_s = time.monotonic(), self.soak.minutes * 30
        for _ in range(self.soak.trainers):
            self._add_trainer()
        next_s = start_s + self.soak.every_s
        while (now_s := time.monotonic()) < start_s + 2 * calm_s:
            time.sleep(LOOK_S)
            self._look(calm=now_s > start_s + calm_s)
            if next_s < now_s < start_s + calm_s:
                next_s = now_s + chance.expovariate(1 / self.soak.every_s)
                self._strike(chance)

    def end(self) -> None:
        """Kill the trainers; their workers find out by themselves."""
        for trainer in self.trainers:
            trainer.kill()
            trainer.join()

    def report(self) -> dict[str, Any]:
        """What came of it."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        items = [line for line in lines if "outcome" in line]
        seconds = sorted(item["seconds"] for item in items)
        return {
            "answers": Counter(item["outcome"] for item in items),
            "incomplete_epochs": sum(not line["epoch"] for line in lines if "epoch" in line),
            "epochs": sum("epoch" in line for line in lines),
            "loaders_that_lost_a_worker": sum("loader" in line for line in lines),
            "kills": Counter(kill["what"] for kill in self.kills),
            "seconds": {"p50": _rank(seconds, 0.5), "p99": _rank(seconds, 0.99), "max": _rank(seconds, 1.0)},
            f"waits_over_{LONG_S:g}_s": sum(second > LONG_S for second in seconds),
            "recovery_s": [_recovery_s(kill["time_s"], items) for kill in self.kills if kill["what"] == "kill server"],
            "silences_s": [(seconds, round(began - self.began_s, 1)) for seconds, began in _silences(items)],
            "events": [(round(kill["time_s"] - self.began_s, 1), kill["what"]) for kill in self.kills],
            "memory_drift_percent": _drift(self.memory),
        }

    def _add_trainer(self) -> None:
        self.trainers.append(start_trainer(self.asking, self.soak.workers, self.path))

    def _look(self, *, calm: bool) -> None:
        with suppress(OSError, ValueError):
            self.servers.add(self.server.pid)
            self.seen |= self.servers
            if calm:
                self.memory.append({"who": f"server {self.server.pid}", "kb": _resident_kb(self.server.pid)})
        for trainer in self.trainers:
            self.seen |= {trainer.pid, *_children(trainer.pid)}
            if calm:
                self.memory.append({"who": f"trainer {trainer.pid}", "kb": _resident_kb(trainer.pid)})

    def _strike(self, chance: random.Random) -> None:
        what = chance.choices(
            ("kill server", "kill worker", "stop server", "stop worker", "kill trainer"), (4, 3, 2, 2, 1)
        )[0]
        trainer = chance.choice(self.trainers)
        workers = _children(trainer.pid)
        victim = {"server": self.server.pid, "worker": chance.choice(workers or [0]), "trainer": trainer.pid}[
            what.split()[1]
        ]
        if not victim:
            return  # between two epochs there are no workers
        self.kills.append({"what": what, "time_s": time.time()})
        with suppress(ProcessLookupError):
            if what.startswith("stop"):
                os.kill(victim, signal.SIGSTOP)
                time.sleep(chance.uniform(1, 4))
                os.kill(victim, signal.SIGCONT)
            else:
                os.kill(victim, signal.SIGKILL)
        if what == "kill trainer":
            trainer.join()
            self.trainers.remove(trainer)
            self._add_trainer()


def _recovery_s(killed_s: float, items: list[dict[str, Any]]) -> float | None:
    """How long the first right answer took after a kill, from then on or from its question if that came later."""
    after = [item for item in items if item["outcome"] == "right" and _end_s(item) > killed_s + 0.5]
    first = min(after, key=_end_s, default=None)
    return None if first is None else round(_end_s(first) - max(killed_s, first["start_s"]), 2)


def _silences(items: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """The three longest times without any answer, and when they began."""
    ends = sorted(map(_end_s, items))
    gaps = sorted(((b - a, a) for a, b in itertools.pairwise(ends)), reverse=True)
    return [(round(seconds, 2), began) for seconds, began in gaps[:3]]


def _end_s(item: dict[str, Any]) -> float:
    return item["start_s"] + item["seconds"]


def _drift(memory: list[dict[str, Any]]) -> dict[str, float]:
    """Median of the last third against that of the first, of every process that was there for long enough."""
    found = {}
    for who in {entry["who"] for entry in memory}:
        values = [entry["kb"] for entry in memory if entry["who"] == who and entry["kb"]]
        third = len(values) // 3
        if third >= 5:
            first, last = statistics.median(values[:third]), statistics.median(values[-third:])
            found[who] = round(100 * (last / first - 1), 2)
    return found


def _resident_kb(pid: int) -> int:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
    return 0


def _children(pid: int) -> list[int]:
    """Loader workers of a trainer."""
    with suppress(OSError):
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [child for child in children if not any(name in _command(child) for name in NO_WORKERS)]
    return []


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _still_there(pids: set[int]) -> set[int]:
    """Those that have not ended within the time that torch's workers take to find their trainer gone."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s and any(_runs(pid) for pid in pids):
        time.sleep(0.2)
    return {pid for pid in pids if _runs(pid)}


def _runs(pid: int) -> bool:
    """Whether it is there, and not merely waits for somebody to ask how it ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _killed(pids: set[int]) -> set[int]:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def _rank(ranked: list[float], share: float) -> float | None:
    return round(ranked[min(int(share * len(ranked)), len(ranked) - 1)], 3) if ranked else None


def _shared_memory() -> list[str]:
    """Blocks, not semaphores, of which other programs make some all the time."""
    names = os.listdir("/dev/shm") if Path("/dev/shm").is_dir() else []
    return [name for name in names if not name.startswith("sem.")]


if __name__ == "__main__":
    tyro.cli(Soak, config=(tyro.conf.FlagCreatePairsOff,)).run()
