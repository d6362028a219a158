"""One DICOM file -> Radiograph, Header or Stream; and a SIIM-like file back.

In: a radiograph as hospitals and data sets store it, in any transfer syntax that can be decoded, with or without a
file header (PS3.10 7.1). Out: uint8 [H, W] in 0..255 where bright is dense, as on a viewing station, with the few facts
that the pipeline needs; or the file's own JPEG stream, not encoded again.

    bytes ──► elements ──► layout, rendering ──► frame ──► stored values ──► grey levels
    dicom_bytes  dicom_scan, dicom_header         here     jpeg, pydicom       grey

Of several frames, the first is read; `frames` tells that there were more. Colour is rejected: it is a picture of a
radiograph, often drawn upon.

Only the elements listed in `ptxtf.data.dicom_header` are ever taken from a file. Names, birth dates, addresses and
accession numbers are not among them. The patient id is, for grouping: to hash it is the caller's part. What
`ptxtf.data.dicom_results` asks for goes into a study that has it already. Nothing but these two knows pydicom.
"""

import contextlib
import dataclasses
import io
import logging
import pathlib
import stat
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, cast

import cv2
import numpy as np
import pydicom
from pydicom import encaps, uid
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import format_number_as_ds

from ptxtf import files
from ptxtf.data import dicom_bytes, dicom_header, dicom_scan, grey, jpeg
from ptxtf.errors import InputError

Decoder = Callable[[bytes, dicom_header.Layout, str], np.ndarray]
"""A frame as it lies in the file, its layout, the transfer syntax's UID -> stored values, integers [H, W]."""

_HEADER_TAGS = {int(Tag(keyword)): keyword for keyword in (*dicom_header.IDENTITY, *dicom_header.GEOMETRY)}
_IMAGE_TAGS = _HEADER_TAGS | {int(Tag(keyword)): keyword for keyword in dicom_header.PIXELS}
_PIXEL_DATA = 0x7FE00010
_FLOAT_PIXEL_DATA = 0x7FE00008  # the first of those that hold pixels
_UNDEFINED = 0xFFFFFFFF

_JPEG_QUALITY = 90
_ENDINGS = (".dcm", ".dicom")

