"""`lesionaug replay`: the same bytes again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from lesionaug.commands.progress import spinner
from lesionaug.commands.synthesize import describe, render_into

if TYPE_CHECKING:
    from lesionaug.record import Record


@dataclass(frozen=True)
class Replay:
    """Make the files of a plan.json again: the same bytes, with the same versions on the same kind of machine.

    Inputs and models are compared with those the plan was made for, outputs with those it made.

    Examples:
      lesionaug replay out/plan.json
      lesionaug replay out/plan.json --output elsewhere
      lesionaug replay out/plan.json --preview

    Args:
        plan: A plan.json written by `lesionaug synthesize`, `generate` or `demo`.
        output: Folder to write to, instead of that of the plan.
        preview: Also write preview.png (needs lesionaug[demo]).
        overwrite: Replace files in that folder even where they are not those that the plan made.
    """

    plan: tyro.conf.Positional[Path]
    output: Path | None = None
    preview: bool = False
    overwrite: bool = False

    def run(self) -> None:
        """Check, render, write, compare."""
        from lesionaug.files import read_scan
        from lesionaug.folders import complete_folder
        from lesionaug.record import Record

        record = Record.read(self.plan)
        home = self.plan.expanduser().absolute().parent
        output = self.output.expanduser().absolute() if self.output else home
        paths = _checked_inputs(record, home)
        with complete_folder(output, overwrite=self.overwrite or _is_untouched(record, output)) as folder:
            with spinner("reading the scan, looking for white matter"):
                files = read_scan(paths, record.lesion_value)
            _, after = render_into(_from(record, home, output), files, folder, preview=self.preview)
            changed = _changed(record, folder)
            lines = describe(record, files.scan, after)
        print("\n".join([*lines, f"wrote   {output}: {'not all' if changed else 'all'} bytes as before"]))
        if changed:
            _warn(changed, record)


def _checked_inputs(record: Record, home: Path) -> dict[str, Path]:
    from lesionaug.errors import LesionAugError
    from lesionaug.io import sha256_of

    paths = {role: home / file.path for role, file in record.inputs.items()}
    for role, path in paths.items():
        found = sha256_of(path) if path.is_file() else None
        if found != record.inputs[role].sha256:
            raise LesionAugError(
                f"Expected the {role} image that the plan was made for, "
                f"got {'another' if found else 'no file'} at {path}; put it back, or synthesize anew"
            )
    return paths


def _from(record: Record, home: Path, output: Path) -> Record:
    """The record with paths that hold in the folder where it is written."""
    if home == output:
        return record
    inputs = {role: replace(file, path=str(home / file.path)) for role, file in record.inputs.items()}
    return replace(record, inputs=inputs)


def _is_untouched(record: Record, folder: Path) -> bool:
    """Whether nothing would be lost by writing the outputs there."""
    if not (folder / "plan.json").is_file():
        return False
    return not _changed(record, folder, missing_counts=False)


def _changed(record: Record, folder: Path, *, missing_counts: bool = True) -> list[str]:
    from lesionaug.io import sha256_of

    return [
        name
        for name, digest in record.outputs.items()
        if (sha256_of(folder / name) != digest if (folder / name).is_file() else missing_counts)
    ]


def _warn(changed: list[str], record: Record) -> None:
    from lesionaug.errors import LesionAugWarning
    from lesionaug.record import versions

    then, now = record.versions, versions()
    differing = [f"{name} {then.get(name)} then, {now[name]} now" for name in now if now[name] != then.get(name)]
    warnings.warn(
        f"Expected the same bytes, got others in {', '.join(changed)}; "
        f"{'; '.join(differing) or 'same versions, so another machine or device'}",
        LesionAugWarning,
        stacklevel=2,
    )
