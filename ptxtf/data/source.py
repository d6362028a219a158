"""One DICOM file and its label rows -> encoded image and mask. Runs in worker processes, so without TensorFlow.

Flows in: a path and run-length rows. Flows out: `Encoded`, the image as the record will hold it (uint8, bright = dense)
and the mask at the DICOM's own size; or, from `encode`, the reason why a file cannot be used.
"""

import dataclasses
import math
import pathlib

import cv2
import numpy as np

from ptxtf.data import dicom, rle
from ptxtf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker is asked to do: read `path`, draw `rows`, store the image as `encoding` at `image_size`."""

    path: pathlib.Path
    rows: tuple[str, ...]
    image_size: int
    encoding: str


@dataclasses.dataclass(frozen=True)
class Encoded:
    """What a worker gives back; `mask` is uint8 [H, W] of {0, 1} at the original size, None where healthy."""

    image: bytes
    image_size: tuple[int, int]
    mask: np.ndarray | None
    original_size: tuple[int, int]
    spacing_mm: tuple[float, float]
    view_position: str


def read_header(path: pathlib.Path) -> dicom.Header | str:
    """Return what a DICOM says besides its pixels, or the reason why it cannot be used."""
    try:
        return dicom.read_header(path)
    except InputError as error:
        return str(error)


def encode(job: Job) -> Encoded | str:
    """Return the encoded case, or the reason why it cannot be used (one line that names the file)."""
    try:
        radiograph = dicom.read(job.path)
        shape = radiograph.pixels.shape
        mask = rle.union(job.rows, shape=shape) if job.rows else None
    except InputError as error:
        message = str(error)
        return message if str(job.path) in message else f"{job.path}: {message}"
    image, size = _encode_image(radiograph, image_size=job.image_size, encoding=job.encoding)
    return Encoded(
        image=image,
        image_size=size,
        mask=mask,
        original_size=(shape[0], shape[1]),
        spacing_mm=radiograph.spacing_mm or (math.nan, math.nan),
        view_position=radiograph.view_position,
    )


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, W] to [size, size]: area averaging when it shrinks, else bilinear."""
    if pixels.shape == (size, size):
        return pixels
    shrinks = size <= min(pixels.shape)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _encode_image(radiograph: dicom.Radiograph, *, image_size: int, encoding: str) -> tuple[bytes, tuple[int, int]]:
    if encoding == "source" and radiograph.encoded is not None:
        return radiograph.encoded, radiograph.pixels.shape
    pixels = resize(radiograph.pixels, image_size) if image_size else radiograph.pixels
    if encoding == "raw":
        return pixels.tobytes(), pixels.shape
    return cv2.imencode(".png", pixels)[1].tobytes(), pixels.shape
