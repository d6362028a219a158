"""What a DICOM header says of its picture: elements -> spacing, frames, layout of the bytes, rendering.

In: elements as plain values, {keyword: value} with numbers, text, bytes, lists of them, and lists of such mappings for
sequences. Out: what the pipeline needs to know of them. Headers are full of slips, so a number that is absent, empty,
text or nan counts as absent, wherever the picture can be shown without it. Knows no pydicom and no files.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ptxtf.data import grey
from ptxtf.errors import InputError

Elements = Mapping[str, Any]

MAX_PIXELS = 2**26
"""Pictures that claim to be larger than 8192 x 8192 are rejected before anything is allocated for them."""

_SPACINGS_MM = (1e-3, 1e2)
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12, "Y": 1, "": 1}
_OLDEST = 120  # NIH's headers have some of 400 years
_OLD = 90  # from here on an age may tell who it is, and is stored as this
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")  # of value representation CS

IDENTITY = ("SOPInstanceUID", "PatientID", "ViewPosition", "PatientSex", "PatientAge")
"""The only elements ever taken that are not about pixels."""

GEOMETRY = ("NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio")
PIXELS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("PresentationLUTShape", "PresentationIntentType", "PixelIntensityRelationshipSign"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)


class Layout(NamedTuple):
    """How stored values lie in their bytes (PS3.5 8.1.1)."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows, self.columns

    @property
    def frame_bytes(self) -> int:
        """How many bytes an uncompressed frame has."""
        return math.ceil(self.rows * self.columns * self.bits_allocated / 8)


def spacing_mm(elements: Elements) -> tuple[float, float] | None:
    """Return the distance of pixel centres (down, along a row) in mm; None where the header does not say.

    What no detector can have is as good as nothing.
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        pair = _pair(elements, keyword)
        if pair and all(_SPACINGS_MM[0] <= step <= _SPACINGS_MM[1] for step in pair):
            return pair
    return None


def text(elements: Elements, keyword: str) -> str:
    """Return an element's first value as text; "" where there is none."""
    value = elements.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = next(iter(value), None)
    return str(value or "")


def view_position(elements: Elements) -> str:
    """Return "PA", "AP", ...; "" where the header does not say, or says what is no code (PS3.5 6.2).

    Free text may tell whose film it is.
    """
    code = text(elements, "ViewPosition").strip()
    return code if _CODE.fullmatch(code) else ""


def sex(elements: Elements) -> str:
    """Return "F", "M" or "O" (PS3.3 C.7.1.1); "" where the header does not say."""
    code = text(elements, "PatientSex").strip()
    return code if code in ("F", "M", "O") else ""


def age_years(elements: Elements) -> float | None:
    """Return the age in years, at most 90, which means 90 or more; None where the header does not say.

    "029Y", "006M", "010D" (PS3.5 6.2); a number alone, as in SIIM-ACR's files, counts years.
    """
    found = _AGE.fullmatch(text(elements, "PatientAge").strip())
    years = int(found[1]) / _PER_YEAR[found[2]] if found else math.inf
    return min(years, _OLD) if years <= _OLDEST else None


def pixel_aspect(elements: Elements) -> float:
    """Return a pixel's height over its width (PS3.3 C.7.6.3.1.7); 1.0 where the header does not say."""
    height, width = spacing_mm(elements) or _pair(elements, "PixelAspectRatio") or (1.0, 1.0)
    return height / width


def frames(elements: Elements) -> int:
    """Return how many pictures there are; one, where the header does not say or says none."""
    return max(1, int(_number(elements, "NumberOfFrames", 1)))


def layout(elements: Elements) -> Layout:
    """Return how stored values lie in their bytes.

    Raises:
        InputError: colour, no pixels or more than `MAX_PIXELS`, or not described; the message names no file.
    """
    kind = elements.get("PhotometricInterpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or _number(elements, "SamplesPerPixel", 1) != 1:
        raise InputError(f"expected MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation={kind}")
    rows, columns = _whole(elements, "Rows"), _whole(elements, "Columns")
    if min(rows, columns) < 1 or rows * columns > MAX_PIXELS:
        raise InputError(f"expected 1 to {MAX_PIXELS} pixels. Received: Rows={rows}, Columns={columns}")
    allocated, stored = _whole(elements, "BitsAllocated"), _whole(elements, "BitsStored")
    if allocated not in (1, 8, 16, 32) or not 0 < stored <= allocated:
        raise InputError(
            "expected BitsAllocated of 1, 8, 16 or 32 and BitsStored within. "
            f"Received: BitsAllocated={allocated}, BitsStored={stored}"
        )
    high = int(_number(elements, "HighBit", stored - 1))
    if not stored <= high + 1 <= allocated:
        high = stored - 1
    return Layout(rows, columns, allocated, stored, high, is_signed=_whole(elements, "PixelRepresentation") == 1)


def rendering(elements: Elements, *, little_endian: bool) -> grey.Rendering:
    """Return how stored values are to be shown.

    Views are the VOI look-up tables and, behind them, the windows. Low values are dense

    - in MONOCHROME1 (PS3.3 C.7.6.3.1.2) and where Presentation LUT Shape is INVERSE (C.7.6.1); where a header has both,
      they say the same (C.8.11.3);
    - in a raw image (FOR PROCESSING), which nobody has made ready for a screen, where its Pixel Intensity Relationship
      Sign is 1: they are where less of the beam came through (C.8.11.3.1.2).

    Args:
        elements: of the header.
        little_endian: order of the bytes in look-up tables that are left as bytes.

    Raises:
        InputError: a look-up table that has fewer entries than it says; the message names no file.
    """
    is_signed = elements.get("PixelRepresentation") == 1
    slope = _number(elements, "RescaleSlope", 1) or 1.0
    intercept = _number(elements, "RescaleIntercept", 0)
    order = "<" if little_endian else ">"
    modality = _tables(elements, "ModalityLUTSequence", order, is_signed=is_signed)
    may_be_negative = not modality and (is_signed or slope < 0 or intercept < 0)
    return grey.Rendering(
        bits=_whole(elements, "BitsStored"),
        is_signed=is_signed,
        slope=slope,
        intercept=intercept,
        modality=modality[0] if modality else None,
        views=(*_tables(elements, "VOILUTSequence", order, is_signed=may_be_negative), *_windows(elements)),
        padding=_padding(elements, is_signed=is_signed),
        is_inverted=_is_inverted(elements, slope),
    )


def _numbers(elements: Elements, keyword: str) -> list[float]:
    """Return all numbers of an element, nan for each that is none."""
    value = elements.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_float(each) for each in value]
    return [_float(value)]


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _number(elements: Elements, keyword: str, default: float) -> float:
    """Return an element's first number; `default` where there is none, or none that could mean anything."""
    first = next(iter(_numbers(elements, keyword)), math.nan)
    return first if abs(first) < 1e30 else default


