"""Where a server lives: a folder that only its user can enter, which is also its address.

socket        where it listens
key           what both sides prove to know
lock          held by the server for as long as it lives; the system lets go of it however the server ends
start.json    how to start it (again)
pid, log      of the server that runs or ran last
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesionaug.errors import LesionAugError
from lesionaug.serving.recipe import Start

LONGEST = 100  # bytes of a socket's path; systems allow 104 or 108 with the end


class Place:
    """Files of one server.

    Args:
        folder: The address.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self.socket, self.key, self.lock = (self.folder / name for name in ("socket", "key", "lock"))
        self.start, self.pid, self.log = (self.folder / name for name in ("start.json", "pid", "log"))

    def prepare(self, start: Start | None = None) -> Place:
        """Make the folder and its key, and say how to start a server there; what exists stays.

        Raises:
            LesionAugError: Others may enter the folder, or its name is too long for a socket.
        """
        if len(os.fsencode(self.socket)) > LONGEST:
            raise LesionAugError(
                f"Expected an address of at most {LONGEST - 7} bytes, got {self.folder}; choose a shorter folder"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check_private()
        if not self.key.exists():
            self._write(self.key, secrets.token_bytes(32), replace=False)
        if start is not None:
            self._write(self.start, start.to_json().encode(), replace=True)
        return self

    def check_private(self) -> None:
        """Nobody else can put a socket or a key here.

        Raises:
            LesionAugError: There is no such folder, it is somebody else's, or others may enter it.
        """
        try:
            status = self.folder.stat()
        except OSError as error:
            raise LesionAugError(
                f"Expected the folder of a render server, got {self.folder} ({error.strerror}); "
                "start one with lesionaug serve"
            ) from error
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise LesionAugError(
                f"Expected a folder that only you can enter, got {self.folder} with mode "
                f"{stat.S_IMODE(status.st_mode):o} of user {status.st_uid}; choose another or chmod 700"
            )

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """The lock's file descriptor, or None where a server lives or comes up. A child that gets it holds the lock."""
        import fcntl  # not on Windows, where there are no servers

        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
        finally:
            os.close(descriptor)

    def occupied(self) -> bool:
        """Whether a server lives here or comes up."""
        if not self.folder.is_dir():
            return False
        with self.locked() as descriptor:
            return descriptor is None

    def record(self, pid: int) -> None:
        """Say whom to send signals to."""
        self._write(self.pid, f"{pid}\n".encode(), replace=True)

    def last_words(self, lines: int = 15) -> str:
        """The end of the server's log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def remove(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, path: Path, content: bytes, *, replace: bool) -> None:
        """Whole or not at all, whoever else writes it at the same time."""
        descriptor, partial = tempfile.mkstemp(dir=self.folder)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            if replace:
                os.replace(partial, path)
            else:
                with suppress(FileExistsError):
                    os.link(partial, path)
        finally:
            Path(partial).unlink(missing_ok=True)


def runtime_folder() -> Path:
    """Where the servers of this user live that were given no other place."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(given) if given and os.access(given, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"lesionaug-{os.geteuid()}"


def place_of(start: Start) -> Place:
    """Of the server that one owner gets for one start, the same for everyone who asks for it."""
    runtime = runtime_folder()
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    Place(runtime).check_private()
    return Place(runtime / f"{start.owner}-{start.digest()}")


def shared_folder() -> Path:
    """Where the server of all programs of this user lives that was given no other place."""
    return runtime_folder() / "shared"
