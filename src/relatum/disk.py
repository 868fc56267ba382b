"""Write files so that a reader sees the old content or the new, never a part.

In: a path and bytes, or a folder to be filled.
Out: the file or folder in place, flushed to the disk; a full disk as one clear line.
This room does not know what it writes.
"""

import errno
import glob
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relatum.errors import RelatumError


def cache_folder() -> Path:
    """Return where what can be made again is kept: `$RELATUM_CACHE`, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RELATUM_CACHE") or Path(home) / "relatum")


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden path under `path` into a `RelatumError`."""
    try:
        yield
    except OSError as error:
        fixes = {
            errno.ENOSPC: "free some space or name another folder",
            errno.EDQUOT: "free some space or name another folder",
            errno.EACCES: "name a folder that you may write to",
            errno.EROFS: "name a folder that you may write to",
            errno.EEXIST: "a file stands where a folder is needed: name another folder",
            errno.ENOTDIR: "a file stands where a folder is needed: name another folder",
            errno.EISDIR: "a folder stands where a file is needed: name another file",
            errno.ENAMETOOLONG: "choose a shorter name",
        }
        if error.errno not in fixes:
            raise
        reason = (error.strerror or "the system refused").lower()
        raise RelatumError(f"cannot write: {reason}", where=path, fix=fixes[error.errno]) from error


def check_place(folder: Path) -> None:
    """Refuse a folder that cannot be made, as a file stands on its path, before work is spent."""
    here = folder.absolute()
    nearest = next(place for place in (here, *here.parents) if place.exists())
    if not nearest.is_dir():
        what = "a file stands where a folder is needed"
        raise RelatumError(what, where=nearest, fix="name another folder")


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step; an error leaves what was there."""
    with disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _flush_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `path` when the block ends without an error."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    old = part.with_suffix(".old")
    with disk_errors_named(path):
        restore_folder(path)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
            if path.exists():
                path.rename(old)
            part.rename(path)
            _flush_folder(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Put back the old folder where a kill came between its leaving and the new one's coming."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.old"):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(path)


def remove_parts(folder: Path, *, older: float = 0.0) -> None:
    """Remove what a killed writer left half-written in `folder`, if it is so many seconds old."""
    for part in folder.glob(".*.part"):
        with suppress(FileNotFoundError):  # its writer has just ended
            if time.time() - part.stat().st_mtime >= older:
                part.unlink() if part.is_file() else shutil.rmtree(part, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
