"""The files are made here, with pydicom, so that each grey level can be worked out by hand."""

import concurrent.futures
import contextlib
import io
import logging
import os
import pathlib
import struct
import time
import tracemalloc
import warnings

import cv2
import numpy as np
import PIL.Image
import pydicom
import pytest
import tensorflow as tf
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from ptxtf.data import dicom, dicom_header
from ptxtf.errors import InputError

IMPLICIT, EXPLICIT, BIG = uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian


def dataset(pixels, *, bits=8, syntax=EXPLICIT, **tags):
    """An uncompressed radiograph; a tag of None is left out."""
    allocated = 8 * pixels.dtype.itemsize
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    tags = {
        "SOPClassUID": uid.ComputedRadiographyImageStorage,
        "SOPInstanceUID": "1.2.3.4",
        "PatientID": "p7",
        "PatientName": "DOE^JANE",
        "PatientBirthDate": "19010203",
        "AccessionNumber": "A-99",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **tags,
    }
    with pydicom.config.disable_value_validation():  # some tests need what a careless device writes
        for keyword, value in tags.items():
            if value is not None:
                setattr(made, keyword, value)
    order = ">" if syntax == BIG else "<"
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return made


def lut(first, table, bits, *, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(table) % 2**16, first, bits])
    item.add_new("LUTData", vr, table if vr == "US" else np.asarray(table, "<u2").tobytes())
    return [item]


@pytest.fixture
def save(tmp_path):
    def save(made, name="1.2.3.4.dcm"):
        path = tmp_path / name
        with pydicom.config.disable_value_validation():
            made.save_as(path, enforce_file_format=True)
        return path

    return save


@pytest.fixture
def write(tmp_path):
    def write(pixels, name="1.2.3.4.dcm", **facts):
        path = tmp_path / name
        facts = {"image_id": "1.2.3.4", "patient_id": "p7", "view_position": "PA", "spacing_mm": (0.143, 0.139)} | facts
        ids = {name: facts.pop(name, uid) for name, uid in (("study_id", "1.2.3.1"), ("series_id", "1.2.3.2"))}
        dicom.write_secondary_capture(path, pixels, dicom.Header(**facts), **ids)
        return path

    return write


def ramp(height=48, width=64):
    rows, columns = np.mgrid[:height, :width]
    return np.rint(255 * (rows / (height - 1) + columns / (width - 1)) / 2).astype(np.uint8)


def grey(save, *args, **tags):
    """What is shown of these stored values."""
    shown = dicom.read(save(dataset(*args, **tags)))
    assert shown.pixels.dtype == np.uint8
    assert shown.encoded is None
    return shown.pixels.tolist()


# --- pixels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("extra", [{}, {"RescaleSlope": 2, "RescaleIntercept": -9}])
def test_8_bits_stay_as_they_are(save, syntax, extra):
    stored = np.array([[0, 1, 128], [200, 254, 255]], np.uint8)
    assert grey(save, stored, syntax=syntax, **extra) == stored.tolist()


def test_8_bits_in_16_stay_as_they_are(save):
    assert grey(save, np.array([[0, 7, 255]], np.uint16)) == [[0, 7, 255]]


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},  # one inversion, told twice
    ],
)
def test_inverted_once(save, tags):
    assert grey(save, np.array([[0, 1, 255]], np.uint8), **tags) == [[255, 254, 0]]


def test_presentation_identity_is_not_inverted(save):
    assert grey(save, np.array([[0, 1]], np.uint8), PresentationLUTShape="IDENTITY") == [[0, 1]]


# Center 100, width 11 (PS3.3 C.11.2.1.2): black up to 100 - 0.5 - 5 = 94.5, white above 104.5, linear between:
# 95 -> 0.05, 97 -> 0.25, 102 -> 0.75 of 255.
WINDOW = {"WindowCenter": 100, "WindowWidth": 11}
WINDOWED = [[0, 0, 13], [64, 191, 255]]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_window_of_12_bits_in_16(save, syntax):
    stored = np.array([[0, 94, 95], [97, 102, 4095]], np.uint16)
    assert grey(save, stored, bits=12, syntax=syntax, **WINDOW) == WINDOWED


def test_window_of_signed_values(save):
    stored = np.array([[-2048, -6, -5], [-3, 2, 2047]], np.int16)
    assert grey(save, stored, bits=12, WindowCenter=0, WindowWidth=11) == WINDOWED


def test_voi_lut_function_without_a_value_is_linear(save):
    stored = np.array([[0, 94, 95], [97, 102, 4095]], np.uint16)
    assert grey(save, stored, bits=12, VOILUTFunction="", **WINDOW) == WINDOWED


def test_first_of_several_windows(save):
    stored = np.array([[0, 94, 95], [97, 102, 4095]], np.uint16)
    assert grey(save, stored, bits=12, WindowCenter=[100, 2000], WindowWidth=[11, 4000]) == WINDOWED


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_window_of_8_bits(save, syntax):
    stored = np.array([[0, 94, 95], [97, 102, 255]], np.uint8)
    assert grey(save, stored, syntax=syntax, **WINDOW) == WINDOWED


