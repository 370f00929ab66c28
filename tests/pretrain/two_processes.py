"""What each process of `test_two_processes_...` runs: FOLDER STEPS."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from lesionaug.pretrain.fit import FitConfig, fit
from torch import nn

CONFIG = FitConfig(steps=40, warmup=5, keep_every=10, accumulate=2, device="cpu", threads=1, track=())


def main(folder: Path, steps: int) -> None:
    torch.manual_seed(0)
    network = nn.Linear(4, 1)
    last = {}

    def loss(generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(8, 4, generator=generator)
        last["generator"] = generator.get_state()
        return ((network(x) - x.sum(dim=1, keepdim=True)) ** 2).mean()

    average = fit(network, loss, replace(CONFIG, steps=steps), folder / "run")
    torch.save({"weight": average.weight.data, **last}, folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
