"""`lesionaug synthesize`: new lesions in the user's own scan."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lesionaug.commands.options import Lesions, Models
from lesionaug.commands.progress import progress_bar, spinner
from lesionaug.scan import LesionPlan
from lesionaug.words import described

if TYPE_CHECKING:
    from lesionaug.files import ScanFiles
    from lesionaug.record import Record
    from lesionaug.scan import Scan


@dataclass(frozen=True)
class Synthesize:
    """Put new lesions into a scan, 1 to 10 of 3 to 20 mm across unless told otherwise.

    Needs one image, FLAIR, T1w or T2w, with or without skull, and a new folder. More images and the label of lesions
    that the scan has already are welcome, on the same grid: new lesions keep clear of old ones, and join their label.

    Examples:
      lesionaug synthesize --flair flair.nii.gz --output out
      lesionaug synthesize --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesion.nii.gz --output out --num-lesions 5
      lesionaug synthesize --flair flair.nii.gz --output out --load-ml 3 --regions periventricular --preview

    Any orientation, 0.4 to 10 mm. Outputs keep the inputs' affine, header and number type, and every voxel outside the
    new lesions and their halos its value.

    Args:
        output: Folder for flair.nii.gz, t1w.nii.gz, t2w.nii.gz (those given), lesion.nii.gz and plan.json.
        flair: FLAIR image.
        t1w: T1-weighted image.
        t2w: T2-weighted image.
        lesions: Label of the existing lesions; kept, and the new ones added to it.
        preview: Also write preview.png (needs lesionaug[demo]).
        overwrite: Replace files in an output folder that is not empty.
        lesion_value: Which value is lesion in a label of several classes; new lesions get it too.
        brain: Brain mask (brain tissue and ventricles); found in the images where not given.
        eligible: Map of where lesions may be centred, any positive unit; found in the images where not given.
        labels: SynthSeg or FreeSurfer segmentation, from which to tell where lesions may be.
    """

    output: Path
    flair: Path | None = None
    t1w: Path | None = None
    t2w: Path | None = None
    lesions: Path | None = None
    preview: bool = False
    overwrite: bool = False
    lesion_value: float | None = None
    brain: Path | None = None
    eligible: Path | None = None
    labels: Path | None = None
    lesion: Lesions = field(default_factory=Lesions)
    models: Models = field(default_factory=Models)

    def run(self) -> None:
        """Plan, render, write."""
        from lesionaug.folders import complete_folder

        paths = {role: path.expanduser().absolute() for role, path in self._given().items()}
        check_spared(paths, self.output)
        with complete_folder(self.output, overwrite=self.overwrite) as folder:
            lines = synthesize(
                paths, folder, self.lesion, self.models, preview=self.preview, lesion_value=self.lesion_value
            )
        print("\n".join([*lines, f"wrote   {self.output}; the same again: lesionaug replay {self.output}/plan.json"]))

    def _given(self) -> dict[str, Path]:
        roles = ("flair", "t1w", "t2w", "lesions", "eligible", "labels", "brain")
        return {role: path for role in roles if (path := getattr(self, role)) is not None}


def synthesize(
    paths: dict[str, Path],
    folder: Path,
    which: Lesions,
    models: Models,
    *,
    preview: bool,
    lesion_value: float | None = None,
) -> list[str]:
    """Put lesions into the files of a scan, and tell about it.

    Args:
        paths: By role, as for `lesionaug.files.read_scan`; relative ones from `folder`.
        folder: Where outputs go; exists.
        which: Lesions.
        models: To draw and paint them.
        preview: Whether to draw a picture.
        lesion_value: Value of lesions in a label of several classes.
    """
    from lesionaug.files import plan_files, read_scan

    options, choice = which.plan_options(), models.load()
    with spinner("reading the scan, looking for white matter"):
        files = read_scan({role: folder / path for role, path in paths.items()}, lesion_value)
    record = plan_files(paths, folder, files, which.chosen_seed(), options, choice, models.prior_path())
    return carry_out(record, files, folder, preview=preview)


def carry_out(record: Record, files: ScanFiles, folder: Path, *, preview: bool) -> list[str]:
    """Render what is planned, write it, and tell about it; `preview` also draws a picture."""
    record, after = render_into(record, files, folder, preview=preview)
    warn_of_load(record, volume_ml(files.scan, after))
    return describe(record, files.scan, after)


def render_into(record: Record, files: ScanFiles, folder: Path, *, preview: bool) -> tuple[Record, Scan]:
    """Write the files of a record, the record itself and perhaps a picture; the record, and the scan that it shows."""
    from lesionaug.files import render_files

    with progress_bar(len(record.plan["lesions"]), "painting", "lesion") as progress:
        outputs, after, record = render_files(record, files, progress)
    for name, content in outputs.items():
        (folder / name).write_bytes(content)
    (folder / "plan.json").write_text(record.to_json())
    if preview:
        from lesionaug.preview import save_preview

        with spinner("drawing the preview"):
            save_preview(folder / "preview.png", files.scan, after, files.affine)
    return record, after


def warn_of_load(record: Record, got_ml: float) -> None:
    """Say so where the lesions are not as much as was asked for.

    Args:
        record: Of what was made.
        got_ml: Volume of the new label.

    Warns:
        LesionAugWarning: They miss it by more than a tenth.
    """
    from lesionaug.errors import LesionAugWarning
    from lesionaug.record import missed_load

    if missed := missed_load(record, got_ml):
        warnings.warn(missed, LesionAugWarning, stacklevel=2)


def describe(record: Record, before: Scan, after: Scan) -> list[str]:
    """What was done, in a few lines."""
    new = after.lesion_mask & ~before.lesion_mask
    load_ml = volume_ml(before, after)
    shape = " x ".join(str(n) for n in before.shape)
    spacing = " x ".join(f"{mm:.3g}" for mm in before.spacing_mm)
    digests = ", ".join(f"{job} {digest[:12]}" for job, digest in record.digests.items())
    halo = int((after.image != before.image).any(dim=0, keepdim=True).logical_and(~new).sum())
    around = f", halos in {halo} more" if halo else ""
    left_out = f"gate    {len(record.left_out)} of them left out: they could not be drawn as a lesion would look there"
    return [
        f"scan    {', '.join(before.channels)}: {shape} voxels of {spacing} mm",
        f"plan    {described(LesionPlan.from_dict(record.plan), before.spacing_mm)}; seed {record.seed}",
        *([left_out] if record.left_out else []),
        f"models  {record.models['model']} ({digests}) on {record.models['device']}",
        f"result  {load_ml:.2f} ml of new lesion in {int(new.sum())} voxels{around}; every other voxel as it was",
    ]


def volume_ml(before: Scan, after: Scan) -> float:
    """Of the new lesions' label."""
    return int((after.lesion_mask & ~before.lesion_mask).sum()) * before.voxel_mm3 / 1000


def check_spared(paths: dict[str, Path], output: Path) -> None:
    """No output would replace an input.

    Raises:
        LesionAugError: One would.
    """
    from lesionaug.errors import LesionAugError

    names = {*(f"{role}.nii.gz" for role in paths), "lesion.nii.gz"}
    targets = {(output.expanduser().absolute() / name).resolve() for name in names}
    for path in paths.values():
        if path.resolve() in targets:
            raise LesionAugError(f"Expected inputs outside the output folder, got {path}; choose another --output")
