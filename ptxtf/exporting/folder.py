"""A folder that appears whole or not at all, and takes the place of an earlier one of its kind."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Iterator

from ptxtf import files
from ptxtf.errors import InputError

_UNFINISHED = ".unfinished"
"""A file that says, where files come one by one, that some are still to come."""


@contextlib.contextmanager
def whole(name: files.Name, *, entries: Collection[str], last: str, title: str = "") -> Iterator[pathlib.Path]:
    """Yield an empty local folder; what it holds in the end becomes the folder `name`, unless something fails.

    A local folder comes by one renaming (the earlier one goes by another, just before). Where files are kept under
    names alone, as on gs://, they come one after another; what was stopped on the way is replaced, too.

    Args:
        name: the folder. One that is empty, or holds `last` and nothing but `entries`, is replaced.
        entries: what may be in it.
        last: the file that comes last where files come one by one.
        title: what that file begins with, or it is somebody else's.

    Raises:
        InputError: the folder holds something else, or another process is writing it.
    """
    target = files.path(name)
    if isinstance(target, files.Remote):
        _check(target, entries, last, title)
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder)
            _copy(pathlib.Path(folder), target, last)
        return
    target = target.resolve()  # of "." the name is empty
    _check(target, entries, last, title)
    temporary, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
    temporary.mkdir(parents=True, exist_ok=True)
    with files.locked(temporary):
        for leftover in temporary.iterdir():  # of a process that was killed
            _remove(leftover)
        try:
            yield temporary
            _remove(old)
            if target.exists():
                target.rename(old)
            temporary.rename(target)
        except BaseException:
            _remove(temporary)
            if old.exists() and not target.exists():
                old.rename(target)
            raise
        _remove(old)


def _check(target: files.Path, entries: Collection[str], last: str, title: str) -> None:
    if target.is_file():
        raise InputError(f"{target}: expected a folder. Received: a file")
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    others = found - {*entries, _UNFINISHED}
    if found and (others or found.isdisjoint({last, _UNFINISHED})):
        other = min(others, default=f"no {last}")
        raise InputError(
            f"{target}: expected a folder that is new, empty, or an earlier export. Received: {other} in it"
        )
    if last in found and not (target / last).read_text(errors="replace").startswith(title):
        raise InputError(
            f"{target / last}: expected a folder that is new, empty, or an earlier export. Received: another {last}"
        )


def _copy(source: pathlib.Path, target: files.Remote, last: str) -> None:
    files.write_bytes(target / _UNFINISHED, b"")
    for old in list(files.walk(target)):
        if old != target / _UNFINISHED:
            old.unlink()
    found = sorted(path for path in source.rglob("*") if path.is_file())
    for path in sorted(found, key=lambda path: path == source / last):
        place: files.Path = target
        for part in path.relative_to(source).parts:
            place = place / part
        files.write_bytes(place, path.read_bytes())
    (target / _UNFINISHED).unlink()


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
