"""`lesionaug report`: look at a data set before training with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from lesionaug.commands.progress import progress_bar, spinner


@dataclass(frozen=True)
class Report:
    """Show a data set made by lesionaug generate on one HTML page. Needs lesionaug[report].

    Cases before and after, with outlines; sizes, numbers, loads, places and contrasts of the new lesions next to those
    of the prior, of the hosts' own lesions and of real masks, with the distance that real patients have from each
    other; what failed; what everything was made with. The page needs no network and no other file.

    Examples:
      lesionaug report out
      lesionaug report out --reference patients/*/lesion.nii.gz --pictures 30

    Args:
        dataset: What lesionaug generate wrote.
        reference: Masks of real lesions, or folders and tables of scans, to compare with.
        pictures: How many cases are shown.
        output: HTML file; report.html in the data set where not given.
    """

    dataset: tyro.conf.Positional[Path]
    reference: tuple[Path, ...] = ()
    pictures: int = 12
    output: Path | None = None

    def run(self) -> None:
        """Read, measure, draw."""
        from lesionaug.errors import LesionAugError

        try:
            from lesionaug.report.page import write_page
        except ImportError as error:
            raise LesionAugError(
                f"Expected matplotlib, which draws, got none ({error}); pip install 'lesionaug[report]'"
            ) from error
        from lesionaug.report.samples import read_references

        out = self.dataset.expanduser().absolute()
        target = self.output or out / "report.html"
        with spinner("measuring the reference masks"):
            references = read_references(self.reference)
        with progress_bar(self.pictures, "drawing", "case") as progress:
            write_page(out, target, references, self.pictures, progress)
        print(f"wrote {target}")
