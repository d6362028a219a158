"""tensorflow-io's decoder against pydicom's own, pixel by pixel."""

import importlib.util
import pathlib
import sys
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import encaps, uid
from pydicom.data import get_testdata_file
from pydicom.pixels.utils import pixel_array

from ptxtf.data import dicom, tfio
from ptxtf.data.convert import convert
from ptxtf.data.dicom_header import Layout
from ptxtf.errors import InputError

installed = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_io") is None, reason="needs the extra tfio: make test-tfio"
)

# Each grey file of pydicom's wheel that tensorflow-io reads -> by how much a pixel may differ.
READABLE = {
    "693_J2KI.dcm": 0,
    "CT_small.dcm": 0,
    "J2K_pixelrep_mismatch.dcm": 0,
    "JPEG2000.dcm": 0,
    "JPEGLSNearLossless_08.dcm": 0,
    "JPEGLSNearLossless_16.dcm": 0,
    "JPGExtended.dcm": 1,  # 12-bit JPEG: two implementations of the cosine transform
    "MR_small.dcm": 0,
    "MR_small_bigendian.dcm": 0,
    "MR_small_expb.dcm": 0,
    "MR_small_implicit.dcm": 0,
    "MR_small_jp2klossless.dcm": 0,
    "MR_small_jpeg_ls_lossless.dcm": 0,
    "MR_small_padded.dcm": 0,
    "examples_overlay.dcm": 0,
    "image_dfl.dcm": 0,
    "liver_1frame.dcm": 0,
    "rtdose.dcm": 0,
    "rtdose_1frame.dcm": 0,
}
REFUSED = {
    "liver_expb_1frame.dcm": "big-endian of other than 16 bits",
    "rtdose_expb.dcm": "big-endian of other than 16 bits",
    "MR_small_RLE.dcm": "RLE, which it takes for whole where it breaks off",
    "JPEG2000-embedded-sequence-delimiter.dcm": "a stream of shape",
}
ORDERS = {uid.ExplicitVRLittleEndian: "<", uid.ImplicitVRLittleEndian: "<", uid.ExplicitVRBigEndian: ">"}


def test_file(name: str) -> pathlib.Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), name
    return pathlib.Path(path)


test_file.__test__ = False


