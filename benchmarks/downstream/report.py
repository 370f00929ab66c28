"""`python -m benchmarks.downstream.report FOLDER`: arms compared, with intervals, as a table and as one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.downstream.lesions import bin_names
from benchmarks.downstream.runs import read_results, write_json
from benchmarks.downstream.statistics import FEW, GAIN, compare, differences, holm, tables
from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError

BASELINE = "none"
RIVALS = (
    ("lesionaug", "copy_paste"),
    ("lesionaug", "carvemix"),
    ("lesionaug_halo", "copy_paste"),
    ("lesionaug_halo", "carvemix"),
)
"""Compared besides every arm with `BASELINE`, and every variety of `lesionaug` with `lesionaug` itself."""

SHARES = ("dice", "nsd")
"""Metrics of which `GAIN` is a meaningful difference."""

SCOPES = {"any_draws": "any such patients", "these_draws": "these patients"}
"""Whom a difference is meant for: networks of other training patients, or others of the same ones."""

SHOWN = ("dice", "nsd", "f1", "recall", "precision", "f1_iou")


@dataclass(frozen=True)
class Report:
    """Compare the arms of a study.

    Args:
        results: Folder of a study, or the file that `--output` wrote.
        output: File for all results and comparisons.
        metrics: Which to compare.
    """

    results: tyro.conf.Positional[Path]
    output: Path | None = None
    metrics: tuple[str, ...] = SHOWN

    def run(self) -> None:
        """Print it."""
        found = read_results(self.results)
        check_known("metric", self.metrics, (*SHOWN, "avd_ml"))
        rows = list(comparisons(found["records"], self.metrics))
        if self.output:
            write_json(self.output, {**found, "benchmark": "downstream", "comparisons": rows})
        print("\n".join(page(found, rows)))


def comparisons(records: Sequence[dict[str, Any]], metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every arm with the baseline, and rivals with each other; p by Holm within a metric and number of patients."""
    for patients in sorted({record["run"]["patients"] for record in records}):
        for metric in metrics:
            pairs = [pair for pair in pairs_of(records) if _has(records, pair, patients)]
            found = [compare(differences(records, *pair, patients, metric)) for pair in pairs]
            adjusted = holm([comparison.p for comparison in found]) if found else []
            for (arm, against), comparison, p in zip(pairs, found, adjusted, strict=True):
                about = {"metric": metric, "trained_on": patients, "arm": arm, "against": against}
                yield {**about, **asdict(comparison), "p_holm": p}


