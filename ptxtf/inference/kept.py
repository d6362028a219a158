"""What a prediction has found so far <-> hidden files in its folder, so that what was stopped goes on."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ptxtf import files
from ptxtf.inference import radiographs
from ptxtf.inference.findings import Finding

_PATTERN = ".predicted-*.json"
_CHUNK = 32
"""So many files at most are done again after a kill; none after an interruption."""


@dataclasses.dataclass(frozen=True)
class Image:
    """What is kept of a file.

    Attributes:
        rejected: why it could not be read; "" if it could.
        name: of its results.
        findings: of the radiograph.
        mask: as run-length text.
        without_dicom: why there are no DICOM objects.
        frames: how many pictures the file holds.
        sizes: of the files that were written, in bytes, by name.
    """

    rejected: str = ""
    name: str = ""
    findings: Sequence[Finding] = ()
    mask: str = ""
    without_dicom: str = ""
    frames: int = 1
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Kept:
    """What is kept of each file while others are still to come, in hidden files of some images each.

    As a context it writes all that it was given in the end, whatever ends it.

    Args:
        directory: of the prediction.
        key: what results depend on; what was kept with another one is as good as nothing.
        paths: of the files; what is kept of others, of files that have changed, or whose results have, is left out.
    """

    def __init__(self, directory: files.Path, key: str, paths: Sequence[files.Path]) -> None:
        self.images: dict[files.Path, Image] = {}
        self._directory = directory
        self._key = key
        self._paths = paths
        self._new: list[list[Any]] = []
        self._parts = 0
        known = {str(path): path for path in paths}
        while (part := self._read(self._path(self._parts))) is not None:
            self._parts += 1
            for name, stamp, image in part:
                is_as_it_was = name in known and stamp == _stamp(known[name])
                if is_as_it_was and image.sizes == sizes(directory, image.name):
                    self.images[known[name]] = image

    def names(self) -> dict[str, files.Path]:
        """Return the names of the results that are there, with the files that they are of."""
        return {image.name: path for path, image in self.images.items() if not image.rejected}

    def add(self, path: files.Path, image: Image) -> None:
        """Keep one more. What was rejected is not written: another time it may be read."""
        self.images[path] = image
        if image.rejected:
            return
        self._new.append([str(path), _stamp(path), dataclasses.asdict(image)])
        if len(self._new) == _CHUNK:
            self._flush()

    def __enter__(self) -> "Kept":
        mine = {self._path(number).name for number in range(self._parts)}
        for path in self._directory.glob(_PATTERN):
            if path.name not in mine:  # what another one found there is about to be written over
                path.unlink(missing_ok=True)
        if not self._parts:
            self._write()  # so that the folder is known for a prediction's from the first picture on
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()

    def _flush(self) -> None:
        """Write what is not yet."""
        if self._new:
            self._write()

    def _write(self) -> None:
        files.write_json(self._path(self._parts), {"key": self._key, "images": self._new})
        self._parts, self._new = self._parts + 1, []

    def in_order(self) -> list[tuple[files.Path, Image]]:
        """Return all files, as they were named."""
        return [(path, self.images[path]) for path in self._paths]

    def drop(self) -> None:
        """Delete the hidden files."""
        for path in self._directory.glob(_PATTERN):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> files.Path:
        return self._directory / f".predicted-{number:05d}.json"

    def _read(self, path: files.Path) -> list[tuple[str, list[int], Image]] | None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["key"] != self._key:
                return None
            return [(name, stamp, _image(plain)) for name, stamp, plain in content["images"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not there, or not ours
            return None


def sizes(directory: files.Path, name: str) -> dict[str, int]:
    """Return the sizes in bytes of the files that a folder has of a radiograph, by their names."""
    return {path.name: path.stat().st_size for path in radiographs.results(directory, name) if path.is_file()}


def is_begun(directory: files.Path) -> bool:
    """Return whether a prediction has begun in a folder and is not finished."""
    return any(True for _ in directory.glob(_PATTERN))


def _image(plain: Mapping[str, Any]) -> Image:
    return Image(**{**plain, "findings": [Finding(**one) for one in plain["findings"]]})


def _stamp(path: files.Path) -> list[int]:
    """Return what changes when a file does: its size, and when it was written; nothing of one that has gone."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