def as_it_lies(dataset: pydicom.Dataset) -> tuple[bytes, Layout, str]:
    """Return the first frame, its layout and its transfer syntax, by pydicom alone."""
    rows, columns, bits = dataset.Rows, dataset.Columns, dataset.BitsAllocated
    layout = Layout(rows, columns, bits, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation == 1)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return encaps.get_frame(dataset.PixelData, 0, number_of_frames=1), layout, syntax
    return dataset.PixelData[: -(-rows * columns * bits // 8)], layout, syntax


@installed
@pytest.mark.parametrize("name", READABLE)
def test_pydicom_s_own_files(name):
    dataset = pydicom.dcmread(test_file(name))
    stored = tfio.decode(*as_it_lies(dataset))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of padding behind the pixels
        expected = pixel_array(dataset, index=0, raw=True)
    assert stored.dtype == expected.dtype.newbyteorder("=")
    assert stored.shape == expected.shape
    assert np.abs(stored.astype(np.int64) - expected).max() <= READABLE[name]


@installed
@pytest.mark.parametrize("name", REFUSED)
def test_files_that_it_refuses(name):
    with pytest.raises(InputError, match=f"--decoder=pydicom may. Received: .*{REFUSED[name]}"):
        tfio.decode(*as_it_lies(pydicom.dcmread(test_file(name))))


@installed
@settings(deadline=None, max_examples=60, derandomize=True)
@given(data=st.data())
def test_stored_values_of_any_layout(data):
    allocated = data.draw(st.sampled_from([8, 16]), "bits allocated")
    stored = data.draw(st.integers(1, allocated), "bits stored")
    is_signed = data.draw(st.booleans(), "signed") and stored > 1
    syntax = data.draw(st.sampled_from([syntax for syntax in ORDERS if allocated == 16 or ORDERS[syntax] == "<"]))
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    least = -(2 ** (stored - 1)) if is_signed else 0
    values = st.integers(least, least + 2**stored - 1)
    expected = np.array(data.draw(st.lists(values, min_size=rows * columns, max_size=rows * columns)))
    written = expected.astype(
        f"{ORDERS[syntax]}i{allocated // 8}" if is_signed else f"{ORDERS[syntax]}u{allocated // 8}"
    )
    got = tfio.decode(written.tobytes(), Layout(rows, columns, allocated, stored, stored - 1, is_signed), syntax)
    assert got.dtype == written.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, expected.reshape(rows, columns))


@installed
@pytest.mark.parametrize("stored", [8, 10, 12, 15, 16])
def test_every_level_of_a_signed_file(stored):
    expected = np.arange(-(2 ** (stored - 1)), 2 ** (stored - 1)).reshape(16, -1)
    layout = Layout(*expected.shape, 16, stored, stored - 1, is_signed=True)
    got = tfio.decode(expected.astype("<i2").tobytes(), layout, uid.ExplicitVRLittleEndian)
    np.testing.assert_array_equal(got, expected)


@installed
def test_values_in_the_upper_bits():
    expected = np.arange(4096).reshape(64, 64)
    got = tfio.decode(
        (expected << 4).astype("<u2").tobytes(), Layout(64, 64, 16, 12, 15, False), uid.ImplicitVRLittleEndian
    )
    np.testing.assert_array_equal(got, expected)


def secondary_capture(path: pathlib.Path, pixels: np.ndarray, **elements) -> pathlib.Path:
    """Write 12-bit pixels with pydicom, with whatever else is given."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", pixels.astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


@installed
@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"RescaleSlope": "2", "RescaleIntercept": "-1024"},
        {"WindowCenter": "900", "WindowWidth": "700"},
    ],
    ids=str,
)
def test_what_the_header_asks_for_is_done_once_and_by_us(tmp_path, rng, elements):
    path = secondary_capture(tmp_path / "film.dcm", rng.integers(0, 4096, (33, 27)), **elements)
    np.testing.assert_array_equal(dicom.read(path, decode=tfio.decode).pixels, dicom.read(path).pixels)


@installed
def test_overlays_are_not_drawn(tmp_path, rng):
    pixels = rng.integers(0, 4096, (16, 16))
    plain = secondary_capture(tmp_path / "plain.dcm", pixels)
    dataset = pydicom.dcmread(plain)
    for element, representation, value in (
        (0x0010, "US", 16), (0x0011, "US", 16), (0x0040, "CS", "G"), (0x0050, "SS", [1, 1]), (0x0100, "US", 1),
        (0x0102, "US", 0), (0x3000, "OW", b"\x55" * 32),
    ):  # fmt: skip
        dataset.add_new((0x6000, element), representation, value)
    dataset.save_as(drawn := tmp_path / "drawn.dcm")
    np.testing.assert_array_equal(dicom.read(drawn, decode=tfio.decode).pixels, dicom.read(plain).pixels)


@installed
def test_the_first_of_several_frames(tmp_path, rng):
    pixels = rng.integers(0, 4096, (3 * 8, 8))
    path = secondary_capture(tmp_path / "cine.dcm", pixels, Rows=8, NumberOfFrames=3)
    first = secondary_capture(tmp_path / "first.dcm", pixels[:8])
    np.testing.assert_array_equal(dicom.read(path, decode=tfio.decode).pixels, dicom.read(first).pixels)


@installed
def test_phantoms(phantoms):
    """These are JPEG Baseline, as SIIM-ACR's files are; both decoders use the accurate cosine transform."""
    for path in dicom.find(phantoms / "dicom"):
        np.testing.assert_array_equal(dicom.read(path, decode=tfio.decode).pixels, dicom.read(path).pixels)


@installed
def test_a_conversion(conversion, tmp_path):
    here, there = (
        convert(conversion(decoder=decoder, output_dir=str(tmp_path / decoder))).directory
        for decoder in ("pydicom", "tfio")
    )
    shards = sorted(path.name for path in here.glob("*.tfrecord"))
    assert shards
    for shard in shards:
        assert (there / shard).read_bytes() == (here / shard).read_bytes()


@installed
@pytest.mark.parametrize(
    ("keep", "reason"),
    [(10, "expected a JPEG stream"), (300, "Error loading image; transfer"), (2000, "Error loading image; transfer")],
)
def test_truncated_streams(keep, reason):
    frame, layout, syntax = as_it_lies(pydicom.dcmread(test_file("MR_small_jp2klossless.dcm")))
    with pytest.raises(InputError, match=reason):
        tfio.decode(frame[:keep], layout, syntax)


@installed
@pytest.mark.parametrize("shape", [(1023, 256), (1025, 256), (512, 512)])
def test_a_stream_of_another_size(shape):
    frame, layout, syntax = as_it_lies(pydicom.dcmread(test_file("JPGExtended.dcm")))
    with pytest.raises(InputError, match=r"Received: a stream of shape \(1024, 256\); transfer syntax"):
        tfio.decode(frame, layout._replace(rows=shape[0], columns=shape[1]), syntax)


@installed
def test_too_few_bytes():
    frame, layout, syntax = as_it_lies(pydicom.dcmread(test_file("MR_small.dcm")))
    with pytest.raises(InputError, match="Received: 8190 bytes of 8192; transfer syntax"):
        tfio.decode(frame[:-2], layout, syntax)


def test_without_tensorflow_io(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    tfio.load.cache_clear()
    with pytest.raises(InputError, match=r"^expected --decoder=tfio with pip install 'ptxtf\[tfio\]'. Received: "):
        tfio.decode(b"\x00", Layout(1, 1, 8, 8, 7, is_signed=False), uid.ExplicitVRLittleEndian)
