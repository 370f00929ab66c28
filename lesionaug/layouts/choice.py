"""Which layout a source has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesionaug.errors import LesionAugError
from lesionaug.layouts import bids, folders, mslesseg, nnunet, open_ms, table
from lesionaug.layouts.core import Find, SourceScan, nifti_below, stem_of

LayoutName = Literal["auto", "nnunet", "bids", "table", "mslesseg", "open_ms", "folders"]


@dataclass(frozen=True)
class Layout:
    """How files are named.

    Args:
        find: All scans of a source.
        fits: Whether a source looks like it.
    """

    find: Find
    fits: Callable[[Path], bool]


LAYOUTS: dict[str, Layout] = {
    "table": Layout(table.find, lambda root: root.suffix in (".csv", ".tsv")),
    "nnunet": Layout(nnunet.find, lambda root: (root / "dataset.json").is_file() and (root / "imagesTr").is_dir()),
    "bids": Layout(bids.find, lambda root: any(path.is_dir() for path in root.glob("sub-*"))),
    "mslesseg": Layout(mslesseg.find, lambda root: any(map(_is_mslesseg, nifti_below(root, "P*")))),
    "open_ms": Layout(open_ms.find, lambda root: any(map(_is_open_ms, nifti_below(root)))),
    "folders": Layout(folders.find, lambda root: next(folders.find(root), None) is not None),
}
"""In the order in which they are tried: those first whose signs no other layout has."""


def find_scans(root: Path, layout: LayoutName = "auto") -> tuple[str, list[SourceScan]]:
    """The scans of a source, and the layout that they were found by.

    Raises:
        LesionAugError: There is no such source, it fits no layout, or holds no scan.
    """
    if not root.exists():
        raise LesionAugError(f"Expected a folder of scans or a table, got nothing at {root}; check the path")
    chosen = _detect(root) if layout == "auto" else layout
    scans = list(LAYOUTS[chosen].find(root))
    if not scans:
        raise LesionAugError(f"Expected scans in layout {chosen}, got none in {root}; choose another --layout")
    return chosen, scans


def _detect(root: Path) -> str:
    fitting = [name for name, layout in LAYOUTS.items() if layout.fits(root)]
    if not fitting:
        raise LesionAugError(
            f"Expected one of the layouts {', '.join(LAYOUTS)}, got files named otherwise in {root}; "
            "name them in a table: a CSV with columns subject, patient, flair, t1w, t2w, lesion"
        )
    return fitting[0]


def _is_mslesseg(path: Path) -> bool:
    return mslesseg.NAME.fullmatch(path.name) is not None


def _is_open_ms(path: Path) -> bool:
    named = re.search(r"(^|_)consensus_gt$|^GOLD_STANDARD_", stem_of(path)) is not None
    return named or (stem_of(path) == "gt" and re.fullmatch(r"patient\d+", path.parent.name) is not None)
