"""Whatever bytes a file is made of, a reader gives a radiograph or an InputError of one line: no other exception, no
warning, no waiting. The examples are the same in every run.
"""

import contextlib
import io
import struct
import time

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from ptxtf.data import dicom
from ptxtf.errors import InputError

ROWS, COLUMNS = np.mgrid[:36, :40]
PICTURE = (4 * ROWS + 2 * COLUMNS).astype(np.uint8)
TOO_LONG_S = 5


def lut(first, entries):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, 8])
    item.add_new("LUTData", "US", list(entries))
    return [item]


def film(syntax, *, with_header=True):
    """A small file that has nearly all the elements that are looked at."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID = uid.ComputedRadiographyImageStorage, "1.2.3.4"
    made.PatientID, made.ViewPosition, made.PixelSpacing = "p7", "PA", [0.2, 0.1]
    made.PhotometricInterpretation, made.SamplesPerPixel, made.NumberOfFrames = "MONOCHROME1", 1, 1
    made.Rows, made.Columns = PICTURE.shape
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.PixelPaddingValue = 7, 0, 0
    made.RescaleSlope, made.RescaleIntercept = 2, -5
    made.WindowCenter, made.WindowWidth = [100, 200], [150, 300]
    made.VOILUTSequence = lut(0, range(64))
    made.PixelData = PICTURE.tobytes()
    made["PixelData"].VR = "OB"
    if syntax == uid.JPEGBaseline8Bit:
        made.PhotometricInterpretation = "MONOCHROME2"
        del made.VOILUTSequence, made.WindowCenter, made.WindowWidth
        made.PixelData = pydicom.encaps.encapsulate([cv2.imencode(".jpg", PICTURE)[1].tobytes()])
    elif syntax.is_encapsulated:
        made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        made.compress(syntax)
    content = io.BytesIO()
    made.save_as(content, enforce_file_format=True)
    whole = content.getvalue()
    return whole if with_header else whole[144 + int.from_bytes(whole[140:144], "little") :]


FILMS = {
    "implicit": film(uid.ImplicitVRLittleEndian),
    "explicit": film(uid.ExplicitVRLittleEndian),
    "big-endian": film(uid.ExplicitVRBigEndian),
    "deflated": film(uid.DeflatedExplicitVRLittleEndian),
    "without a header": film(uid.ImplicitVRLittleEndian, with_header=False),
    "RLE": film(uid.RLELossless),
    "JPEG": film(uid.JPEGBaseline8Bit),
    "JPEG 2000": film(uid.JPEG2000Lossless),
}

# Numbers that break things: lengths without end, the tags of items and of their ends, of sequences and of pixel data.
SPECIAL = [
    *(b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"SQ\0\0", b"UN\0\0"),
    *(
        struct.pack("<HHL", 0xFFFE, element, length)
        for element in (0xE000, 0xE00D, 0xE0DD)
        for length in (0, 2**32 - 1)
    ),
    *(struct.pack("<HH", 0x0008, 0x1140), struct.pack("<HH", 0x7FE0, 0x0010), struct.pack("<HH", 0x0028, 0x3010)),
]
REPLACE, INSERT, DELETE, CUT = range(4)
changes = st.lists(
    st.tuples(
        st.sampled_from([REPLACE, REPLACE, REPLACE, INSERT, DELETE, CUT]),
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(SPECIAL)),
    ),
    min_size=1,
    max_size=5,
)


def changed(content, steps):
    for kind, place, piece in steps:
        at = int(place * len(content))
        if kind == REPLACE:
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == INSERT:
            content = content[:at] + piece + content[at:]
        elif kind == DELETE:
            content = content[:at] + content[at + len(piece) :]
        else:
            content = content[:at]
    return content


def try_all(path, content):
    path.write_bytes(content)
    before = time.perf_counter()
    for work in (dicom.read, dicom.read_stream, dicom.read_header):
        with contextlib.suppress(InputError):
            work(path)
    assert time.perf_counter() - before < TOO_LONG_S


@pytest.mark.parametrize("name", FILMS)
def test_the_whole_files_can_be_read(name, tmp_path):
    path = tmp_path / "1.2.3.4.dcm"
    path.write_bytes(FILMS[name])
    pixels = dicom.read(path, window=0).pixels.astype(int)
    expected = PICTURE if name == "JPEG" else np.where(PICTURE == 0, 0, 255 - PICTURE.astype(int))
    assert np.abs(pixels - expected).max() <= (8 if name == "JPEG" else 0)


@pytest.mark.parametrize("name", FILMS)
@settings(
    deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=changes)
def test_changed_files(name, steps, tmp_path):
    try_all(tmp_path / "1.2.3.4.dcm", changed(FILMS[name], steps))


@settings(
    deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=600), start=st.sampled_from([0, 128, 132, 200, 300]))
def test_files_that_go_on_in_arbitrary_bytes(content, start, tmp_path):
    try_all(tmp_path / "1.2.3.4.dcm", FILMS["explicit"][:start] + content)