# Silencing changes settings of the whole process, so only one thread at a time may do it.
_SILENCE = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its radiograph.

    Attributes:
        image_id: SOP instance UID; where there is none, the file's name without .dcm.
        patient_id: as stored; "" where there is none.
        view_position: "PA", "AP", ...; "" where there is none.
        sex: "F", "M" or "O"; "" where there is none.
        age_years: at most 90, which means 90 or more; None where there is none.
        spacing_mm: distance of pixel centres (down, along a row) in mm; None where the file does not say.
        pixel_aspect: a pixel's height over its width (PS3.3 C.7.6.3.1.7); 1.0 where the file does not say.
        frames: how many pictures the file holds.
    """

    image_id: str
    patient_id: str = ""
    view_position: str = ""
    sex: str = ""
    age_years: float | None = None
    spacing_mm: tuple[float, float] | None = None
    pixel_aspect: float = 1.0
    frames: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stream(Header):
    """A radiograph's JPEG stream and what its file says of it.

    Attributes:
        shape: height and width in pixels.
        encoded: the stream; decoded, it is the radiograph that `read` gives.
    """

    shape: tuple[int, int]
    encoded: bytes


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Radiograph(Header):
    """A radiograph and what its file says of it.

    Attributes:
        pixels: uint8 [H, W] in 0..255, bright = dense.
        encoded: the file's JPEG stream, if decoding it gives `pixels`; else None.
    """

    pixels: np.ndarray
    encoded: bytes | None


def read(path: files.Name, *, window: int = 1, decode: Decoder | None = None) -> Radiograph:
    """Read a radiograph; the module says what becomes of the stored values.

    Args:
        path: a DICOM file of at most 2^26 pixels (8192 x 8192) a frame.
        window: which of the VOI look-up tables and, behind them, windows in the file, from 1; 0: none of them.
        decode: gives the stored values, in place of pydicom and OpenCV, such as `ptxtf.data.tfio.decode`.

    Returns:
        A `Radiograph`.

    Raises:
        InputError: no DICOM file, no pixel data, colour, truncated, damaged, too large, or without a window of this
            number; one line that names the file.

    Example:
        >>> radiograph = read("1.2.276.0.7230010.3.1.4.1.dcm")
        >>> radiograph.pixels.shape, radiograph.spacing_mm
        ((1024, 1024), (0.168, 0.168))
    """
    with _parsed(path, _IMAGE_TAGS) as parsed:
        layout, rendering = _described(parsed)
        frame = _first_frame(parsed, layout)
        encoded = _plain_jpeg(parsed, frame, layout) if grey.changes_nothing(rendering, window=window) else None
        if decode:
            stored = decode(frame, layout, parsed.syntax)
            _check_shape(stored.shape, layout)
        else:
            stored = _stored(parsed, frame, layout) if encoded is None else jpeg.decode(encoded)
        return Radiograph(**_header(parsed), pixels=grey.render(stored, rendering, window=window), encoded=encoded)


def read_stream(path: files.Name, *, window: int = 1) -> Stream | None:
    """Read a radiograph's JPEG stream, where it is the radiograph already, and decode nothing.

    Comments and application data, which may tell whose film it is, and the pad byte are left out.

    Args:
        path: a DICOM file.
        window: as in `read`.

    Returns:
        A `Stream`; None where `read` must make the pixels: of other transfer syntaxes and depths, where a window or
        table changes a grey level, where low values are dense.

    Raises:
        InputError: as in `read`; but damage within the stream's data goes unnoticed.

    Example:
        >>> stream = read_stream("1.2.276.0.7230010.3.1.4.1.dcm")
        >>> stream.shape, len(stream.encoded)
        ((1024, 1024), 129562)
    """
    with _parsed(path, _IMAGE_TAGS) as parsed:
        layout, rendering = _described(parsed)
        if not grey.changes_nothing(rendering, window=window):
            return None
        encoded = _plain_jpeg(parsed, _first_frame(parsed, layout), layout)
        if encoded is None:
            return None
        jpeg.check_tables(encoded)
        return Stream(**_header(parsed), shape=layout.shape, encoded=encoded)


def read_header(path: files.Name) -> Header:
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
    with _parsed(path, _HEADER_TAGS) as parsed:
        return Header(**_header(parsed))


def read_elements(path: files.Name, keywords: Iterable[str]) -> dict[str, Any]:
    """Read elements in front of the pixel data, as plain values.

    Args:
        path: a DICOM file.
        keywords: of the elements (PS3.6), such as "Rows".

    Returns:
        {keyword: value} of those that are there: text, numbers, bytes, lists of them, and lists of such mappings for
        sequences. One whose value is against all rules counts as absent.

    Raises:
        InputError: no DICOM file, or damaged before the pixels; one line that names the file.

    Example:
        >>> read_elements("1.2.276.0.7230010.3.1.4.1.dcm", ["Rows", "Columns"])
        {'Rows': 1024, 'Columns': 1024}
    """
    with _parsed(path, {int(Tag(keyword)): keyword for keyword in keywords}) as parsed:
        return parsed.elements


def find(directory: files.Name) -> list[files.Path]:
    """List the DICOM files below a folder; links are followed.

    A file counts by its suffix, .dcm or .dicom in any case. One without a suffix, or named by a bare UID whose last
    number only looks like one, counts by its first bytes: the letters DICM after a preamble (PS3.10 7.1), or two
    elements of a data set without a file header. Hidden files and DICOMDIR indices do not count.

    Args:
        directory: the folder.

    Returns:
        Paths, sorted.

    Raises:
        InputError: there is no such folder, or one below may not be read.

    Example:
        >>> find("dicom")
        [PosixPath('dicom/study/series/1.2.276.0.7230010.3.1.4.1.dcm')]
    """
    if not files.path(directory).is_dir():
        raise InputError(f"{directory}: expected a folder. Received: directory={str(directory)!r}")
    try:
        return sorted(path for path in files.walk(directory) if _is_dicom(path))
    except OSError as error:
        raise InputError(f"{directory}: expected folders that can be read. Received: {error}") from error


def write_secondary_capture(
    path: files.Name,
    pixels: np.ndarray,
    header: Header,
    *,
    study_id: str,
    series_id: str,
) -> None:
    """Write a radiograph as SIIM-ACR has them: Secondary Capture, CR, MONOCHROME2, 8 bits, JPEG Baseline.

    The stream is one fragment behind an empty offset table (PS3.5 A.4). The same arguments give the same bytes.

    Args:
        path: the file to write, whole or not at all; folders above it are made.
        pixels: uint8 [H, W] in 0..255, bright = dense.
        header: what the file is to say; its frames and pixel_aspect do not matter. The age is written in years, without
            the unit that DICOM wants, as SIIM-ACR has it.
        study_id: study instance UID.
        series_id: series instance UID.

    Raises:
        ValueError: `pixels` is no uint8 [H, W], or an id is no UID.

    Example:
        >>> header = Header(image_id="1.2.3", patient_id="7", view_position="PA", spacing_mm=(0.143, 0.143))
        >>> write_secondary_capture("1.2.3.dcm", pixels, header, study_id="1.2.1", series_id="1.2.2")
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise ValueError(f"pixels: expected uint8 [H, W]. Received: shape={pixels.shape}, dtype={pixels.dtype}")
    for name, value in {"image_id": header.image_id, "study_id": study_id, "series_id": series_id}.items():
        if not uid.UID(value, pydicom.config.IGNORE).is_valid:
            raise ValueError(f"{name}: expected a UID (PS3.5 section 9). Received: {name}={value!r}")
    dataset = _secondary_capture(pixels)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid.UID(header.image_id)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid.UID(study_id), uid.UID(series_id)
    dataset.PatientID, dataset.ViewPosition, dataset.PatientSex = header.patient_id, header.view_position, header.sex
    if header.age_years is not None:
        years = f"{header.age_years:.0f}"
        element = pydicom.DataElement("PatientAge", "AS", years, validation_mode=pydicom.config.IGNORE)
        dataset[element.tag] = element
    if header.spacing_mm is not None:
        dataset.PixelSpacing = [format_number_as_ds(float(step)) for step in header.spacing_mm]
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    files.write_bytes(path, content.getvalue())


