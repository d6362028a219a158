"""A frame as it lies in a DICOM file -> stored values, decoded in the graph by tensorflow-io's DICOM operation.

In: the frame's bytes, compressed or not, with its layout and transfer syntax. Out: integers [H, W] as the file stores
them, the same that pydicom gives (12-bit JPEG: within 1); `ptxtf.data.grey` makes grey levels of them. This is what
`--decoder=tfio` chooses.

The operation takes whole DICOM files and gives no stored values: it shifts signed ones to start at 0, applies rescale
and modality tables at a depth of its own choice, loses one level where it inverts MONOCHROME1, draws overlays into the
picture, and fills truncated pixels with whatever lies in memory. So it gets the smallest file that describes the frame
and asks for none of this. The shift is left, which is exact and undone here.

tensorflow-io comes with the extra `tfio`, and is imported when first needed.
"""

import functools
import importlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from ptxtf.data import jpeg
from ptxtf.data.dicom_header import Layout
from ptxtf.errors import InputError

_EXPLICIT, _BIG_ENDIAN, _RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
_UNCOMPRESSED = {
    "1.2.840.10008.1.2": _EXPLICIT,
    _EXPLICIT: _EXPLICIT,
    "1.2.840.10008.1.2.1.99": _EXPLICIT,
    _BIG_ENDIAN: _BIG_ENDIAN,
}
"""Transfer syntax -> the one of explicit value representations that has its pixels in the same order of bytes."""

_UNDEFINED = 0xFFFFFFFF


def decode(frame: bytes, layout: Layout, syntax: str) -> np.ndarray:
    """Decode one frame by `tfio.image.decode_dicom_image`.

    Args:
        frame: all bytes of one frame; a whole stream, where it is compressed.
        layout: how the header describes it.
        syntax: UID of the file's transfer syntax.

    Returns:
        Stored values, integers [H, W].

    Raises:
        InputError: tensorflow-io cannot be loaded, or cannot decode the frame; the message names no file.

    Example:
        >>> decode(bytes([0, 127, 128, 255]), Layout(2, 2, 8, 8, 7, is_signed=True), "1.2.840.10008.1.2.1")
        array([[   0,  127],
               [-128,   -1]], dtype=int8)
    """
    if reason := _why_not(frame, layout, syntax):
        raise _refusal(layout, syntax, reason)
    operation = load(max(8, layout.bits_allocated))
    try:
        pixels = operation(_smallest_file(frame, layout, syntax)).numpy()
    except importlib.import_module("tensorflow").errors.OpError as error:
        reason = error.message.partition("[[")[0].removeprefix("Graph execution error:")
        raise _refusal(layout, syntax, reason) from error
    pixels = pixels.reshape(layout.shape)
    if not layout.is_signed:
        return pixels
    return (pixels.astype(np.int64) - 2 ** (layout.bits_stored - 1)).astype(f"int{8 * pixels.itemsize}")


@functools.cache
def load(bits: int = 8) -> Callable[[bytes], Any]:
    """Load the operation and make a graph of it; once.

    Args:
        bits: 8, 16 or 32.

    Returns:
        A compiled function: the content of a DICOM file -> unsigned integers of so many bits.

    Raises:
        InputError: tensorflow-io is not installed, or was made for another TensorFlow.
    """
    try:
        tensorflow = importlib.import_module("tensorflow")
        image = importlib.import_module("tensorflow_io").image
    except ImportError as error:
        raise InputError(f"{_CURE}. Received: {error}") from error

    def decode_file(content: Any) -> Any:
        dtype = tensorflow.dtypes.as_dtype(f"uint{bits}")
        return image.decode_dicom_image(content, on_error="strict", scale="preserve", dtype=dtype)

    operation = tensorflow.function(decode_file, input_signature=[tensorflow.TensorSpec([], tensorflow.string)])
    try:
        operation.get_concrete_function()  # its library is loaded now, not by the import
    except NotImplementedError as error:
        version = tensorflow.__version__
        raise InputError(f"{_CURE}. Received: a tensorflow-io that TensorFlow {version} cannot load") from error
    return operation


_CURE = "expected --decoder=tfio with pip install 'ptxtf[tfio]'"


def _why_not(frame: bytes, layout: Layout, syntax: str) -> str:
    """Return why the operation must not be asked, or nothing.

    It takes a frame that is shorter than the header says for whole, be it of bytes, runs, or a JPEG stream.
    """
    if syntax == _BIG_ENDIAN and layout.bits_allocated != 16:
        return "big-endian of other than 16 bits, whose bytes it mixes up"
    if syntax in _UNCOMPRESSED:
        return "" if len(frame) >= layout.frame_bytes else f"{len(frame)} bytes of {layout.frame_bytes}"
    if syntax == _RLE:
        return "RLE, which it takes for whole where it breaks off"
    shape = jpeg.size(frame)
    return "" if shape == layout.shape else f"a stream of shape {shape}"


def _refusal(layout: Layout, syntax: str, reason: str) -> InputError:
    return InputError(
        "expected a picture that tensorflow-io decodes; --decoder=pydicom may. "
        f"Received: {' '.join(reason.split())}; transfer syntax {syntax}, {layout}"
    )


def _smallest_file(frame: bytes, layout: Layout, syntax: str) -> bytes:
    """Return a DICOM file (PS3.10 7.1) with nothing in it but the frame and what says how to read it."""
    order = ">" if syntax == _BIG_ENDIAN else "<"
    number = struct.Struct(f"{order}H").pack
    described = [
        (0x0002, b"US", number(1)),  # samples per pixel
        (0x0004, b"CS", b"MONOCHROME2 "),
        (0x0010, b"US", number(layout.rows)),
        (0x0011, b"US", number(layout.columns)),
        (0x0100, b"US", number(layout.bits_allocated)),
        (0x0101, b"US", number(layout.bits_stored)),
        (0x0102, b"US", number(layout.high_bit)),
        (0x0103, b"US", number(layout.is_signed)),
    ]
    elements = [_element(order, (0x0028, tag), representation, value) for tag, representation, value in described]
    meta = _element("<", (0x0002, 0x0010), b"UI", _even(_UNCOMPRESSED.get(syntax, syntax).encode()))
    length_of_meta = _element("<", (0x0002, 0x0000), b"UL", struct.pack("<I", len(meta)))
    pixels = _native(frame, order) if syntax in _UNCOMPRESSED else _encapsulated(frame)
    return b"".join([bytes(128), b"DICM", length_of_meta, meta, *elements, pixels])


def _element(order: str, tag: tuple[int, int], representation: bytes, value: bytes) -> bytes:
    """Return an element (PS3.5 7.1.2) of less than 2^16 bytes."""
    return struct.pack(f"{order}HH2sH", *tag, representation, len(value)) + value


def _native(frame: bytes, order: str) -> bytes:
    """Return uncompressed pixel data (PS3.5 A.2)."""
    value = _even(frame)
    return struct.pack(f"{order}HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(value)) + value


def _encapsulated(frame: bytes) -> bytes:
    """Return compressed pixel data (PS3.5 A.4): an empty offset table, one fragment, the delimiter."""
    fragment = _even(frame)
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, _UNDEFINED)
    table = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(fragment))
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return b"".join([head, table, item, fragment, end])


def _even(value: bytes) -> bytes:
    return value + bytes(len(value) % 2)
