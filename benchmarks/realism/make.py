"""`python -m benchmarks.realism make MAKER REAL --output OUT`: data sets by the yardstick's makers without a network.

They are laid out as those of `lesionaug generate`, with a manifest that says what each case was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from benchmarks.realism.baselines import MAKERS, donors_of, populate
from benchmarks.realism.carved import populate_by_carving
from benchmarks.realism.hosts import HostResult, HostScan
from benchmarks.realism.scan_measures import is_1_mm
from lesionaug.checks import check_same_grid
from lesionaug.dataset.atomic import write_atomically
from lesionaug.dataset.cases import Case, cases_of
from lesionaug.dataset.hosts import roles_of
from lesionaug.dataset.layouts_out import OutputLayout, layout_named
from lesionaug.dataset.manifest import MANIFEST, lines_of
from lesionaug.dataset.produce import NEW, label_bytes
from lesionaug.dataset.sources import find_sources, restricted
from lesionaug.errors import LesionAugError
from lesionaug.files import ScanFiles, read_scan
from lesionaug.folders import complete_folder
from lesionaug.io import read_nifti
from lesionaug.layouts.choice import LayoutName
from lesionaug.layouts.core import SourceScan
from lesionaug.record import versions
from lesionaug.scan import Scan

CHANNELS = ("flair", "t1w")
"""Placement needs both: white matter is where T1w is bright and FLAIR is neither."""

Put = Callable[[HostScan, Sequence[HostScan], int], HostResult]


def _by(maker: str) -> Put:
    def put(host: HostScan, others: Sequence[HostScan], seed: int) -> HostResult:
        return populate(host, [donor for other in others for donor in donors_of(other)], MAKERS[maker], seed)

    return put


PUT: dict[str, Put] = {
    "ellipsoids": _by("constant_ellipsoids"),
    "smoothed": _by("smoothed_real_shapes"),
    "copy_paste": _by("blended_copy_paste"),
    "carvemix": populate_by_carving,
}


@dataclass(frozen=True)
class Make:
    """Put lesions made without a network into real scans, to be judged beside others.

    Ellipsoids, smoothed shapes and pasted lesions have the volumes of the host's real lesions and lie in its white
    matter, three for two real ones; CarveMix's lie where other patients have them.

    Examples:
      python -m benchmarks.realism make copy_paste PATIENTS --output pasted
      python -m benchmarks.realism make carvemix PATIENTS --output carved --output-layout nnunet

    Args:
        maker: What makes them.
        reference: Folder or table of scans with labels, of two patients or more, FLAIR and T1w, 1 mm; CarveMix needs
            all of them on one grid.
        output: Data set to write.
        variants: How many for each scan.
        seed: Of places, donors and noise.
        layout: How files are named in the reference.
        output_layout: folders (CASE/flair.nii.gz) or nnunet (raw data set).
    """

    maker: tyro.conf.Positional[Literal["ellipsoids", "smoothed", "copy_paste", "carvemix"]]
    reference: tyro.conf.Positional[Path]
    output: Path
    variants: int = 1
    seed: int = 0
    layout: LayoutName = "auto"
    output_layout: Literal["folders", "nnunet"] = "folders"

    def run(self) -> None:
        """Read, put, write."""
        sources = find_sources(self.reference, self.layout, ()).scans
        hosts = {source.subject: read_host(source) for source in sources if source.lesions}
        if len({host.patient for _, host in hosts.values()}) < 2:
            raise LesionAugError(
                f"Expected labelled scans of two patients or more, as lesions come from others, got {len(hosts)} scans "
                f"in {self.reference}; add patients"
            )
        if self.maker == "carvemix":
            _check_one_grid([files for files, _ in hosts.values()])
        cases = cases_of([source for source in sources if source.subject in hosts], self.variants, self.seed)
        layout = layout_named(self.output_layout)
        with complete_folder(self.output) as folder:
            lines = [self._write(folder, layout, case, hosts) for case in cases]
            for name, content in self._about(layout, lines).items():
                write_atomically(folder / name, content)
        print(
            f"{len(lines)} cases in {self.output}; judge them: python -m benchmarks.realism {self.output} "
            f"--reference {self.reference}"
        )

    def _write(self, folder: Path, layout: OutputLayout, case: Case, hosts: dict) -> dict:
        files, host = hosts[case.source.subject]
        others = [other for _, other in hosts.values() if other.patient != host.patient]
        try:
            result = PUT[self.maker](host, others, case.seed % 2**32)
        except ValueError as error:
            raise LesionAugError(f"{error} (in {case.name})") from error
        places = {}
        for name, content in contents_of(files, result).items():
            places[name] = layout.place(case, name, CHANNELS)
            write_atomically(folder / places[name], content)
        about = {"case": case.name, "source": case.source.subject, "patient": case.source.patient}
        return {**about, "variant": case.variant, "maker": self.maker, "seed": self.seed, "files": places}

    def _about(self, layout: OutputLayout, lines: Sequence[dict]) -> dict[str, bytes]:
        files = layout.describe({"channels": CHANNELS, "versions": versions(), "seed": self.seed}, lines)
        if "dataset.json" in files:
            said = json.loads(files["dataset.json"]) | {"description": f"{self.maker}, by benchmarks.realism make"}
            files["dataset.json"] = (json.dumps(said, indent=2) + "\n").encode()
        return {**files, MANIFEST: lines_of(lines)}


def read_host(source: SourceScan) -> tuple[ScanFiles, HostScan]:
    """A scan as files, and as the makers see it.

    Raises:
        LesionAugError: It lacks a contrast, has voxels of another size, or cannot be read.
    """
    if missing := [channel for channel in CHANNELS if channel not in source.images]:
        raise LesionAugError(
            f"Expected {' and '.join(CHANNELS)} of every scan, got no {', '.join(missing)} of {source.subject}; "
            "leave the scan out"
        )
    files = read_scan(roles_of(restricted(source, CHANNELS)))
    if not is_1_mm(files.scan.spacing_mm):
        sizes = " x ".join(f"{size:.2f}" for size in files.scan.spacing_mm)
        raise LesionAugError(f"Expected voxels of 1 mm, got {sizes} mm in {source.subject}; resample first")
    brain = read_nifti(source.brain).data > 0 if source.brain else files.scan.brain[0].numpy()
    images = dict(zip(files.scan.channels, files.scan.image.numpy(), strict=True))
    # Patients are told apart by what comes before an underscore in the name: no time point may follow it.
    name = source.patient.replace("_", "-")
    return files, HostScan(name, images, brain, files.scan.lesion_mask[0].numpy(), files.affine)


def contents_of(files: ScanFiles, result: HostResult) -> dict[str, bytes]:
    """Images and labels like those of the host, by name; voxels that nothing was put into keep their bits."""
    new = torch.from_numpy(result.new_lesions)[None]
    image = torch.from_numpy(np.stack([result.rendered[channel] for channel in files.scan.channels])).float()
    after: Scan = replace(files.scan, image=image, lesion_mask=files.scan.lesion_mask | new)
    return {**files.outputs(after), NEW: label_bytes(files, result.new_lesions)}


def _check_one_grid(scans: Sequence[ScanFiles]) -> None:
    first = next(iter(scans[0].images.values()))
    for files in scans[1:]:
        image = next(iter(files.images.values()))
        check_same_grid(image.data.shape, image.affine, image.name, first.data.shape, first.affine, first.name)