@pytest.mark.parametrize(("window", "shown"), [(0, [0, 97, 202]), (1, [0, 64, 255]), (2, [0, 0, 191])])
def test_which_window(save, window, shown):
    path = save(dataset(np.array([[0, 97, 202]], np.uint8), WindowCenter=[100, 200], WindowWidth=[11, 11]))
    assert dicom.read(path, window=window).pixels.tolist() == [shown]


@pytest.mark.parametrize("window", [2, 3, -1])
def test_a_window_that_the_file_does_not_have(save, window):
    path = save(dataset(np.array([[0, 97, 202]], np.uint8), **WINDOW))
    for work in (dicom.read, dicom.read_stream):
        with refused(path, rf"expected window 0 \(none\) to 1 of those in the file\. Received: window={window}"):
            work(path, window=window)


def test_window_of_monochrome1(save):
    stored = np.array([[0, 94, 95], [97, 102, 4095]], np.uint16)
    shown = grey(save, stored, bits=12, PhotometricInterpretation="MONOCHROME1", **WINDOW)
    assert shown == [[255, 255, 242], [191, 64, 0]]


def test_rescale_comes_before_the_window(save):
    stored = np.array([[52, 53, 56, 4095]], np.uint16)  # 2 x - 10: 94, 96, 102
    shown = grey(save, stored, bits=12, RescaleSlope=2, RescaleIntercept=-10, **WINDOW)
    assert shown == [[0, 38, 191, 255]]  # 96 -> 0.15


def test_negative_slope_turns_grey_levels_round(save):
    stored = np.array([[0, 3993, 4000, 4095]], np.uint16)  # 4095 - x: 4095, 102, 95, 0
    shown = grey(save, stored, bits=12, RescaleSlope=-1, RescaleIntercept=4095, **WINDOW)
    assert shown == [[255, 191, 13, 0]]


@pytest.mark.parametrize(
    ("function", "width", "stored", "shown"),
    [
        # PS3.3 C.11.2.1.3.2: ((x - 100) / 10 + 0.5): black up to 95, white above 105.
        ("LINEAR_EXACT", 10, [95, 97, 99, 103, 105], [0, 51, 102, 204, 255]),
        # PS3.3 C.11.2.1.3.1: 1 / (1 + exp(-4 (x - 100) / 40)): at -1, 1, 2 it is 0.26894, 0.73106, 0.88080.
        ("SIGMOID", 40, [90, 110, 120], [69, 186, 225]),
    ],
)
def test_voi_lut_functions(save, function, width, stored, shown):
    stored = np.array([stored], np.uint16)
    assert grey(save, stored, bits=12, WindowCenter=100, WindowWidth=width, VOILUTFunction=function) == [shown]


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": 100},
        {"WindowCenter": "", "WindowWidth": ""},
        {**WINDOW, "VOILUTFunction": "CUBIC"},
    ],
)
def test_without_a_usable_window_percentiles_span_the_greys(save, tags):
    # Of 0, 1, ..., 1000 the percentiles 0.5 and 99.5 are 5 and 995; 203 is a fifth of the way, 797 four fifths.
    values = np.random.default_rng(0).permutation(1001).reshape(7, 143).astype(np.uint16)
    shown = np.array(grey(save, values, bits=12, **tags))
    for value, level in {0: 0, 5: 0, 203: 51, 797: 204, 995: 255, 1000: 255}.items():
        assert shown[values == value] == level


def test_blank_image_is_black(save):
    assert grey(save, np.full((1, 3), 77, np.uint16), bits=12) == [[0, 0, 0]]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_padding_is_background(save, syntax):
    stored = np.array([[-2000, 94, 95], [97, 102, 2047]], np.int16)
    tags = {"PixelPaddingValue": -2000, "PhotometricInterpretation": "MONOCHROME1", **WINDOW}
    made = dataset(stored, bits=12, syntax=syntax, **tags)
    made["PixelPaddingValue"].VR = "SS"
    assert dicom.read(save(made)).pixels.tolist() == [[0, 255, 242], [191, 64, 0]]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, uid.RLELossless])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_what_lies_in_unused_bits_is_left_out(save, syntax, kind):
    """An overlay in the four bits above, as old devices have it, or sign bits that nobody filled in."""
    stored = np.array([[0, 94, 95], [97, 102, 2047]], np.uint16)
    dirty = (stored | np.array([[0xF000, 0x1000, 0], [0x8000, 0x7000, 0xA000]], np.uint16)).astype(kind)
    made = dataset(dirty, bits=12, syntax=EXPLICIT if syntax == uid.RLELossless else syntax, **WINDOW)
    if syntax == uid.RLELossless:
        made.compress(syntax)
    assert dicom.read(save(made)).pixels.tolist() == WINDOWED


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_values_in_the_upper_bits(save, kind):
    """High Bit 15 of 12 stored: the values begin at bit 4 (PS3.5 8.1.1)."""
    stored = np.array([[0, 94, 95], [97, 102, 2047]], np.uint16)
    shifted = ((stored << 4) | 0xF).astype(kind)
    made = dataset(shifted, bits=12, HighBit=15, **WINDOW)
    assert dicom.read(save(made)).pixels.tolist() == WINDOWED