def _whole(elements: Elements, keyword: str) -> int:
    value = _number(elements, keyword, math.nan)
    if not value.is_integer():
        raise InputError(f"expected a whole number as {keyword}. Received: {keyword}={elements.get(keyword)!r}")
    return int(value)


def _pair(elements: Elements, keyword: str) -> tuple[float, float] | None:
    """Return two numbers above zero, or nothing."""
    numbers = _numbers(elements, keyword)
    if len(numbers) != 2 or not all(0 < number < math.inf for number in numbers):
        return None
    return numbers[0], numbers[1]


def _is_inverted(elements: Elements, slope: float) -> bool:
    sign = _number(elements, "PixelIntensityRelationshipSign", 0)
    if sign and elements.get("PresentationIntentType") == "FOR PROCESSING":
        return sign * slope > 0
    return elements["PhotometricInterpretation"] == "MONOCHROME1" or elements.get("PresentationLUTShape") == "INVERSE"


def _windows(elements: Elements) -> list[grey.Window]:
    """Return all windows, those that cannot be used too, so that each keeps its number."""
    function = str(elements.get("VOILUTFunction") or "LINEAR").strip().upper()
    spans = list(zip(_numbers(elements, "WindowCenter"), _numbers(elements, "WindowWidth"), strict=False))
    if all(math.isnan(center) and math.isnan(width) for center, width in spans):
        return []  # tags without values
    return [grey.Window(center=center, width=width, function=function) for center, width in spans]


def _padding(elements: Elements, *, is_signed: bool) -> tuple[int, int] | None:
    """Return the least and the greatest stored value that are padding, each of 16 bits (PS3.3 C.7.5.1.1.2)."""
    value = _number(elements, "PixelPaddingValue", math.nan)
    limit = _number(elements, "PixelPaddingRangeLimit", value)
    if not (value.is_integer() and limit.is_integer()):
        return None
    first, last = (int(end) % 2**16 for end in (value, limit))
    if is_signed:
        first, last = (end - 2**16 if end >= 2**15 else end for end in (first, last))
    return min(first, last), max(first, last)


def _tables(elements: Elements, keyword: str, order: str, *, is_signed: bool) -> list[grey.Table]:
    """Return the look-up tables of a sequence (PS3.3 C.11.1.1.1, C.11.2.1.1).

    Whether the first value that is mapped is signed, depends on what is looked up: `is_signed`. What the file calls it
    is often wrong.
    """
    return [_table(item, order, is_signed=is_signed) for item in elements.get(keyword) or ()]


def _table(item: Elements, order: str, *, is_signed: bool) -> grey.Table:
    descriptor, outputs = (_words(item.get(keyword, ()), order) for keyword in ("LUTDescriptor", "LUTData"))
    if len(descriptor) != 3:
        raise InputError(f"expected 3 values as LUTDescriptor. Received: {item.get('LUTDescriptor')!r}")
    entries, first = int(descriptor[0]) or 2**16, int(descriptor[1])
    if len(outputs) < entries <= 2 * len(outputs):  # entries of 8 bits, two to a word, the lower byte first
        outputs = outputs.astype("<u2").view(np.uint8)
    if len(outputs) < entries:
        raise InputError(f"expected {entries} entries as LUTData. Received: {len(outputs)}")
    return grey.Table(first=first - 2**16 if is_signed and first >= 2**15 else first, outputs=outputs[:entries])


def _words(value: Any, order: str) -> np.ndarray:
    """Return a value as unsigned words of 16 bits."""
    if isinstance(value, bytes):
        return np.frombuffer(value + bytes(len(value) % 2), f"{order}u2")
    return (np.atleast_1d(value).astype(np.int64) % 2**16).astype(np.uint16)
