"""Streams are made by OpenCV and Pillow; what is in them is told by Pillow, and by bytes laid by hand."""

import contextlib
import io
import itertools

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf.data import jpeg
from ptxtf.errors import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 17)).astype(np.uint8)
PICTURE = cv2.GaussianBlur(PICTURE, (5, 5), 2)


def encoded(pixels=PICTURE, **options):
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "JPEG", **options)
    return content.getvalue()


def segment(marker, content):
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


PLAIN = encoded()
COLOUR = encoded(np.stack([PICTURE] * 3, axis=-1))
SECRET = b"DOE^JANE"


def in_front(*segments, stream=PLAIN):
    return stream[:2] + b"".join(segments) + stream[2:]


# --- the frame header -----------------------------------------------------------------------------------------


def test_frames_by_hand():
    baseline = b"\xff\xd8" + segment(0xDB, bytes(65)) + segment(0xC0, bytes.fromhex("08 0400 0300 01 011100"))
    assert jpeg.frame(baseline) == (1024, 768, 8, 1, 0xC0)
    assert jpeg.frame(b"\xff\xd8" + segment(0xC3, bytes.fromhex("10 ffff 0001 01 011100"))) == (65535, 1, 16, 1, 0xC3)
    assert jpeg.frame(b"\xff\xd8" + segment(0xF7, bytes.fromhex("0c 0010 0020 03 011100"))) == (16, 32, 12, 3, 0xF7)


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC])
def test_tables_are_no_frames(marker):
    tables = segment(marker, bytes.fromhex("10 0001 0001 01 011100"))
    assert jpeg.frame(in_front(tables)) == jpeg.frame(PLAIN)


# SIZ (T.800 A.5.1): capabilities, right and bottom edge, left and top, tiles (four), components; precision less 1.
SIZE = segment(0x51, bytes.fromhex("0000 00000110 00000210 00000010 00000010" + 4 * "00000001" + "0001 0b0101"))


@pytest.mark.parametrize(
    "front", [b"", bytes.fromhex("0000000c 6a502020 0d0a870a") + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0\0jp2c"]
)
def test_jpeg_2000_by_hand(front):
    described = jpeg.frame(front + b"\xff\x4f" + SIZE)
    assert described == (512, 256, 12, 1, 0x51)
    assert described.is_jpeg_2000
    assert not described.is_plain


def test_jpeg_2000_as_opencv_writes_it():
    stream = cv2.imencode(".jp2", np.tile(PICTURE, (4, 4)))[1].tobytes()
    assert jpeg.frame(stream)[:4] == (96, 68, 8, 1)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100}, {"comment": b"\xff\xc0 film"}])
def test_size_is_what_pillow_says(options):
    stream = encoded(**options)
    assert jpeg.size(stream) == jpeg.frame(stream).shape == PIL.Image.open(io.BytesIO(stream)).size[::-1] == (24, 17)


def test_kinds():
    assert jpeg.frame(PLAIN).is_plain
    assert not jpeg.frame(COLOUR).is_plain
    assert jpeg.frame(COLOUR).components == 3
    assert not jpeg.frame(encoded(progressive=True)).is_plain
    for kind, bits, is_sequential, is_plain in [
        (0xC0, 8, True, True),
        (0xC1, 8, True, True),
        (0xC1, 12, True, False),
        (0xC2, 8, False, False),
        (0xC3, 8, False, False),
        (0xC9, 8, False, False),  # arithmetic codes
    ]:
        described = jpeg.Frame(1, 1, bits, 1, kind)
        assert (described.is_sequential, described.is_plain) == (is_sequential, is_plain)


@pytest.mark.parametrize(
    "stream",
    [b"", b"\xff", b"\xff\xd8", b"\x89PNG", b"jP  " * 9, PLAIN[:20], PLAIN[2:], b"\xff\x4f" + SIZE[:30], b"\xff\xd9"],
)
def test_no_frame_header(stream):
    for read in (jpeg.frame, jpeg.size):
        with pytest.raises(
            InputError, match=rf"expected a JPEG stream\. Received: {len(stream)} bytes without a frame"
        ):
            read(stream)


