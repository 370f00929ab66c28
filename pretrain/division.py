"""Which patches are learned from, and which are only for judging: patients stay on one side."""

from __future__ import annotations

from pathlib import Path

from lesionaug.pretrain.index import MODEL, StoreSettings
from lesionaug.pretrain.patches import PatchGroup, read_store
from lesionaug.pretrain.split import read_split

from lesionaug.errors import LesionAugError


def divide(
    store: Path,
    split: Path | None,
    hold_out: tuple[str, ...],
    *,
    healthy: bool,
    settings: StoreSettings = MODEL,
) -> tuple[list[PatchGroup], list[PatchGroup]]:
    """Learned and held-out patches of a store.

    Args:
        store: Where they are.
        split: File with the patients of `held_out`; those in neither of its lists are not used.
        hold_out: More patients to hold out.
        healthy: Whether patches without a lesion are wanted.
        settings: How the store has to be cut.

    Raises:
        LesionAugError: A patient that is not in the store, no lesion to learn from, or one to be held out of a split
            that has none in this store.
    """
    groups = [group for group in read_store(store, settings=settings) if healthy or not group.healthy]
    patients = sorted({group.patient for group in groups})
    train, held = read_split(split) if split else (patients, [])
    missing = sorted(set(hold_out) - set(patients))
    if missing:
        raise LesionAugError(
            f"Expected patients of {store} to hold out, got {', '.join(missing)}; it has {_some(patients)}"
        )
    held = sorted({*held, *hold_out})
    learned = [group for group in groups if group.patient in train and group.patient not in held]
    judged = [group for group in groups if group.patient in held]
    if not any(not group.healthy for group in learned):
        raise LesionAugError(f"Expected patients with lesions to learn from in {store}, got none; hold out fewer")
    if split and not any(not group.healthy for group in judged):
        raise LesionAugError(
            f"Expected held-out patients of {split} in {store}, got none of {_some(held)}; the store has "
            f"{_some(patients)}. Split this store, or leave out --split to train without held-out patients"
        )
    return learned, judged


def _some(names: list[str], shown: int = 8) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) or "nobody") + more
