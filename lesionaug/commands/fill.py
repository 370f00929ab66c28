"""`lesionaug fill`: healthy tissue in place of lesions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lesionaug.commands.progress import spinner
from lesionaug.commands.synthesize import check_spared

if TYPE_CHECKING:
    import numpy as np

    from lesionaug.files import ScanFiles
    from lesionaug.scan import Scan


@dataclass(frozen=True)
class Fill:
    """Replace the lesions of a scan by healthy tissue, so that a patient can be a host like a healthy person.

    No network: the level of the tissue around a lesion is carried on into it, with grain from elsewhere in the scan.
    Every voxel outside the lesions and their margin keeps its value; the same files and seed make the same bytes.
    Lesions that are not labelled stay. The more of the white matter is lesion, the less is known of what was there.

    Examples:
      lesionaug fill --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesion.nii.gz --output filled
      lesionaug fill --flair flair.nii.gz --lesions tight.nii.gz --margin-mm 3 --output filled
      lesionaug generate filled --output more --variants 10

    Args:
        lesions: Binary label of the lesions.
        output: Folder for flair.nii.gz, t1w.nii.gz, t2w.nii.gz (those given), and filled.nii.gz: where they changed.
        flair: FLAIR image.
        t1w: T1-weighted image.
        t2w: T2-weighted image.
        eligible: Map of where lesions may be; found in the images where not given.
        labels: SynthSeg or FreeSurfer segmentation, from which to tell where lesions may be.
        margin_mm: How far beyond their label lesions still show.
        seed: Of where grain is taken from.
        overwrite: Replace files in an output folder that is not empty.
    """

    lesions: Path
    output: Path
    flair: Path | None = None
    t1w: Path | None = None
    t2w: Path | None = None
    eligible: Path | None = None
    labels: Path | None = None
    margin_mm: float = 2.0
    seed: int = 0
    overwrite: bool = False

    def run(self) -> None:
        """Read, fill, write."""
        from lesionaug.files import read_scan
        from lesionaug.filling import fill_lesions
        from lesionaug.folders import complete_folder

        paths = {role: path.expanduser().absolute() for role, path in self._given().items()}
        check_spared(paths, self.output)
        with complete_folder(self.output, overwrite=self.overwrite) as folder:
            with spinner("reading the scan, looking for white matter"):
                files = read_scan(paths)
            check_lesions(files)
            with spinner("filling lesions"):
                after = fill_lesions(files.scan, self.seed, self.margin_mm)
            where = changed(files.scan, after)
            for name, content in outputs(files, after, where).items():
                (folder / name).write_bytes(content)
        print("\n".join([*describe(files.scan, where), f"wrote   {self.output}"]))

    def _given(self) -> dict[str, Path]:
        roles = ("flair", "t1w", "t2w", "lesions", "eligible", "labels")
        return {role: path for role in roles if (path := getattr(self, role)) is not None}


def check_lesions(files: ScanFiles) -> None:
    """There is something to fill.

    Raises:
        LesionAugError: There is not.
    """
    from lesionaug.errors import LesionAugError

    if not files.scan.lesion_mask.any():
        raise LesionAugError(f"Expected lesions to fill, got an empty label in {files.lesions.name}; check the file")


def changed(before: Scan, after: Scan) -> np.ndarray:
    """Where any channel changed, shape `(i, j, k)`."""
    return (after.image != before.image).any(dim=0).numpy()


def outputs(files: ScanFiles, after: Scan, where: np.ndarray) -> dict[str, bytes]:
    """Files like those read, filled, and a label of where, by name."""
    import numpy as np

    from lesionaug.io import mask_like, nifti_bytes

    images = {
        f"{channel}.nii.gz": nifti_bytes(files.images[channel], values.numpy(), where)
        for channel, values in zip(after.channels, after.image, strict=True)
    }
    like = mask_like(next(iter(files.images.values())))
    return {**images, "filled.nii.gz": nifti_bytes(like, where.astype(np.float32), where)}


def describe(before: Scan, where: np.ndarray) -> list[str]:
    """What was done, in a few lines."""
    shape = " x ".join(str(n) for n in before.shape)
    ml = [int(voxels) * before.voxel_mm3 / 1000 for voxels in (before.lesion_mask.sum(), where.sum())]
    return [
        f"scan    {', '.join(before.channels)}: {shape} voxels",
        f"filled  {ml[0]:.2f} ml of lesions, with their margin {ml[1]:.2f} ml; every other voxel as it was",
    ]
