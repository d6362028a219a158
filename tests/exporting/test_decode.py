"""Pictures decoded inside a graph against ptxtf's own reading of the same files."""

import cv2
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from ptxtf.data import images
from ptxtf.exporting.decode import decode_picture, decode_raw

decode = tf.function(decode_picture, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
take = tf.function(
    decode_raw, input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32)], autograph=False
)


def noise(rng, *shape, dtype=np.uint8):
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def by_opencv(path, pixels, *options):
    assert cv2.imwrite(str(path), pixels, options)


def by_pillow(path, pixels, mode, **options):
    PIL.Image.fromarray(pixels).convert(mode).save(path, **options)


FILES = {
    "grey.png": lambda path, rng: by_opencv(path, noise(rng, 37, 51)),
    "colour.png": lambda path, rng: by_opencv(path, noise(rng, 37, 51, 3)),
    "colour and alpha.png": lambda path, rng: by_opencv(path, noise(rng, 20, 30, 4)),
    "grey and alpha.png": lambda path, rng: PIL.Image.fromarray(noise(rng, 20, 30, 2), "LA").save(path),
    "palette.png": lambda path, rng: by_pillow(path, noise(rng, 40, 30, 3), "P"),
    "one bit.png": lambda path, rng: by_pillow(path, noise(rng, 33, 17), "1"),
    "16 bits.png": lambda path, rng: by_opencv(path, noise(rng, 60, 41, dtype=np.uint16)),
    "16 bits of 12.png": lambda path, rng: by_opencv(path, noise(rng, 60, 41, dtype=np.uint16) // 16),
    "16 bits and colour.png": lambda path, rng: by_opencv(path, noise(rng, 60, 41, 3, dtype=np.uint16)),
    "16 bits, all the same.png": lambda path, _: by_opencv(path, np.full((9, 9), 700, np.uint16)),
    "16 bits, a few brighter.png": lambda path, _: by_opencv(path, np.eye(40, dtype=np.uint16) * 3 + 700),
    "one pixel of 16 bits.png": lambda path, _: by_opencv(path, np.full((1, 1), 5, np.uint16)),
    "one row.png": lambda path, rng: by_opencv(path, noise(rng, 1, 51)),
    "grey.jpg": lambda path, rng: by_opencv(path, noise(rng, 37, 51)),
    "colour.jpg": lambda path, rng: by_opencv(path, noise(rng, 64, 50, 3), cv2.IMWRITE_JPEG_QUALITY, 80),
    "progressive.jpg": lambda path, rng: by_opencv(path, noise(rng, 64, 50, 3), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
}


@pytest.mark.parametrize("name", FILES)
def test_every_grey_level_is_that_of_ptxtf(tmp_path, rng, name):
    path = tmp_path / name
    FILES[name](path, rng)
    np.testing.assert_array_equal(decode(path.read_bytes())[..., 0], images.read(path).pixels)


def test_the_orientation_that_a_camera_noted_is_left_out(tmp_path, rng):
    path = tmp_path / "turned.jpg"
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    PIL.Image.fromarray(noise(rng, 16, 24)).save(path, exif=turned)
    assert decode(path.read_bytes()).shape == (16, 24, 1)
    np.testing.assert_array_equal(decode(path.read_bytes())[..., 0], images.read(path).pixels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected a PNG or JPEG picture\. Received: something else, of so many bytes:\] \[0\]"),
        (b"GIF89a" + b"\0" * 30, r"expected a PNG or JPEG picture.*\[36\]"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 200, "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
    ],
)
def test_what_is_no_picture_is_said_to_be_none(content, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(content)


@pytest.mark.parametrize("name", ["grey.png", "16 bits.png", "colour.jpg", "progressive.jpg"])
def test_half_a_picture_is_refused(tmp_path, rng, name):
    path = tmp_path / name
    FILES[name](path, rng)
    content = path.read_bytes()
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(content[: len(content) // 2])


def test_raw_bytes_are_grey_levels_row_by_row():
    np.testing.assert_array_equal(take(bytes(range(6)), [2, 3])[..., 0], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("size", [[2, 4], [-2, -3], [0, 0], [65536, 65536]])
def test_raw_bytes_that_are_no_such_image_are_refused(size):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected height \* width bytes"):
        take(bytes(6), size)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected height \* width bytes"):
        take(b"", size)
