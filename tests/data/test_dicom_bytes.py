"""First bytes laid by hand, after PS3.5 7.1 and PS3.10 7.1."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf.data import dicom_bytes
from ptxtf.errors import InputError

PREAMBLE = bytes(128) + b"DICM"
EXPLICIT = bytes.fromhex("0800 0500") + b"CS\x0a\0ISO_IR 100" + bytes.fromhex("0800 1600") + b"UI\x06\x001.2.3\0"
IMPLICIT = bytes.fromhex("0800 0500 0a000000") + b"ISO_IR 100" + bytes.fromhex("0800 1600 06000000") + b"1.2.3\0"
BIG = bytes.fromhex("0008 0005") + b"CS\0\x0aISO_IR 100" + bytes.fromhex("0008 0016") + b"UI\0\x061.2.3\0"
GROUP_LENGTH = bytes.fromhex("0800 0000 04000000 5c010000 0800 0500 0a000000")  # as ACR-NEMA files start


def meta(syntax):
    value = syntax + b"\0" * (len(syntax) % 2)
    element = bytes.fromhex("0200 1000") + b"UI" + len(value).to_bytes(2, "little") + value
    return bytes.fromhex("0200 0000") + b"UL\x04\0" + len(element).to_bytes(4, "little") + element


@pytest.mark.parametrize("start", [EXPLICIT, IMPLICIT, BIG, GROUP_LENGTH, meta(b"1.2.840.10008.1.2.1")])
def test_data_sets_with_and_without_a_file_header(start):
    for head in (start, start + bytes(900), PREAMBLE + start):
        assert dicom_bytes.is_dicom(head)
    assert dicom_bytes.has_file_header(PREAMBLE + start)
    assert not dicom_bytes.has_file_header(start)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"DICM",
        PREAMBLE,
        PREAMBLE + bytes(800),
        bytes(1024),
        b"\xff" * 1024,
        EXPLICIT[:12],
        IMPLICIT[26:] + IMPLICIT[:18],  # descending
        bytes.fromhex("0800 0500") + b"C1\x0a\0" + bytes(20),
        bytes.fromhex("1000 1000 04000000 41414141 1000 2000 00000000"),  # begins with the patient
        b"P5 512 512 255 " + bytes(500),
        b"GIF89a" + bytes(500),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(500),
        b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(500),
        b"PK\3\4\x14\0\x08\0\x08\0" + bytes(500),
        b"ImageId, EncodedPixels\n" * 40,
        bytes.fromhex("0800 0500") + bytes(600),
    ],
)
def test_other_files(head):
    assert not dicom_bytes.is_dicom(head)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_dicom(content):
    assert not dicom_bytes.is_dicom(content)


def test_inflate():
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = packer.compress(EXPLICIT) + packer.flush()
    head = PREAMBLE + meta(b"1.2.840.10008.1.2.1.99")
    content = head + deflated
    assert dicom_bytes.is_deflated(content)
    inflated = dicom_bytes.inflate(content)
    assert inflated == PREAMBLE + meta(b"1.2.840.10008.1.2.1" + bytes(3)) + EXPLICIT
    assert not dicom_bytes.is_deflated(inflated)
    assert dicom_bytes.inflate(content + b"\0") == inflated  # padded to an even length
    with pytest.raises(InputError, match=r"expected whole deflated data of at most \d+ bytes\. Received: no end after"):
        dicom_bytes.inflate(content[:-3])
    with pytest.raises(InputError, match=r"expected deflated data\. Received: Error -3"):
        dicom_bytes.inflate(head + b"\xff" + deflated)


def test_inflate_has_a_limit(monkeypatch):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = PREAMBLE + meta(b"1.2.840.10008.1.2.1.99") + packer.compress(bytes(10**6)) + packer.flush()
    monkeypatch.setattr(dicom_bytes, "MAX_INFLATED", 10**5)
    with pytest.raises(InputError, match=r"at most 100000 bytes\. Received: no end after 100000"):
        dicom_bytes.inflate(content)
