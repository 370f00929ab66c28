"""`lesionaug prior fit`: how many lesions and how large, from the user's own masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Prior:
    """Fit how many lesions there are, and how large, to lesion masks; where and how bright stay those of the package.

    Examples:
      lesionaug prior fit masks/*.nii.gz --output prior.json
      lesionaug synthesize --flair flair.nii.gz --prior prior.json --output out

    Args:
        action: What to do.
        masks: Binary lesion masks, one per patient.
        output: File to write.
    """

    action: tyro.conf.Positional[Literal["fit"]]
    masks: tyro.conf.Positional[tuple[Path, ...]]
    output: Path

    def run(self) -> None:
        """Fit and save."""
        from lesionaug.prior import LesionPrior

        prior = LesionPrior.fit(self.masks)
        prior.save(self.output)
        print(f"wrote {self.output}: fitted from {len(self.masks)} masks, digest {prior.digest[:12]}")
