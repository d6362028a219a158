"""Paths as users give them, local or remote; files appear whole or not at all.

Flows in: names. Flows out: `Path`, which is a pathlib.Path, or a `Remote` for what only TensorFlow reaches ("gs://…").
Files are written under a temporary name in the same folder, then renamed.
"""

import concurrent.futures
import contextlib
import csv
import fcntl
import io
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ptxtf.errors import InputError
from ptxtf.remote import Remote

__all__ = [
    "Name",
    "Path",
    "Remote",
    "atomic",
    "atomic_local",
    "local",
    "locked",
    "path",
    "sweep",
    "walk",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_text",
]

Path = pathlib.Path | Remote
Name = str | os.PathLike[str] | Remote
"""What a function takes where a user says which file is meant; `path` makes a `Path` of it."""

_TEMPORARY = re.compile(r"\..+\.(?P<machine>[^.]*)\.(?P<process>[0-9]{1,9})\.part(\..+)?", re.DOTALL)
"""What `atomic` calls a file that is not whole yet; dots are between its parts, and in the first."""

_DAY_S = 24 * 3600
_REQUESTS = 32
"""Questions to a remote file system that are under way at a time."""


def path(name: Name) -> Path:
    """Return the path that a user means: "scheme://…" is a `Remote`, anything else a local pathlib.Path.

    Example:
        >>> files.path("gs://bucket/records") / "dataset.json"
        gs://bucket/records/dataset.json
    """
    if isinstance(name, Remote):
        return name
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://(.*)", text := os.fspath(name), flags=re.DOTALL)
    if not match:
        return pathlib.Path(text)
    scheme, key = match.groups()
    return pathlib.Path(key) if scheme == "file" else Remote(scheme, pathlib.PurePosixPath(key))


def walk(directory: Name) -> Iterator[Path]:
    """Yield every file below a folder, in the order of its path.

    Links are followed; a folder to which several ways lead, or a loop of links, is gone through once (told by device
    and inode). A link that leads nowhere is a file, for its reader to complain of; pipes and sockets are left out.

    Raises:
        OSError: a folder that is not there or may not be read.
    """
    seen: set[object] = set()
    todo = [(path(directory), True)]
    while todo:
        here, is_folder = todo.pop()
        if not is_folder:
            yield here
        elif (identity := _identity(here)) not in seen:
            seen.add(identity)
            todo += sorted(_entries(here), key=lambda entry: entry[0].name, reverse=True)


def _identity(folder: Path) -> object:
    if isinstance(folder, Remote):
        return folder
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """Return what lies in a folder, each with whether it is a folder itself."""
    if isinstance(folder, Remote):
        found = list(folder.iterdir())
        # each answer may come from far away, so many are asked for at once
        with concurrent.futures.ThreadPoolExecutor(_REQUESTS) as pool:
            return list(zip(found, pool.map(Remote.is_dir, found), strict=True))
    entries: list[tuple[Path, bool]] = []
    with os.scandir(folder) as listing:
        for entry in listing:
            here = folder / entry.name
            # pathlib takes links in a circle for files that are not there, where scandir raises
            is_folder = here.is_dir() if entry.is_symlink() else entry.is_dir()
            if is_folder or entry.is_file(follow_symlinks=False) or here.is_file() or not here.exists():
                entries.append((here, is_folder))
    return entries


@contextlib.contextmanager
def atomic(name: Name, *, ending: str = "") -> Iterator[Path]:
    """Yield a temporary path; rename it to `name` on success, remove it on any failure.

    Folders above it are made. The temporary name, ".NAME.MACHINE.PROCESS.part", starts and ends as no file that readers
    look for, and tells `sweep` whether a killed writer left it.

    A reader sees the old file or the whole new one: on local disks, as the rename is one step; on object stores
    (gs://, s3://, az://), where renaming copies, as an object appears once it is complete. On hdfs:// the old file
    goes a moment before the new one comes.

    Args:
        name: the file.
        ending: what the temporary name has to end in, for writers that look at the ending.

    Example:
        >>> with atomic("scores.json") as temporary:
        ...     temporary.write_text("{}")
    """
    target = path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{_machine()}.{os.getpid()}.part{ending}")
    try:
        yield temporary
        temporary.replace(str(target))
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # as of a disk that is full
            error.filename = str(target)
        raise


@contextlib.contextmanager
def atomic_local(name: Name, *, ending: str = "") -> Iterator[pathlib.Path]:
    """As `atomic`, for writers that know local files only: what they wrote is copied to a remote `name` in the end."""
    target = path(name)
    if not isinstance(target, Remote):
        with atomic(target, ending=ending) as temporary:
            yield pathlib.Path(str(temporary))
        return
    with tempfile.TemporaryDirectory() as folder:
        written = pathlib.Path(folder, f"part{ending}")
        yield written
        with written.open("rb") as source, atomic(target) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(source, file)


@contextlib.contextmanager
def local(name: Name) -> Iterator[pathlib.Path]:
    """Yield a local file for readers that know no others: the file itself, or a copy that is gone afterwards."""
    source = path(name)
    if not isinstance(source, Remote):
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, source.name)
        with source.open("rb") as original, copy.open("wb") as file:
            shutil.copyfileobj(original, file)
        yield copy


@contextlib.contextmanager
def locked(directory: Name) -> Iterator[None]:
    """Keep other processes that ask for the same out of a local folder; one that is killed keeps nobody out.

    Raises:
        InputError: another process has it.
    """
    here = path(directory)
    if isinstance(here, Remote):
        yield
        return
    folder = os.open(here, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise InputError(f"{directory}: expected a folder that no other process is writing. Received: one") from None
    except OSError:
        pass  # some network file systems know no locks
    try:
        yield
    finally:
        os.close(folder)


def sweep(directory: Name) -> None:
    """Remove what killed writers left in a folder.

    That is the temporary files of processes that do not live on this machine any more; those of other machines, which
    nobody here can know, once they are a day old.
    """
    leftovers: list[Path] = list(path(directory).glob(".*.part*"))
    for leftover in leftovers:
        writer = _TEMPORARY.fullmatch(leftover.name)
        if writer:
            with contextlib.suppress(FileNotFoundError):  # its writer has just finished
                if _is_abandoned(leftover, writer["machine"], int(writer["process"])):
                    leftover.unlink()


def _is_abandoned(leftover: Path, machine: str, process: int) -> bool:
    if machine == _machine():
        return not _lives(process)
    return 0 < leftover.stat().st_mtime_ns / 1e9 < time.time() - _DAY_S  # 0: no times are kept there


def _machine() -> str:
    """Return this machine's name, in a form that can be told from the rest of a temporary name: without dots."""
    return socket.gethostname().replace(".", "-")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_text(name: Name, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic(name) as temporary:
        # file names need not be UTF-8; what is not is written as \udcXX
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(name: Name, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    with atomic(name) as temporary:
        temporary.write_bytes(content)


def write_csv(name: Name, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(name, text.getvalue())


def write_json(name: Name, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(name, json.dumps(value, indent=2) + "\n")
