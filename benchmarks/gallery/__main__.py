"""`python -m benchmarks.gallery`: every imaged patient's real lesions beside synthetic ones of equal sizes.

For each scan, in `--output`: NAME.png (or NAME-1.png and so on) with a real and a synthetic lesion in every row, in
three planes or, of thick slices, in three neighbouring ones; NAME-slices.png with the slices that hold the most new
lesions, before, after and outlined. One grey window per scan and channel. Lesions are where the prior puts them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from benchmarks.gallery.lesions import Pair, Shown, found, paired, populate, real_lesions
from benchmarks.gallery.pages import Entry, draw_pages, draw_rows, few, page_of
from benchmarks.gallery.tiles import NEW, REAL, Volumes, cuts, tiles_of, turned_voxel, whole_slice
from benchmarks.measure import provenance
from benchmarks.realism.hosts import HostResult, imaged_hosts, load_host
from lesionaug.plan_options import PlanOptions
from lesionaug.synthesis import LesionSynthesizer, load_synthesizer
from lesionaug.views import AXIAL, CORONAL, PLANES, SAGITTAL, fullest_cuts, turned, turned_spacing, window_of

SLICE_PX_PER_MM = 2.6


@dataclass(frozen=True)
class Gallery:
    """Draw real lesions beside synthetic ones of equal sizes in the same scan.

    Args:
        hosts: Scans of the shared data; all imaged patients where not given.
        output: Folder to write.
        each: Lesions of each kind per scan, some of every size; all where not given.
        diameter_mm: Of the ball of equal volume; smaller lesions are not judged, larger ones are confluent.
        lefusion: Folder of an inpainting model instead of the packaged one.
        diffmask: Folder of a mask model instead of the packaged one.
        shuffled: Mix real and synthetic lesions without saying which; the answers are in NAME.key.json.
        figure: Also draw the lesions of all scans on this one page, with fewer pictures of each.
        halo: Whether lesions may show their partial volume around the label.
        seed: Of places, shapes, noise and order.
    """

    hosts: tuple[str, ...] = ()
    output: Path = Path("gallery")
    each: int | None = None
    diameter_mm: tuple[float, float] = (3.0, 20.0)
    lefusion: Path | None = None
    diffmask: Path | None = None
    shuffled: bool = False
    figure: Path | None = None
    halo: bool = True
    seed: int = 0

    def run(self) -> None:
        """Render, draw, write."""
        synthesizer = load_synthesizer(diffmask=self.diffmask, lefusion=self.lefusion)
        self.output.mkdir(parents=True, exist_ok=True)
        together: list[Entry] = []
        for name in self.hosts or imaged_hosts():
            entries = self._draw(name, synthesizer)
            together += [
                replace(entry, caption=f"{name}: {entry.caption}", tiles=few(entry.tiles)) for entry in entries
            ]
        if self.figure:
            page_of(together, "FLAIR in three planes, T1w, outlines").save(self.figure, optimize=True)

    def _draw(self, name: str, synthesizer: LesionSynthesizer) -> list[Entry]:
        """Pages of one scan."""
        host = load_host(name)
        real = real_lesions(host, self.diameter_mm, self.each)
        volumes = [lesion.volume_mm3 for lesion in real]
        result = populate(synthesizer, host, volumes, PlanOptions(halo=self.halo), self.seed)
        synthetic = found(result.new_lesions, host.spacing_mm, real=False)
        pairs = paired(real, synthetic)
        sides = {kind: volumes_of(result, real=kind, told=not self.shuffled) for kind in (True, False)}
        title = (
            f"{name}, {' and '.join(host.images)}, outlines; {len(real)} real lesions, {len(synthetic)} synthetic "
            f"(halo {'on' if self.halo else 'off'}, seed {self.seed})"
        )
        entries = self._shuffled(name, pairs, sides, result) if self.shuffled else told(pairs, sides, result)
        pages = draw_pages(entries, name if self.shuffled else title, self.output / f"{name}.png")
        if not self.shuffled:
            draw_slices(sides[True], sides[False], title, self.output / f"{name}-slices.png")
        print(f"{title}: {', '.join(str(page) for page in pages)}", flush=True)
        return entries

    def _shuffled(
        self, name: str, pairs: Sequence[Pair], sides: Mapping[bool, Volumes], result: HostResult
    ) -> list[Entry]:
        """Lesions in any order, by number; only pairs, so that neither number nor size tells anything."""
        lesions = [lesion for pair in pairs if all(pair) for lesion in pair if lesion]
        order = np.random.default_rng(self.seed).permutation(len(lesions))
        mixed = [lesions[index] for index in order]
        key = [{"number": number, **asdict(lesion)} for number, lesion in enumerate(mixed, start=1)]
        about = {"benchmark": "gallery", "config": asdict(self), **provenance(), "host": name, "lesions": key}
        (self.output / f"{name}.key.json").write_text(json.dumps(about, indent=1, default=str) + "\n")
        return [
            entry_of(lesion, f"{number}: {lesion.volume_mm3:.0f} mm3", sides, result)
            for number, lesion in enumerate(mixed, start=1)
        ]


def volumes_of(result: HostResult, *, real: bool, told: bool) -> Volumes:
    """The scan before, for real lesions, or after, for synthetic ones.

    Args:
        result: Scan with new lesions.
        real: Which of the two.
        told: Whether old and new lesions have outlines of different colours.
    """
    host = result.host
    images = host.images if real else result.rendered
    new = np.zeros_like(result.new_lesions) if real else result.new_lesions
    masks = ((host.lesions, REAL), (new, NEW)) if told else ((host.lesions | new, NEW),)
    return Volumes(
        images={channel: turned(image, host.affine) for channel, image in images.items()},
        outlines=tuple((turned(mask, host.affine), color) for mask, color in masks),
        windows={channel: window_of(image[host.brain]) for channel, image in host.images.items()},
        spacing_mm=turned_spacing(host.affine),
    )


def told(pairs: Sequence[Pair], sides: Mapping[bool, Volumes], result: HostResult) -> list[Entry]:
    """Real ones left, synthetic ones right."""
    entries = []
    for pair in pairs:
        for lesion, kind in zip(pair, ("real", "synthetic"), strict=True):
            if lesion is None:
                entries.append(Entry(f"no {kind} lesion of this size"))
            else:
                entries.append(entry_of(lesion, f"{kind}, {lesion.volume_mm3:.0f} mm3", sides, result))
    return entries


def entry_of(lesion: Shown, caption: str, sides: Mapping[bool, Volumes], result: HostResult) -> Entry:
    """Pictures of one lesion."""
    host = result.host
    center = turned_voxel(lesion.center, host.lesions.shape, host.affine)
    volumes = sides[lesion.real]
    planes = ", ".join(dict.fromkeys(PLANES[axis] for axis, _ in cuts(volumes, center)))
    return Entry(f"{caption} ({planes})", tuple(tiles_of(volumes, center)))


def draw_slices(before: Volumes, after: Volumes, title: str, path: Path) -> None:
    """The slices with the most new lesions: before, after, outlined; other contrasts after."""
    first, *others = before.images
    rows = []
    for cut in fullest_cuts(after.outlines[-1][0], after.spacing_mm, (AXIAL, AXIAL, CORONAL, SAGITTAL)):
        shown = [(before, first, False), (after, first, False), (after, first, True)]
        shown += [(after, other, False) for other in others]
        pictures = [
            whole_slice(volumes, channel, cut, SLICE_PX_PER_MM, outlined=outlined)
            for volumes, channel, outlined in shown
        ]
        names = ", ".join((f"{first} before, after, outlined (real blue, new orange)", *(f"{o} after" for o in others)))
        rows.append((f"{PLANES[cut[0]]} slice {cut[1]}: {names}", pictures))
    draw_rows(rows, title, path)


if __name__ == "__main__":
    tyro.cli(Gallery).run()