def pairs_of(records: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Arms that are compared, of those there are."""
    arms = arms_of(records)
    pairs = [(arm, BASELINE) for arm in arms if arm != BASELINE and BASELINE in arms]
    varieties = [(arm, "lesionaug") for arm in arms if arm.startswith("lesionaug_")]
    return [*pairs, *(pair for pair in (*RIVALS, *varieties) if set(pair) <= set(arms))]


def arms_of(records: Sequence[dict[str, Any]]) -> list[str]:
    """In the order of their first run."""
    return list(dict.fromkeys(record["run"]["arm"] for record in sorted(records, key=_order)))


def _order(record: dict[str, Any]) -> tuple:
    from benchmarks.downstream.arms import ARMS

    return ARMS.index(record["run"]["arm"]), record["run"]["draw"], record["run"]["seed"]


def _has(records: Sequence[dict[str, Any]], pair: tuple[str, str], patients: int) -> bool:
    try:
        differences(records, *pair, patients, "dice")
    except LesionAugError:
        return False
    return True


def page(found: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """All tables, as Markdown."""
    records = found["records"]
    lines = [f"Cohort: {found['about']['cohort']}", ""]
    for patients in sorted({record["run"]["patients"] for record in records}):
        here = [record for record in records if record["run"]["patients"] == patients]
        lines += [f"Trained on {patients} patients, mean over test patients, draws and seeds:", ""]
        lines += [*level_table(here, patients), "", *size_table(here), "", *draw_table(here), ""]
    return [*lines, *difference_table(rows), *warnings_of(rows)]


def warnings_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What cannot be said."""
    fewest = min((row["independent"] for row in rows), default=FEW)
    if fewest >= FEW:
        return []
    return ["", f"Fewer than {FEW} draws: how much networks differ by chance is not known. Such rows claim nothing."]


def level_table(records: Sequence[dict[str, Any]], patients: int) -> list[str]:
    """What each arm reaches, over the runs that all arms have, so that rows compare; over all, if there are none."""
    records = shared_runs(records) or records
    head = ["arm", "runs", *SHOWN, "avd_ml", "false lesions / healthy scan"]
    return markdown(head, [_level(records, arm, patients) for arm in arms_of(records)])


def shared_runs(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the folds, draws and seeds that no arm lacks."""
    arms = len(arms_of(records))
    keys = [tuple(record["run"][name] for name in ("fold", "draw", "seed")) for record in records]
    return [record for record, key in zip(records, keys, strict=True) if keys.count(key) == arms]


def _level(records: Sequence[dict[str, Any]], arm: str, patients: int) -> list[str]:
    own = [record for record in records if record["run"]["arm"] == arm]
    values = [
        np.mean([np.mean(list(row.values())) for row in tables(own, arm, patients, metric).values()])
        for metric in (*SHOWN, "avd_ml")
    ]
    healthy = [scan["false_lesions"] for record in own for scan in record["healthy"].values()]
    return [arm, str(len(own)), *(f"{x:.3f}" for x in values), f"{np.mean(healthy):.1f}" if healthy else "-"]


def size_table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Recall by volume, over the lesions of all test patients; of the runs that `level_table` shows."""
    records = shared_runs(records) or records
    head = ["recall by mm3", *bin_names()]
    return markdown(head, [[arm, *_recalls(records, arm)] for arm in arms_of(records)])


def _recalls(records: Sequence[dict[str, Any]], arm: str) -> list[str]:
    counts = [
        [case["by_size"][name] for name in bin_names()]
        for record in records
        if record["run"]["arm"] == arm
        for case in record["cases"].values()
    ]
    found, real = np.sum(counts, axis=0).T
    return [f"{a / b:.2f} of {b}" if b else "-" for a, b in zip(found, real, strict=True)]


def draw_table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Dice of each draw, by the real lesions that there were to learn from: fewest first."""
    arms = arms_of(records)
    found: dict[tuple, dict[str, list[float]]] = {}
    for record in records:
        training = record["training"]
        key = (training["lesions"], training["load_ml"], " + ".join(record["trained_on"]), record["run"]["fold"])
        dice = float(np.mean([case["dice"] for case in record["cases"].values()]))
        found.setdefault(key, {}).setdefault(record["run"]["arm"], []).append(dice)
    rows = [
        [f"{lesions} ({load:.1f} ml), {names}", *(f"{np.mean(row[arm]):.3f}" if arm in row else "-" for arm in arms)]
        for (lesions, load, names, _), row in sorted(found.items())
    ]
    return markdown(["real lesions trained on", *(f"Dice, {arm}" for arm in arms)], rows)


def difference_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Every difference with its intervals; a claim is one whose interval leaves out 0."""
    scopes = [cell for scope in SCOPES.values() for cell in (f"95 %, {scope}", "detectable", f"power for {GAIN:g}")]
    head = ["n", "metric", "arm - other", "difference", "p (Holm)", "wins", "pairs", *scopes, f"draws for {GAIN:g}"]
    return markdown(head, [_difference(row) for row in rows])


def _difference(row: dict[str, Any]) -> list[str]:
    return [
        str(row["trained_on"]),
        row["metric"],
        f"{row['arm']} - {row['against']}",
        f"{row['mean']:+.3f}",
        f"{row['p_holm']:.3f}",
        f"{row['wins']}/{row['patients']}",
        str(row["runs"]),
        *(cell for scope in SCOPES for cell in _certainty(row[scope], row["metric"])),
        str(row["draws_needed"] or "-") if row["metric"] in SHARES else "-",
    ]


def _certainty(found: dict[str, float] | None, metric: str) -> list[str]:
    if found is None:
        return ["-"] * 3
    return [interval(found), f"{found['detectable']:.3f}", f"{found['power']:.2f}" if metric in SHARES else "-"]


def interval(found: dict[str, float] | None) -> str:
    """As it is shown."""
    return "-" if found is None else f"{found['low']:+.3f} to {found['high']:+.3f}"


def excludes_zero(found: dict[str, float] | None) -> bool:
    """Whether an interval claims a difference."""
    return found is not None and (found["low"] > 0 or found["high"] < 0)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def main() -> None:
    """Report, or say why not."""
    try:
        tyro.cli(Report).run()
    except LesionAugError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
