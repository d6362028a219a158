"""The bytes a DICOM file starts with: is it one, with or without a file header, and is the rest deflated?

In: a file's first bytes, or all of it. Out: a verdict, or the file as if it had not been deflated. A parser that takes
anything for DICOM finds elements in anything, so `is_dicom` looks before it is let loose.
"""

import contextlib
import itertools
import struct
import zlib
from collections.abc import Iterator

from ptxtf.errors import InputError

HEAD = 1024
"""How many bytes of a file the functions here want to see."""

MAX_INFLATED = 2**30
"""Deflated data that grows beyond this is rejected."""

_PREAMBLE, _MAGIC = 128, b"DICM"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1".ljust(len(_DEFLATED), b"\0")
SHORT = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO"),
    *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_FIRST_GROUPS, _LAST_GROUP = (0x0002, 0x0008), 0x0028


def has_file_header(head: bytes) -> bool:
    """Return whether a file starts with a preamble and DICM (PS3.10 7.1)."""
    return head[_PREAMBLE:].startswith(_MAGIC)


def is_dicom(head: bytes) -> bool:
    """Return whether a file's first bytes are those of a DICOM file, or of a data set without a file header.

    The first two elements decide: of group 0002 or 0008, in ascending order, with a length that lies within `head`;
    implicit, explicit, or big-endian (PS3.5 7.1).

    Example:
        >>> is_dicom(bytes.fromhex("08000500 0a000000 49534f5f4952203130 3008001600 1a000000"))
        True
        >>> is_dicom(b"P5 512 512 255 ")
        False
    """
    start = _PREAMBLE + len(_MAGIC) if has_file_header(head) else 0
    return (
        _starts_with_elements(head, start, order="<", explicit=True)
        or _starts_with_elements(head, start, order="<", explicit=False)
        or _starts_with_elements(head, start, order=">", explicit=True)
    )


def is_deflated(head: bytes) -> bool:
    """Return whether what follows the meta information is deflated (PS3.5 A.5)."""
    return _DEFLATED in head[:HEAD]


def inflate(content: bytes) -> bytes:
    """Return a deflated file as explicit little-endian.

    Args:
        content: the whole file.

    Raises:
        InputError: it breaks off, or grows beyond `MAX_INFLATED`; the message names no file.
    """
    start = _PREAMBLE + len(_MAGIC)
    length_of_meta = content[start + 8 : start + 12]  # the first element's value: (0002,0000)
    end = start + 12 + int.from_bytes(length_of_meta, "little")
    inflator = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflator.decompress(content[end:], MAX_INFLATED)
    except zlib.error as error:
        raise InputError(f"expected deflated data. Received: {error}") from error
    if not inflator.eof:
        limit = f"whole deflated data of at most {MAX_INFLATED} bytes"
        raise InputError(f"expected {limit}. Received: no end after {len(inflated)}")
    return content[:end].replace(_DEFLATED, _EXPLICIT) + inflated


def _starts_with_elements(head: bytes, start: int, *, order: str, explicit: bool) -> bool:
    tags = list(itertools.islice(_tags(head, start, order=order, explicit=explicit), 2))
    return len(tags) == 2 and tags[0] < tags[1] and tags[0][0] in _FIRST_GROUPS and tags[1][0] <= _LAST_GROUP


def _tags(head: bytes, at: int, *, order: str, explicit: bool) -> Iterator[tuple[int, int]]:
    """Yield group and element of each data element as long as the bytes make sense."""
    with contextlib.suppress(struct.error):  # the end of `head`
        while True:
            tag = struct.unpack_from(f"{order}HH", head, at)
            representation = head[at + 4 : at + 6]
            if not explicit:
                value_at, length = at + 8, struct.unpack_from(f"{order}L", head, at + 4)[0]
            elif representation in SHORT:
                value_at, length = at + 8, struct.unpack_from(f"{order}H", head, at + 6)[0]
            elif representation in LONG:
                value_at, length = at + 12, struct.unpack_from(f"{order}L", head, at + 8)[0]
            else:
                return
            yield tag
            at = value_at + length
