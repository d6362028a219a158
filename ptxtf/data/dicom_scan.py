"""The first bytes of a DICOM file -> the few elements that are wanted, in a fifth of a parser's time.

In: bytes of a file with a header (PS3.10 7.1), explicit and little-endian (PS3.5 7.1.2), as nearly all radiographs are.
Out: elements as `ptxtf.data.dicom_header` takes them; or None for whatever is not plain, which is then pydicom's part.
"""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from ptxtf.data import dicom_bytes

HEAD = 8192
"""How many bytes of a file `scan` wants to see."""

_FIRST_ELEMENT = 132
_TRANSFER_SYNTAX = 0x00020010
_NOT_EXPLICIT_LITTLE_ENDIAN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
_TEXT = {b"AS", b"CS", b"DS", b"IS", b"LO", b"SH", b"UI"}
_NUMBERS = {b"US": "H", b"SS": "h"}


class Scan(NamedTuple):
    """Wanted elements, the transfer syntax's UID, and the pixel data: its representation, length and place."""

    elements: dict[str, Any]
    syntax: str
    pixels: tuple[str, int, int]


def scan(head: bytes, keywords: Mapping[int, str], *, pixel_data: int) -> Scan | None:
    """Read elements up to the pixel data.

    Args:
        head: the first `HEAD` bytes of a file.
        keywords: of the wanted elements, by their tag.
        pixel_data: tag of the pixel data.

    Returns:
        A `Scan`; None where the file is of another kind, or has between its start and its pixel data what this cannot
        tell for sure: elements out of order, text beyond ASCII, wanted sequences, sequences without a length.
    """
    if not dicom_bytes.has_file_header(head):
        return None
    elements: dict[str, Any] = {}
    syntax = ""
    start, length, last = _FIRST_ELEMENT, 0, 0
    try:
        while True:
            tag, representation, start, length = _next(head, start + length)
            if tag == pixel_data:
                break
            if not last < tag < pixel_data or start + length > len(head):
                return None
            last, value = tag, head[start : start + length]
            if tag == _TRANSFER_SYNTAX:
                syntax = _value(b"UI", value)
            elif keyword := keywords.get(tag):
                elements[keyword] = _value(representation, value)
    except (struct.error, ValueError):  # `head` ends; text beyond ASCII; a wanted element of another kind
        return None
    if not syntax or not isinstance(syntax, str) or syntax in _NOT_EXPLICIT_LITTLE_ENDIAN:
        return None
    return Scan(elements, syntax, (representation.decode(), length, start))


def _next(head: bytes, at: int) -> tuple[int, bytes, int, int]:
    """Return tag, representation, and start and length of the value, of the element that starts at `at`."""
    group, number, representation, length = struct.unpack_from("<HH2sH", head, at)
    tag = group << 16 | number
    if representation in dicom_bytes.SHORT:
        return tag, representation, at + 8, length
    if representation in dicom_bytes.LONG:
        return tag, representation, at + 12, struct.unpack_from("<L", head, at + 8)[0]
    raise ValueError(representation)


def _value(representation: bytes, value: bytes) -> Any:
    """Return an element's value as pydicom would: None, one, or a list of several; numbers in text stay text."""
    if representation in _TEXT:
        if b"\x1b" in value:
            raise ValueError("another alphabet behind an escape (PS3.5 6.1.2.5)")
        values: list[Any] = [part.rstrip(" \0") for part in value.decode("ascii").split("\\")]
    elif representation in _NUMBERS:
        values = list(struct.unpack(f"<{len(value) // 2}{_NUMBERS[representation]}", value))
    else:
        raise ValueError(representation)
    if len(values) > 1:
        return values
    return values[0] if values and values[0] != "" else None