@contextlib.contextmanager
def silent() -> Iterator[None]:
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


class _Parsed(NamedTuple):
    """A file that is open, the elements in front of its pixel data, and where that is."""

    path: files.Path
    file: BinaryIO
    elements: dict[str, Any]
    syntax: uid.UID
    pixels: "_PixelData | None"


class _PixelData(NamedTuple):
    """Value representation, length in bytes, and place in the file of the pixel data's value."""

    representation: str
    length: int
    at: int


@contextlib.contextmanager
def _parsed(name: files.Name, tags: Mapping[int, str]) -> Iterator[_Parsed]:
    """Open a file and read these elements of it."""
    path = files.path(name)
    with _one_line_errors(path), silent():
        if isinstance(path, pathlib.Path) and not stat.S_ISREG(path.stat().st_mode):
            raise InputError("expected a file. Received: a folder, pipe or device")  # to open a pipe may take for ever
        with path.open("rb") as file:
            yield _parse(path, cast(BinaryIO, file), tags)


def _parse(path: files.Path, file: BinaryIO, tags: Mapping[int, str]) -> _Parsed:
    """Read these elements: of a plain file by `dicom_scan`, of any other by pydicom, which takes five times as long."""
    head = file.read(dicom_scan.HEAD)
    if scanned := dicom_scan.scan(head, tags, pixel_data=_PIXEL_DATA):
        return _Parsed(path, file, scanned.elements, uid.UID(scanned.syntax), _PixelData(*scanned.pixels))
    if not dicom_bytes.is_dicom(head):
        what = "no elements behind DICM" if dicom_bytes.has_file_header(head) else "no DICM at byte 128 (PS3.10 7.1)"
        raise InputError(f"expected a DICOM file. Received: {what}")
    file.seek(0)
    if dicom_bytes.is_deflated(head):
        file = io.BytesIO(dicom_bytes.inflate(file.read()))
    found: list[_PixelData] = []

    def stop(tag: BaseTag, representation: str | None, length: int) -> bool:
        number = int(tag)  # BaseTag compares slowly
        if number == _PIXEL_DATA:
            found.append(_PixelData(representation or "OW", length, file.tell()))
        return number >= _FLOAT_PIXEL_DATA or number == 0  # with zeros a broken download is filled up

    dataset = read_partial(file, stop, force=True, specific_tags=list(tags))
    syntax = dataset.file_meta.get("TransferSyntaxUID") or _plain_syntax(*dataset.original_encoding)
    return _Parsed(path, file, _elements(dataset), syntax, found[0] if found else None)


def _plain_syntax(implicit: bool | None, little_endian: bool | None) -> uid.UID:
    """Return the transfer syntax that pydicom has found a data set without meta information to have."""
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian


def _elements(dataset: pydicom.Dataset) -> dict[str, Any]:
    """Return the elements as plain values; one whose value is against all rules counts as absent."""
    elements: dict[str, Any] = {}
    for tag in dataset.keys():  # noqa: SIM118 - a data set iterates over elements, and converts them on the way
        with contextlib.suppress(ValueError, OverflowError):
            element = dataset[tag]
            is_sequence = element.VR == "SQ"
            elements[element.keyword] = [_elements(item) for item in element.value] if is_sequence else element.value
    return elements


@contextlib.contextmanager
def _one_line_errors(path: files.Path) -> Iterator[None]:
    """Turn whatever reading `path` raises into an InputError of one line that names it.

    A damaged file can bring pydicom and its decoders to raise almost anything, RecursionError among it.
    """
    try:
        yield
    except MemoryError:
        raise
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: expected a DICOM file that can be read. Received: {what}") from error


