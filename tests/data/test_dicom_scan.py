"""The oracle is pydicom: what the scan says of a file, pydicom says too, or the scan leaves it to pydicom."""

import io
import pathlib
import struct
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag

from ptxtf.data import dicom_header, dicom_scan

FOLDER = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
PIXEL_DATA = 0x7FE00010
WANTED = {
    int(Tag(keyword)): keyword for keyword in (*dicom_header.IDENTITY, *dicom_header.GEOMETRY, *dicom_header.PIXELS)
}


def scan(head):
    return dicom_scan.scan(head[: dicom_scan.HEAD], WANTED, pixel_data=PIXEL_DATA)


def film(**elements):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID, made.PatientName = uid.ComputedRadiographyImageStorage, "1.2.3", "DOE^JANE"
    made.Rows, made.Columns, made.PixelData = 2, 3, bytes(6)
    made["PixelData"].VR = "OB"
    with pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        content = io.BytesIO()
        made.save_as(content, enforce_file_format=True)
    return content.getvalue()


def told(value):
    """A value as the reader of headers takes it: text as text, numbers as numbers, nothing as nothing."""
    if value is None or (not isinstance(value, int | float) and len(value) == 0):
        return None
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return str(value)
    if isinstance(value, pydicom.multival.MultiValue | list):
        return [told(each) for each in value]
    return value


def assert_agrees(content):
    scanned = scan(content)
    if scanned is None:
        return False
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of a number that is none
        for keyword in WANTED.values():
            assert told(scanned.elements.get(keyword)) == told(dataset.get(keyword)), keyword
    assert scanned.syntax == dataset.file_meta.TransferSyntaxUID
    representation, length, start = scanned.pixels
    element = dataset["PixelData"]
    assert representation == element.VR
    assert (length == 0xFFFFFFFF) == element.is_undefined_length
    assert content[start : start + length].startswith(element.value)
    assert element.is_undefined_length or content[start : start + length] == element.value
    return True


def test_every_file_of_pydicom():
    scanned = [path.name for path in FOLDER.rglob("*") if path.is_file() and assert_agrees(path.read_bytes())]
    assert len(scanned) > 40
    assert {"MR_small.dcm", "SC_rgb_rle_2frame.dcm"} <= set(scanned)


def test_a_plain_film():
    content = film(PatientID="p7", PixelSpacing=[0.2, 0.1], WindowCenter=[40, 50], WindowWidth=[10, 20], HighBit=7)
    assert assert_agrees(content)
    elements = scan(content).elements
    assert elements["PatientID"] == "p7"
    assert elements["PixelSpacing"] == ["0.2", "0.1"]
    assert (elements["Rows"], elements["Columns"], elements["HighBit"]) == (2, 3, 7)
    assert "DOE" not in repr(elements)


@pytest.mark.parametrize("patient_id", [" 7", "7 ", "7  8", "a\\b", "", " ", "~", "[7]", "7\x00"])
def test_ids_are_those_that_pydicom_reads(patient_id):
    """One patient must not become two because one of the files is left to pydicom."""
    content = film(PatientID=patient_id)
    if scanned := scan(content):
        expected = pydicom.dcmread(io.BytesIO(content)).PatientID
        found = scanned.elements["PatientID"]
        assert (found or "") == (expected or "") if not isinstance(found, list) else found == list(expected)


@pytest.mark.parametrize(
    ("charset", "patient_id", "is_scanned"),
    [
        ("ISO_IR 100", "p7", True),
        ("ISO_IR 192", "p7", True),
        ("ISO_IR 100", "é", False),
        ("ISO_IR 192", "山田", False),
        (["", "ISO 2022 IR 87"], "p7", True),
        (["", "ISO 2022 IR 87"], "山田", False),  # in bytes of 7 bits, behind an escape
    ],
)
def test_other_alphabets_are_left_to_pydicom(charset, patient_id, is_scanned):
    scanned = scan(film(SpecificCharacterSet=charset, PatientID=patient_id))
    assert (scanned is not None) == is_scanned
    assert not scanned or scanned.elements["PatientID"] == patient_id


PLAIN = film(PatientID="p7", PixelSpacing=[0.2, 0.1], NumberOfFrames=1, RescaleSlope="2", HighBit=7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        PLAIN[:200],
        PLAIN[132:],
        PLAIN.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"),
        PLAIN.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"),
        PLAIN.replace(struct.pack("<HH", 0x0028, 0x0010), struct.pack("<HH", 0x0008, 0x0010)),  # out of order
        PLAIN.replace(struct.pack("<HH2s", 0x0028, 0x0010, b"US"), struct.pack("<HH2s", 0x0028, 0x0010, b"UL")),
        PLAIN.replace(struct.pack("<HH2s", 0x0028, 0x0010, b"US"), struct.pack("<HH2s", 0x0028, 0x0010, b"X?")),
        film(PatientID="p" * 9000),
        film(VOILUTSequence=[Dataset()]),
    ],
)
def test_what_is_left_to_pydicom(content):
    assert scan(content) is None


@settings(deadline=None, max_examples=400, derandomize=True)
@given(st.lists(st.tuples(st.integers(132, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_files(changes):
    """It never raises; and it tells what pydicom tells, unless that finds the file out of order."""
    content = bytearray(PLAIN)
    for place, value in changes:
        content[place] = value
    scanned = scan(bytes(content))
    assert scanned is None or set(scanned.elements) <= set(WANTED.values())


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.binary(max_size=400))
def test_arbitrary_bytes(content):
    for front in (b"", bytes(128) + b"DICM", PLAIN[:200]):
        scan(front + content)


def test_numbers_may_be_signed():
    for value in (-2000, 40000):
        made = film(PixelRepresentation=int(value < 0), PixelPaddingValue=value)
        assert scan(made).elements["PixelPaddingValue"] == value
        assert np.isscalar(scan(made).elements["PixelRepresentation"])
