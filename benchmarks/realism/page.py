"""`python -m benchmarks.realism page`: real and synthetic lesions, shuffled, for an eye to sort; the key apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks.measure import provenance
from benchmarks.realism.hosts import DEFAULT_HOSTS, MAX_MM3, HostResult, in_units_before, load_host
from benchmarks.realism.shape import MIN_VOXELS, lesions_with_boxes

Array = np.ndarray
HALF_VOXELS = 16
COLUMNS = 8
WINDOW = (-2.5, 5.0)  # robust units, the same for all


@dataclass(frozen=True)
class Tile:
    """A lesion in the middle of its axial slice, and the truth about it."""

    image: Float[Array, "a b"]
    host: str
    center: tuple[int, int, int]
    volume_mm3: float
    real: bool


@dataclass(frozen=True)
class Page:
    """Draw real and synthetic lesions of the same hosts, shuffled, and write the key to another file.

    Synthetic ones have the volumes of the hosts' real ones. Look at the page before the key: `OUTPUT.key.json`.

    Args:
        output: Image to write.
        diffmask: Folder of a mask model instead of the packaged one.
        lefusion: Folder of an inpainting model instead of the packaged one.
        hosts: Scans, best those that the models never saw.
        channel: Contrast shown.
        each: Lesions of each kind.
        halo: Whether lesions may show their partial volume around the label.
        min_voxels: Smaller lesions are left out.
        seed: Of places, masks, noise and order.
    """

    output: Path
    diffmask: Path | None = None
    lefusion: Path | None = None
    hosts: tuple[str, ...] = DEFAULT_HOSTS
    channel: str = "flair"
    each: int = 24
    halo: bool = False
    min_voxels: int = MIN_VOXELS
    seed: int = 0

    def run(self) -> None:
        """Render, draw, write."""
        from benchmarks.realism.generator import GeneratorTest
        from lesionaug.synthesis import load_synthesizer

        test = GeneratorTest(load_synthesizer(diffmask=self.diffmask, lefusion=self.lefusion), halo=self.halo)
        results = [test.populate(load_host(name), self.seed) for name in self.hosts]
        tiles = shuffled([tile for result in results for tile in tiles_of(result, self)], self.each, self.seed)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        draw(tiles, self.output)
        key = self.output.with_suffix(".key.json")
        key.write_text(json.dumps(_key(self, tiles), indent=1, default=str) + "\n")
        print(f"wrote {self.output}; the key, for later, is in {key}")


def tiles_of(result: HostResult, config: Page) -> Iterator[Tile]:
    """All lesions of a host, real ones from before, synthetic ones from after."""
    host = result.host
    before = host.robust_images()[config.channel]
    after = in_units_before(result, config.channel)
    for image, mask, real in ((before, host.lesions, True), (after, result.new_lesions, False)):
        for crop, box in lesions_with_boxes(mask, config.min_voxels):
            if crop.sum() <= MAX_MM3:
                yield _tile(image, host.name, crop, box, real)


def _tile(units: Array, name: str, crop: Array, box: tuple[slice, ...], real: bool) -> Tile:
    level = int(crop.sum(axis=(0, 1)).argmax())
    i, j = np.argwhere(crop[:, :, level]).mean(axis=0).round().astype(int)
    center = (int(i) + box[0].start, int(j) + box[1].start, level + box[2].start)
    padded = np.pad(units[:, :, center[2]], HALF_VOXELS, constant_values=WINDOW[0])
    image = padded[center[0] : center[0] + 2 * HALF_VOXELS, center[1] : center[1] + 2 * HALF_VOXELS]
    return Tile(image, name, center, float(crop.sum()), real)


def shuffled(tiles: Sequence[Tile], each: int, seed: int) -> list[Tile]:
    """So many real and synthetic ones, in any order.

    Raises:
        ValueError: There are fewer.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for real in (True, False):
        group = [tile for tile in tiles if tile.real is real]
        if len(group) < each:
            kind = "real" if real else "synthetic"
            raise ValueError(f"Expected {each} {kind} lesions, got {len(group)}; ask for fewer or name more hosts")
        chosen += [group[index] for index in rng.permutation(len(group))[:each]]
    return [chosen[index] for index in rng.permutation(len(chosen))]


def draw(tiles: Sequence[Tile], path: Path) -> None:
    """Numbered tiles at one window, without a hint of what they are."""
    import matplotlib.pyplot as plt

    rows = -(-len(tiles) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(1.5 * COLUMNS, 1.65 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, (axis, tile) in enumerate(zip(axes.flat, tiles, strict=False), start=1):
        axis.imshow(np.rot90(tile.image), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1])
        axis.set_title(str(number), fontsize=8, pad=1)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _key(config: Page, tiles: Sequence[Tile]) -> dict:
    truth = [
        {"number": n, "real": t.real, "host": t.host, "center": t.center, "volume_mm3": t.volume_mm3}
        for n, t in enumerate(tiles, start=1)
    ]
    return {"benchmark": "realism page", "config": asdict(config), **provenance(), "tiles": truth}
