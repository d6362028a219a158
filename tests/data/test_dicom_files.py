"""All files that come with pydicom, in the wheel, and a stream of each compression, against independent decoders.

What a file holds was decoded once by other programs than those that ptxtf uses, and is written down here: of lossless
files a digest, of all the mean and three pixels, at a quarter, a half, and three quarters of height and width. How the
values are shown is worked out by hand from what pydicom reads of the header.
"""

import base64
import contextlib
import hashlib
import pathlib

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from ptxtf.data import dicom
from ptxtf.errors import InputError

FOLDER = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"

GDCM = "GDCM 3.2.6 (python-gdcm), ImageReader"
GDCM_SIGNED = "GDCM 3.2.6, and its 13 bits read as two's complement, as the header says against the JPEG 2000 stream"
DCMTK = "DCMTK 3.6.7, dcmdjpeg or dcmdrle"
NUMPY = "NumPy on the last bytes of the file, as GDCM cannot: 1 bit, lowest first; 32 bits in either order"

# decoder, shape, SHA-256 (first 16 digits) of the first frame as little-endian int32 row by row, mean, three pixels
READ = {
    "693_J2KI.dcm": (GDCM, (512, 512), None, -8.323, (72, 1056, 1296)),
    "CT_small.dcm": (GDCM, (128, 128), "df61a60dfc368c1d", 904.926, (487, 1928, 1042)),
    "J2K_pixelrep_mismatch.dcm": (GDCM_SIGNED, (512, 512), "22e412dd68b03a32", -658.437, (-57, 27, -68)),
    "JPEG-lossy.dcm": (DCMTK, (1024, 256), None, 14.37, (23, 14, 1)),
    "JPEG2000.dcm": (GDCM, (1024, 256), None, 13.458, (13, 7, -2)),
    "JPEGLSNearLossless_08.dcm": (GDCM, (45, 10), "832dd54ff071afd5", 55.556, (65, 15, 5)),
    "JPEGLSNearLossless_16.dcm": (GDCM, (50, 10), "1d1ea445c998e392", 12014.5, (16385, 255, 15)),
    "JPGExtended.dcm": (DCMTK, (1024, 256), None, 14.37, (23, 14, 1)),
    "MR_small.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_RLE.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_bigendian.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_expb.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_implicit.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_jp2klossless.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_jpeg_ls_lossless.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "MR_small_padded.dcm": (GDCM, (64, 64), "b8d9a6cee6ff2ea9", 518.881, (929, 182, 600)),
    "badVR.dcm": (GDCM, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
    "dicomdirtests/77654033/CR1/6154": (GDCM, (16, 16), "3c310330233c1131", 2523.793, (2548, 2515, 2497)),
    "dicomdirtests/77654033/CR2/6247": (GDCM, (16, 16), "61109f4935573cd3", 1562.316, (1484, 1624, 1592)),
    "dicomdirtests/77654033/CR3/6278": (GDCM, (16, 16), "aa31744218299318", 2395.105, (2390, 2343, 2340)),
    "dicomdirtests/77654033/CT2/17106": (GDCM, (16, 16), "551f917c0f70e368", 405.27, (143, 52, 832)),
    "dicomdirtests/77654033/CT2/17136": (GDCM, (16, 16), "00678fdafcce216e", 1571.625, (1731, 1408, 1320)),
    "dicomdirtests/77654033/CT2/17166": (GDCM, (16, 16), "638713b13518c8c7", 2434.117, (2451, 2483, 2464)),
    "dicomdirtests/77654033/CT2/17196": (GDCM, (16, 16), "bc6aae158e251a73", 1916.375, (1762, 1978, 2103)),
    "dicomdirtests/98892001/CT2N/6293": (GDCM, (16, 16), "f2e85d5abc30375e", 1290.488, (1305, 1283, 1287)),
    "dicomdirtests/98892001/CT2N/6924": (GDCM, (16, 16), "8e1d05a00258ec8b", 1144.648, (1115, 1129, 1138)),
    "dicomdirtests/98892001/CT5N/2062": (GDCM, (16, 16), "d156d516cfbda2f4", 669.715, (1007, 717, 201)),
    "dicomdirtests/98892001/CT5N/2392": (GDCM, (16, 16), "e1e34b9038053e47", 835.078, (1040, 1001, 486)),
    "dicomdirtests/98892001/CT5N/2693": (GDCM, (16, 16), "11957dd00b2fdcaa", 981.172, (1071, 1068, 898)),
    "dicomdirtests/98892001/CT5N/3023": (GDCM, (16, 16), "dad257efe6c1dc62", 986.105, (912, 1032, 1068)),
    "dicomdirtests/98892001/CT5N/3353": (GDCM, (16, 16), "189249d165533de3", 955.273, (893, 965, 1011)),
    "dicomdirtests/98892003/MR1/15820": (GDCM, (16, 16), "d39226889d13c43a", 549.727, (606, 552, 572)),
    "dicomdirtests/98892003/MR1/4919": (GDCM, (16, 16), "1e3d9fc71ba6a299", 715.785, (722, 725, 667)),
    "dicomdirtests/98892003/MR1/5641": (GDCM, (16, 16), "369de97b8dff867e", 609.934, (562, 636, 657)),
    "dicomdirtests/98892003/MR2/15970": (GDCM, (16, 16), "cf6f74504260e4ad", 233.715, (259, 225, 166)),
    "dicomdirtests/98892003/MR2/4950": (GDCM, (16, 16), "6173428b5deb8258", 670.695, (683, 690, 671)),
    "dicomdirtests/98892003/MR2/4981": (GDCM, (16, 16), "f2226c50023a6d81", 693.91, (724, 685, 708)),
    "dicomdirtests/98892003/MR2/5011": (GDCM, (16, 16), "35f68a59e6886348", 646.672, (640, 680, 684)),
    "dicomdirtests/98892003/MR2/6273": (GDCM, (16, 16), "e64e893652781573", 631.996, (660, 627, 644)),
    "dicomdirtests/98892003/MR2/6605": (GDCM, (16, 16), "7ac228f478a91ee8", 583.098, (581, 638, 637)),
    "dicomdirtests/98892003/MR2/6935": (GDCM, (16, 16), "12e60f0997d7dacf", 610.859, (635, 620, 640)),
    "dicomdirtests/98892003/MR700/4467": (GDCM, (16, 16), "de8be2cae462b1a7", 61.383, (62, 57, 57)),
    "dicomdirtests/98892003/MR700/4528": (GDCM, (16, 16), "43d2fda10fbfc67d", 81.16, (63, 63, 62)),
    "dicomdirtests/98892003/MR700/4558": (GDCM, (16, 16), "147ca0829ad4240d", 152.059, (77, 69, 215)),
    "dicomdirtests/98892003/MR700/4588": (GDCM, (16, 16), "57dc28909c1c4666", 63.203, (60, 60, 61)),
    "dicomdirtests/98892003/MR700/4618": (GDCM, (16, 16), "19363349664616ac", 59.398, (66, 67, 50)),
    "dicomdirtests/98892003/MR700/4648": (GDCM, (16, 16), "8238f28f3d8c1f8e", 28.215, (59, 48, 0)),
    "dicomdirtests/98892003/MR700/4678": (GDCM, (16, 16), "40a8307dfdf5644c", 29.852, (51, 26, 0)),
    "examples_overlay.dcm": (GDCM, (300, 484), "df0488bfed928017", 191.688, (146, 136, 324)),
    "image_dfl.dcm": (GDCM, (512, 512), "3ae25f749a71a0f3", 127.116, (41, 65, 188)),
    "rtdose.dcm": (GDCM, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
    "rtdose_expb.dcm": (NUMPY, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
    "rtdose_rle.dcm": (GDCM, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
    "rtdose_1frame.dcm": (NUMPY, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
    "rtdose_expb_1frame.dcm": (NUMPY, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
    "liver_1frame.dcm": (NUMPY, (512, 512), "36ed5e257c356eca", 0.138, (0, 1, 0)),
    "liver_expb_1frame.dcm": (NUMPY, (512, 512), "36ed5e257c356eca", 0.138, (0, 1, 0)),
    "rtdose_rle_1frame.dcm": (DCMTK, (10, 10), "67f96b3373d7acf1", 1013780.0, (1139000, 978000, 890000)),
}

NO_DICOM = (
    *("README.txt", "crayons.icc", "dicomdirtests/README.txt", "dicomdirtests/TINY_ALPHA/README", "no_meta.dcm"),
    *("rtplan.dump", "rtstruct.dump", "test1.json", "test_PN.json", "zipMR.gz"),
)
COLOUR = (
    *("ExplVR_BigEnd.dcm", "GDCMJ2K_TextGBR.dcm", "SC_jpeg_no_color_transform.dcm"),
    *("SC_jpeg_no_color_transform_2.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm"),
    *("SC_rgb_dcmtk_+eb+cy+n2.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm"),
    *("SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_gdcm_KY.dcm", "SC_rgb_jls_lossy_line.dcm"),
    *("SC_rgb_jls_lossy_sample.dcm", "SC_rgb_jpeg.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_jpeg_dcmd.dcm"),
    *("SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_rle.dcm"),
    *("SC_rgb_rle_16bit.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle_32bit.dcm"),
    *("SC_rgb_rle_32bit_2frame.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm"),
    *("SC_rgb_small_odd_jpeg.dcm", "SC_ybr_full_422_uncompressed.dcm", "examples_jpeg2k.dcm"),
    *("examples_palette.dcm", "examples_rgb_color.dcm", "examples_ybr_color.dcm"),
)
NO_PIXELS = (
    *("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "UN_sequence.dcm", "dicomdirtests/DICOMDIR"),
    *("dicomdirtests/DICOMDIR-bigEnd", "dicomdirtests/DICOMDIR-empty.dcm", "dicomdirtests/DICOMDIR-implicit"),
    *("dicomdirtests/DICOMDIR-nooffset", "dicomdirtests/DICOMDIR-nopatient", "dicomdirtests/DICOMDIR-reordered"),
    *("dicomdirtests/TINY_ALPHA/DICOMDIR", "empty_charset_LEI.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm"),
    *("reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "rtplan.dcm", "rtplan_truncated.dcm"),
    *("rtstruct.dcm", "test-SR.dcm", "waveform_ecg.dcm"),
    *(f"dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/IM00000{index:X}" for index in range(16)),
)
REFUSED = {
    **dict.fromkeys(NO_DICOM, "expected a DICOM file. Received: no DICM at byte 128"),
    **dict.fromkeys(COLOUR, "expected MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation="),
    **dict.fromkeys(NO_PIXELS, "expected pixel data. Received: none"),
    "nested_priv_SQ.dcm": "expected MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation=None",
    "meta_missing_tsyntax.dcm": "expected MONOCHROME1 or MONOCHROME2. Received: PhotometricInterpretation=None",
    "MR_truncated.dcm": "expected 8192 bytes of pixel data. Received: 8130",
    # A delimiter stands where the stream says its width.
    "JPEG2000-embedded-sequence-delimiter.dcm": "expected a picture of shape (1024, 256), as the header says. Received",
}


@pytest.fixture
def decoded(monkeypatch):
    """Gives the stored values of the last file that was read."""
    kept = []
    render = dicom.grey.render
    monkeypatch.setattr(
        dicom.grey, "render", lambda stored, *args, **kwargs: kept.append(stored) or render(stored, *args, **kwargs)
    )
    return lambda: kept[-1]


def shown(stored, header):
    """Grey levels of stored values, by hand; what these files have in their headers suffices."""
    values = stored * float(header.get("RescaleSlope") or 1) + float(header.get("RescaleIntercept") or 0)
    if "WindowCenter" in header:
        center, width = (np.ravel(header[keyword].value)[0] for keyword in ("WindowCenter", "WindowWidth"))
        shares = (values - (float(center) - 0.5)) / (float(width) - 1) + 0.5
    elif header.BitsStored == 8:
        shares = values / 255
    else:
        black, white = np.percentile(values, [0.5, 99.5])
        shares = (values - black) / (white - black or 1)
    levels = np.rint(255 * np.clip(shares, 0, 1))
    return 255 - levels if header.PhotometricInterpretation == "MONOCHROME1" else levels


def found(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip("another version of pydicom")
    return path


@pytest.mark.parametrize("name", READ)
def test_files_that_can_be_read(name, decoded):
    _, shape, digest, mean, pixels = READ[name]
    path = found(name)
    radiograph = dicom.read(path)
    stored = decoded()
    assert stored.shape == radiograph.pixels.shape == shape
    places = [(part * shape[0] // 4, part * shape[1] // 4) for part in (1, 2, 3)]
    if digest:
        assert hashlib.sha256(stored.astype("<i4").tobytes()).hexdigest()[:16] == digest
        assert tuple(int(stored[place]) for place in places) == pixels
    else:
        assert np.abs(stored.mean() - mean) < 0.05
        assert max(abs(int(stored[place]) - pixel) for place, pixel in zip(places, pixels, strict=True)) <= 1
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    error = np.abs(radiograph.pixels - shown(stored.astype(np.float64), header))
    assert error.max() <= 1  # a share of exactly half a level goes either way
    assert error.mean() < 0.01


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(name):
    path = found(name)
    with pytest.raises(InputError) as caught:
        dicom.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {REFUSED[name]}")
    assert "\n" not in message


def test_every_file_is_read_or_refused():
    for path in (path for path in FOLDER.rglob("*") if path.is_file()):
        with contextlib.suppress(InputError):
            dicom.read(path)
            assert path.relative_to(FOLDER).as_posix() in READ or pydicom.__version_info__[:2] > ("3", "0")


# --- one small stream of each compression ---------------------------------------------------------------------

ROWS, COLUMNS = np.mgrid[:8, :12]
GREY_12 = (100 * ROWS + 37 * COLUMNS).astype(np.uint16)
GREY_12[0, 0] = 4095
GREY_8 = (30 * ROWS + 2 * COLUMNS).astype(np.uint8)
SIGNED_12 = GREY_12.astype(np.int16) - 500
SIGNED_12[0, 0] = -2048
EXTENDED_12 = np.array(
    [
        [4060, 0, 40, 73, 111, 147, 188, 220, 259, 296, 333, 370],
        [64, 103, 136, 172, 212, 248, 285, 323, 359, 396, 433, 470],
        [162, 203, 233, 273, 317, 346, 382, 421, 459, 496, 533, 570],
        [263, 301, 337, 374, 408, 448, 488, 524, 559, 596, 633, 670],
        [363, 398, 439, 474, 514, 549, 583, 619, 659, 696, 733, 770],
        [460, 502, 535, 574, 612, 644, 687, 723, 759, 796, 833, 870],
        [565, 600, 637, 674, 708, 753, 785, 822, 859, 896, 933, 970],
        [662, 701, 738, 774, 812, 845, 885, 922, 959, 996, 1033, 1070],
    ],
    np.uint16,
)

# name: transfer syntax, picture, greatest error, stream in base 64.
# Encoders: JPEG by DCMTK 3.6.7 (dcmcjpeg), JPEG-LS by its CharLS (dcmcjpls), JPEG 2000 by OpenJPEG 2.5.4, the
# high-throughput one by OpenJPH 0.26.3. EXTENDED_12 is what DCMTK decodes again; other lossy ones are held against
# what went in.
STREAMS = {
    "lossless_sv1": (
        *("1.2.840.10008.1.2.4.70", GREY_12, 0),
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAIAAwBAREA/8QAFwABAQEBAAAAAAAAAAAAAAAABgcMD//aAAgBAQABAADh/wDYCVKlSpUqVKlS
        pcDIlSpUqVKlSpUqWyJUqVKlSpUqVKlsiVKlSpUqVKlSpbIlSpUqVKlSpUqWyJUqVKlSpUqVKlsiVKlSpUqVKlSpbIlSpUqVKlSpUqX/2Q==
        """,
    ),
    "lossless_6": (
        *("1.2.840.10008.1.2.4.57", GREY_12, 0),
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAIAAwBAREA/8QAFwABAQEBAAAAAAAAAAAAAAAABgcMD//aAAgBAQAGAADh/wDYCVKlSpUqVKlS
        pcDJoMmTJkyZMmTJkysjJkyZMmTJkyZMrIyZMmTJkyZMmTKyMmTJkyZMmTJkysjJkyZMmTJkyZMrIyZMmTJkyZMmTKyMmTJkyZMmTJky///Z
        """,
    ),
    "extended_12": (
        *("1.2.840.10008.1.2.4.51", EXTENDED_12, 2),
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggL
        DAsKDAkKCgr/wQALDAAIAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAACg3/xAAiEAABAwMDBQAAAAAAAAAAAAAFBgcJBAgKCyhiAAIDRVH/
        2gAIAQEAAD8Aj9Kk06fKdz2cp2QrOgzoJm5AJoZtZopAHfvtmJmJljutW9xd099l07urcu4DsPw8jsOASLK1z3JWq0UJ9UqVZKQkROKA4cJF
        CVbV1lZUVHkXPHjocO1oDtA++i49nHr/2Q==
        """,
    ),
    "extended_8": (
        *("1.2.840.10008.1.2.4.51", GREY_8, 1),
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggL
        DAsKDAkKCgr/wQALCAAIAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABgf/xAAdEAAABQUAAAAAAAAAAAAAAAAACiak4QIEBiQy/9oACAEB
        AAA/AJ/jRdzlDNoDawLua1KGbQP/2Q==
        """,
    ),
    "baseline": (
        *("1.2.840.10008.1.2.4.50", GREY_8, 1),
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggL
        DAsKDAkKCgr/wAALCAAIAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABgf/xAAdEAAABQUAAAAAAAAAAAAAAAAACiak4QIEBiQy/9oACAEB
        AAA/AJ/jRdzlDNoDawLua1KGbQP/2Q==
        """,
    ),
    "jpegls": (
        *("1.2.840.10008.1.2.4.80", GREY_12, 0),
        """
        /9j/9wALEAAIAAwBAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAAD/UB7SJMSYjyLIdBn8EuEmEcBzaZESokSNIlCoE+nk6iVMacW1pZWF
        dWVVRTRImRSUVBPT05atWLEjTGsVq1SpUqUqVKRLEpUKFChQnTp06hWFOnTJkyZMmTJlAsCZVVVVVVVVRPj//9k=
        """,
    ),
    "jpegls_near": (
        *("1.2.840.10008.1.2.4.81", GREY_12, 2),
        """
        /9j/9wALDAAIAAwBAREA/9oACAEBAAIAAEP/d7/u+970yYQ973HMYzyhTFKUhSEI8Y5Hd3Z2d5RmZ2ZlZnk2ZWZMmTijZNtk2Ym22222YP/Z
        AA==
        """,
    ),
    "lossless_signed": (
        *("1.2.840.10008.1.2.4.70", SIGNED_12, 0),
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAIAAwBAREA/8QAFwABAQEBAAAAAAAAAAAAAAAABgcLD//aAAgBAQABAADvABsYpUqVKlSpUqVL
        s4JUqVKlSpUqVKlsiVKlSpUqVKlSpbIlSpUqVKlSpUqWyJUqVKlSpUqVKlsiVKlSpUqVKlSpbIlSpUqVKlSpUqWyJUqVKlSpUqVKl///2Q==
        """,
    ),
    "jpegls_signed": (
        *("1.2.840.10008.1.2.4.80", SIGNED_12, 0),
        """
        /9j/9wALEAAIAAwBAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAA/8IwwjxFiHEGP49juOY3jUTgiVEqJEjSJQqBPp5OolTGnFtaWVhXVl
        ViQAmPMimpKKgnq6AEATInIkTGmrViAIAmNYrVq0jWJAEAsSpUqUqVKlIlhUKFChQnTp06dQrCnTJkyZMmTJkqgA///Z
        """,
    ),
    "j2k": (
        *("1.2.840.10008.1.2.4.90", GREY_12, 0),
        """
        /0//UQApAAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/ZAAlAAFDcmVhdGVkIGJ5
        IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAACSAAH/k8/mgRMIctrMycxqeEOjbpkIVy0X7szN4dk12XXmVDg1LdVWWiTlE2BPMg6Z
        XcxrqunMTkV4JauKUTXIrrYCuLoy9CtwgfVMfI0bY/ChqQDNtlCPr2+FfmC/3Nmr88FbJSrVKtSC0yrVKtV5ha8J1vraXVtLq2l1a7KNl5eX
        l5eXl5eXl//Z
        """,
    ),
    "htj2k": (
        *("1.2.840.10008.1.2.4.201", GREY_12, 0),
        """
        /0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ
        kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJIAAf+TwAAmo/wFB3QAAMAAEoCFAQd0AMAAE0AAE8AAEoBT/gIH
        dACvcvoAojQAfgKHdADAABVwAAVkAAEo/3uPlPQAAwPTdgD/A84/4IAAIwH7NgD+Cgd0AMAAK2AAFpQAAmD/cx8EQZApwQXMA3cA/fOPsdFo
        NBpAh7EID2WYAXoA/ngKB3UA/9k=
        """,
    ),
}


def encapsulated(stream, *, syntax, picture, bits):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    made.SOPClassUID, made.SOPInstanceUID = uid.ComputedRadiographyImageStorage, "1.2.3.4"
    made.PhotometricInterpretation, made.SamplesPerPixel = "MONOCHROME2", 1
    made.Rows, made.Columns = picture.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 8 * picture.itemsize, bits, bits - 1
    made.PixelRepresentation = int(picture.dtype.kind == "i")
    made.PixelData = pydicom.encaps.encapsulate([stream])
    made["PixelData"].is_undefined_length = True
    return made


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_every_compression(name, tmp_path, decoded):
    syntax, picture, most, stream = STREAMS[name]
    bits = 8 if picture.itemsize == 1 else 12
    path = tmp_path / "1.2.3.4.dcm"
    encapsulated(base64.b64decode(stream), syntax=syntax, picture=picture, bits=bits).save_as(
        path, enforce_file_format=True
    )
    dicom.read(path)
    assert decoded().dtype == picture.dtype
    assert np.abs(decoded().astype(int) - picture).max() <= most


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_streams_that_break_off(name, kept, tmp_path):
    syntax, picture, _, stream = STREAMS[name]
    whole = base64.b64decode(stream)
    path = tmp_path / "1.2.3.4.dcm"
    broken = whole[: int(kept * len(whole))]
    encapsulated(broken, syntax=syntax, picture=picture, bits=8 if picture.itemsize == 1 else 12).save_as(
        path, enforce_file_format=True
    )
    with pytest.raises(InputError, match=r"1\.2\.3\.4\.dcm: expected "):
        dicom.read(path)
