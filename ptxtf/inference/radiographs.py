"""Files and folders named on a command line -> pixels, one after another.

Flows out: uint8 [H, W], bright = dense, with the image id that results are filed under: the SOP instance UID of a
DICOM, the name of any other file.
"""

from collections.abc import Sequence

import numpy as np

from ptxtf import files
from ptxtf.data import dicom, images
from ptxtf.errors import InputError

WRITTEN_ENDINGS = ("_mask.png", "_overlay.png")
"""How the pictures end that a prediction writes."""


def find(names: Sequence[str]) -> list[files.Path]:
    """Return the files that are named, and all DICOM, PNG and JPEG files in the folders that are.

    What an earlier prediction wrote into such a folder is left out.

    Raises:
        InputError: a name that does not exist, or nothing found.
    """
    found: list[files.Path] = []
    for name in names:
        path = files.path(name)
        if path.is_dir():
            inner = sorted({*dicom.find(path), *images.find(path)})
            found.extend(file for file in inner if file.is_file() and not file.name.endswith(WRITTEN_ENDINGS))
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"{name}: expected a file or folder. Received: no such file")
    if not found:
        raise InputError(f"expected DICOM, PNG or JPEG files. Received: {' '.join(names) or 'no file names'}")
    return list(dict.fromkeys(found))


def read(path: files.Path) -> tuple[str, np.ndarray]:
    """Return image id and pixels, uint8 [H, W], of one file; its ending tells a picture from a DICOM.

    Raises:
        InputError: the file cannot be read.
    """
    if path.suffix.lower() in images.ENDINGS:
        return images.image_id(path), images.read(path).pixels
    radiograph = dicom.read(path)
    return radiograph.image_id, radiograph.pixels
