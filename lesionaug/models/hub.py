"""Files on the Hugging Face Hub, by addresses like `hf://org/repository/file`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lesionaug.errors import LesionAugError

SCHEME = "hf://"

Download = Callable[[str, str], str]
"""`(org/repository, file)` to the path of a local copy."""


def local_file(address: str | Path, download: Download | None = None) -> Path:
    """A path as it is; a file on the Hub after it was downloaded, or found in the Hub's own cache.

    Args:
        address: Either.
        download: How, instead of with huggingface_hub.

    Raises:
        LesionAugError: A malformed address, no huggingface_hub, or no such file.
    """
    text = str(address)
    if not text.startswith(SCHEME):
        return Path(address).expanduser()
    org, _, rest = text.removeprefix(SCHEME).partition("/")
    repository, _, file = rest.partition("/")
    if not (org and repository and file):
        raise LesionAugError(f"Expected {SCHEME}org/repository/file, got {text}; add what is missing")
    download = download or _hub_download()
    try:
        return Path(download(f"{org}/{repository}", file))
    except Exception as error:  # the Hub, its client and the network each fail in their own way
        raise LesionAugError(
            f"Expected {file} in {org}/{repository} on the Hub, got {error}; "
            "check the address, the network and your access"
        ) from error


def _hub_download() -> Download:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise LesionAugError(
            f"Expected huggingface_hub for {SCHEME} addresses, got none; "
            "pip install 'lesionaug[hub]' or download the file yourself"
        ) from error
    return hf_hub_download
