"""Headers as plain values: what they mean was worked out by hand from PS3.3."""

import math

import numpy as np
import pytest

from ptxtf.data import dicom_header, grey
from ptxtf.errors import InputError

PLAIN = {
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
    "Rows": 4,
    "Columns": 3,
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}


def rendering(little_endian=True, **elements):
    return dicom_header.rendering({**PLAIN, **elements}, little_endian=little_endian)


def lut(descriptor, data):
    return [{"LUTDescriptor": descriptor, "LUTData": data}]


# --- geometry -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "spacing_mm", "aspect"),
    [
        ({}, None, 1),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), 2),
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [1, 1], "PixelAspectRatio": [1, 1]}, (0.2, 0.1), 2),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.3, 0.1], "PixelAspectRatio": [1, 1]}, (0.3, 0.1), 3),
        # C.7.6.3.1.7: vertical, then horizontal size; nothing is told of millimetres
        ({"PixelAspectRatio": [3, 4]}, None, 0.75),
        ({"PixelAspectRatio": ["3", "4"], "PixelSpacing": None}, None, 0.75),
        ({"PixelAspectRatio": [3, 0]}, None, 1),
        ({"PixelAspectRatio": [3]}, None, 1),
        ({"PixelSpacing": ["x", 1], "ImagerPixelSpacing": 0.2}, None, 1),
        ({"PixelSpacing": [math.inf, 1], "ImagerPixelSpacing": [math.nan, 1]}, None, 1),
        ({"PixelSpacing": [0.1, 0.1, 0.1]}, None, 1),
    ],
)
def test_spacing_and_aspect(elements, spacing_mm, aspect):
    assert dicom_header.spacing_mm(elements) == spacing_mm
    assert dicom_header.pixel_aspect(elements) == pytest.approx(aspect)


@pytest.mark.parametrize(
    ("value", "frames"), [(None, 1), ("", 1), (0, 1), ("0", 1), (-3, 1), (1, 1), ("7", 7), (300, 300), ("x", 1)]
)
def test_frames(value, frames):
    assert dicom_header.frames({"NumberOfFrames": value}) == frames


# --- layout ---------------------------------------------------------------------------------------------------


def test_layout():
    layout = dicom_header.layout(PLAIN)
    assert layout == (4, 3, 16, 12, 11, False)
    assert (layout.shape, layout.frame_bytes) == ((4, 3), 24)
    assert dicom_header.layout({**PLAIN, "BitsAllocated": 1, "BitsStored": 1}).frame_bytes == 2  # 12 bits
    assert dicom_header.layout({**PLAIN, "PixelRepresentation": 1}).is_signed


@pytest.mark.parametrize(("high", "used"), [(None, 11), (15, 15), (13, 13), (3, 11), (16, 11), (-1, 11), ("x", 11)])
def test_a_high_bit_that_cannot_be_counts_as_absent(high, used):
    assert dicom_header.layout({**PLAIN, "HighBit": high}).high_bit == used


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PhotometricInterpretation": "RGB"}, "MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation=RGB"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation=None"),
        ({"SamplesPerPixel": 3}, "expected MONOCHROME1 or MONOCHROME2"),
        ({"Rows": None}, "expected a whole number as Rows. Received: Rows=None"),
        ({"Columns": 2.5}, "expected a whole number as Columns. Received: Columns=2.5"),
        ({"Rows": 0}, "expected 1 to 67108864 pixels. Received: Rows=0, Columns=3"),
        ({"Rows": -4, "Columns": -3}, "expected 1 to 67108864 pixels"),
        ({"Rows": 60000, "Columns": 60000}, "expected 1 to 67108864 pixels. Received: Rows=60000, Columns=60000"),
        ({"BitsAllocated": 24}, "BitsAllocated of 1, 8, 16 or 32 .* Received: BitsAllocated=24, BitsStored=12"),
        ({"BitsStored": 17}, "Received: BitsAllocated=16, BitsStored=17"),
        ({"BitsStored": 0}, "Received: BitsAllocated=16, BitsStored=0"),
        ({"PixelRepresentation": ""}, "expected a whole number as PixelRepresentation. Received: PixelRepresent"),
    ],
)
def test_what_cannot_be_shown(elements, message):
    with pytest.raises(InputError, match=message):
        dicom_header.layout({**PLAIN, **elements})


