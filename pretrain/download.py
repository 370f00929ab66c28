"""`python -m lesionaug.pretrain.download open_ms|mslesseg --output DIR`: public scans with lesion labels, verified."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

import tyro
from tqdm import tqdm

from lesionaug.errors import LesionAugError

CHECKSUMS = "CHECKSUMS.sha256"


@dataclass(frozen=True)
class Archive:
    """Where a data set is.

    Args:
        url: A ZIP file; or, of figshare, the list of an article's files.
        licence: What may be done with it.
        cite: What to cite.
    """

    url: str
    licence: str
    cite: str


ARCHIVES = {
    "open_ms": Archive(
        "https://github.com/muschellij2/open_ms_data/archive/refs/heads/master.zip",
        "CC BY",
        "Lesjak et al., Neuroinformatics 16, 51-63 (2018), doi:10.1007/s12021-017-9348-7; "
        "Lesjak et al., Neuroinformatics 14, 403-420 (2016), doi:10.1007/s12021-016-9301-1",
    ),
    "mslesseg": Archive(
        "https://api.figshare.com/v2/articles/27919209/files",
        "CC BY 4.0",
        "Guarnera et al., Scientific Data 12, 920 (2025), doi:10.1038/s41597-025-05250-y; "
        "doi:10.6084/m9.figshare.27919209",
    ),
}


@dataclass(frozen=True)
class Download:
    """Download a public data set of patients with lesion labels, and unpack it.

    No list of SHA-256 sums was published with either: the first download records one, CHECKSUMS.sha256. Run again, and
    the files are compared with it; on other machines, give it as --checksums. figshare tells an MD5 sum for each of its
    files, which is compared as well.

    Examples:
      lesionaug pretrain download mslesseg --output MSLesSeg
      lesionaug pretrain download open_ms --output open_ms_data --checksums CHECKSUMS.sha256

    Args:
        dataset: Which.
        output: Folder for it.
        checksums: Sums that the files must have, as written by an earlier download.
        url: Another address of the same data: a mirror, or file:///path/of/a.zip.
    """

    dataset: tyro.conf.Positional[Literal["open_ms", "mslesseg"]]
    output: Path
    checksums: Path | None = None
    url: str | None = None

    def run(self) -> None:
        """Fetch what is not there, compare with what is known, record."""
        archive = ARCHIVES[self.dataset]
        print(f"{self.dataset}: {archive.licence}; cite {archive.cite}")
        if not (self.output / CHECKSUMS).exists():
            self._fetch(self.url or archive.url)
        verify(self.output, self.output / CHECKSUMS)
        if self.checksums is not None:
            verify(self.output, self.checksums)
        count = len(read_checksums(self.output / CHECKSUMS))
        compared = f", and as in {self.checksums}" if self.checksums else ""
        print(f"{self.output}: {count} files as recorded in {CHECKSUMS}{compared}")

    def _fetch(self, url: str) -> None:
        from lesionaug.folders import complete_folder

        if self.output.is_dir() and any(self.output.iterdir()):
            raise LesionAugError(
                f"Expected a new folder or an earlier download with its {CHECKSUMS}, got other files in {self.output}; "
                "choose another folder"
            )
        with complete_folder(self.output) as folder:
            for address, md5 in _files_at(url):
                _unpack(_fetched(address, folder, md5), folder)
            write_checksums(folder)


def write_checksums(folder: Path) -> None:
    """Record the SHA-256 sum of every file, in the format of `sha256sum`."""
    from lesionaug.io import sha256_of

    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    (folder / CHECKSUMS).write_text("".join(lines))


def read_checksums(path: Path) -> dict[str, str]:
    """File to SHA-256 sum.

    Raises:
        LesionAugError: The list cannot be read, or names files outside of its folder.
    """
    try:
        pairs = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
        sums = {name.removeprefix("*"): digest for digest, name in pairs}
    except (OSError, ValueError) as error:
        raise LesionAugError(
            f"Expected a list of checksums, got something else in {path} ({error}); give the {CHECKSUMS} of a download"
        ) from error
    if not sums or any(len(digest) != 64 or ".." in Path(name).parts for name, digest in sums.items()):
        raise LesionAugError(
            f"Expected lines of SHA-256 sum and file, got others in {path}; give the {CHECKSUMS} of a download"
        )
    return sums


def verify(folder: Path, checksums: Path) -> None:
    """Every file is there and as recorded.

    Raises:
        LesionAugError: Some are not.
    """
    from lesionaug.io import sha256_of

    sums = read_checksums(checksums)
    missing = [name for name in sums if not (folder / name).is_file()]
    others = [name for name, digest in sums.items() if name not in missing and sha256_of(folder / name) != digest]
    if missing or others:
        named = ", ".join([*others, *missing][:3])
        raise LesionAugError(
            f"Expected the {len(sums)} files of {checksums}, got {len(others)} that differ and {len(missing)} that are "
            f"missing in {folder} ({named}, ...); remove the folder and download again"
        )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)


def _files_at(url: str) -> Iterator[tuple[str, str | None]]:
    """Addresses of the ZIP files of a data set, and their MD5 sums where they are published."""
    if urlsplit(url).path.endswith(".zip"):
        yield url, None
        return
    with _opened(url) as stream:
        listed = json.load(stream)
    for file in listed:
        if str(file["name"]).endswith(".zip"):
            yield file["download_url"], file.get("computed_md5") or None


def _fetched(url: str, folder: Path, md5: str | None) -> Path:
    path = folder / "download.zip.partial"
    with _opened(url) as source, path.open("wb") as target, _bar(source) as bar:
        while block := source.read(1 << 20):
            bar.update(target.write(block))
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 is not None and got != md5:
        raise LesionAugError(f"Expected MD5 {md5} as published, got {got} for {url}; download again")
    return path


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise LesionAugError(f"Expected a ZIP file, got something else ({error}); check the address") from error
    path.unlink()


def _bar(source: IO[bytes]) -> tqdm:
    size = getattr(source, "headers", {}).get("Content-Length")
    return tqdm(
        total=int(size) if size else None, desc="download", unit="B", unit_scale=True, disable=None, leave=False
    )


def _opened(url: str) -> IO[bytes]:
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "lesionaug"}), timeout=60)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise LesionAugError(
            f"Expected to reach {url}, got {error}; check the network, or download it by hand and unpack it"
        ) from error


if __name__ == "__main__":
    tyro.cli(Download).run()
