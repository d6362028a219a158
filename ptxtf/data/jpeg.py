"""JPEG streams: how large, of which kind, whole or not; without what tells whose film it is; and their pixels.

In: a stream from a DICOM fragment (PS3.5 A.4) or a file. Out: what its frame header says (ITU-T T.81 B.2.2, T.87 C.2.2,
T.800 A.5.1); the stream without what a decoder does not need, which is comments, application data, and the pad byte
behind its end; and grey levels, uint8 [H, W] in 0..255.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from ptxtf.errors import InputError

START = b"\xff\xd8"
_START_2000 = b"\xff\x4f\xff\x51"  # start of codestream, size
_SIZE_2000 = 0x51
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_QUANTIZATION, _HUFFMAN = 0xDB, 0xC4
_DATA = 0  # no marker
_STANDARD_TABLES = {("dc", 0), ("dc", 1), ("ac", 0), ("ac", 1)}  # of T.81 K.3; decoders have them for streams without
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 and JPEG-LS, without tables and extensions
_APPLICATIONS = range(0xE0, 0xF0)
_EXTENSIONS = {*range(0xF0, 0xFE)} - {0xF7, 0xF8}  # without those of JPEG-LS
_COLOUR_SPACES = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}  # application data, from which decoders know them
_AFTER_SCAN = re.compile(
    rb"\xff[\x80-\xcf\xd8-\xfe]"
)  # a marker; neither stuffed data (T.81 F.1.2.3, T.87 A.1) nor restart


class Frame(NamedTuple):
    """What a stream says of its picture; `kind` is the second byte of the marker that does (0xC0: baseline)."""

    height: int
    width: int
    bits: int
    components: int
    kind: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def is_jpeg_2000(self) -> bool:
        """Whether it is another thing altogether."""
        return self.kind == _SIZE_2000

    @property
    def is_sequential(self) -> bool:
        """Whether it is baseline or extended sequential, of any depth."""
        return self.kind in (0xC0, 0xC1)

    @property
    def is_plain(self) -> bool:
        """Whether every decoder reads it as grey levels of 8 bits."""
        return self.is_sequential and self.bits == 8 and self.components == 1


def frame(stream: bytes) -> Frame:
    """Read the frame header of a JPEG, JPEG-LS or JPEG 2000 stream.

    Args:
        stream: the stream from its first byte on; JPEG 2000 also within the boxes of a JP2 file.

    Returns:
        A `Frame`.

    Raises:
        InputError: there is none; the message names no file.

    Example:
        >>> frame(stream)
        Frame(height=1024, width=1024, bits=8, components=1, kind=192)
    """
    try:
        if not stream.startswith(START):
            return _frame_2000(stream)
        for marker, start, _ in _segments(stream):
            if marker in _FRAMES:
                bits, height, width, components = struct.unpack_from(">BHHB", stream, start + 4)
                return Frame(height, width, bits, components, marker)
    except (struct.error, ValueError):
        pass  # it ends too early, or is none
    raise InputError(f"expected a JPEG stream. Received: {len(stream)} bytes without a frame header")


def size(stream: bytes) -> tuple[int, int]:
    """Read height and width of a JPEG stream in pixels.

    Raises:
        InputError: it has no frame header; the message names no file.

    Example:
        >>> size(stream)
        (1024, 1024)
    """
    return frame(stream).shape


def strip(stream: bytes) -> bytes:
    r"""Return a JPEG stream without comments, application data, and padding; the pixels stay the same.

    Of JFIF's and Adobe's data what tells the colour space stays, and nothing behind it.

    Args:
        stream: the stream from its first byte on; anything may follow its end.

    Returns:
        The stream, from its first marker to its last.

    Raises:
        InputError: no JPEG, or one that breaks off; the message names no file.

    Example:
        >>> strip(stream + b"\0") == stream
        True
    """
    kept, marker = [stream[:2]], 0
    if stream.startswith(START):
        for marker, start, end in _segments(stream):
            if marker in _COLOUR_SPACES:
                kept.append(_colour_space(marker, stream[start + 4 : end]))
            elif not (marker == _COMMENT or marker in _APPLICATIONS or marker in _EXTENSIONS):
                kept.append(stream[start:end])
    if marker != _END:
        raise InputError(f"expected a whole JPEG stream. Received: {len(stream)} bytes without its end")
    return b"".join(kept)


def _colour_space(marker: int, content: bytes) -> bytes:
    """Return a segment of application data without thumbnail and whatever else follows, or nothing."""
    name, size = _COLOUR_SPACES[marker]
    if not content.startswith(name) or len(content) < size:
        return b""
    kept = content[:12] + bytes(size - 12)  # JFIF's last two bytes are the thumbnail's size
    return bytes([0xFF, marker]) + (size + 2).to_bytes(2, "big") + kept


def check_tables(stream: bytes) -> None:
    """Raise unless a decoder can start with a sequential JPEG of one scan: what stands in front of the data is sound.

    Damage in the data itself only decoding can tell.

    Args:
        stream: whole, see `strip`.

    Raises:
        InputError: tables that cannot be (T.81 B.2.4), or that are missing; the message names no file.

    Example:
        >>> check_tables(stream)
    """
    try:
        is_sound = _is_sound(stream)
    except (ValueError, IndexError, KeyError):
        is_sound = False
    if not is_sound:
        raise InputError(f"expected a JPEG stream with sound tables. Received: {len(stream)} bytes with damaged ones")


def _is_sound(stream: bytes) -> bool:
    """Return whether each component of the scan has what it needs; some ways in which it has not raise."""
    tables = set(_STANDARD_TABLES)
    components: dict[int, bytes] = {}
    for marker, start, end in _segments(stream):
        content = stream[start + 4 : end]
        if marker == _QUANTIZATION:
            tables.update(("quantization", number) for number in _quantization_tables(content))
        elif marker == _HUFFMAN:
            tables.update(_huffman_tables(content))
        elif marker in _FRAMES:
            if len(content) != 6 + 3 * content[5]:
                return False
            components = {content[at]: content[at + 1 : at + 3] for at in range(6, len(content), 3)}
        elif marker == _SCAN:
            scanned = dict(zip(content[1:-3:2], content[2:-3:2], strict=True))
            needed = set()
            for number, codes in scanned.items():
                sampling, quantization = components[number]
                needed |= {("quantization", quantization), ("dc", codes >> 4), ("ac", codes & 15)}
                if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4):
                    return False
            return needed <= tables and len(scanned) == len(components) == content[0]
    return False


def _quantization_tables(content: bytes) -> Iterator[int]:
    """Yield the number of each quantization table of a segment (T.81 B.2.4.1)."""
    while content:
        depth, number = divmod(content[0], 16)
        size = 1 + 64 * (depth + 1)
        if depth > 1 or number > 3 or len(content) < size:
            raise ValueError(content)
        yield number
        content = content[size:]


def _huffman_tables(content: bytes) -> Iterator[tuple[str, int]]:
    """Yield kind and number of each Huffman table of a segment (T.81 B.2.4.2)."""
    while content:
        kind, number = divmod(content[0], 16)
        lengths = content[1:17]
        symbols = content[17 : 17 + sum(lengths)]
        free = 1
        for codes in lengths:  # of each length; no code may be of ones alone (T.81 C)
            free = 2 * free - codes
            if free < bool(codes):
                raise ValueError(content)
        is_dc = kind == 0
        if kind > 1 or number > 3 or len(lengths) < 16 or len(symbols) < sum(lengths) or len(symbols) > 256:
            raise ValueError(content)
        if is_dc and max(symbols, default=0) > 15:  # bits of a difference
            raise ValueError(content)
        yield "dc" if is_dc else "ac", number
        content = content[17 + len(symbols) :]


def repair(stream: bytes) -> bytes:
    """Return a stream with the scan header of sequential JPEG: all 64 coefficients in one pass (T.81 B.2.3).

    Some devices write zeros there. Most decoders do not look, pylibjpeg's refuses.

    Args:
        stream: sequential JPEG with one scan.

    Returns:
        The stream; the same, where it is as it must be.

    Example:
        >>> repair(stream) == stream
        True
    """
    for marker, start, _ in _segments(stream):
        if marker == _SCAN:
            selection = start + 5 + 2 * stream[start + 4]  # behind the number of components, and two bytes for each
            return stream[:selection] + b"\0\x3f\0" + stream[selection + 3 :]
    return stream


def decode(stream: bytes) -> np.ndarray:
    """Decode a JPEG of 8 bits, sequential or progressive; of one in colour, its luma.

    libjpeg-turbo takes a seventh of the time of pydicom's decoders, and gives what TensorFlow's accurate decoder gives.
    What it only warns of, as data that end too early, is an error here; extra bytes between segments do no harm.

    Args:
        stream: whole, as `strip` makes sure: of one that breaks off libjpeg paints the rest grey, and does not tell.

    Returns:
        uint8 [H, W] in 0..255.

    Raises:
        InputError: it cannot be decoded; the message names no file.

    Example:
        >>> decode(stream).shape
        (1024, 1024)
    """
    try:
        return simplejpeg.decode_jpeg(stream, colorspace="GRAY")[..., 0]
    except ValueError as error:
        pixels = None
        if "extraneous" in str(error) or "subsampling" in str(error):  # OpenCV, with libjpeg-turbo too, minds neither
            flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
            pixels = cv2.imdecode(np.frombuffer(stream, np.uint8), flags)
        if pixels is None:
            raise InputError(f"expected a sound JPEG stream. Received: {error}") from error
        return pixels


def _segments(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment up to that which ends the stream (T.81 B.1.1).

    The data of a scan, behind its header, is a segment of its own, `_DATA`.
    """
    at = len(START)
    while at + 2 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == _END:
            yield marker, at, at + 2
            return
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            end = at + 1
        else:
            yield marker, at, end
        at = end
        if marker == _SCAN:
            following = _AFTER_SCAN.search(stream, at)
            at = following.start() if following else len(stream)
            yield _DATA, end, at


def _frame_2000(stream: bytes) -> Frame:
    """Read the size segment of a JPEG 2000 codestream, of which a JP2 file has one in its last box (T.800 A.5.1)."""
    is_boxed = stream[4:8] == b"jP  "
    at = stream.index(_START_2000) if is_boxed else 0
    if not stream.startswith(_START_2000, at):
        raise ValueError("neither a codestream nor a box")
    right, bottom, left, top = struct.unpack_from(">4L", stream, at + 8)
    components, precision = struct.unpack_from(">HB", stream, at + 40)
    return Frame(bottom - top, right - left, (precision & 0x7F) + 1, components, _SIZE_2000)
