"""The folder of prepared variants: for which cases, of which preprocessing, with which settings, and their bytes.

nnUNet_preprocessed/Dataset501_MS/nnUNetPlans_3d_fullres/                     cases, as nnU-Net has preprocessed them
nnUNet_preprocessed/Dataset501_MS/lesionaug/nnUNetPlans_3d_fullres/overlays/  prepared.json, plans, changes
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesionaug.integrations.nnunet.places import side_folder

from lesionaug.cache import digest_of
from lesionaug.dataset.atomic import write_atomically
from lesionaug.errors import LesionAugError
from lesionaug.store import FolderStore

FILE = "prepared.json"
FOLDER = "overlays"
ENDINGS = ((".b2nd", "_seg.b2nd", ".pkl"), (".npz", ".pkl"))  # of a case's files, of nnU-Net's two formats
ENDS_BYTES = 1 << 16
"""Looked at from both ends of a file. Blosc2's index of compressed blocks stands at the end: hardly anything can be
changed without changing it, and reading whole data sets before each training would take minutes."""


def overlays_folder(preprocessed: Path) -> Path:
    """Where the variants of these preprocessed cases are kept."""
    return side_folder(preprocessed) / FOLDER


def is_prepared(preprocessed: Path) -> bool:
    """Whether variants were prepared, or are being; whether they fit and are all there is said when they are opened."""
    return (overlays_folder(preprocessed) / FILE).is_file()


@dataclass(frozen=True)
class Prepared:
    """Content of `prepared.json`.

    Args:
        settings: All that decides about lesions: options, seed, digests of prior and models, channels, label.
        cases: Digest of each case's files, see `case_digest`.
        lesions: How many each variant of a case has; of the cases that are complete.
        variants: Of each case.
        untouched: Cases that get no lesions, because the user said so.
    """

    settings: dict[str, Any]
    cases: dict[str, str]
    lesions: dict[str, list[int]]
    variants: int
    untouched: tuple[str, ...] = ()

    def key(self, case: str, variant: int) -> str:
        """Under which the store keeps what a variant changes."""
        return digest_of({"case": self.cases[case], "name": case, "variant": variant, "settings": self.settings})

    def write(self, folder: Path) -> None:
        """Write it, or replace the one there."""
        content = json.dumps(asdict(self), indent=1, sort_keys=True)
        write_atomically(folder / FILE, (content + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Prepared:
        """Inverse of `write`.

        Raises:
            LesionAugError: It is not there, or not whole.
        """
        try:
            fields = json.loads((folder / FILE).read_text())
            return cls(**{**fields, "untouched": tuple(fields["untouched"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LesionAugError(
                f"Expected prepared variants, got no {FILE} that can be read in {folder}; "
                "run lesionaug nnunet prepare, or choose the live mode"
            ) from error


def store_in(folder: Path) -> FolderStore:
    """Where what variants change is kept."""
    return FolderStore(folder / "changes")


def case_names(preprocessed: Path) -> list[str]:
    """Names of the preprocessed cases."""
    return sorted(path.stem for path in preprocessed.glob("*.pkl"))


def case_digest(preprocessed: Path, case: str) -> str:
    """What tells a case from the same case preprocessed otherwise, in a millisecond: sizes and ends of its files.

    Raises:
        LesionAugError: Its files are not there.
    """
    for endings in ENDINGS:
        files = [preprocessed / f"{case}{ending}" for ending in endings]
        if all(file.is_file() for file in files):
            return hashlib.blake2b(b"".join(map(_ends, files)), digest_size=16).hexdigest()
    raise LesionAugError(
        f"Expected files of the preprocessed case {case}, got none or not all in {preprocessed}; "
        "run nnUNetv2_plan_and_preprocess"
    )


def check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Variants were prepared with the settings wanted now.

    Raises:
        LesionAugError: With others.
    """
    if changed := [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]:
        differing = "; ".join(f"{name}: {found.get(name)} then, {wanted.get(name)} now" for name in changed)
        raise LesionAugError(
            f"Expected the settings that {folder} was prepared with, got others ({differing}); "
            "use those, or prepare again: lesionaug nnunet prepare ... --overwrite"
        )


def check_cases(prepared: Prepared, preprocessed: Path, cases: Iterable[str]) -> None:
    """These cases are those that variants were prepared from.

    Raises:
        LesionAugError: They were preprocessed again since.
    """
    if changed := [case for case in cases if case_digest(preprocessed, case) != prepared.cases.get(case)]:
        raise LesionAugError(
            f"Expected the cases that variants were prepared from, got {some(changed)} preprocessed again since; "
            "run lesionaug nnunet prepare ... --overwrite"
        )


def check_complete(prepared: Prepared, cases: Iterable[str]) -> None:
    """There are all variants of these cases.

    Raises:
        LesionAugError: There are not.
    """
    wanted = [case for case in cases if case not in prepared.untouched]
    if lacking := [case for case in wanted if len(prepared.lesions.get(case, ())) < max(prepared.variants, 1)]:
        raise LesionAugError(
            f"Expected prepared variants of every training case, got none or too few of {some(lacking)}; run lesionaug "
            "nnunet prepare again: it goes on, and says what is wrong with a case (--leave-alone CASE trains with it "
            "as it is)"
        )


def some(names: list[str], most: int = 5) -> str:
    """The first of many names.

    Example:
        >>> some(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _ends(file: Path) -> bytes:
    size = file.stat().st_size
    with open(file, "rb") as stream:
        first = stream.read(ENDS_BYTES)
        stream.seek(-min(ENDS_BYTES, size), os.SEEK_END)
        return f"{size} ".encode() + first + stream.read()
