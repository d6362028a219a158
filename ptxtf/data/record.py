"""The record schema: one radiograph and its mask -> the bytes of a TFRecord. `ptxtf.data.example` reads them.

A record is a tf.train.Example of these features:

| feature       | type        | what                                                                                |
|---------------|-------------|-------------------------------------------------------------------------------------|
| image         | bytes       | the radiograph as PNG or JPEG, bright = dense (`--encoding=png` and `source`); or   |
| image/value   | bytes       | its uint8 pixels row by row (`--encoding=raw`)                                      |
| image/shape   | int64 [3]   | stored height, width and 1                                                          |
| mask/value    | bytes       | uint8 pixels of {0, 1} row by row, at the original size, deflated (zlib, RFC 1950)  |
| mask/shape    | int64 [3]   | original height, width and 1                                                        |
| positive      | int64       | 1: the mask is not empty                                                            |
| image_id      | bytes       | SOP instance UID; where there is none, the file's name without ending               |
| patient       | bytes       | keyed hash of the patient                                                           |
| spacing_mm    | float32 [2] | row and column spacing of the original pixels; nan: unknown                         |
| view_position | bytes       | PA, AP, ... or empty                                                                |
| sex           | bytes       | F, M, O or empty                                                                    |
| age_years     | float32     | the patient's age in years, 90: 90 or more; nan: unknown                            |

Names and forms are those of TensorFlow Datasets' Image, Tensor and Text features, so that it reads the records too
(`ptxtf.data.tfds`). How image and mask become bytes stands in `ptxtf.data.source`.

The wire format (protocol buffers) is written by hand, as the worker processes that do it would wait seconds for
TensorFlow, and as its own message copies each image three times; tests hold it to what `tf.train.Example` reads and
writes.
"""

import dataclasses
import os
import struct

SCHEMA_VERSION = 3
"""Of the records; a reader refuses any other."""

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of tf.train.Feature


@dataclasses.dataclass(frozen=True)
class Record:
    """One record before it is serialized; `image` and `mask` are bytes already, sizes are height and width."""

    image: bytes
    image_size: tuple[int, int]
    mask: bytes
    original_size: tuple[int, int]
    positive: bool
    image_id: str
    patient: str
    spacing_mm: tuple[float, float]
    view_position: str
    sex: str
    age_years: float


def image_feature(encoding: str) -> str:
    """Return the name of the feature that holds the image."""
    return "image/value" if encoding == "raw" else "image"


def serialize(record: Record, *, encoding: str) -> bytes:
    """Return the bytes of one TFRecord; the same record always gives the same bytes.

    Args:
        record: what it is to hold.
        encoding: "raw", "png" or "source".

    Returns:
        A serialized tf.train.Example, its features in the order of their names.
    """
    features = {
        image_feature(encoding): _bytes(record.image),
        "image/shape": _ints(*record.image_size, 1),
        "mask/value": _bytes(record.mask),
        "mask/shape": _ints(*record.original_size, 1),
        "positive": _ints(int(record.positive)),
        "image_id": _bytes(os.fsencode(record.image_id)),
        "patient": _bytes(record.patient.encode()),
        "spacing_mm": _floats(*record.spacing_mm),
        "view_position": _bytes(record.view_position.encode()),
        "sex": _bytes(record.sex.encode()),
        "age_years": _floats(record.age_years),
    }
    entries = [
        part
        for name, feature in sorted(features.items())  # a map's entries are a key and a value each
        for part in _field(1, [*_field(1, [name.encode()]), *_field(2, feature)])
    ]
    return b"".join(_field(1, entries))


def _bytes(value: bytes) -> list[bytes]:
    return _field(_BYTES_LIST, _field(1, [value]))


def _ints(*values: int) -> list[bytes]:
    return _field(_INT64_LIST, _field(1, [_varint(value) for value in values]))


def _floats(*values: float) -> list[bytes]:
    return _field(_FLOAT_LIST, _field(1, [struct.pack(f"<{len(values)}f", *values)]))


def _field(number: int, content: list[bytes]) -> list[bytes]:
    """Return a field of known length in parts, so that an image is copied once, when all are joined."""
    return [bytes([number << 3 | 2]), _varint(sum(map(len, content))), *content]


def _varint(value: int) -> bytes:
    """Return a number of 0 or more, seven bits a byte, the lowest first; a set top bit says that more follow."""
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
