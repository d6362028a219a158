"""Files and folders named on a command line -> pixels, one after another.

Flows out: uint8 [H, W], bright = dense, with the image id that results are filed under: the SOP instance UID of a
DICOM, the name of any other file.
"""

import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from ptxtf.data import dicom
from ptxtf.errors import InputError

_PICTURES = {".png", ".jpg", ".jpeg"}


def find(names: Sequence[str]) -> list[pathlib.Path]:
    """Return the files that are named, and all DICOM, PNG and JPEG files in the folders that are.

    Raises:
        InputError: a name that does not exist, or nothing found.
    """
    found: list[pathlib.Path] = []
    for name in names:
        path = pathlib.Path(name)
        if path.is_dir():
            pictures = [inner for inner in path.rglob("*") if inner.suffix.lower() in _PICTURES]
            found.extend(sorted({*dicom.find(path), *pictures}))
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"{name}: expected a file or folder. Received: no such file")
    if not found:
        raise InputError(f"expected DICOM, PNG or JPEG files. Received: {' '.join(names) or 'no file names'}")
    return list(dict.fromkeys(found))


def read(path: pathlib.Path) -> tuple[str, np.ndarray]:
    """Return image id and pixels, uint8 [H, W], of one file.

    Raises:
        InputError: the file cannot be read.
    """
    if path.suffix.lower() not in _PICTURES:
        radiograph = dicom.read(path)
        return radiograph.image_id, radiograph.pixels
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) if path.stat().st_size else None
    if pixels is None:
        raise InputError(f"{path}: expected a PNG or JPEG picture. Received: bytes that OpenCV cannot decode")
    return path.stem, pixels
