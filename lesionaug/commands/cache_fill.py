"""`lesionaug cache fill`: render ahead of training what `SyntheticMSLesion(cache=...)` will ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lesionaug.commands.options import Models, Variety
from lesionaug.commands.progress import progress_bar
from lesionaug.errors import LesionAugError

if TYPE_CHECKING:
    import torchio as tio

    from lesionaug.transform import SyntheticMSLesion

LayoutIn = Literal["auto", "nnunet", "bids", "table", "mslesseg", "open_ms", "folders"]
ROLES = ("flair", "t1w", "t2w", "lesions", "eligible", "brain")
MAPS = ("lesions", "eligible", "brain")


@dataclass(frozen=True)
class CacheFill:
    """Render ahead of training, so that SyntheticMSLesion(cache=CACHE, cache_only=True) finds what it asks for.

    What is there already is left alone; run the same command again to go on, from several machines if you like.

    A scan is known by its contents. These must be the same here and in training: the voxels, number type, affine and
    channels of the images (exclude and include count), the lesions of the label, the eligible map, the lesion options
    below, models, prior and num_steps. Names of images and files do not matter, nor do variants beyond those filled,
    p, and the device. Steps before the transform change voxels: only ToCanonical can be repeated here (--canonical);
    for others, such as Resample or ZNormalization, fill from Python with SyntheticMSLesion.fill.

    Examples:
      lesionaug cache fill --subjects scans.csv --cache lesions --variants 20 --canonical
      lesionaug cache fill --subjects Dataset501_MS --cache lesions --channels flair --device cuda
      lesionaug cache fill --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesion.nii.gz --cache lesions

    Args:
        cache: Folder of the cache.
        subjects: Folder of scans, or a table (CSV, TSV) with columns subject, flair, t1w, t2w, lesion, eligible.
        layout: How files are named in SUBJECTS; auto looks.
        flair: FLAIR image of one scan, instead of SUBJECTS.
        t1w: T1-weighted image of it.
        t2w: T2-weighted image of it.
        lesions: Binary label of its existing lesions; an empty one where not given (create_label=True in training).
        eligible: Map of where lesions may be centred.
        brain: Brain mask of one scan (brain_mask in training).
        lesion_value: Which value is lesion in labels of several classes.
        variants: Sets of lesions per scan.
        channels: Take flair, t1w, t2w or some of them; all that a scan has if not given.
        canonical: ToCanonical comes before SyntheticMSLesion in training.
        limit_gb: Size of the cache beyond which the longest unused results go.
    """

    cache: Path
    subjects: Path | None = None
    layout: LayoutIn = "auto"
    flair: Path | None = None
    t1w: Path | None = None
    t2w: Path | None = None
    lesions: Path | None = None
    eligible: Path | None = None
    brain: Path | None = None
    lesion_value: float | None = None
    variants: int = 20
    channels: tuple[str, ...] = ()
    canonical: bool = False
    limit_gb: float | None = None
    variety: Variety = field(default_factory=Variety)
    models: Models = field(default_factory=Models)

    def run(self) -> None:
        """Render what is missing."""
        self.variety.plan_options()  # says what is wrong before anything is read
        scans = self._scans()
        self.models.load()
        failures, rendered, total = [], 0, len(scans) * self.variants
        with progress_bar(total, "filling", "variant") as progress:
            for name, paths in scans:
                try:
                    rendered += self._fill(paths, progress)
                except (LesionAugError, OSError, RuntimeError, ValueError) as error:  # as readers of images raise
                    failures.append(f"{name}: {error}")
        print(f"filled     {self.cache}: {rendered} of {total} variants rendered now, {len(scans)} scans")
        if failures:
            lines = "\n  ".join(failures)
            raise LesionAugError(
                f"Expected {len(scans)} scans to fill from, got {len(failures)} that failed:\n  {lines}\n"
                "repair or leave them out, and run the same again; the others are filled"
            )

    def _fill(self, paths: Mapping[str, Path], progress: Callable[[int], None]) -> int:
        transform, subject = self._transform(paths), read_subject(paths)
        if self.canonical:
            from torchio.transforms import ToCanonical

            subject = ToCanonical()(subject)
        rendered = 0
        for new in transform.fill(subject):
            rendered += new
            progress(1)
        return rendered

    def _transform(self, paths: Mapping[str, Path]) -> SyntheticMSLesion:
        from lesionaug.scan import CHANNELS
        from lesionaug.transform import SyntheticMSLesion

        models = asdict(self.models.choice())
        return SyntheticMSLesion(
            images={channel: channel for channel in CHANNELS if channel in paths},
            label="lesions",
            eligible="eligible" if "eligible" in paths else None,
            brain_mask="brain" if "brain" in paths else None,
            lesion_value=self.lesion_value,
            exclude=[role for role in ("eligible", "brain") if role in paths] or None,
            create_label="lesions" not in paths,
            prior=self.models.prior_path(),
            cache=self.cache,
            variants=self.variants,
            cache_gb=self.limit_gb,
            **asdict(self.variety.plan_options()),
            **{name: models[name] for name in ("model", "diffmask", "lefusion", "device", "num_steps")},
        )

    def _scans(self) -> list[tuple[str, dict[str, Path]]]:
        one = {role: path for role in ROLES if (path := getattr(self, role)) is not None}
        if bool(one) == bool(self.subjects):
            raise LesionAugError("Expected --subjects, or the images of one scan, got both or none; give one of them")
        found = [("the scan", one)] if self.subjects is None else _found(self.subjects, self.layout)
        return [(name, self._chosen(name, paths)) for name, paths in found]

    def _chosen(self, name: str, paths: dict[str, Path]) -> dict[str, Path]:
        from lesionaug.checks import check_known
        from lesionaug.scan import CHANNELS

        check_known("channel", self.channels, CHANNELS)
        wanted = self.channels or tuple(channel for channel in CHANNELS if channel in paths)
        missing = [channel for channel in wanted if channel not in paths]
        if missing or not wanted:
            raise LesionAugError(
                f"Expected images of {', '.join(wanted) or 'a scan'}, "
                f"got none for {', '.join(missing) or 'any channel'} in {name}; leave the scan or the channel out"
            )
        return {role: path for role, path in paths.items() if role in wanted or role in MAPS}


def read_subject(paths: Mapping[str, Path]) -> tio.Subject:
    """A subject as training reads it.

    Args:
        paths: By role; `lesions` is a label, all else are images.

    Raises:
        LesionAugError: A file is missing.
    """
    import torchio as tio

    if absent := [str(path) for path in paths.values() if not path.is_file()]:
        raise LesionAugError(f"Expected image files, got nothing at {', '.join(absent)}; check the paths")
    kinds = {role: tio.LabelMap if role == "lesions" else tio.ScalarImage for role in paths}
    return tio.Subject({role: kinds[role](path) for role, path in paths.items()})


def _found(root: Path, layout: LayoutIn) -> list[tuple[str, dict[str, Path]]]:
    from lesionaug.layouts.choice import find_scans

    _, scans = find_scans(root.expanduser().absolute(), layout)
    return [
        (
            scan.subject,
            {
                **scan.images,
                **({"lesions": scan.lesions} if scan.lesions else {}),
                **({"eligible": scan.guides["eligible"]} if "eligible" in scan.guides else {}),
            },
        )
        for scan in scans
    ]
