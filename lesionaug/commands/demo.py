"""`lesionaug demo`: new lesions in the ICBM 152 average brain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lesionaug.commands.options import Lesions, Models
from lesionaug.commands.progress import spinner
from lesionaug.commands.synthesize import carry_out

if TYPE_CHECKING:
    from lesionaug.files import ScanFiles
    from lesionaug.record import Record

NUM_LESIONS, PERIVENTRICULAR = 12, 5
DIAMETER_MM, PERIVENTRICULAR_MM = (5.0, 13.0), (8.0, 15.0)


@dataclass(frozen=True)
class Demo:
    """Put new lesions into a brain that everybody has: the ICBM 152 average. Needs lesionaug[demo], and no data.

    Its T1w image is a real average, smooth as averages are; its FLAIR contrast is simulated from its tissue maps.
    Writes t1w.nii.gz, flair.nii.gz, lesion.nii.gz, plan.json, preview.png, and the images as they were in the folder
    before. Where not told otherwise there are 12 lesions, large enough to be seen at a glance, five of them at the
    ventricles.

    Examples:
      lesionaug demo
      lesionaug demo --output elsewhere --seed 3 --load-ml 8

    Args:
        output: Folder to write.
        overwrite: Replace files in an output folder that is not empty.
    """

    output: Path = Path("lesionaug-demo")
    overwrite: bool = False
    lesion: Lesions = field(default_factory=Lesions)
    models: Models = field(default_factory=Models)

    def run(self) -> None:
        """Simulate, then synthesize as for any other scan."""
        from lesionaug.demo import write_average_brain
        from lesionaug.files import read_scan
        from lesionaug.folders import complete_folder

        with complete_folder(self.output, overwrite=self.overwrite) as folder:
            self.models.load()
            with spinner("simulating FLAIR contrast"):
                paths = write_average_brain(folder / "before")
            with spinner("looking for white matter"):
                files = read_scan(paths)
            relative = {role: path.relative_to(folder) for role, path in paths.items()}
            lines = carry_out(self._planned(relative, folder, files), files, folder, preview=True)
        print(
            "\n".join(
                [
                    f"{lines[0]} (ICBM 152: average T1w, FLAIR simulated from its tissue maps)",
                    *lines[1:],
                    f"look at {self.output}/preview.png; the same again: lesionaug replay {self.output}/plan.json",
                ]
            )
        )

    def _planned(self, paths: dict[str, Path], folder: Path, files: ScanFiles) -> Record:
        """Lesions as asked for; some at the ventricles and some wherever the prior has them where nothing was asked."""
        from lesionaug.demo import joined
        from lesionaug.files import plan_files
        from lesionaug.scan import LesionPlan

        def record_of(which: Lesions) -> Record:
            options, choice = which.plan_options(), self.models.choice()
            return plan_files(paths, folder, files, which.seed or 0, options, choice, self.models.prior_path())

        asked = self.lesion
        if asked.num_lesions is not None or asked.load_ml is not None or asked.regions or asked.diameter_mm:
            return record_of(asked)
        regions = ("periventricular",)
        groups = (
            replace(asked, num_lesions=PERIVENTRICULAR, diameter_mm=PERIVENTRICULAR_MM, regions=regions),
            replace(asked, num_lesions=NUM_LESIONS, diameter_mm=DIAMETER_MM),
        )
        records = [record_of(group) for group in groups]
        first, rest = (LesionPlan.from_dict(record.plan) for record in records)
        return replace(records[1], plan=joined(first, rest, files.scan.spacing_mm, NUM_LESIONS).to_dict())
