"""Tiles put together on pages, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.gallery.tiles import TILE, Pixels

CAPTION = 15  # pixels
GAP = 4
MIDDLE = 16  # between the two lesions of a row
ROWS = 10  # on a page, so that it can be looked at without scrolling


@dataclass(frozen=True)
class Entry:
    """One lesion on a page.

    Args:
        caption: What is written above it.
        tiles: Its pictures, from left to right; none where there is no such lesion.
    """

    caption: str
    tiles: tuple[Pixels, ...] = ()


def draw_pages(entries: Sequence[Entry], title: str, path: Path, rows: int = ROWS) -> list[Path]:
    """Two lesions in a row; `NAME.png`, or `NAME-1.png` and so on where they are many."""
    chunks = [entries[start : start + 2 * rows] for start in range(0, len(entries), 2 * rows)]
    names = [path] if len(chunks) == 1 else [path.with_stem(f"{path.stem}-{n}") for n in range(1, len(chunks) + 1)]
    for chunk, name in zip(chunks, names, strict=True):
        page_of(chunk, title).save(name, optimize=True)
    return names


def few(tiles: Sequence[Pixels]) -> tuple[Pixels, ...]:
    """The first contrast in full, one picture of each other one, one with outlines."""
    groups = [tiles[start : start + 3] for start in range(0, len(tiles), 3)]
    return (*groups[0], *(group[0] for group in groups[1:])) if groups else ()


def page_of(entries: Sequence[Entry], title: str) -> Image.Image:
    """One page."""
    count = max(len(entry.tiles) for entry in entries)
    half = count * TILE + (count - 1) * GAP
    page = _blank(2 * half + MIDDLE, CAPTION + -(-len(entries) // 2) * (TILE + CAPTION + GAP))
    _write(page, (0, 0), title)
    for number, entry in enumerate(entries):
        left = (number % 2) * (half + MIDDLE)
        top = CAPTION + (number // 2) * (TILE + CAPTION + GAP)
        _write(page, (left, top), entry.caption)
        for column, tile in enumerate(entry.tiles):
            page.paste(Image.fromarray(tile), (left + column * (TILE + GAP), top + CAPTION))
    return page


def draw_rows(rows: Sequence[tuple[str, Sequence[Pixels]]], title: str, path: Path) -> None:
    """Rows of large pictures, each with a caption."""
    widths = [sum(picture.shape[1] + GAP for picture in pictures) for _, pictures in rows]
    heights = [max(picture.shape[0] for picture in pictures) + CAPTION + GAP for _, pictures in rows]
    page = _blank(max(widths), CAPTION + sum(heights))
    _write(page, (0, 0), title)
    top = CAPTION
    for (caption, pictures), height in zip(rows, heights, strict=True):
        _write(page, (0, top), caption)
        left = 0
        for picture in pictures:
            page.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top + CAPTION))
            left += picture.shape[1] + GAP
        top += height
    page.save(path, optimize=True)


def _blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height))


def _write(page: Image.Image, place: tuple[int, int], text: str) -> None:
    ImageDraw.Draw(page).text((place[0] + 2, place[1] + 1), text, fill=(229, 231, 235), font=ImageFont.load_default(11))