# --- stripping ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
@pytest.mark.parametrize("pixels", [PICTURE, np.stack([PICTURE, PICTURE.T[:24].reshape(24, 17), 255 - PICTURE], -1)])
def test_what_is_plain_already_stays(pixels, options):
    stream = encoded(pixels, **options)
    assert jpeg.strip(stream) == stream
    assert jpeg.strip(stream + b"\0") == stream
    assert jpeg.strip(stream + b"\0\0\xff\xd9") == stream


def test_comments_and_application_data_go():
    told = [segment(0xFE, SECRET), *(segment(0xE0 + n, SECRET) for n in range(1, 16) if n != 14)]
    assert jpeg.strip(in_front(*told)) == PLAIN
    assert jpeg.strip(in_front(segment(0xE1, b"\xff\xd9" + SECRET))) == PLAIN  # an end within, as a thumbnail has one
    adobe = in_front(segment(0xEE, b"Adobe" + bytes(7)))
    assert jpeg.strip(adobe) == adobe


def test_comments_behind_and_between_scans_go():
    first = PLAIN.rindex(b"\xff\xd9")
    assert jpeg.strip(PLAIN[:first] + segment(0xFE, SECRET) + PLAIN[first:]) == PLAIN
    progressive = encoded(progressive=True)
    second = progressive.rindex(b"\xff\xda")
    assert jpeg.strip(progressive[:second] + segment(0xFE, SECRET) + progressive[second:]) == progressive


def test_fill_bytes_are_allowed():
    stream = jpeg.strip(PLAIN[:2] + b"\xff\xff" + PLAIN[2:])
    np.testing.assert_array_equal(jpeg.decode(stream), jpeg.decode(PLAIN))


def test_restart_markers_end_no_scan():
    stream = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    assert b"\xff\xd0" in stream
    assert jpeg.strip(stream) == stream


def test_in_jpeg_ls_all_bytes_below_128_may_follow_ff():
    """T.87 A.1: after FF its encoder puts a zero bit, where JPEG's puts a zero byte."""
    scan = segment(0xDA, bytes.fromhex("01 0100 000000")) + b"\x12\xff\x01\xff\x7f\xff\x40\x34"
    stream = b"\xff\xd8" + segment(0xF7, bytes.fromhex("08 0010 0020 01 011100")) + scan + b"\xff\xd9"
    assert jpeg.strip(stream + b"\0") == stream


@pytest.mark.parametrize(
    "stream", [b"", PLAIN[:-2], PLAIN[:-1], PLAIN[: len(PLAIN) // 2], PLAIN[:100], PLAIN[1:], b"GIF89a\xff\xd9"]
)
def test_streams_that_break_off(stream):
    with pytest.raises(InputError, match=rf"expected a whole JPEG stream\. Received: {len(stream)} bytes without"):
        jpeg.strip(stream)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.data())
def test_any_bytes_are_described_or_refused(data):
    stream = bytearray(data.draw(st.sampled_from([PLAIN, COLOUR, encoded(progressive=True), b"\xff\x4f" + SIZE])))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(stream) - 1), st.integers(0, 255)), max_size=6)
    ):
        stream[place] = value
    stream = bytes(stream[: data.draw(st.integers(0, len(stream)))] + data.draw(st.binary(max_size=9)))
    for work in (jpeg.frame, jpeg.strip, lambda stream: jpeg.repair(jpeg.strip(stream))):
        with contextlib.suppress(InputError):
            work(stream)


# --- scan header and pixels -----------------------------------------------------------------------------------


def test_scan_header_of_zeros_is_repaired():
    """Some devices write the coefficients 0 to 0 where sequential JPEG must say 0 to 63 (T.81 table B.3)."""
    scan = PLAIN.index(b"\xff\xda")
    assert PLAIN[scan + 7 : scan + 10] == b"\0\x3f\0"
    assert jpeg.repair(PLAIN) == PLAIN
    assert jpeg.repair(PLAIN[: scan + 7] + bytes(3) + PLAIN[scan + 10 :]) == PLAIN


def test_pixels_are_what_pillow_decodes():
    by_pillow = np.array(PIL.Image.open(io.BytesIO(PLAIN)), np.int64)
    assert np.abs(jpeg.decode(PLAIN) - by_pillow).max() <= 1
    assert np.abs(jpeg.decode(PLAIN).astype(int) - PICTURE).max() <= 12


