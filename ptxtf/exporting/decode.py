"""PNG and JPEG files, and raw bytes, -> pixels, inside a graph: what `ptxtf.data.images` does outside of one.

Flows in: one string. Flows out: uint8 [H, W, 1], bright = dense, to the very grey level of `ptxtf.data.images.read`:
JPEG by libjpeg's accurate transform, the luma of colours by OpenCV's arithmetic, 16 bits by their percentiles.

What differs: an animated PNG gives its first frame, bytes behind a JPEG's end do no harm, and the largest picture is
what TensorFlow decodes. What is cut off, damaged, of 12 bits or in CMYK is an InvalidArgumentError here too.
"""

import tensorflow as tf

from ptxtf.data import jpeg, png

_DEPTH_AT = 24
"""Where a PNG's header (its first chunk) says how many bits a sample has."""
_LUMA = (9798, 19235, 3735)
"""Shares of red, green and blue, of 2**15: ITU-R BT.601 as OpenCV rounds it."""
_BLACK_AND_WHITE = (0.5 / 100, 99.5 / 100)
"""Shares of the pixels of 16 bits, as `ptxtf.data.grey` has them."""


def decode_picture(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one PNG or JPEG file.

    Args:
        encoded: string scalar.

    Returns:
        uint8 [H, W, 1].

    Raises:
        tf.errors.InvalidArgumentError: something else, or damaged; at run time.
    """
    is_jpeg = tf.strings.substr(encoded, 0, 2) == jpeg.START
    is_png = tf.strings.substr(encoded, 0, len(png.SIGNATURE)) == png.SIGNATURE
    message = "expected a PNG or JPEG picture. Received: something else, of so many bytes:"
    with tf.control_dependencies([tf.debugging.Assert(is_jpeg | is_png, [message, tf.strings.length(encoded)])]):
        pixels = tf.cond(is_jpeg, lambda: _decode_jpeg(encoded), lambda: _decode_png(encoded))
    return tf.ensure_shape(pixels, [None, None, 1])


def decode_raw(raw: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Take bytes as grey levels, row by row.

    Args:
        raw: string scalar.
        size: int32 [2], height and width.

    Returns:
        uint8 [H, W, 1].

    Raises:
        tf.errors.InvalidArgumentError: another number of bytes, or no pixels; at run time.
    """
    pixels = tf.io.decode_raw(raw, tf.uint8)
    message = "expected height * width bytes, both sides above 0. Received: bytes, height and width:"
    is_fit = tf.reduce_all(size > 0) & (tf.size(pixels, tf.int64) == tf.reduce_prod(tf.cast(size, tf.int64)))
    with tf.control_dependencies([tf.debugging.Assert(is_fit, [message, tf.size(pixels), size])]):
        return tf.reshape(pixels, [size[0], size[1], 1])


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_jpeg(encoded, channels=1, dct_method="INTEGER_ACCURATE")


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    padded = tf.strings.join([encoded, b"\0" * (_DEPTH_AT + 1)])  # lest a short one has no such place
    is_deep = tf.strings.substr(padded, _DEPTH_AT, 1) == b"\x10"
    return tf.cond(
        is_deep,
        lambda: _stretch(_luma(tf.io.decode_png(encoded, dtype=tf.uint16))),
        lambda: tf.cast(_luma(tf.io.decode_png(encoded)), tf.uint8),
    )


def _luma(samples: tf.Tensor) -> tf.Tensor:
    """Return int32 [H, W, 1] of grey, grey and alpha, RGB, or RGB and alpha."""
    samples = tf.cast(samples, tf.int32)
    return tf.cond(
        tf.shape(samples)[2] < 3,
        lambda: samples[..., :1],
        # up to 65,535 * 2**15 + 2**14, which int32 holds
        lambda: (tf.reduce_sum(samples[..., :3] * _LUMA, axis=2, keepdims=True) + 2**14) // 2**15,
    )


def _stretch(values: tf.Tensor) -> tf.Tensor:
    """Make grey levels of 16 bits, int32 [H, W, 1] -> uint8: the percentiles 0.5 and 99.5 become 0 and 255."""
    counts = tf.math.bincount(tf.reshape(values, [-1]), minlength=2**16, maxlength=2**16)
    ends = tf.cumsum(counts)
    places = tf.constant(_BLACK_AND_WHITE, tf.float64) * tf.cast(tf.size(values) - 1, tf.float64)

    def value_at(place: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.searchsorted(ends, tf.cast(place, tf.int32), side="right"), tf.float64)

    below, above = value_at(tf.floor(places)), value_at(tf.math.ceil(places))
    black, white = tf.unstack(below + (above - below) * (places - tf.floor(places)))
    width = tf.where(white > black, white - black, 1.0)
    shares = (tf.range(2**16, dtype=tf.float64) - black) / width
    levels = tf.cast(tf.round(255 * tf.clip_by_value(shares, 0.0, 1.0)), tf.uint8)
    return tf.gather(levels, values)