def test_the_largest_picture():
    assert dicom_header.layout({**PLAIN, "Rows": 8192, "Columns": 8192}).shape == (8192, 8192)


# --- rendering ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "is_inverted"),
    [
        ({}, False),
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PresentationLUTShape": "INVERSE"}, True),
        ({"PresentationLUTShape": "IDENTITY"}, False),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PixelIntensityRelationshipSign": 1, "PresentationIntentType": "FOR PRESENTATION"}, False),
        # Raw: 1 means that low values are where less of the beam came through, behind dense tissue (C.8.11.3.1.2).
        ({"PixelIntensityRelationshipSign": 1, "PresentationIntentType": "FOR PROCESSING"}, True),
        ({"PixelIntensityRelationshipSign": -1, "PresentationIntentType": "FOR PROCESSING"}, False),
        ({"PixelIntensityRelationshipSign": 1, "PresentationIntentType": "FOR PROCESSING", "RescaleSlope": -1}, False),
        ({"PresentationIntentType": "FOR PROCESSING", "PhotometricInterpretation": "MONOCHROME1"}, True),
    ],
)
def test_which_values_are_dense(elements, is_inverted):
    assert rendering(**elements).is_inverted is is_inverted


@pytest.mark.parametrize(
    ("center", "width", "windows"),
    [
        (None, None, []),
        ("", "", []),
        ([], [], []),
        (100, 11, [(100, 11)]),
        ("100.5", "11.25", [(100.5, 11.25)]),
        ([100, 200], [11, 12], [(100, 11), (200, 12)]),
        ([100, 200], [11], [(100, 11)]),
        (["", 200], ["", 12], [(math.nan, math.nan), (200, 12)]),
    ],
)
def test_windows(center, width, windows):
    found = [(view.center, view.width) for view in rendering(WindowCenter=center, WindowWidth=width).views]
    assert found == [pytest.approx(window, nan_ok=True) for window in windows]


@pytest.mark.parametrize(
    ("value", "function"),
    [
        (None, "LINEAR"),
        ("", "LINEAR"),
        ("LINEAR", "LINEAR"),
        ("sigmoid ", "SIGMOID"),
        ("LINEAR_EXACT", "LINEAR_EXACT"),
        ("CUBIC", "CUBIC"),
    ],
)
def test_functions_of_windows(value, function):
    assert rendering(WindowCenter=1, WindowWidth=2, VOILUTFunction=value).views == (
        grey.Window(center=1, width=2, function=function),
    )


def test_tables_come_before_windows():
    tables = lut([2, 0, 8], [1, 2]) + lut([2, 7, 8], [3, 4])
    first, second, third = rendering(VOILUTSequence=tables, WindowCenter=1, WindowWidth=2).views
    assert (first.first, second.first, third.center) == (0, 7, 1)


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(None, None, (1, 0)), ("", "", (1, 0)), ("2.5", "-3", (2.5, -3)), (0, 5, (1, 5)), ("1e300", "1e300", (1, 0))],
)
def test_slope_and_intercept(slope, intercept, expected):
    found = rendering(RescaleSlope=slope, RescaleIntercept=intercept)
    assert (found.slope, found.intercept) == expected


