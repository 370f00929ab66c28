"""Output folders that are either complete or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesionaug.errors import LesionAugError


@contextmanager
def complete_folder(output: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `output` that becomes it when the block ends, and vanishes when the block fails.

    With `overwrite`, files of the same name in an existing folder are replaced one by one; others stay.

    Raises:
        LesionAugError: The folder cannot be written, or holds files already and `overwrite` is not set.
    """
    output = Path(output).expanduser().absolute()
    _check_free(output, overwrite)
    with _parents(output), _temporary_beside(output) as partial:
        yield partial
        _move_into(partial, output)


def _check_free(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise LesionAugError(f"Expected an output folder, got the file {output}; choose another folder")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise LesionAugError(f"Expected an empty output folder, got files in {output}; choose another, or --overwrite")


@contextmanager
def _parents(output: Path) -> Iterator[None]:
    """Create the parents, and take away again those that were created when the block fails."""
    missing = [parent for parent in output.parents if not parent.exists()]
    try:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(output, error) from error
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


@contextmanager
def _temporary_beside(output: Path) -> Iterator[Path]:
    # Beside it, because only within one file system is renaming all or nothing.
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.partial-", dir=output.parent))
    except OSError as error:
        raise _unwritable(output, error) from error
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_into(partial: Path, output: Path) -> None:
    try:
        if not output.exists():
            output.mkdir()  # with the permissions of a new folder, which a temporary one has not
            shutil.copymode(output, partial)
            os.replace(partial, output)
            return
        for path in sorted(path for path in partial.rglob("*") if path.is_file()):
            target = output / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> LesionAugError:
    return LesionAugError(
        f"Expected an output folder that can be written, got {output} ({error.strerror}); choose another"
    )