def test_an_orientation_is_left_alone():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert jpeg.decode(encoded(exif=exif)).shape == (24, 17)


@pytest.mark.parametrize("stream", [b"\xff\xd8" + bytes(60) + b"\xff\xd9", b"not a picture"])
def test_what_cannot_be_decoded(stream):
    with pytest.raises(InputError, match=r"expected a sound JPEG stream\. Received: \w"):
        jpeg.decode(stream)


@pytest.mark.parametrize(
    "options",
    [[], [cv2.IMWRITE_JPEG_OPTIMIZE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]],
    ids=["standard tables", "own tables", "restart markers"],
)
@pytest.mark.parametrize("shape", [(24, 40), (24, 40, 3)], ids=["grey", "colour"])
def test_tables_are_sound_where_libjpeg_can_start(rng, capfd, options, shape):
    """Each bit in front of the data is changed in turn; markers, which make other things of what follows, are not."""
    pixels = cv2.GaussianBlur(rng.integers(0, 256, shape, dtype=np.uint8), (0, 0), 2)
    stream = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    jpeg.check_tables(stream)
    starts = {at for at in range(len(stream)) if stream[at] == 0xFF}
    sampling = {stream.index(b"\xff\xc0") + at for at in (11, 14, 17)} if len(shape) > 2 else set()  # not all mix
    end = stream.index(b"\xff\xda") + 6 + 2 * (pixels.size // 960)
    refused = 0
    for at, bit in itertools.product(
        sorted({*range(2, end)} - starts - {at + 1 for at in starts} - sampling), range(8)
    ):
        damaged = bytearray(stream)
        damaged[at] ^= 1 << bit
        with contextlib.suppress(InputError):
            whole = jpeg.strip(bytes(damaged))
            frame = jpeg.frame(whole)
            if frame.shape == shape[:2] and frame.is_sequential and frame.bits == 8:
                is_sound = True
                try:
                    jpeg.check_tables(whole)
                except InputError:
                    is_sound = False
                assert is_sound == (cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED) is not None), at
                refused += not is_sound
    assert refused > 100
    capfd.readouterr()  # libjpeg's complaints


@pytest.mark.parametrize(
    ("lengths", "is_sound"),
    [([1, 1], True), ([2], False), ([1, 2], False), ([0, 3], True), ([0, 4], False), ([3], False)],
)
def test_no_code_is_of_ones_alone(capfd, lengths, is_sound):
    """T.81 annex C; lengths are how many codes of 1, 2, ... bits there are."""
    table = segment(0xC4, bytes([0, *lengths, *[0] * (16 - len(lengths)), *range(sum(lengths))]))
    at = PLAIN.index(b"\xff\xda")
    stream = PLAIN[:at] + table + PLAIN[at:]
    assert (cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_UNCHANGED) is not None) == is_sound
    with contextlib.nullcontext() if is_sound else pytest.raises(InputError, match="expected a JPEG stream with sound"):
        jpeg.check_tables(stream)
    capfd.readouterr()


def test_data_that_end_too_early_are_refused_though_libjpeg_only_warns():
    at = PLAIN.index(b"\xff\xda") + 30
    with pytest.raises(InputError, match=r"expected a sound JPEG stream\. Received: .*premature end"):
        jpeg.decode(PLAIN[:at] + PLAIN[-2:])


def test_extra_bytes_between_segments_do_no_harm():
    at = PLAIN.index(b"\xff\xdb")
    np.testing.assert_array_equal(jpeg.decode(PLAIN[:at] + b"\x01\x02" + PLAIN[at:]), jpeg.decode(PLAIN))


def test_application_data_keep_nothing_but_the_colour_space():
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + SECRET)  # with a thumbnail of one pixel, and more
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET)
    other = [segment(0xE0, SECRET), segment(0xEE, SECRET), segment(0xF0, SECRET), segment(0xFD, SECRET)]
    bare = PLAIN[:2] + PLAIN[PLAIN.index(b"\xff\xdb") :]
    stripped = jpeg.strip(in_front(jfif, adobe, *other, stream=bare))
    assert SECRET not in stripped
    kept = [segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")]
    assert stripped == in_front(*kept, stream=bare)