@pytest.mark.parametrize(
    ("elements", "padding"),
    [
        ({}, None),
        ({"PixelPaddingValue": ""}, None),
        ({"PixelPaddingValue": 0}, (0, 0)),
        ({"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}, (4000, 4095)),
        ({"PixelPaddingValue": -2000, "PixelRepresentation": 1}, (-2000, -2000)),
        ({"PixelPaddingValue": 63536, "PixelRepresentation": 1}, (-2000, -2000)),  # the tag called unsigned
        ({"PixelPaddingValue": -1}, (65535, 65535)),  # the tag called signed
        ({"PixelPaddingRangeLimit": 9}, None),
    ],
)
def test_padding(elements, padding):
    assert rendering(**elements).padding == padding


@pytest.mark.parametrize(
    ("descriptor", "data", "outputs"),
    [
        ([3, 0, 16], [1, 2, 40000], [1, 2, 40000]),
        ([3, 0, 16], [1, 2, -25536], [1, 2, 40000]),  # called signed
        ([3, 0, 16], b"\x01\0\x02\0\x40\x9c", [1, 2, 40000]),
        ([3, 0, 8], b"\x01\x02\x09\0", [1, 2, 9]),  # 8 bits, two to a word
        ([3, 0, 8], b"\x01\x02\x09", [1, 2, 9]),
        ([3, 0, 8], [0x0201, 0x0009], [1, 2, 9]),
        (b"\x03\0\0\0\x10\0", [1, 2, 3, 4], [1, 2, 3]),
        ([1, 0, 8], 77, [77]),
        ([0, 0, 16], list(range(65536)), range(65536)),  # 65,536 does not fit
        ([-1, 0, 16], [5] * 65535, [5] * 65535),
    ],
)
def test_entries_of_tables(descriptor, data, outputs):
    (table,) = rendering(VOILUTSequence=lut(descriptor, data)).views
    assert table.first == 0
    np.testing.assert_array_equal(table.outputs, outputs)


def test_big_endian_tables():
    for data, outputs in [(b"\0\x01\0\x02\x9c\x40", [1, 2, 40000]), (b"\x02\x01\0\x09", [1, 2, 9])]:
        (table,) = rendering(little_endian=False, VOILUTSequence=lut([3, 0, 16], data)).views
        np.testing.assert_array_equal(table.outputs, outputs)


@pytest.mark.parametrize(
    ("elements", "first"),
    [
        ({}, 64536),
        ({"PixelRepresentation": 1}, -1000),
        ({"RescaleIntercept": -1024}, -1000),
        ({"RescaleSlope": -1}, -1000),
        ({"RescaleIntercept": -1024, "ModalityLUTSequence": lut([1, 0, 16], [5])}, 64536),
    ],
)
def test_first_value_of_a_voi_table_is_signed_where_values_are(elements, first):
    for written in (64536, -1000):
        assert rendering(VOILUTSequence=lut([1, written, 16], [5]), **elements).views[0].first == first


def test_first_value_of_a_modality_table_is_signed_as_stored_values_are():
    assert rendering(ModalityLUTSequence=lut([1, 64536, 16], [5])).modality.first == 64536
    assert rendering(ModalityLUTSequence=lut([1, 64536, 16], [5]), PixelRepresentation=1).modality.first == -1000
    assert rendering(ModalityLUTSequence=[]).modality is None


@pytest.mark.parametrize(
    ("descriptor", "data", "message"),
    [
        ([3, 0], [1, 2, 3], r"expected 3 values as LUTDescriptor\. Received: \[3, 0\]"),
        ([4, 0, 16], [1], r"expected 4 entries as LUTData\. Received: 1"),
        ([4, 0, 8], b"\1\2\3", r"expected 4 entries as LUTData"),
    ],
)
def test_tables_that_are_no_tables(descriptor, data, message):
    if descriptor == [4, 0, 8]:
        data = data[:2]
    with pytest.raises(InputError, match=message):
        rendering(VOILUTSequence=lut(descriptor, data))
    with pytest.raises(InputError, match="expected 3 values as LUTDescriptor"):
        rendering(VOILUTSequence=[{}])