def test_negative_values_of_12_bits_without_their_sign(save):
    stored = np.array([[0x0FFA, 0x0FFB, 0x0FFD, 2]], np.int16)  # -6, -5, -3, 2
    assert grey(save, stored, bits=12, WindowCenter=0, WindowWidth=11) == [[0, 13, 64, 191]]


@pytest.mark.parametrize("kind", [np.uint32, np.int32])
def test_32_bits(save, kind):
    stored = np.array([[0, 94, 95], [97, 102, 2**31 - 1]], kind)
    assert grey(save, stored, bits=32, **WINDOW) == WINDOWED


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_voi_lut_sequence_goes_before_the_window(save, vr):
    table = [0, 10, 40]  # of 12 bits in name, but white is its own greatest value
    stored = np.array([[0, 100, 101, 102, 4095]], np.uint16)
    shown = grey(save, stored, bits=12, VOILUTSequence=lut(100, table, 12, vr=vr), **WINDOW)
    assert shown == [[0, 0, 64, 255, 255]]


def test_voi_lut_of_8_bits_with_more_than_256_entries(save):
    table = [value // 16 for value in range(4096)]
    stored = np.array([[0, 16, 2048, 4095]], np.uint16)
    assert grey(save, stored, bits=12, VOILUTSequence=lut(0, table, 8)) == [[0, 1, 128, 255]]


def test_voi_lut_may_turn_8_bits_too(save):
    table = [255 - value for value in range(256)]
    assert grey(save, np.array([[0, 1, 255]], np.uint8), VOILUTSequence=lut(0, table, 8)) == [[255, 254, 0]]


def test_modality_lut_comes_before_the_window(save):
    table = [94, 97, 102, 65535]
    stored = np.array([[0, 1, 2, 3]], np.uint16)
    assert grey(save, stored, bits=12, ModalityLUTSequence=lut(0, table, 16), **WINDOW) == [[0, 64, 191, 255]]


def test_first_frame_of_several(save):
    frames = np.array([[[1, 2]], [[3, 4]], [[5, 6]]], np.uint8)
    path = save(dataset(frames, NumberOfFrames=3))
    assert dicom.read(path).pixels.tolist() == [[1, 2]]
    assert dicom.read(path).frames == dicom.read_header(path).frames == 3


@pytest.mark.parametrize("count", [0, "", None, 1])
def test_one_frame_however_it_is_said(save, count):
    path = save(dataset(np.array([[1, 2]], np.uint8), NumberOfFrames=count))
    assert dicom.read(path).pixels.tolist() == [[1, 2]]
    assert dicom.read(path).frames == 1


def test_only_the_first_frame_is_read(save):
    """The file says a thousand frames of 3 GB, and ends behind the first."""
    frame = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    path = save(dataset(frame, NumberOfFrames=1000))
    content = path.read_bytes()
    element = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 6)
    assert element in content
    path.write_bytes(content.replace(element, element[:-4] + struct.pack("<L", 3 * 10**9)))
    assert dicom.read(path).pixels.tolist() == frame[0].tolist()


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_first_of_several_compressed_frames(write, save, table):
    streams = [dicom.read(write(picture)).encoded for picture in (ramp(), ramp()[::-1].copy(), ramp())]
    made = pydicom.dcmread(write(ramp()))
    made.NumberOfFrames = 3
    if table == "extended":
        made.PixelData, made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = pydicom.encaps.encapsulate_extended(
            streams
        )
    else:
        made.PixelData = pydicom.encaps.encapsulate(streams, has_bot=table == "basic")
    path = save(made, "several.dcm")
    assert dicom.read(path).encoded == dicom.read_stream(path).encoded == streams[0]
    assert dicom.read_stream(path).frames == 3


def test_rle_lossless(save):
    stored = np.random.default_rng(0).integers(0, 4096, (24, 31)).astype(np.uint16)
    made = dataset(stored, bits=12, **WINDOW)
    plain = dicom.read(save(made)).pixels
    made.compress(uid.RLELossless)
    np.testing.assert_array_equal(dicom.read(save(made, "rle.dcm")).pixels, plain)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, uid.DeflatedExplicitVRLittleEndian])
def test_the_same_picture_in_every_plain_syntax(save, syntax):
    stored = np.random.default_rng(0).integers(0, 4096, (24, 31)).astype(np.uint16)
    plain = dicom.read(save(dataset(stored, bits=12, PixelSpacing=[0.2, 0.1], **WINDOW))).pixels
    path = save(dataset(stored, bits=12, syntax=syntax, PixelSpacing=[0.2, 0.1], **WINDOW), "other.dcm")
    np.testing.assert_array_equal(dicom.read(path).pixels, plain)
    assert dicom.read_header(path).spacing_mm == (0.2, 0.1)


