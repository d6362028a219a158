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

WRITTEN_ENDINGS = ("_mask.png", "_overlay.png")
"""How the pictures end that a prediction writes."""

_PICTURES = {".png", ".jpg", ".jpeg"}
_FLAGS = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def find(names: Sequence[str]) -> list[pathlib.Path]:
    """Return the files that are named, and all DICOM, PNG and JPEG files in the folders that are.

    What an earlier prediction wrote into such a folder is left out.

    Raises:
        InputError: a name that does not exist, or nothing found.
    """
    found: list[pathlib.Path] = []
    for name in names:
        path = pathlib.Path(name)
        if path.is_dir():
            pictures = [inner for inner in path.rglob("*") if inner.suffix.lower() in _PICTURES and inner.is_file()]
            found.extend(
                inner for inner in sorted({*dicom.find(path), *pictures}) if not inner.name.endswith(WRITTEN_ENDINGS)
            )
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"{name}: expected a file or folder. Received: no such file")
    if not found:
        raise InputError(f"expected DICOM, PNG or JPEG files. Received: {' '.join(names) or 'no file names'}")
    return list(dict.fromkeys(found))


def read(path: pathlib.Path) -> tuple[str, np.ndarray]:
    """Return image id and pixels, uint8 [H, W], of one file.

    A picture of 16 bits is shown as a DICOM without a window is: percentiles 0.5 and 99.5 become black and white. An
    orientation that a camera noted in a JPEG is ignored, so that the mask fits the stored pixels.

    Raises:
        InputError: the file cannot be read.
    """
    if path.suffix.lower() not in _PICTURES:
        radiograph = dicom.read(path)
        return radiograph.image_id, radiograph.pixels
    try:
        content = np.fromfile(path, np.uint8)
        pixels = cv2.imdecode(content, _FLAGS) if content.size else None
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: expected a PNG or JPEG picture. Received: {error}") from None
    if pixels is None:
        raise InputError(f"{path}: expected a PNG or JPEG picture. Received: bytes that OpenCV cannot decode")
    if pixels.dtype != np.uint8:
        pixels = dicom.stretch(pixels, *dicom.robust_range(pixels))
    return path.stem, pixels
