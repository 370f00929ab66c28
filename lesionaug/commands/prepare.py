"""`lesionaug prepare`: the map of where lesions may be, made well, once per subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesionaug.commands.progress import spinner


@dataclass(frozen=True)
class Prepare:
    """Find where lesions may be, by registration to MNI space, and save it beside the scan. Needs lesionaug[anatomy].

    Slower and better than what `synthesize` does by itself; hand the result to `synthesize --eligible`.

    Examples:
      lesionaug prepare --flair flair.nii.gz --t1w t1w.nii.gz --output prepared
      lesionaug synthesize --flair flair.nii.gz --eligible prepared/eligible.nii.gz --output out

    Args:
        output: Folder to write.
        flair: FLAIR image.
        t1w: T1-weighted image.
        t2w: T2-weighted image.
        lesions: Binary label of the existing lesions.
        brain: Brain mask (brain tissue and ventricles), instead of what is found.
        labels: SynthSeg or FreeSurfer segmentation, instead of registration.
    """

    output: Path
    flair: Path | None = None
    t1w: Path | None = None
    t2w: Path | None = None
    lesions: Path | None = None
    brain: Path | None = None
    labels: Path | None = None

    def run(self) -> None:
        """Prepare."""
        from lesionaug.anatomy import prepare

        given = {"flair": self.flair, "t1w": self.t1w, "t2w": self.t2w}
        images = {channel: path for channel, path in given.items() if path is not None}
        with spinner("registering to MNI space"):
            prepare(images, self.output, lesions=self.lesions, labels=self.labels, brain=self.brain)
        print(f"wrote {self.output}")
