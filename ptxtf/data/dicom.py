"""One DICOM file -> Radiograph; and a SIIM-like file back.

In: a radiograph as hospitals and data sets store it. Out: uint8 [H, W] in 0..255 where bright is dense, as on
a viewing station, with the few facts that the pipeline needs. What becomes of the stored values:

- 8 bits, unsigned: they stay as they are. A window is left out: it suits a screen, and a network sees all 256.
- Other depths, signed values, or a look-up table: modality LUT or rescale (PS3.3 C.11.1), then the first VOI
  LUT, else the first window (C.11.2), whose ends become 0 and 255. Without either, or with a window that the
  standard forbids, the 0.5 and 99.5 percentiles do: a marker or a dead pixel does not darken the rest.
- MONOCHROME1 (C.7.6.3.1.2), Presentation LUT Shape INVERSE (C.7.6.1), or both: inverted, once. Where a file
  has both, they say the same (C.8.11.3).
- Several frames: the first.
- Colour: rejected. It is a picture of a radiograph, often drawn upon.

Only the tags listed here are ever taken from a file. Names, birth dates, addresses and accession numbers are
not among them. The patient id is, for grouping: to hash it is the caller's part. Nothing else in ptxtf
knows pydicom.
"""

import contextlib
import dataclasses
import logging
import math
import os
import pathlib
import threading
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
import pydicom
from pydicom import encaps, uid
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.valuerep import format_number_as_ds

from ptxtf import files
from ptxtf.errors import InputError

