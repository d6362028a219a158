"""Cutout: a rectangle of each image is blanked.

Flows in: images [B, H, W, C] of any range. Flows out: the same with one rectangle per image filled.

A rectangle is (top, left, height, width) in pixels; an image and its mask can share it.
"""

import tensorflow as tf

from ptxtf.ops.checks import check_fill_value, check_images, check_per_image, checked_lengths
from ptxtf.ops.draws import Stream, uniforms


def draw_cutout(seeds: tf.Tensor, *, image_size: tuple[int, int], largest_share: float) -> tf.Tensor:
    """Draw a rectangle inside the image for each example, from its own seed alone.

    Height and width are independent of each other, each uniform among the whole numbers from 0, which makes the
    rectangle empty, to largest_share times the image's side; the place is then uniform among all inside the image.

    Args:
        seeds: int32 [B, 2], one seed per example.
        image_size: (height, width) in pixels.
        largest_share: of the image's sides, 0..1; with 0 all rectangles are empty.

    Returns:
        int32 [B, 4], (top, left, height, width) in pixels, as `cut_out` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], image_size is not two positive integers, or largest_share is out of
            its range.

    Example:
        >>> rectangles = draw_cutout(seeds, image_size=(512, 512), largest_share=0.3)

    Source: T. DeVries and G. W. Taylor, Improved Regularization of Convolutional Neural Networks with Cutout (2017),
    arXiv:1708.04552. Theirs is a square of one size with its centre anywhere in the image, so that it may reach beyond.
    """
    lengths = checked_lengths(image_size, name="image_size", axes=("height", "width"))
    if not 0 <= largest_share <= 1:
        raise ValueError(f"expected largest_share in 0..1. Received: largest_share={largest_share}")
    drawn = uniforms(seeds, stream=Stream.CUTOUT, count=4)
    # A little more, as 0.29 * 100 is 28.999999999999996.
    largest = tf.constant([int(largest_share * length + 1e-6) for length in lengths], tf.float64)
    sides = tf.floor(drawn[:, :2] * (largest + 1.0))
    places = tf.floor(drawn[:, 2:] * (tf.constant(lengths, tf.float64) - sides + 1.0))
    return tf.cast(tf.concat([places, sides], axis=1), tf.int32)


def cut_out(images: tf.Tensor, rectangles: tf.Tensor, *, fill_value: float = 0.0) -> tf.Tensor:
    """Fill a rectangle of each image, in all channels.

    Args:
        images: [B, H, W, C] of any range, float32 or uint8.
        rectangles: int32 [B, 4], (top, left, height, width) in pixels. What lies beyond the image fills nothing, as do
            rectangles without height or width.
        fill_value: of the filled pixels, in the images' range; a whole number in 0..255 for uint8.

    Returns:
        [B, H, W, C] in the images' dtype; outside the rectangles the images' own pixels.

    Raises:
        ValueError: the images are not float32 or uint8 of rank 4, the rectangles not int32 [B, 4], or fill_value is
            unfit for the dtype.

    Example:
        >>> cut = cut_out(images, rectangles)
    """
    images, rectangles = tf.convert_to_tensor(images), tf.convert_to_tensor(rectangles)
    check_images(images, tf.float32, tf.uint8)
    check_per_image(rectangles, images, name="rectangles", dtype=tf.int32, shape=(4,))
    check_fill_value(fill_value, images)
    corners_and_sides = tf.cast(rectangles, tf.int64)[:, :, tf.newaxis, tf.newaxis, tf.newaxis]  # sums fit in 64 bits
    top, left, height, width = tf.unstack(corners_and_sides, axis=1)  # [B, 1, 1, 1]
    size = tf.shape(images, out_type=tf.int64)
    rows = tf.range(size[1])[:, tf.newaxis, tf.newaxis]  # [H, 1, 1]
    columns = tf.range(size[2])[:, tf.newaxis]  # [W, 1]
    in_rows = (rows >= top) & (rows < top + height)  # [B, H, 1, 1]
    in_columns = (columns >= left) & (columns < left + width)  # [B, 1, W, 1]
    return tf.where(in_rows & in_columns, tf.cast(fill_value, images.dtype), images)
