"""Grey values: their range, and brightness.

Flows in: images [B, H, W, C], uint8 in 0..255 or float32 of any range. Flows out: float32 images, never clipped: 0..1
from uint8, and of any range from a brightness factor.
"""

import tensorflow as tf

from ptxtf.ops.draws import uniforms

_STREAM = 2  # of ptxtf.ops.draws: no other drawing function has this number


def to_unit_range(images: tf.Tensor) -> tf.Tensor:
    """Divide by 255.

    Args:
        images: uint8 [B, H, W, C], 0..255.

    Returns:
        float32 [B, H, W, C], 0..1.

    Raises:
        ValueError: the images are not uint8 of rank 4.

    Example:
        >>> unit_images = to_unit_range(clahe(images))
    """
    images = tf.convert_to_tensor(images)
    _check_images(images, tf.uint8)
    return tf.cast(images, tf.float32) / 255.0


def draw_brightness(seeds: tf.Tensor, *, brightness: float) -> tf.Tensor:
    """Draw a brightness factor for each example, from its own seed alone.

    Args:
        seeds: int32 [B, 2], one seed per example.
        brightness: largest change, 0 <= brightness < 1; the factor is uniform in 1 - brightness to 1 + brightness.

    Returns:
        float32 [B], as `adjust_brightness` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or brightness is out of its range.

    Example:
        >>> factors = draw_brightness(seeds, brightness=0.15)
    """
    if not 0 <= brightness < 1:
        raise ValueError(f"expected 0 <= brightness < 1. Received: brightness={brightness}")
    shares = uniforms(seeds, stream=_STREAM, count=1)[:, 0]
    return tf.cast(1.0 + brightness * (2.0 * shares - 1.0), tf.float32)


def adjust_brightness(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Multiply each image by its factor.

    Args:
        images: float32 [B, H, W, C] of any range.
        factors: float32 [B]; more than 1 brightens.

    Returns:
        float32 [B, H, W, C], not clipped: images in 0..1 come out in 0..factor.

    Raises:
        ValueError: the images are not float32 of rank 4, or the factors not float32 [B].

    Example:
        >>> brighter = tf.clip_by_value(adjust_brightness(images, factors), 0, 1)
    """
    images, factors = tf.convert_to_tensor(images), tf.convert_to_tensor(factors)
    _check_images(images, tf.float32)
    if factors.dtype != tf.float32 or not factors.shape.is_compatible_with(images.shape[:1]):
        raise ValueError(
            f"expected float32 factors [{images.shape[0] or 'B'}]. "
            f"Received: dtype={factors.dtype.name}, shape={factors.shape}"
        )
    return images * factors[:, tf.newaxis, tf.newaxis, tf.newaxis]


def _check_images(images: tf.Tensor, dtype: tf.DType) -> None:
    if images.dtype != dtype or images.shape.rank != 4:
        raise ValueError(
            f"expected {dtype.name} images [B, H, W, C]. Received: dtype={images.dtype.name}, shape={images.shape}"
        )
