"""Folders that a run writes to: of one process at a time, and with an error that helps when the disk is full."""

import errno
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def alone(folder: Path, remedy: str) -> Iterator[None]:
    """Hold a folder, which is made if needed, alone. The lock ends with the process: a kill leaves none behind.

    Args:
        folder: where the file `lock` says who holds it.
        remedy: what else an error advises than to wait.

    Raises:
        ValueError: if another process holds it; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):  # whoever only reads is in nobody's way
        yield
        return
    with _locked(folder / "lock", remedy) as file:
        try:
            with explained(folder):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            yield
        finally:
            (folder / "lock").unlink(missing_ok=True)


def _locked(path, remedy):
    while True:
        file = path.open("ab+", buffering=0)
        try:
            _lock(file)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode().strip() or "unknown"
            file.close()
            raise ValueError(
                f"another process is running in {path.parent} ({holder}); wait for it, stop it, or {remedy}"
            ) from None
        file.close()  # whoever held it ended, and deleted the file, since it was opened here


def _lock(file):
    try:
        if fcntl is None:
            raise OSError("this system has no fcntl")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:  # some network file systems have no locks either
        warnings.warn(
            f"nothing keeps a second process out of {Path(file.name).parent} ({error}): start only one", stacklevel=2
        )


def check_space(folder: Path, needed: int) -> None:
    """Raise `OSError` if so many bytes do not fit on the disk of a folder."""
    if shutil.disk_usage(folder).free < needed:
        raise full(folder, errno.ENOSPC, needed)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which then becomes `path`: a kill or a full disk leaves the old file or the new one.

    Raises:
        OSError: if the disk is full; says what helps.
    """
    partial = path.with_name(path.name + ".partial")
    with explained(path.parent):
        try:
            yield partial
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """A full disk is an error that names the folder and what helps.

    Raises:
        OSError: if the disk of the folder is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise full(folder, error.errno) from None


def full(folder: Path, code: int, needed: int | None = None) -> OSError:
    """The error of a full disk.

    Args:
        folder: that was written to.
        code: of the system's error.
        needed: bytes that it needs at least, if known.
    """
    size = "more room" if needed is None else f"{needed / 1e6:.2g} MB"
    free = shutil.disk_usage(folder).free / 1e6
    return OSError(
        code,
        f"{os.strerror(code)}: {folder} needs {size} for its next file; {free:.2g} MB are free. What was complete is "
        "kept: make room and start again, and it goes on from there",
    )
