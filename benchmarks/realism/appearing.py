"""`python -m benchmarks.realism appearing`: lesions that appeared, painted into the scan in which they were not yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks.measure import provenance
from benchmarks.realism.appearance import robust_units
from benchmarks.realism.followup import RULE, Appeared, Pair, appeared, painted, prior_contrasts
from benchmarks.result_files import write_result
from lesionaug.synthesis import LesionSynthesizer

Array = np.ndarray
SHOWN = ("contrast", "sd", "edge_gradient", "highpass", "autocorrelation", "profile_-1", "profile_+0", "profile_+1")
COMPARED = ("contrast", "sd", "edge_gradient", "highpass")
BEFORE, REAL, GIVEN, PRIOR, FLAT = "study 1", "study 2", "ours, real contrast", "ours, prior's contrast", "flat, real"
HALF_MM = 16.0
WINDOW = (-2.5, 4.0)  # robust units


@dataclass(frozen=True)
class Measured:
    """One component.

    Args:
        patient: Whose.
        volume_mm3: Its size.
        features: By image.
        crops: The slice with most of it, by image.
    """

    patient: str
    volume_mm3: float
    features: dict[str, dict[str, float]]
    crops: dict[str, Float[Array, "a b"]] = field(repr=False)


@dataclass(frozen=True)
class Appearing:
    """Paint lesions that appeared between two studies into the first, and compare with the second.

    Args:
        lefusion: Folder of an inpainting model instead of the packaged one.
        patients: Of the longitudinal data, with both studies.
        seed: Of the prior's contrasts.
        halo: Whether lesions may show their partial volume around the label.
        figure: Image of the largest components before, ours and real.
        columns: Components in the figure.
        output: JSON file for all of it, with hardware, versions and commit.
    """

    lefusion: Path | None = None
    patients: tuple[str, ...] = ("patient01", "patient03", "patient19")
    seed: int = 0
    halo: bool = False
    figure: Path | None = None
    columns: int = 8
    output: Path | None = None

    def run(self) -> None:
        """Paint, compare, print, write."""
        from lesionaug.synthesis import load_synthesizer

        origin = provenance()
        ours, flat = load_synthesizer(lefusion=self.lefusion), load_synthesizer("parametric")
        found = [one for patient in self.patients for one in self._measured(Pair.load(patient), ours, flat)]
        if not found:
            raise ValueError(f"Expected components that appeared in {', '.join(self.patients)}, got none; name others")
        print("\n".join(table(found)))
        if self.figure:
            draw(found, self.figure, self.columns)
        if self.output:
            write(self, origin, found)

    def _measured(self, pair: Pair, ours: LesionSynthesizer, flat: LesionSynthesizer) -> list[Measured]:
        lesions = list(appeared(pair))
        if not lesions:
            return []
        images = {BEFORE: robust_units(pair.study1, pair.brain), REAL: robust_units(pair.study2, pair.brain)}
        real = [lesion.features(images[REAL])["contrast"] for lesion in lesions]
        drawn = prior_contrasts(ours.prior, pair, lesions, self.seed)
        images[GIVEN] = painted(ours, pair, lesions, real, halo=self.halo)
        images[PRIOR] = painted(ours, pair, lesions, drawn, halo=self.halo)
        images[FLAT] = painted(flat, pair, lesions, real, halo=self.halo)
        return [_measure(lesion, images) for lesion in lesions]


def _measure(lesion: Appeared, images: Mapping[str, Array]) -> Measured:
    return Measured(
        patient=lesion.pair.patient,
        volume_mm3=lesion.volume_mm3,
        features={name: lesion.features(image) for name, image in images.items()},
        crops={name: _crop(lesion, image) for name, image in images.items()},
    )


def _crop(lesion: Appeared, image: Array) -> Array:
    """The axial slice in which the lesion is largest."""
    slices = lesion.box[2].start + int(lesion.mask.sum(axis=(0, 1)).argmax())
    half = [round(HALF_MM / spacing) for spacing in lesion.pair.spacing_mm[:2]]
    a, b = (slice(max(c - h, 0), c + h) for c, h in zip(lesion.center[:2], half, strict=True))
    return image[a, b, slices]


def table(found: Sequence[Measured]) -> list[str]:
    """Medians by image, and how well ours follow the real ones from component to component."""
    patients = ", ".join(f"{sum(one.patient == name for one in found)} of {name}" for name in _patients(found))
    lines = [f"{len(found)} components that appeared ({patients})", RULE, f"{'median':24s}" + _head(SHOWN)]
    for name in found[0].features:
        lines.append(f"{name:24s}" + "".join(f"{np.median(_column(found, name, key)):16.2f}" for key in SHOWN))
    lines.append(f"{'r with study 2':24s}" + _head(COMPARED))
    for name, row in correlations(found).items():
        lines.append(f"{name:24s}" + "".join(f"{value:16.2f}" for value in row.values()))
    lines.append(f"{'median |ours - study 2|':24s}" + _head(COMPARED))
    for name, row in differences(found).items():
        lines.append(f"{name:24s}" + "".join(f"{value:16.2f}" for value in row.values()))
    return lines


def _head(names: Sequence[str]) -> str:
    return "".join(f"{name:>16s}" for name in names)


def _patients(found: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(one.patient for one in found))


def _column(found: Sequence[Measured], image: str, feature: str) -> Array:
    return np.array([one.features[image][feature] for one in found])


def correlations(found: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Pearson correlation with study 2 across components; study 1 tells what the place alone explains."""
    return _against_real(found, lambda a, b: float(np.corrcoef(a, b)[0, 1]))


def differences(found: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Median absolute difference from study 2 across components."""
    return _against_real(found, lambda a, b: float(np.median(np.abs(a - b))))


def _against_real(found: Sequence[Measured], compare) -> dict[str, dict[str, float]]:
    return {
        name: {key: compare(_column(found, name, key), _column(found, REAL, key)) for key in COMPARED}
        for name in found[0].features
        if name != REAL
    }


def draw(found: Sequence[Measured], path: Path, columns: int) -> None:
    """Components of all sizes: study 1, ours with the real and with the prior's contrast, study 2."""
    import matplotlib.pyplot as plt

    ordered = sorted(found, key=lambda one: -one.volume_mm3)
    chosen = [ordered[index] for index in np.linspace(0, len(ordered) - 1, min(columns, len(ordered))).astype(int)]
    rows = (BEFORE, GIVEN, PRIOR, REAL)
    figure, axes = plt.subplots(len(rows), len(chosen), figsize=(1.6 * len(chosen), 1.7 * len(rows)), squeeze=False)
    for row, name in enumerate(rows):
        for axis, one in zip(axes[row], chosen, strict=True):
            axis.imshow(np.rot90(one.crops[name]), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1])
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(name, fontsize=8)
    for axis, one in zip(axes[0], chosen, strict=True):
        axis.set_title(f"{one.patient}\n{one.volume_mm3:.0f} mm3", fontsize=8)
    figure.tight_layout(pad=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(config: Appearing, origin: dict, found: Sequence[Measured]) -> None:
    """Everything but the images, as JSON."""
    content = {
        "rule": RULE,
        "correlations": correlations(found),
        "differences": differences(found),
        "components": [
            {"patient": one.patient, "volume_mm3": one.volume_mm3, "features": one.features} for one in found
        ],
    }
    write_result(config.output, "realism appearing", asdict(config), origin, content)
