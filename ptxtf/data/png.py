"""The outside of a PNG stream: its size, and whether all of it is there. Nothing is decoded.

Flows in: the bytes of a file. Flows out: height and width in pixels, or an InputError that says what is wrong (and
leaves it to the caller to name the file). Sections are those of the PNG specification, third edition (W3C).
"""

import struct
import zlib
from collections.abc import Iterator

from ptxtf.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""The first eight bytes (section 5.2)."""

_HEADER_BYTES = 13


def size(stream: bytes) -> tuple[int, int]:
    """Return height and width as the header, the first chunk, tells them (section 11.2.1).

    Args:
        stream: a PNG file, or at least its first 24 bytes.

    Returns:
        Height and width in pixels, each at least 1.

    Raises:
        InputError: no header, or a size of 0.

    Example:
        >>> size(pathlib.Path("mask.png").read_bytes())
        (1024, 1024)
    """
    if stream[:8] != SIGNATURE or stream[8:16] != struct.pack(">I4s", _HEADER_BYTES, b"IHDR") or len(stream) < 24:
        raise InputError("expected a PNG header. Received: none")
    width, height = struct.unpack(">II", stream[16:24])
    if not width or not height:
        raise InputError(f"expected a picture of at least 1 x 1 pixels. Received: {height} x {width}")
    return height, width


def check(stream: bytes) -> None:
    """Raise unless every chunk is there that a picture needs, with the checksum it was written with (section 5.3).

    Decoders differ in what they do with the rest of a picture that breaks off; so none of them gets one. A damaged
    chunk that a decoder may skip, such as a text, does no harm.

    Args:
        stream: a PNG file.

    Raises:
        InputError: cut off, damaged, or animated: then nobody knows which frame is meant.
    """
    for kind, content, checksum in _chunks(stream):
        if kind == b"acTL":
            raise InputError("expected a still picture. Received: an animated PNG")
        is_critical = kind[:1].isupper()
        if is_critical and zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise InputError(f"expected a whole PNG. Received: a damaged {kind.decode('ascii', 'replace')} chunk")
        if kind == b"IEND":
            return
    raise InputError(f"expected a whole PNG. Received: {len(stream)} bytes without its end")


def _chunks(stream: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield type, content and checksum of the chunks, up to the first that is cut off."""
    view, at = memoryview(stream), len(SIGNATURE)
    while at + 12 <= len(stream):
        length, kind = struct.unpack_from(">I4s", stream, at)
        end = at + 12 + length
        if end > len(stream):
            return
        yield kind, view[at + 8 : end - 4], struct.unpack_from(">I", stream, end - 4)[0]
        at = end
