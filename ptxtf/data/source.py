"""One image file and its label -> a record. Runs in worker processes, so without TensorFlow.

Flows in: a path with run-length rows or a mask's path. Flows out: `Encoded`, a record with the mask at the file's own
size and what the data card counts of it; or the reason why a file cannot be used.
"""

import dataclasses
import functools
import math

import cv2
import numpy as np

from ptxtf import files
from ptxtf.data import card, dicom, images, record, rle, tfio
from ptxtf.data.deflate import deflate
from ptxtf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options:
    """How a conversion reads and stores its files; `ptxtf.config.ConvertConfig` tells what the values mean."""

    image_size: int
    encoding: str
    window: int
    decoder: str


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker is asked to do: read `path`, draw its mask from `rows` or read it from `mask_path`."""

    image_id: str
    patient: str
    positive: bool
    path: files.Path
    rows: tuple[str, ...]
    mask_path: files.Path | None
    options: Options


@dataclasses.dataclass(frozen=True)
class Encoded:
    """What a worker gives back."""

    record: bytes
    fact: card.Fact


def read_header(path: files.Path) -> dicom.Header | str:
    """Return what a file says besides its pixels, or the reason why it cannot be used.

    A picture says nothing: the name of its file is its id.
    """
    try:
        return _picture_header(path) if _is_picture(path) else dicom.read_header(path)
    except InputError as error:
        return str(error)


class Lost(str):
    """The reason why a file could not be used this time: it may be the system's, not the file's."""


def header_lost(path: files.Path) -> str:
    """Return the reason why a file cannot be used whose header ended the worker process, twice."""
    return f"{path}: expected a file that can be read. Received: one that ends the process that reads it"


def is_positive(mask_path: files.Path) -> bool | str:
    """Return whether a mask file holds any mask, or the reason why it cannot be used."""
    try:
        return bool(images.read_mask(mask_path).any())
    except InputError as error:
        return str(error)


def encode(job: Job) -> Encoded | str:
    """Return the record, or the reason why it cannot be used (one line that names the file)."""
    try:
        header, shape, image, image_size = _encode_image(job)
        if header.image_id != job.image_id:
            raise InputError(f"expected image id {job.image_id}, as before. Received: {header.image_id}")
        mask = _mask(job, shape)
    except InputError as error:
        message = str(error)
        return message if str(job.path) in message else f"{job.path}: {message}"
    content = record.Record(
        image=image,
        image_size=image_size,
        mask=_no_mask(shape) if mask is None else deflate(mask),
        original_size=shape,
        positive=job.positive,
        image_id=job.image_id,
        patient=job.patient,
        spacing_mm=header.spacing_mm or (math.nan, math.nan),
        view_position=header.view_position,
        sex=header.sex,
        age_years=math.nan if header.age_years is None else header.age_years,
    )
    area_px = 0 if mask is None else int(np.count_nonzero(mask))
    return Encoded(
        record=record.serialize(content, encoding=job.options.encoding),
        fact=card.Fact(job.patient, header.view_position, *shape, area_px),
    )


def image_lost(job: Job) -> str:
    """Return the reason why a file cannot be used whose pixels ended the worker process, twice."""
    return Lost(
        f"{job.path}: expected an image that can be decoded. Received: one that ends the process that decodes it, or "
        "takes all memory"
    )


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, W] to [size, size]: area averaging when it shrinks, else bilinear."""
    if pixels.shape == (size, size):
        return pixels
    shrinks = size <= min(pixels.shape)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _is_picture(path: files.Path) -> bool:
    return path.suffix.lower() in images.ENDINGS


def _picture_header(path: files.Path) -> dicom.Header:
    return dicom.Header(image_id=images.image_id(path))


def _encode_image(job: Job) -> tuple[dicom.Header, tuple[int, int], bytes, tuple[int, int]]:
    """Return header, original size, the encoded image, and the size it is stored at."""
    path, options = job.path, job.options
    header: dicom.Header
    if _is_picture(path):
        header = _picture_header(path)
        stream = images.read_stream(path) if options.encoding == "source" else None
        if stream:
            return header, stream.shape, stream.encoded, stream.shape
        pixels = images.read(path).pixels
    else:
        copied = dicom.read_stream(path, window=options.window) if options.encoding == "source" else None
        if copied:
            return copied, copied.shape, copied.encoded, copied.shape
        header = radiograph = dicom.read(path, window=options.window, decode=_DECODERS[options.decoder])
        pixels = radiograph.pixels
    stored = resize(pixels, options.image_size) if options.image_size else pixels
    encoded = stored.tobytes() if options.encoding == "raw" else cv2.imencode(".png", stored)[1].tobytes()
    return header, pixels.shape, encoded, stored.shape


_DECODERS: dict[str, dicom.Decoder | None] = {"pydicom": None, "tfio": tfio.decode}


def _mask(job: Job, shape: tuple[int, int]) -> np.ndarray | None:
    """Return the mask at the image's size, uint8 [H, W] of {0, 1}; None where healthy."""
    if job.mask_path is not None:
        return images.read_mask(job.mask_path, shape=shape)
    return rle.union(job.rows, shape=shape) if job.rows else None


@functools.lru_cache(maxsize=16)
def _no_mask(shape: tuple[int, int]) -> bytes:
    return deflate(np.zeros(shape, np.uint8))