_HEADER_TAGS = ("SOPInstanceUID", "PatientID", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing")
_IMAGE_TAGS = (
    *(
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
    ),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PresentationLUTShape"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)

_PERCENTILES = (0.5, 99.5)
_JPEG_END = b"\xff\xd9"
_JPEG_QUALITY = 90
_ENDINGS = (".dcm", ".dicom")

# Silencing changes settings of the whole process, so only one thread at a time may do it.
_SILENCE = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its radiograph.

    Attributes:
        image_id: SOP instance UID; the stem of the file's name where there is none.
        patient_id: as stored; "" where there is none.
        view_position: "PA", "AP", ...; "" where there is none.
        spacing_mm: distance of pixel centres (down, along a row) in mm; None where the file does not say.
    """

    image_id: str
    patient_id: str
    view_position: str
    spacing_mm: tuple[float, float] | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Radiograph(Header):
    """A radiograph and what its file says of it.

    Attributes:
        pixels: uint8 [H, W] in 0..255, bright = dense.
        encoded: the file's JPEG Baseline stream, if decoding it gives `pixels`; else None.
    """

    pixels: np.ndarray
    encoded: bytes | None


def read(path: pathlib.Path | str) -> Radiograph:
    """Read a radiograph; the module says what becomes of the stored values.

    Args:
        path: a DICOM file, in any transfer syntax for which pydicom has a decoder.

    Returns:
        A `Radiograph`.

    Raises:
        InputError: no DICOM file, no pixel data, colour, truncated, damaged; one line that names the file.

    Example:
        >>> radiograph = read("1.2.276.0.7230010.3.1.4.1.dcm")
        >>> radiograph.pixels.shape, radiograph.spacing_mm
        ((1024, 1024), (0.168, 0.168))
    """
    with _one_line_errors(path):
        with _silent_pydicom():
            dataset = pydicom.dcmread(path, specific_tags=[*_HEADER_TAGS, *_IMAGE_TAGS])
            header = _header(dataset, path)
            _check_is_grey(dataset, path)
            shape = dataset.Rows, dataset.Columns
            encoded = _jpeg_stream(dataset) if _is_8_bit(dataset) and not _is_inverted(dataset) else None
            if encoded is None:
                pixels = _shown(pixel_array(dataset, index=0), dataset)
        if encoded is not None:
            # OpenCV takes a third of pydicom's time, and agrees with TensorFlow's accurate decoder to the bit.
            pixels = _decode_jpeg(encoded, shape, path)
    return Radiograph(**dataclasses.asdict(header), pixels=pixels, encoded=encoded)


def read_header(path: pathlib.Path | str) -> Header:
    """Read what a file says of its radiograph, without looking at the pixels.

    Args:
        path: a DICOM file.

    Returns:
        A `Header`.

    Raises:
        InputError: no DICOM file, or damaged before the pixels; one line that names the file.

    Example:
        >>> read_header("1.2.276.0.7230010.3.1.4.1.dcm").view_position
        'PA'
    """
    with _one_line_errors(path), _silent_pydicom():
        return _header(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_HEADER_TAGS]), path)


def find(directory: pathlib.Path | str) -> list[pathlib.Path]:
    """List the DICOM files below a folder.

    A file counts by its suffix, .dcm or .dicom in any case. One without a suffix, or named by a bare UID whose
    last number only looks like one, counts by the letters DICM after its preamble (PS3.10 7.1).
    Hidden files and DICOMDIR indices do not count.

    Args:
        directory: the folder.

    Returns:
        Paths, sorted.

    Raises:
        InputError: there is no such folder.

    Example:
        >>> find("dicom")
        [PosixPath('dicom/study/series/1.2.276.0.7230010.3.1.4.1.dcm')]
    """
    if not pathlib.Path(directory).is_dir():
        raise InputError(f"{directory}: expected a folder. Received: directory={str(directory)!r}")
    below = (pathlib.Path(folder, name) for folder, _, names in os.walk(directory) for name in names)
    return sorted(path for path in below if _is_dicom(path))


def write_secondary_capture(
    path: pathlib.Path | str,
    pixels: np.ndarray,
    *,
    image_id: str,
    patient_id: str,
    view_position: str,
    spacing_mm: tuple[float, float] | None,
    study_id: str,
    series_id: str,
) -> None:
    """Write a radiograph as SIIM-ACR has them: Secondary Capture, CR, MONOCHROME2, 8 bits, JPEG Baseline.

    The stream is one fragment behind an empty offset table (PS3.5 A.4). The same arguments give the same bytes.

    Args:
        path: the file to write, whole or not at all; folders above it are made.
        pixels: uint8 [H, W] in 0..255, bright = dense.
        image_id: SOP instance UID.
        patient_id: patient id, at most 64 characters.
        view_position: "PA", "AP", ...
        spacing_mm: distance of pixel centres (down, along a row) in mm; None leaves it out.
        study_id: study instance UID.
        series_id: series instance UID.

    Raises:
        ValueError: `pixels` is no uint8 [H, W], or an id is no UID.

    Example:
        >>> write_secondary_capture("1.2.3.dcm", pixels, image_id="1.2.3", patient_id="7", view_position="PA",
        ...                         spacing_mm=(0.143, 0.143), study_id="1.2.1", series_id="1.2.2")
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise ValueError(f"pixels: expected uint8 [H, W]. Received: shape={pixels.shape}, dtype={pixels.dtype}")
    for name, value in {"image_id": image_id, "study_id": study_id, "series_id": series_id}.items():
        if not uid.UID(value, pydicom.config.IGNORE).is_valid:
            raise ValueError(f"{name}: expected a UID (PS3.5 section 9). Received: {name}={value!r}")
    dataset = _secondary_capture(pixels)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid.UID(image_id)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid.UID(study_id), uid.UID(series_id)
    dataset.PatientID, dataset.ViewPosition = patient_id, view_position
    if spacing_mm is not None:
        dataset.PixelSpacing = [format_number_as_ds(float(step)) for step in spacing_mm]
    with files.atomic(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


@contextlib.contextmanager
def _one_line_errors(path: pathlib.Path | str) -> Iterator[None]:
    """Turn whatever reading `path` raises into an InputError of one line.

    A damaged file can bring pydicom and its decoders to raise almost anything, RecursionError among it.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except InvalidDicomError as error:
        raise InputError(f"{path}: expected a DICOM file. Received: no DICM at byte 128 (PS3.10 7.1)") from error
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: expected a DICOM file that can be read. Received: {what}") from error


@contextlib.contextmanager
def _silent_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings from the user: real files are full of slips that do no harm.

    SIIM-ACR's own break the length limit of PixelSpacing. pydicom tells both `warnings` and its logger.
    """
    logger = logging.getLogger("pydicom")
    with _SILENCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        propagate, logger.propagate = logger.propagate, False
        try:
            yield
        finally:
            logger.propagate = propagate


def _header(dataset: pydicom.Dataset, path: pathlib.Path | str) -> Header:
    return Header(
        image_id=str(dataset.get("SOPInstanceUID") or _name_without_ending(pathlib.Path(path))),
        patient_id=str(dataset.get("PatientID") or ""),
        view_position=str(dataset.get("ViewPosition") or ""),
        spacing_mm=_spacing_mm(dataset, "PixelSpacing") or _spacing_mm(dataset, "ImagerPixelSpacing"),
    )


def _name_without_ending(path: pathlib.Path) -> str:
    """Return a file's name without .dcm; what follows the last dot of a bare UID belongs to it."""
    return path.stem if path.suffix.lower() in _ENDINGS else path.name


def _spacing_mm(dataset: pydicom.Dataset, keyword: str) -> tuple[float, float] | None:
    try:
        row, column = (float(step) for step in dataset[keyword].value)
    except (KeyError, TypeError, ValueError):
        return None  # absent, empty, one number only, no numbers
    return (row, column) if 0 < row < math.inf and 0 < column < math.inf else None


def _check_is_grey(dataset: pydicom.Dataset, path: pathlib.Path | str) -> None:
    if "PixelData" not in dataset:
        raise InputError(f"{path}: expected pixel data. Received: none, or a file cut off before its end")
    kind = dataset.get("PhotometricInterpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or dataset.get("SamplesPerPixel", 1) != 1:
        raise InputError(f"{path}: expected MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation={kind}")


def _is_8_bit(dataset: pydicom.Dataset) -> bool:
    """Return whether the stored values are grey levels of 8 bits already, but perhaps inverted."""
    has_table = dataset.get("ModalityLUTSequence") or dataset.get("VOILUTSequence")
    slope = dataset.get("RescaleSlope") or 1
    return dataset.BitsStored == 8 and dataset.PixelRepresentation == 0 and not has_table and slope > 0


def _is_inverted(dataset: pydicom.Dataset) -> bool:
    return dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"


def _jpeg_stream(dataset: pydicom.Dataset) -> bytes | None:
    """Return the first frame's JPEG Baseline stream, without padding and comments; None for other transfer syntaxes."""
    if dataset.file_meta.TransferSyntaxUID != uid.JPEGBaseline8Bit:
        return None
    frame = encaps.get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    return _without_comments(frame[: frame.rfind(_JPEG_END) + len(_JPEG_END)] if _JPEG_END in frame else frame)


def _without_comments(stream: bytes) -> bytes:
    """Return a JPEG stream without its comment and application segments, which may tell whose film it is.

    APP0 (JFIF) and APP14 (Adobe) stay, as decoders read the colour space from them (ITU-T T.81 annex B).
    """
    kept, at = [stream[:2]], 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != 0xDA:  # up to the start of scan
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        marker = stream[at + 1]
        if marker != 0xFE and (marker in (0xE0, 0xEE) or not 0xE0 <= marker <= 0xEF):
            kept.append(stream[at:end])
        at = end
    return b"".join([*kept, stream[at:]])


def _decode_jpeg(stream: bytes, shape: tuple[int, int], path: pathlib.Path | str) -> np.ndarray:
    """Return the uint8 [H, W] grey levels of a JPEG stream."""
    # Of a stream that breaks off libjpeg paints the rest grey, and OpenCV does not tell.
    if not stream.endswith(_JPEG_END):
        raise InputError(f"{path}: expected a whole JPEG stream. Received: {len(stream)} bytes without its end")
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(stream, np.uint8), flags)
    if pixels is None or pixels.shape != shape:
        found = "no image" if pixels is None else f"shape={pixels.shape}"
        raise InputError(f"{path}: expected a JPEG of shape {shape}. Received: {found}")
    return pixels


def _shown(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Return stored values [H, W] as uint8 grey levels in 0..255, bright = dense."""
    if _is_8_bit(dataset):
        grey = stored.astype(np.uint8)
    else:
        grey = stretch(*_values_of_interest(apply_modality_lut(stored, dataset), dataset))
    return 255 - grey if _is_inverted(dataset) else grey


def robust_range(values: np.ndarray) -> tuple[float, float]:
    """Return which values are shown black and white where nobody says it: the percentiles 0.5 and 99.5."""
    black, white = np.percentile(values, _PERCENTILES)
    return float(black), float(white)


def stretch(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Return values [H, W] as uint8 grey levels, `black` as 0 and `white` as 255."""
    shares = (values - black) / ((white - black) or 1)  # all values alike: black
    return np.rint(255 * shares.clip(0, 1)).astype(np.uint8)


def _values_of_interest(values: np.ndarray, dataset: pydicom.Dataset) -> tuple[np.ndarray, float, float]:
    """Return values after the VOI LUT or window, and which of them are black and white."""
    if dataset.get("VOILUTSequence"):
        first, table = _voi_table(dataset)
        values = table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)]
        # Not the depth that the descriptor tells: some devices tell more bits than they use.
        return values.astype(np.float64), float(table.min()), float(table.max())
    dataset.VOILUTFunction = dataset.get("VOILUTFunction") or "LINEAR"  # some files have the tag without a value
    if _has_window(dataset):
        with np.errstate(over="ignore"):  # SIGMOID: exp(inf), and one over it
            black, white = apply_windowing(np.array([-np.inf, np.inf]), dataset)
            return apply_windowing(values, dataset), black, white
    return values, *robust_range(values)


def _voi_table(dataset: pydicom.Dataset) -> tuple[int, np.ndarray]:
    """Return the first value that the VOI LUT maps, and the table (PS3.3 C.11.2.1.1).

    pydicom 3.0's own apply_voi counts entries in the type of the table's values, and so goes wrong in an 8-bit
    table of more than 256 entries.
    """
    item = dataset.VOILUTSequence[0]
    entries, first, _ = item.LUTDescriptor
    entries = entries or 2**16
    data = item.LUTData
    if not isinstance(data, bytes):
        return first, np.asarray(data)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    width = 2 if len(data) >= 2 * entries else 1
    return first, np.frombuffer(data, f"{order}u{width}", count=entries)


def _has_window(dataset: pydicom.Dataset) -> bool:
    """Return whether there is a window, and one that the standard allows (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
        return False
    width = float(np.ravel(dataset.WindowWidth)[0])
    if dataset.VOILUTFunction == "LINEAR":
        return width >= 1
    return dataset.VOILUTFunction in ("LINEAR_EXACT", "SIGMOID") and width > 0


def _is_dicom(path: pathlib.Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    if path.suffix.lower() in _ENDINGS:
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False  # a broken link, or not ours to read


def _secondary_capture(pixels: np.ndarray) -> pydicom.Dataset:
    """Return all of a SIIM-like data set but its ids."""
    _, stream = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.Modality, dataset.ConversionType, dataset.BodyPartExamined = "CR", "WSD", "CHEST"
    # Type 2: these must be there, and may be empty.
    for keyword in (
        *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "SeriesNumber"),
        *("InstanceNumber", "PatientName", "PatientBirthDate", "PatientSex", "PatientOrientation"),
    ):
        setattr(dataset, keyword, None)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.LossyImageCompressionRatio = format_number_as_ds(pixels.size / stream.size)
    dataset.PixelData = encaps.encapsulate([stream.tobytes()], has_bot=False)
    return dataset