def test_8_bits_in_big_endian_words(save):
    made = dataset(np.array([[1, 2, 3, 4]], np.uint8), syntax=BIG)
    made.PixelData, made["PixelData"].VR = b"\2\1\4\3", "OW"
    assert dicom.read(save(made)).pixels.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("name", ["film.dcm", "film", "1.2.3.4"])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_without_a_file_header(save, tmp_path, syntax, name):
    stored = np.array([[0, 94, 95], [97, 102, 4095]], np.uint16)
    whole = save(dataset(stored, bits=12, syntax=syntax, **WINDOW), "whole.dcm").read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[144 + int.from_bytes(whole[140:144], "little") :])
    assert dicom.read(path).pixels.tolist() == WINDOWED
    assert dicom.read(path).image_id == dicom.read_header(path).image_id == "1.2.3.4"
    assert path in dicom.find(tmp_path)


def test_meta_information_without_a_preamble(save):
    path = save(dataset(np.array([[1, 2]], np.uint8)))
    path.write_bytes(path.read_bytes()[132:])
    assert dicom.read(path).pixels.tolist() == [[1, 2]]


def test_another_decoder(save, write):
    stored = np.array([[0, 94, 95], [97, 102, 4095]], np.uint16)
    path = save(dataset(np.zeros_like(stored), bits=12, PhotometricInterpretation="MONOCHROME1", **WINDOW))
    given = []
    radiograph = dicom.read(path, decode=lambda *frame: given.append(frame) or stored)
    layout = dicom_header.Layout(2, 3, bits_allocated=16, bits_stored=12, high_bit=11, is_signed=False)
    assert given == [(bytes(12), layout, uid.ExplicitVRLittleEndian)]
    assert radiograph.pixels.tolist() == (255 - np.array(WINDOWED)).tolist()
    with refused(path, r"expected a picture of shape \(2, 3\), as the header says\. Received: shape=\(3, 2\)"):
        dicom.read(path, decode=lambda *_: stored.T)
    path = write(ramp())
    other = dicom.read(path, decode=lambda *_: ramp())
    assert other.encoded == dicom.read(path).encoded
    np.testing.assert_array_equal(other.pixels, ramp())


# --- the JPEG stream ------------------------------------------------------------------------------------------


def test_encoded_is_the_stream_without_its_pad_byte(write):
    lengths = set()
    for width in range(40, 52):
        path = write(ramp(40, width))
        encoded = dicom.read(path).encoded
        content = path.read_bytes()
        assert encoded == content[content.index(b"\xff\xd8\xff") : content.rindex(b"\xff\xd9") + 2]
        lengths.add(len(encoded) % 2)
    assert lengths == {0, 1}  # both were met: with a pad byte and without


