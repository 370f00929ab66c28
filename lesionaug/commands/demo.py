"""`lesionaug demo`: new lesions in the ICBM 152 average brain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from lesionaug.commands.options import Lesions, Models
from lesionaug.commands.progress import spinner
from lesionaug.commands.synthesize import synthesize

NUM_LESIONS = 12
DIAMETER_MM = (5.0, 18.0)


@dataclass(frozen=True)
class Demo:
    """Put new lesions into a brain that everybody has: the ICBM 152 average. Needs lesionaug[demo], and no data.

    Its T1w image is a real average; its FLAIR contrast is simulated from its tissue maps. Writes t1w.nii.gz,
    flair.nii.gz, lesion.nii.gz, plan.json, preview.png, and the images as they were in the folder before.
    Where not told otherwise there are 12 lesions, large enough to be seen at a glance.

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
        from lesionaug.folders import complete_folder

        with complete_folder(self.output, overwrite=self.overwrite) as folder:
            self.models.load()
            with spinner("simulating FLAIR contrast"):
                paths = write_average_brain(folder / "before")
            relative = {role: path.relative_to(folder) for role, path in paths.items()}
            lines = synthesize(relative, folder, _visible(self.lesion), self.models, preview=True)
        print(
            "\n".join(
                [
                    f"{lines[0]} (ICBM 152: average T1w, FLAIR simulated from its tissue maps)",
                    *lines[1:],
                    f"look at {self.output}/preview.png; the same again: lesionaug replay {self.output}/plan.json",
                ]
            )
        )


def _visible(lesion: Lesions) -> Lesions:
    """Most lesions are a few millimetres small, and there may be hundreds: true, but no picture for a first look."""
    if lesion.num_lesions is None and lesion.load_ml is None:
        lesion = replace(lesion, num_lesions=NUM_LESIONS)
    return lesion if lesion.diameter_mm else replace(lesion, diameter_mm=DIAMETER_MM)
