"""How an output is laid out: where a case's files go, and which files speak of all cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lesionaug.checks import check_known
from lesionaug.dataset import bids, nnunet
from lesionaug.dataset.cases import Case
from lesionaug.dataset.place import RECORDS


@dataclass(frozen=True)
class OutputLayout:
    """A layout as functions; paths are relative to the data set.

    Args:
        place: File for one of a case's files, by its name in `lesionaug.dataset.produce`; the channels' names first.
        home: Folder of the case's records; the case is there when this folder is.
        sidecars: Further files that a case needs, given its others' places by name, and the facts about it.
        describe: Files that speak of all cases, given the settings' identity and the lines of the manifest.
        alike: Whether all cases must have the same channels.
        binary_label: Whether lesions must be 1 in the label.
    """

    place: Callable[[Case, str, Sequence[str]], str]
    home: Callable[[Case], str]
    sidecars: Callable[[Mapping[str, str], dict], dict[str, bytes]]
    describe: Callable[[dict, Sequence[dict]], dict[str, bytes]]
    alike: bool
    binary_label: bool


def _in_folder(case: Case, name: str, channels: Sequence[str]) -> str:
    return f"{case.name}/{name}"


def _nothing(*_: object) -> dict[str, bytes]:
    return {}


def _record_home(case: Case) -> str:
    return f"{RECORDS}/{case.name}"


LAYOUTS: dict[str, OutputLayout] = {
    "folders": OutputLayout(_in_folder, lambda case: case.name, _nothing, _nothing, alike=False, binary_label=False),
    "nnunet": OutputLayout(nnunet.place, _record_home, _nothing, nnunet.describe, alike=True, binary_label=True),
    "bids": OutputLayout(bids.place, _record_home, bids.sidecars, bids.describe, alike=False, binary_label=True),
}


def layout_named(name: str) -> OutputLayout:
    """A layout.

    Raises:
        LesionAugError: There is none of this name.
    """
    check_known("layout", [name], LAYOUTS)
    return LAYOUTS[name]
