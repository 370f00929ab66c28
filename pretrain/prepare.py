"""`python -m lesionaug.pretrain.prepare SOURCE... --output PATCHES`: scans with lesion labels to a patch store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import LayoutName
from lesionaug.scan import CHANNELS

if TYPE_CHECKING:
    from lesionaug.pretrain.index import ScanRecord, StoreSettings
    from lesionaug.pretrain.sources import Source

    from lesionaug.layouts.core import SourceScan


@dataclass(frozen=True)
class Prepare:
    """Cut scans with lesion labels into training patches.

    Every lesion gets a patch around it, and every lesion in a patch its place in the label. What cannot be used, and
    lesions too large for a patch, are printed and listed in the store's store.json.

    Examples:
      lesionaug pretrain prepare MSLesSeg --scale 0.86 --output patches
      lesionaug pretrain prepare open_ms_data MSLesSeg --scale 1 0.86 --output patches
      lesionaug pretrain prepare nnUNet_raw/Dataset001_MS --preset published --output patches
      lesionaug pretrain prepare scans.csv --output patches

    Args:
        sources: Folders of scans, or tables (columns subject, patient, flair, t1w, t2w, lesion, brain).
        output: Folder of the patch store, new or empty.
        layout: How the files are named; auto looks at them and says what it took.
        preset: model for cubes of 16 to 48 mm at 1 mm in robust units; published for 32 x 64 x 64 voxels as they are.
        scale: Factor on the voxel size, one for all sources or one for each; 0.86 for MSLesSeg, whose brains were
            stretched to the size of the MNI template, which is larger than life.
        channels: Contrasts to read, of those there are; name only flair where others lie on another grid.
        healthy: Patches of normal-appearing tissue per scan with images; none under the published preset.
        partial: Also use labels that leave lesions out (changes between two scans), without healthy patches.
        seed: Of the places of healthy patches.
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    output: Path
    layout: LayoutName = "auto"
    preset: Literal["model", "published"] = "model"
    scale: tuple[float, ...] = (1.0,)
    channels: tuple[str, ...] = CHANNELS
    healthy: int = 60
    partial: bool = False
    seed: int = 0

    def run(self) -> None:
        """Find, cut, write; print a line for each scan."""
        from lesionaug.pretrain.index import MODEL, PUBLISHED, StoreIndex, write_index
        from lesionaug.pretrain.sources import find_sources

        from lesionaug.folders import complete_folder

        _check_output(self.output)
        settings = MODEL if self.preset == "model" else PUBLISHED
        sources = find_sources(self.sources, self.layout, self.scale, self.channels, partial=self.partial)
        with complete_folder(self.output) as folder:
            records = tuple(self._cut(sources, folder, settings))
            described = tuple(_described(source) for source in sources)
            unused = tuple({"subject": s, "reason": r} for source in sources for s, r in source.unused)
            write_index(folder, StoreIndex(settings, described, records, unused))
        print(f"wrote {self.output}: {_summary(records)}")

    def _cut(self, sources: list[Source], folder: Path, settings: StoreSettings) -> Iterator[ScanRecord]:
        from lesionaug.pretrain.patches import write_scan
        from lesionaug.pretrain.reading import read_scan

        for source in sources:
            print(_headline(source), flush=True)
            for files in source.scans:
                scan = read_scan(files, source.scale)
                record = write_scan(scan, folder, self.healthy, self.seed, settings)
                print(_line(record, files), flush=True)
                yield replace(record, source=source.root.name)


def _check_output(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise LesionAugError(
            f"Expected a new folder for the patches, got files in {output}; choose another, or remove it: a store is "
            "written at once, from all its sources"
        )


def _described(source: Source) -> dict:
    return {"name": source.root.name, "layout": source.layout, "scale": source.scale, "scans": len(source.scans)}


def _headline(source: Source) -> str:
    scale = f", voxels times {source.scale:g}" if source.scale != 1 else ""
    lines = [f"{source.root}: {len(source.scans)} scans in layout {source.layout}{scale}"]
    return "\n".join(lines + [f"  {subject}: not used: {reason}" for subject, reason in source.unused])


def _line(record: ScanRecord, files: SourceScan) -> str:
    """One scan in words, odd things last."""
    facts = [f"{record.patches} lesions", f"{record.healthy} healthy patches"]
    facts += [f"{record.too_large} lesions too large"] if record.too_large else []
    facts += [f"brain {record.brain}"] if record.brain != "file" else []
    facts += ["no lesion"] if not record.lesions else []
    facts += ["no image"] if not record.channels else []
    facts += [files.note] if files.note else []
    return f"  {record.subject}: {', '.join(facts)}"


def _summary(records: tuple[ScanRecord, ...]) -> str:
    lesions, healthy, large = (sum(getattr(r, n) for r in records) for n in ("patches", "healthy", "too_large"))
    patients = len({record.patient for record in records})
    return (
        f"{lesions} lesions and {healthy} healthy patches of {len(records)} scans of {patients} patients; "
        f"{large} lesions too large for a patch"
    )


if __name__ == "__main__":
    tyro.cli(Prepare).run()
