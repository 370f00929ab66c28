"""`lesionaug cache info|verify|prune`: for any folder that is a cache."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from lesionaug.commands.progress import progress_bar
from lesionaug.errors import LesionAugError
from lesionaug.store import FolderStore

GB, DAY_S = 1_000_000_000, 86_400.0


@dataclass(frozen=True)
class CacheInfo:
    """Say what a cache holds.

    Examples:
      lesionaug cache info lesions

    Args:
        folder: The cache.
    """

    folder: tyro.conf.Positional[Path]

    def run(self) -> None:
        """Count and print."""
        store = existing(self.folder)
        entries, now_s = list(store.entries()), time.time()
        print(f"entries    {len(entries)}, {amount(sum(entry.size for entry in entries))}")
        if entries:
            ages = sorted(now_s - entry.used_s for entry in entries)
            print(
                f"last used  {days(ages[0])} to {days(ages[-1])} ago, half of them within {days(ages[len(ages) // 2])}"
            )
        left = list(store.abandoned(now_s))
        if left:
            size = amount(sum(entry.size for entry in left))
            print(f"left over  {len(left)} files of killed programs, {size}: lesionaug cache prune {self.folder}")


@dataclass(frozen=True)
class CacheVerify:
    """Read every entry of a cache, and remove those that are damaged.

    Training does the same with each entry that it reads, and renders damaged ones again.

    Examples:
      lesionaug cache verify lesions

    Args:
        folder: The cache.
    """

    folder: tyro.conf.Positional[Path]

    def run(self) -> None:
        """Verify and print."""
        store = existing(self.folder)
        total, damaged = 0, []
        with progress_bar(sum(1 for _ in store.entries()), "reading", "entry") as progress:
            for entry, whole in store.verify():
                total, damaged = total + 1, damaged if whole else [*damaged, entry]
                progress(1)
        for entry in damaged:
            print(f"removed    {entry.path}")
        print(f"entries    {total}, {len(damaged)} of them damaged" + (" and removed" if damaged else ""))


@dataclass(frozen=True)
class CachePrune:
    """Remove what killed programs left and, if asked to, the entries that were not used for longest.

    Programs that use the cache meanwhile lose nothing but time. What other versions of this package or other models
    have rendered is never read again: it goes by --unused-days.

    Examples:
      lesionaug cache prune lesions --limit-gb 10
      lesionaug cache prune lesions --unused-days 30
      lesionaug cache prune lesions --everything

    Args:
        folder: The cache.
        limit_gb: Remove the longest unused until this is left; what was used within a minute stays.
        unused_days: Remove what was not used for so long.
        everything: Remove all.
    """

    folder: tyro.conf.Positional[Path]
    limit_gb: float | None = None
    unused_days: float | None = None
    everything: bool = False

    def run(self) -> None:
        """Prune and print."""
        store = existing(self.folder)
        for value in (self.limit_gb, self.unused_days):
            if value is not None and not value >= 0:
                raise LesionAugError(f"Expected a limit of 0 or more, got {value}; correct it")
        pruned = store.prune(
            limit_bytes=None if self.limit_gb is None else int(self.limit_gb * GB),
            unused_s=-float("inf")
            if self.everything
            else None
            if self.unused_days is None
            else self.unused_days * DAY_S,
        )
        print(f"removed    {pruned.entries} entries, {amount(pruned.size)}; {pruned.abandoned} files left over")


def existing(folder: Path) -> FolderStore:
    """The cache in a folder.

    Raises:
        LesionAugError: There is no such folder.
    """
    if not folder.is_dir():
        raise LesionAugError(f"Expected a folder with a cache, got nothing at {folder}; check the path")
    return FolderStore(folder)


def amount(size: int) -> str:
    """For reading.

    Example:
        >>> amount(4200), amount(31_400_000)
        ('4.2 kB', '31.4 MB')
    """
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def days(seconds: float) -> str:
    """For reading.

    Example:
        >>> days(30), days(7200), days(200_000)
        ('0 min', '2.0 h', '2.3 days')
    """
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < DAY_S else f"{seconds / DAY_S:.1f} days"