def _header(parsed: _Parsed) -> dict[str, Any]:
    """Return the fields of a `Header`."""
    return {
        "image_id": dicom_header.text(parsed.elements, "SOPInstanceUID") or _name_without_ending(parsed.path),
        "patient_id": dicom_header.text(parsed.elements, "PatientID"),
        "view_position": dicom_header.view_position(parsed.elements),
        "sex": dicom_header.sex(parsed.elements),
        "age_years": dicom_header.age_years(parsed.elements),
        "spacing_mm": dicom_header.spacing_mm(parsed.elements),
        "pixel_aspect": dicom_header.pixel_aspect(parsed.elements),
        "frames": dicom_header.frames(parsed.elements),
    }


def _name_without_ending(path: files.Path) -> str:
    """Return a file's name without .dcm; what follows the last dot of a bare UID belongs to it."""
    return path.stem if path.suffix.lower() in _ENDINGS else path.name


def _described(parsed: _Parsed) -> tuple[dicom_header.Layout, grey.Rendering]:
    """Return how the stored values lie in the file, and how they are to be shown."""
    if parsed.pixels is None:
        raise InputError("expected pixel data. Received: none, or a file cut off before its end")
    layout = dicom_header.layout(parsed.elements)
    return layout, dicom_header.rendering(parsed.elements, little_endian=parsed.syntax.is_little_endian)


def _first_frame(parsed: _Parsed, layout: dicom_header.Layout) -> bytes:
    """Read the first frame as it lies in the file, and no other."""
    file, (_, length, at) = parsed.file, cast(_PixelData, parsed.pixels)
    file.seek(at)
    if not parsed.syntax.is_encapsulated:
        content = file.read(min(length, layout.frame_bytes))
        if len(content) < layout.frame_bytes:
            raise InputError(f"expected {layout.frame_bytes} bytes of pixel data. Received: {len(content)}")
        return content
    if length != _UNDEFINED:
        raise InputError(f"expected encapsulated pixel data (PS3.5 A.4). Received: {length} bytes in one piece")
    offsets, lengths = (parsed.elements.get(f"ExtendedOffsetTable{what}") for what in ("", "Lengths"))
    table = (offsets, lengths) if offsets and lengths else None
    return encaps.get_frame(file, 0, number_of_frames=dicom_header.frames(parsed.elements), extended_offsets=table)


def _is_jpeg(parsed: _Parsed) -> bool:
    """Return whether frames are of the JPEG family. Of which kind, the stream tells; transfer syntaxes are mixed up."""
    return parsed.syntax.is_encapsulated and parsed.syntax != uid.RLELossless


def _plain_jpeg(parsed: _Parsed, frame: bytes, layout: dicom_header.Layout) -> bytes | None:
    """Return the JPEG stream of a frame, stripped, if it is one that every decoder reads."""
    if not _is_jpeg(parsed):
        return None
    described = jpeg.frame(frame)
    _check_shape(described.shape, layout)
    return jpeg.strip(frame) if described.is_plain else None


def _stored(parsed: _Parsed, frame: bytes, layout: dicom_header.Layout) -> np.ndarray:
    """Decode a frame to stored values, integers [H, W]."""
    if not _is_jpeg(parsed):
        return _decode(parsed, frame, layout)
    described = jpeg.frame(frame)
    _check_shape(described.shape, layout)  # a decoder would believe the stream, however large
    if described.is_jpeg_2000:
        return _decode(parsed, frame, layout)
    whole = jpeg.strip(frame)  # of a stream that breaks off, decoders make up the rest
    if described.is_plain:
        return jpeg.decode(whole)
    return _decode(parsed, jpeg.repair(whole) if described.is_sequential else whole, layout)


def _check_shape(shape: tuple[int, ...], layout: dicom_header.Layout) -> None:
    if shape != layout.shape:
        raise InputError(f"expected a picture of shape {layout.shape}, as the header says. Received: shape={shape}")


def _decode(parsed: _Parsed, frame: bytes, layout: dicom_header.Layout) -> np.ndarray:
    """Decode a frame with pydicom, and pylibjpeg where it is compressed.

    pylibjpeg is named, so that what else is installed changes no pixel.
    """
    is_encapsulated = parsed.syntax.is_encapsulated
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.high_bit + 1,  # pydicom frees values from the bits above these, but not from those below
        "pixel_representation": int(layout.is_signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": cast(_PixelData, parsed.pixels).representation,
    }
    stored, _ = get_decoder(parsed.syntax).as_array(
        encaps.encapsulate([frame]) if is_encapsulated else frame,
        index=0,
        raw=True,
        decoding_plugin="pylibjpeg" if is_encapsulated else "",
        **options,
    )
    return stored >> (layout.high_bit + 1 - layout.bits_stored)


def _is_dicom(path: files.Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    if path.suffix.lower() in _ENDINGS:
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(dicom_bytes.HEAD)
            return dicom_bytes.has_file_header(head) or dicom_bytes.is_dicom(head)
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