def test_pixels_are_what_the_stream_decodes_to(write):
    radiograph = dicom.read(write(ramp()))
    by_opencv = cv2.imdecode(np.frombuffer(radiograph.encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(radiograph.pixels, by_opencv)
    by_pillow = np.array(PIL.Image.open(io.BytesIO(radiograph.encoded)), np.int64)
    assert np.abs(radiograph.pixels - by_pillow).max() <= 1
    assert np.abs(radiograph.pixels.astype(int) - ramp()).max() <= 3


def test_a_stream_is_read_without_being_decoded(write, monkeypatch):
    path = write(ramp())
    radiograph = dicom.read(path)
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(dicom, "get_decoder", None)
    stream = dicom.read_stream(path)
    assert (stream.encoded, stream.shape) == (radiograph.encoded, (48, 64))
    assert vars(dicom.read_header(path)).items() <= vars(stream).items()


@pytest.mark.parametrize(
    ("tags", "is_whole"),
    [
        ({}, True),
        ({"WindowCenter": 128, "WindowWidth": 256}, True),
        ({"WindowCenter": [128, 40], "WindowWidth": [256, 10]}, True),
        ({"WindowCenter": "", "WindowWidth": ""}, True),
        ({"PixelPaddingValue": 0}, True),
        ({"WindowCenter": 100, "WindowWidth": 200}, False),
        ({"PhotometricInterpretation": "MONOCHROME1"}, False),
        ({"PresentationLUTShape": "INVERSE"}, False),
        ({"PixelPaddingValue": 255}, False),
    ],
)
def test_which_streams_are_the_radiograph(write, save, tags, is_whole):
    made = pydicom.dcmread(write(ramp()))
    for keyword, value in tags.items():
        setattr(made, keyword, value)
        if keyword == "PixelPaddingValue":
            made[keyword].VR = "US"
    path = save(made, "changed.dcm")
    stream, radiograph = dicom.read_stream(path), dicom.read(path)
    assert (stream is not None) == (radiograph.encoded is not None) == is_whole
    if stream:
        assert stream.encoded == radiograph.encoded


def test_another_window_may_keep_the_stream(write, save):
    made = pydicom.dcmread(write(ramp()))
    made.WindowCenter, made.WindowWidth = [40, 128], [10, 256]
    path = save(made, "windows.dcm")
    assert dicom.read_stream(path) is None
    for window in (0, 2):
        assert dicom.read_stream(path, window=window).encoded == dicom.read(path, window=window).encoded


def test_extended_jpeg_of_8_bits_is_copied_too(write, save):
    """Process 4 with 8 bits differs from baseline in its marker only; TensorFlow reads it as OpenCV does."""
    baseline = dicom.read(write(ramp()))
    extended = baseline.encoded.replace(b"\xff\xc0", b"\xff\xc1", 1)
    made = pydicom.dcmread(write(ramp()))
    made.file_meta.TransferSyntaxUID = uid.JPEGExtended12Bit
    made.PixelData = pydicom.encaps.encapsulate([extended])
    path = save(made, "extended.dcm")
    assert dicom.read(path).encoded == dicom.read_stream(path).encoded == extended
    np.testing.assert_array_equal(dicom.read(path).pixels, baseline.pixels)
    by_tensorflow = tf.io.decode_jpeg(extended, channels=1, dct_method="INTEGER_ACCURATE")[..., 0]
    np.testing.assert_array_equal(by_tensorflow, baseline.pixels)


def test_a_stream_tells_its_kind_where_the_transfer_syntax_is_wrong(write, save):
    path = write(ramp())
    made = pydicom.dcmread(path)
    made.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
    mislabelled = dicom.read(save(made, "mislabelled.dcm"))
    np.testing.assert_array_equal(mislabelled.pixels, dicom.read(path).pixels)


def test_no_stream_of_other_transfer_syntaxes(save):
    made = dataset(ramp())
    for syntax in (uid.RLELossless, uid.JPEG2000Lossless):
        assert dicom.read_stream(save(made)) is None
        made = dataset(ramp())
        made.compress(syntax)
        np.testing.assert_array_equal(dicom.read(save(made)).pixels, ramp())
    assert dicom.read_stream(save(made)) is None


@pytest.mark.parametrize(
    "tags", [{"PhotometricInterpretation": "MONOCHROME1"}, {"RescaleSlope": -1, "RescaleIntercept": 255}]
)
def test_no_stream_where_pixels_differ_from_it(write, save, tags):
    plain = dicom.read(write(ramp())).pixels
    made = pydicom.dcmread(write(ramp()))
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    changed = dicom.read(save(made))
    assert changed.encoded is None
    assert np.corrcoef(changed.pixels.ravel(), plain.ravel())[0, 1] < -0.999


def test_stream_in_several_fragments(write, save):
    path = write(ramp())
    stream = dicom.read(path).encoded
    made = pydicom.dcmread(path)
    made.PixelData = pydicom.encaps.encapsulate([stream], fragments_per_frame=3)
    assert dicom.read(save(made, "fragments.dcm")).encoded == stream


def test_stream_of_another_size_is_refused(write, save):
    made = pydicom.dcmread(write(ramp()))
    made.Rows = 47
    with pytest.raises(InputError, match=r"shape \(47, 64\), as the header says\. Received: shape=\(48, 64\)"):
        dicom.read(save(made))


# --- what the file says ---------------------------------------------------------------------------------------


def test_header_and_radiograph_tell_the_same(write):
    path = write(ramp(), sex="F", age_years=29)
    header, radiograph = dicom.read_header(path), dicom.read(path)
    facts = {
        "sex": "F",
        "age_years": 29.0,
        "view_position": "PA",
        "spacing_mm": (0.143, 0.139),
        "pixel_aspect": 0.143 / 0.139,
        "frames": 1,
    }
    assert header == dicom.Header(image_id="1.2.3.4", patient_id="p7", **facts)
    assert vars(header).items() <= vars(radiograph).items()


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("029Y", 29), ("29", 29), ("006M", 0.5), ("026W", 26 * 7 / 365.25), ("010D", 10 / 365.25), ("000Y", 0),
        ("29Y", 29), ("090Y", 90), ("101Y", 90), ("120Y", 90), ("121Y", None), ("411", None), ("", None), ("Y", None),
        ("-5", None),
        ("029y", None), ("29 years", None),
    ],
)  # fmt: skip
def test_ages(save, text, years):
    made = dicom.read_header(save(dataset(np.zeros((2, 2), np.uint8), PatientAge=text)))
    assert made.age_years == (years if years is None else pytest.approx(years))


@pytest.mark.parametrize(("text", "sex"), [("F", "F"), ("M ", "M"), ("O", "O"), ("", ""), ("female", ""), ("f", "")])
def test_sexes(save, text, sex):
    assert dicom.read_header(save(dataset(np.zeros((2, 2), np.uint8), PatientSex=text))).sex == sex


def test_a_file_that_says_nothing(save):
    path = save(dataset(np.zeros((2, 2), np.uint8), PatientID=None, SOPInstanceUID="1.2.3.4"), "chest 12.dcm")
    made = pydicom.dcmread(path)
    del made.SOPInstanceUID
    made.save_as(path)
    nothing = {
        "patient_id": "",
        "view_position": "",
        "sex": "",
        "age_years": None,
        "spacing_mm": None,
        "pixel_aspect": 1.0,
        "frames": 1,
    }
    expected = dicom.Header(image_id="chest 12", **nothing)
    assert dicom.read_header(path) == expected
    assert vars(expected).items() <= vars(dicom.read(path)).items()


