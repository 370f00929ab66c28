"""The page: one HTML file that needs nothing else, neither files nor a network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lesionaug.dataset.manifest import read_cases, read_failures
from lesionaug.dataset.place import at_visit, last_plan
from lesionaug.dataset.settings import read_settings
from lesionaug.errors import LesionAugError
from lesionaug.evolution import BASELINE, FOLLOWUP
from lesionaug.prior import LesionPrior
from lesionaug.record import Record
from lesionaug.report.compare import HIGHEST_FLOOR, MEASURES, Comparison, compare
from lesionaug.report.expected import prior_samples
from lesionaug.report.mosaic import read_view, strip
from lesionaug.report.plots import plot
from lesionaug.report.samples import Sample, new_lesions, own_lesions
from lesionaug.scan import CHANNELS, REGIONS
from lesionaug.views import View

SHOWN = 2
"""Channels of a case that are shown: T1w beside FLAIR."""


@dataclass(frozen=True)
class Picture:
    """A case that is shown.

    Args:
        case: Its line of the manifest.
        image: The strip, as the content of a `src` attribute.
    """

    case: dict
    image: str


def write_page(
    out: Path, target: Path, references: Sequence[Sample], pictures: int, progress: Callable[[int], None]
) -> None:
    """Write the report on a data set.

    Args:
        out: The data set.
        target: HTML file.
        references: Real lesions to compare with.
        pictures: How many cases are shown.
        progress: Told about each picture.

    Raises:
        LesionAugError: There is no case, or jinja2 is not installed.
    """
    lines, identity = read_cases(out), read_settings(out)
    if not lines:
        raise LesionAugError(f"Expected cases in {out}, got none that is complete; run lesionaug generate again")
    shown = [draw(out, line) for line in _tell(spread(lines, pictures), progress)]
    groups = samples_of(lines, references, prior_of(out, lines[0]))
    content = {
        "identity": identity,
        "asked": {name: value for name, value in identity["options"].items() if value not in (None, False, 1.0)},
        "lines": lines,
        "failures": read_failures(out),
        "warned": [line for line in lines if line["warnings"]],
        "pictures": shown,
        "plots": [drawn for measure in MEASURES if (drawn := plot(measure, groups))],
        "comparisons": compared(groups),
        "highest_floor": HIGHEST_FLOOR,
        "totals": totals(lines),
        "prior": lines[0]["prior"],
    }
    target.write_text(render(content), encoding="utf-8")


def prior_of(out: Path, line: dict) -> LesionPrior | None:
    """The prior that a case was drawn from; none where its file is not there any more."""
    path = Record.read(out / last_plan(line["files"])).prior["path"]
    if path and not Path(path).is_file():
        return None
    prior = LesionPrior.load(path)
    return prior if prior.digest == line["prior"] else None


def samples_of(
    lines: Sequence[dict], references: Sequence[Sample], prior: LesionPrior | None
) -> dict[str, list[Sample]]:
    """What is drawn, by key of `lesionaug.report.plots.COLORS`."""
    channels = tuple(c for c in CHANNELS if any(c in line["channels"] for line in lines))
    shares = {name: sum(line["room"][name] for line in lines) / len(lines) for name in REGIONS}
    groups = {
        "new": new_lesions(lines),
        "prior": prior_samples(prior, shares, channels) if prior else [],
        "hosts": own_lesions(lines),
        "reference": list(references),
    }
    return {key: samples for key, samples in groups.items() if samples}


def compared(groups: dict[str, list[Sample]]) -> list[tuple[str, list[Comparison]]]:
    """Tables of distances, by what is compared with."""
    real = {"reference": "reference masks", "hosts": "the hosts' own lesions"}
    tables = [
        (title, [found for measure in MEASURES if (found := compare(measure, groups["new"], groups[key]))])
        for key, title in real.items()
        if key in groups
    ]
    return [(title, rows) for title, rows in tables if rows]


def totals(lines: Sequence[dict]) -> dict[str, float]:
    """What is said at the top."""
    return {
        "cases": len(lines),
        "sources": len({line["source"] for line in lines}),
        "patients": len({line["patient"] for line in lines}),
        "healthy": len({line["source"] for line in lines if not line["old"]["voxels"]}),
        "lesions": sum(len(line["new"]["volume_mm3"]) for line in lines),
        "load_ml": sum(line["new"]["load_ml"] for line in lines),
        "left_out": sum(line["new"].get("left_out", 0) for line in lines),
    }


def spread(lines: Sequence[dict], number: int) -> list[dict]:
    """Some of the cases, evenly chosen: first of each source, then their further variants."""
    ordered = sorted(lines, key=lambda line: (line["variant"], line["source"]))
    step = max(1, len({line["source"] for line in lines}) // max(number, 1))
    return (ordered[::step] if step > 1 else ordered)[:number]


def draw(out: Path, line: dict) -> Picture:
    """The strip of a case."""
    read = _read_pair if "changes" in line else _read_case
    image = base64.b64encode(strip(read(out, line, line["channels"][:SHOWN]))).decode()
    return Picture(line, f"data:image/jpeg;base64,{image}")


def _read_case(out: Path, line: dict, channels: Sequence[str]) -> View:
    """Source before, case after."""
    plan = out / last_plan(line["files"])
    paths = {role: plan.parent / file.path for role, file in Record.read(plan).inputs.items()}
    there = {role: path for role, path in paths.items() if path.is_file()}
    before = {channel: there[channel] for channel in channels if channel in there}
    after = {channel: out / line["files"][f"{channel}.nii.gz"] for channel in channels}
    return read_view(after, out / line["files"]["lesion.nii.gz"], before, there.get("lesions"), line.get("brain_box"))


def _read_pair(out: Path, line: dict, channels: Sequence[str]) -> View:
    """Baseline before, follow-up after."""

    def at(visit: str, name: str) -> Path:
        return out / line["files"][at_visit(visit, f"{name}.nii.gz")]

    before, after = ({channel: at(visit, channel) for channel in channels} for visit in (BASELINE, FOLLOWUP))
    return read_view(after, at(FOLLOWUP, "lesion"), before, at(BASELINE, "lesion"), line.get("brain_box"))


def render(content: dict) -> str:
    """HTML of the page.

    Raises:
        LesionAugError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        message = "Expected jinja2, which fills the page, got none; pip install 'lesionaug[report]'"
        raise LesionAugError(message) from error
    template = (files("lesionaug") / "report" / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(content)


def _tell(lines: Sequence[dict], progress: Callable[[int], None]):
    for line in lines:
        yield line
        progress(1)
