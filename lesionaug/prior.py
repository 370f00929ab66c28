"""A prior of lesions: loaded or fitted, and drawn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch

from lesionaug.errors import LesionAugError
from lesionaug.plan_options import PlanOptions
from lesionaug.planning import plan_lesions
from lesionaug.prior_fit import ObservedScan, fit_contrast, fit_tables
from lesionaug.prior_tables import VERSION, PriorTables
from lesionaug.scan import LesionPlan, Scan


@dataclass(frozen=True)
class LesionPrior(PriorTables):
    """What is known of lesions before a scan is seen, and the plans that are drawn from it."""

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        text = json.dumps(self.to_dict(), indent=1)
        Path(path).write_text(text + "\n")

    @classmethod
    def load(cls, path: str | Path | None = None) -> LesionPrior:
        """Read what `save` wrote; the packaged prior where no path is given.

        Raises:
            LesionAugError: The file is missing or no prior.
        """
        path = Path(str(files("lesionaug") / "assets" / "prior" / "prior.json")) if path is None else Path(path)
        try:
            fields = json.loads(path.read_text())
            if fields["version"] != VERSION:
                raise LesionAugError(f"Expected a prior of version {VERSION}, got {fields['version']}; fit it again")
            return cls.from_dict(fields)
        except FileNotFoundError:
            message = f"Expected a prior at {path}, got no file; fit one with `lesionaug prior fit`"
            raise LesionAugError(message) from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise LesionAugError(
                f"Expected a prior as `lesionaug prior fit` writes it, got {path} ({error}); fit it again"
            ) from None

    @classmethod
    def fit(
        cls,
        masks: Sequence[str | Path | ObservedScan],
        imaged: Sequence[ObservedScan] = (),
        source: str = "",
    ) -> LesionPrior:
        """Sizes and numbers from masks, contrast from imaged scans.

        Args:
            masks: Paths of NIfTI masks, or scans; with a brain mask, sizes depend on region.
            imaged: Scans with images; without any the packaged prior's contrast is kept.
            source: Said in the prior.

        Raises:
            LesionAugError: There are no lesions to fit to.
        """
        contrast = fit_contrast(imaged) if imaged else cls.load().contrast
        return cls(**vars(fit_tables(masks, contrast, source)))

    def sample(self, scan: Scan, generator: torch.Generator, options: PlanOptions | None = None) -> LesionPlan:
        """Draw the lesions of one scan.

        Args:
            scan: Where they are to go.
            generator: On the CPU; all that is random comes from it.
            options: What is not left to the prior.

        Raises:
            LesionAugError: No voxel of the scan may hold a lesion.

        Warns:
            LesionAugWarning: Not all lesions fit.
        """
        return plan_lesions(self, scan, generator, options or PlanOptions())