@pytest.mark.parametrize(
    ("pixel", "imager", "spacing_mm"),
    [
        ([0.2, 0.1], [0.4, 0.3], (0.2, 0.1)),
        (None, [0.4, 0.3], (0.4, 0.3)),
        ([0, 0], [0.4, 0.3], (0.4, 0.3)),
        ([0, 0], None, None),
        ([0.2, -0.1], None, None),
        ("0.2", None, None),
        ("", None, None),
        (["inf", "0.1"], None, None),
        (["nan", "0.1"], None, None),
        (["0.19431099999999999999", "0.19431099999999999998"], None, (0.194311, 0.194311)),  # SIIM-ACR: too long
    ],
)
def test_spacing(save, pixel, imager, spacing_mm):
    path = save(dataset(np.zeros((2, 2), np.uint8), PixelSpacing=pixel, ImagerPixelSpacing=imager))
    assert dicom.read_header(path).spacing_mm == pytest.approx(spacing_mm)
    assert dicom.read(path).spacing_mm == pytest.approx(spacing_mm)


def test_spacing_that_is_no_number(save):
    path = save(dataset(np.zeros((2, 2), np.uint8), PixelSpacing=[0.25, 0.25]))
    path.write_bytes(path.read_bytes().replace(b"0.25\\0.25", b"0.2x\\0.25"))
    assert dicom.read(path).spacing_mm is None


def test_nothing_personal_leaves_the_file(save):
    path = save(dataset(np.zeros((2, 2), np.uint8)))
    told = repr(vars(dicom.read(path))) + repr(dicom.read_header(path))
    assert "p7" in told
    for secret in ("DOE", "JANE", "1901", "A-99"):
        assert secret not in told


@pytest.fixture
def careless_file(save):
    """Draws warnings from pydicom: a UID that is none, numbers too long, an unknown character set."""
    made = dataset(
        np.zeros((2, 2), np.uint8),
        SOPInstanceUID="1.2.03.x",
        PixelSpacing=["0.19431099999999999999", "0.19431099999999999998"],
        SpecificCharacterSet="ISO_IR 100",
    )
    path = save(made)
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    return path


def test_pydicom_does_not_bother_the_user(careless_file, caplog):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert dicom.read(careless_file).image_id == dicom.read_header(careless_file).image_id == "1.2.03.x"
    assert not told
    assert not caplog.records
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        str(pydicom.dcmread(careless_file))
    assert len(told) >= 3  # the file does what it is made for


def test_threads_leave_the_settings_of_warnings_and_logging_as_they_were(careless_file):
    before = list(warnings.filters)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        headers = list(pool.map(dicom.read_header, [careless_file] * 40))
    assert set(headers) == {dicom.read_header(careless_file)}
    assert list(warnings.filters) == before
    assert logging.getLogger("pydicom").propagate


# --- files that cannot be used --------------------------------------------------------------------------------


@contextlib.contextmanager
def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        yield
    assert str(caught.value).startswith(f"{path}: expected ")
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"x" * 5000, bytes(128) + b"DICN" + bytes(500)])
def test_no_dicom_file(tmp_path, content):
    path = tmp_path / "notes.dcm"
    path.write_bytes(content)
    for read in (dicom.read, dicom.read_header):
        with refused(path, "expected a DICOM file. Received: no DICM at byte 128"):
            read(path)


def test_no_file(tmp_path):
    with refused(tmp_path / "gone.dcm", "FileNotFoundError"):
        dicom.read(tmp_path / "gone.dcm")
    with refused(tmp_path, "expected a file. Received: a folder, pipe or device"):
        dicom.read(tmp_path)


def test_a_folder_and_a_pipe_with_the_name_of_a_file(tmp_path):
    folder, pipe = tmp_path / "folder.dcm", tmp_path / "pipe.dcm"
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (folder, pipe):
        for read in (dicom.read, dicom.read_header, dicom.read_stream):
            with refused(path, "expected a file. Received: a folder, pipe or device"):
                read(path)  # a pipe without a writer would wait for ever


def test_a_file_that_may_not_be_read(write, monkeypatch):
    path = write(ramp())

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with refused(path, "that can be read. Received: PermissionError"):
        dicom.read(path)


def test_no_pixel_data(save):
    made = dataset(np.zeros((2, 2), np.uint8))
    del made.PixelData
    path = save(made)
    with refused(path, "expected pixel data. Received: none"):
        dicom.read(path)


@pytest.mark.parametrize("missing", ["Rows", "Columns", "BitsStored", "PixelRepresentation"])
def test_pixels_not_described(save, missing):
    made = dataset(np.zeros((2, 2), np.uint8))
    delattr(made, missing)
    path = save(made)
    with refused(path, f"expected a whole number as {missing}. Received: {missing}=None"):
        dicom.read(path)


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL", "PALETTE COLOR", None])
def test_colour(save, kind):
    made = dataset(np.zeros((2, 2), np.uint8), PhotometricInterpretation=kind, SamplesPerPixel=3, PlanarConfiguration=0)
    path = save(made)
    with refused(path, f"expected MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation={kind}"):
        dicom.read(path)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_truncated(write, save, kept):
    for path in (write(ramp()), save(dataset(ramp(), bits=8), "plain.dcm")):
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        with refused(path, "expected "):
            dicom.read(path)


