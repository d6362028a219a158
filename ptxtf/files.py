"""Files appear whole or not at all: written under a temporary name in the same folder, then renamed."""

import contextlib
import csv
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def atomic(path: pathlib.Path | str) -> Iterator[pathlib.Path]:
    """Yield a temporary path; rename it to `path` on success, remove it on any failure.

    Folders above `path` are made. The temporary name starts with a dot, so that no reader's pattern matches it.

    Example:
        >>> with atomic("scores.json") as temporary:
        ...     temporary.write_text("{}")
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")  # ends alike, for writers that look at the ending
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: pathlib.Path | str, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with atomic(path) as temporary:
        # file names need not be UTF-8; what is not is written as \udcXX
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: pathlib.Path | str, content: bytes) -> None:
    """Write bytes to `path`, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_csv(path: pathlib.Path | str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: pathlib.Path | str, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")
