"""Files and folders named on a command line -> pixels, one after another.

Flows out: uint8 [H, W], bright = dense, with the image id that results are filed under: the SOP instance UID of a
DICOM, the name of any other file without its ending.
"""

import dataclasses
import glob
import hashlib
import os
import re
from collections.abc import Sequence

import numpy as np

from ptxtf import files
from ptxtf.data import dicom, images
from ptxtf.errors import InputError

MASK, OVERLAY, DICOM_MASK, DICOM_OVERLAY = "_mask.png", "_overlay.png", "_seg.dcm", "_overlay.dcm"
WRITTEN_ENDINGS = (MASK, OVERLAY, DICOM_MASK, DICOM_OVERLAY)
"""How the files end that a prediction writes."""

_LONGEST = 160


def results(directory: files.Path, name: str) -> list[files.Path]:
    """Return the files that a prediction may write of a radiograph, by the name that its results have."""
    return [directory / f"{name}{ending}" for ending in WRITTEN_ENDINGS]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Radiograph:
    """A radiograph and where it comes from.

    Attributes:
        path: the file.
        image_id: that results are filed under.
        pixels: uint8 [H, W] in 0..255, bright = dense.
        stated_mm: distance of pixel centres, down and along a row, as the file states it; None where it does not.
        is_dicom: whether the file is one.
        frames: how many pictures the file holds; the first is meant.
    """

    path: files.Path
    image_id: str
    pixels: np.ndarray
    stated_mm: tuple[float, float] | None
    is_dicom: bool
    frames: int = 1

    @property
    def name(self) -> str:
        """The image id as it may stand in a file name: no odd characters, and not too long."""
        name = re.sub(r"[^\w.-]", "_", self.image_id)
        if len(name.encode()) <= _LONGEST:
            return name
        return f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def find(names: Sequence[str]) -> list[files.Path]:
    """Return the files that are named, and all DICOM, PNG and JPEG files in the folders that are.

    A name that is no file may be a pattern, as "films/*.dcm" or "films/**/*.png" for folders at any depth; on gs:// and
    the like only its last part. Files whose names end as those of results do are left out, unless they are named.

    Raises:
        InputError: a name that does not exist, or nothing found.
    """
    found: list[files.Path] = []
    for name in names:
        for path in _meant(name):
            if path.is_dir():
                inner = sorted({*dicom.find(path), *images.find(path)})
                found.extend(file for file in inner if not file.name.endswith(WRITTEN_ENDINGS))
            else:
                found.append(path)
    if not found:
        raise InputError(f"expected DICOM, PNG or JPEG files. Received: {' '.join(names) or 'no file names'}")
    return list(dict.fromkeys(found))


def _meant(name: str) -> list[files.Path]:
    """Return the file or folder of a name, or all that a pattern stands for."""
    path = files.path(name)
    if not name:
        raise InputError("expected a file or folder. Received: an empty name")
    if path.is_dir() or path.is_file():
        return [path]
    matches: list[files.Path] = []
    if glob.has_magic(path.name) and isinstance(path, files.Remote):
        matches = sorted(path.parent.glob(path.name), key=str)
    elif glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (any root)
        places = {os.path.realpath(match): match for match in reversed(found)}  # links may lead there in many ways
        matches = sorted(files.path(match) for match in places.values())
    sources = [match for match in matches if not match.name.endswith(WRITTEN_ENDINGS)]
    if not sources:
        what = "only files that end as a prediction's results do" if matches else "no such file"
        raise InputError(f"{name}: expected a file or folder. Received: {what}")
    return sources


def read(path: files.Path) -> Radiograph:
    """Read one file; its ending tells a picture from a DICOM.

    Raises:
        InputError: the file cannot be read.
    """
    if path.suffix.lower() in images.ENDINGS:
        pixels = images.read(path).pixels
        return Radiograph(path=path, image_id=images.image_id(path), pixels=pixels, stated_mm=None, is_dicom=False)
    found = dicom.read(path)
    return Radiograph(
        path=path,
        image_id=found.image_id,
        pixels=found.pixels,
        stated_mm=found.spacing_mm,
        is_dicom=True,
        frames=found.frames,
    )