def test_stream_truncated_before_it_came_into_the_file(write, save):
    path = write(ramp())
    stream = dicom.read(path).encoded
    made = pydicom.dcmread(path)
    made.PixelData = pydicom.encaps.encapsulate([stream[: len(stream) // 2]])
    path = save(made, "half.dcm")
    with refused(path, r"expected a whole JPEG stream\. Received: \d+ bytes without its end"):
        dicom.read(path)


def test_stream_that_is_no_jpeg(write, save):
    made = pydicom.dcmread(write(ramp()))
    made.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + bytes(200) + b"\xff\xd9"])
    path = save(made, "none.dcm")
    with refused(path, r"expected a JPEG stream\. Received: 204 bytes without a frame header"):
        dicom.read(path)


def test_absurd_sizes_are_refused_before_anything_is_allocated(write, save):
    made = pydicom.dcmread(write(ramp()))
    made.Rows = made.Columns = 60000
    path = save(made, "vast.dcm")
    tracemalloc.start()
    for read in (dicom.read, dicom.read_stream):
        with refused(path, "expected 1 to 67108864 pixels. Received: Rows=60000, Columns=60000"):
            read(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEG2000Lossless])
def test_a_stream_that_claims_to_be_vast(write, save, syntax):
    made = pydicom.dcmread(write(ramp()))
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.JPEG2000Lossless:
        edges = struct.pack(">H8L", 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0)
        stream = b"\xff\x4f\xff\x51\0\x29" + edges + bytes.fromhex("0001 070101") + bytes(90)
    else:
        at = dicom.read(write(ramp())).encoded.index(b"\xff\xc0") + 5
        stream = dicom.read(write(ramp())).encoded
        stream = stream[:at] + struct.pack(">HH", 60000, 60000) + stream[at + 4 :]
    made.PixelData = pydicom.encaps.encapsulate([stream])
    path = save(made, "vast.dcm")
    with refused(path, r"shape \(48, 64\), as the header says\. Received: shape=\(60000, 60000\)"):
        dicom.read(path)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.RLELossless])
def test_damaged_streams(save, syntax):
    made = dataset(ramp())
    made.compress(syntax)
    path = save(made)
    content = path.read_bytes()
    start = content.rindex(struct.pack("<HH", 0xFFFE, 0xE000)) + 70
    path.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
    with refused(path, "expected "):
        dicom.read(path)


def test_a_transfer_syntax_that_nobody_decodes(save):
    path = save(dataset(ramp()))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    with refused(path, "expected "):
        dicom.read(path)


def test_compressed_syntax_and_plain_pixels(write, save):
    path = save(dataset(ramp()))
    compressed, plain = write(ramp(), "compressed.dcm").read_bytes(), path.read_bytes()
    meta, body = (144 + int.from_bytes(content[140:144], "little") for content in (compressed, plain))
    path.write_bytes(compressed[:meta] + plain[body:])
    with refused(path, r"expected encapsulated pixel data .* Received: 3072 bytes in one piece"):
        dicom.read(path)


def test_a_download_that_zeros_fill_up(write):
    path = write(ramp())
    content = path.read_bytes()
    start = content.index(struct.pack("<HH", 0x0028, 0x0010))
    path.write_bytes(content[:start] + bytes(4_000_000))
    before = time.perf_counter()
    with refused(path, "expected pixel data. Received: none"):
        dicom.read(path)
    assert time.perf_counter() - before < 1


def test_sequences_nested_until_the_parser_gives_up(save):
    path = save(dataset(np.zeros((2, 2), np.uint8)))
    start_of_dataset = path.read_bytes().index(struct.pack("<HH", 0x0008, 0x0016))
    nest = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    path.write_bytes(path.read_bytes()[:start_of_dataset] + 5000 * nest)
    for read in (dicom.read, dicom.read_header):
        with refused(path, "RecursionError"):
            read(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_not_every_error_is_the_file_s_fault(write, monkeypatch, error):
    path = write(ramp())

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(dicom, "_parse", fail)
    with pytest.raises(error):
        dicom.read(path)


# --- folders --------------------------------------------------------------------------------------------------


def test_find(tmp_path):
    magic = bytes(128) + b"DICM"
    wanted = ["a/b/1.2.3.dcm", "a/1.2.DCM", "z.dicom", "IM000001", "1.2.840.5"]
    others = {
        "b.txt": magic,
        "README": b"text",
        "DICOMDIR": magic,
        "a/._1.2.3.dcm": magic,
        "1.2.840.6": b"",
        "c.png": b"",
    }
    for name, content in {**dict.fromkeys(wanted, magic), **others}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert dicom.find(tmp_path) == sorted(tmp_path / name for name in wanted)
    assert dicom.find(str(tmp_path)) == dicom.find(tmp_path)


def test_find_follows_links_and_survives_their_loops(tmp_path, write):
    film = write(ramp(), "elsewhere/1.2.3.4.dcm")
    folder = tmp_path / "dicom"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "linked").symlink_to(film.parent, target_is_directory=True)
    (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    assert dicom.find(folder) == [folder / "a" / "linked" / "1.2.3.4.dcm"]
    assert dicom.read(dicom.find(folder)[0]).image_id == "1.2.3.4"


def test_remote_folders():
    folder = "ram://test_dicom/films"
    dicom.write_secondary_capture(
        f"{folder}/a/1.2.3.4.dcm",
        ramp(),
        dicom.Header(image_id="1.2.3.4", spacing_mm=(0.2, 0.1)),
        study_id="1.2.3.1",
        series_id="1.2.3.2",
    )
    (path,) = dicom.find(folder)
    assert str(path) == f"{folder}/a/1.2.3.4.dcm"
    assert dicom.read_header(path).spacing_mm == (0.2, 0.1)
    assert dicom.read(path).encoded == dicom.read_stream(str(path)).encoded
    with refused(f"{folder}/gone.dcm", "FileNotFoundError"):
        dicom.read(f"{folder}/gone.dcm")
    with pytest.raises(InputError, match="ram://test_dicom/gone: expected a folder"):
        dicom.find("ram://test_dicom/gone")


def test_find_wants_a_folder(tmp_path):
    with pytest.raises(InputError, match="gone: expected a folder"):
        dicom.find(tmp_path / "gone")


# --- writing --------------------------------------------------------------------------------------------------


def test_written_file_is_like_those_of_siim_acr(write):
    made = pydicom.dcmread(write(ramp(), name="study/series/1.2.3.4.dcm"))
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert made.SOPClassUID == made.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert (made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientID) == ("1.2.3.1", "1.2.3.2", "p7")
    assert (made.Modality, made.BodyPartExamined, made.ViewPosition) == ("CR", "CHEST", "PA")
    assert (made.PhotometricInterpretation, made.BitsAllocated, made.BitsStored, made.HighBit) == (
        "MONOCHROME2",
        8,
        8,
        7,
    )
    assert (made.Rows, made.Columns, made.SamplesPerPixel, made.PixelRepresentation) == (48, 64, 1, 0)
    assert made.PixelSpacing == [0.143, 0.139]
    assert (made.LossyImageCompression, made.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    # PS3.5 A.4: an item of length 0 for the offset table, then the only fragment.
    assert made.PixelData.startswith(struct.pack("<HHLHH", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000))
    assert len(list(pydicom.encaps.generate_fragments(made.PixelData))) == 2
    assert np.abs(made.pixel_array.astype(int) - ramp()).max() <= 3


def test_written_bytes_repeat(write):
    assert write(ramp(), "a.dcm").read_bytes() == write(ramp(), "b.dcm").read_bytes()


def test_written_without_spacing(write):
    path = write(ramp(), spacing_mm=None)
    assert "PixelSpacing" not in pydicom.dcmread(path)
    assert dicom.read(path).spacing_mm is None


def test_written_spacing_of_many_digits_fits_its_16_characters(write):
    assert dicom.read(write(ramp(), spacing_mm=(0.1943109999999999, 1 / 7))).spacing_mm == pytest.approx(
        (0.194311, 1 / 7)
    )


def test_written_whole_or_not_at_all(write, tmp_path, monkeypatch):
    def break_off(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "replace", break_off)
    with pytest.raises(OSError, match="disk full"):
        write(ramp())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pixels", [ramp()[..., None], ramp().astype(np.uint16), ramp() / 255.0])
def test_written_pixels_must_be_grey_levels(write, pixels):
    with pytest.raises(ValueError, match=r"pixels: expected uint8 \[H, W\]\. Received: shape="):
        write(pixels)


@pytest.mark.parametrize("image_id", ["", "chest", "1..2", "1.02", "1." + 64 * "2"])
def test_written_ids_must_be_uids(write, image_id):
    with pytest.raises(ValueError, match=r"image_id: expected a UID .* Received: image_id="):
        write(ramp(), image_id=image_id)


def test_comments_in_a_jpeg_stream_stay_behind(write, tmp_path):
    """A COM or Exif segment may hold the patient's name; without it the picture is the same."""
    path = write(ramp())
    plain = dicom.read(path)
    secret = b"DOE^JANE"
    comment = b"\xff\xfe" + (len(secret) + 2).to_bytes(2, "big") + secret
    exif = b"\xff\xe1" + (len(secret) + 2).to_bytes(2, "big") + secret
    told = plain.encoded[:2] + comment + exif + plain.encoded[2:]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([told])
    dataset.save_as(tmp_path / "told.dcm")
    found = dicom.read(tmp_path / "told.dcm")
    assert found.encoded == plain.encoded
    np.testing.assert_array_equal(found.pixels, plain.pixels)


def test_a_bare_uid_as_file_name_keeps_its_last_number(write, tmp_path):
    dataset = pydicom.dcmread(write(ramp()))
    del dataset.SOPInstanceUID
    dataset.save_as(tmp_path / "1.2.3.4")
    assert dicom.read_header(tmp_path / "1.2.3.4").image_id == "1.2.3.4"


def test_a_stream_with_damaged_tables_is_refused_without_decoding(write):
    path = write(ramp())
    content = path.read_bytes()
    at = content.index(b"\xff\xc4") + 5  # how many codes of one bit there are
    path.write_bytes(content[:at] + b"\x03" + content[at + 1 :])
    for read in (dicom.read, dicom.read_stream):
        with refused(path, "expected a (sound )?JPEG stream"):
            read(path)
