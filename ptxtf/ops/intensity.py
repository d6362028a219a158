"""Grey values: their range, brightness, contrast and gamma.

Flows in: images [B, H, W, C], uint8 in 0..255 or float32: of any range, but in 0..1 for gamma. Flows out: float32
images, never clipped: 0..1 from uint8 and from gamma, and of any range from a brightness or contrast factor.

Contrast and gamma are computed in float64, so that they round to the same float32 however a compiler orders the sums
and whichever power function it has.
"""

import math

import tensorflow as tf

from ptxtf.ops.checks import check_images, check_per_image
from ptxtf.ops.draws import Stream, between, uniforms


def to_unit_range(images: tf.Tensor) -> tf.Tensor:
    """Multiply by 1 / 255.

    A product, as XLA makes one of a division by a constant, and eager calls are to give the same bits.

    Args:
        images: uint8 or float32 [B, H, W, C], 0..255.

    Returns:
        float32 [B, H, W, C], 0..1.

    Raises:
        ValueError: the images are not uint8 or float32 of rank 4.

    Example:
        >>> unit_images = to_unit_range(clahe(images))
    """
    images = tf.convert_to_tensor(images)
    check_images(images, tf.uint8, tf.float32)
    return tf.cast(images, tf.float32) * (1.0 / 255.0)


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
    return _draw(seeds, Stream.BRIGHTNESS, 1.0 - brightness, 1.0 + brightness)


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
    check_images(images, tf.float32)
    check_per_image(factors, images, name="factors")
    return images * factors[:, tf.newaxis, tf.newaxis, tf.newaxis]


def draw_contrast(seeds: tf.Tensor, *, contrast: float) -> tf.Tensor:
    """Draw a contrast factor for each example, from its own seed alone.

    Args:
        seeds: int32 [B, 2], one seed per example.
        contrast: largest change, 0 <= contrast < 1; the factor is uniform in 1 - contrast to 1 + contrast.

    Returns:
        float32 [B], as `adjust_contrast` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or contrast is out of its range.

    Example:
        >>> factors = draw_contrast(seeds, contrast=0.2)
    """
    if not 0 <= contrast < 1:
        raise ValueError(f"expected 0 <= contrast < 1. Received: contrast={contrast}")
    return _draw(seeds, Stream.CONTRAST, 1.0 - contrast, 1.0 + contrast)


def adjust_contrast(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Move each pixel away from, or towards, the mean of its image and channel.

    The result is (x - mean) * factor + mean: the mean stays, the standard deviation is multiplied by the factor. A
    factor of 1 is exactly the identity.

    Args:
        images: float32 [B, H, W, C] of any range, of at least one pixel.
        factors: float32 [B]; more than 1 raises the contrast, 0 leaves the mean alone.

    Returns:
        float32 [B, H, W, C], not clipped: images in 0..1 and a factor over 1 may leave that range.

    Raises:
        ValueError: the images are not float32 of rank 4, or the factors not float32 [B].

    Example:
        >>> stronger = tf.clip_by_value(adjust_contrast(images, factors), 0, 1)
    """
    images, factors = tf.convert_to_tensor(images), tf.convert_to_tensor(factors)
    check_images(images, tf.float32)
    check_per_image(factors, images, name="factors")
    pixels = tf.cast(images, tf.float64)
    means = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)  # [B, 1, 1, C]
    by_image = tf.cast(factors, tf.float64)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    # The formula, rearranged: x * factor is exact in float64, and with a factor of 1 nothing is added to it.
    return tf.cast(pixels * by_image + means * (1.0 - by_image), tf.float32)


def draw_gamma(seeds: tf.Tensor, *, gamma: float) -> tf.Tensor:
    """Draw a gamma exponent for each example, from its own seed alone.

    The exponent is (1 + gamma) ** u with u uniform in -1..1: an exponent and its inverse are as likely.

    Args:
        seeds: int32 [B, 2], one seed per example.
        gamma: largest change, gamma >= 0; the exponent is log-uniform in 1 / (1 + gamma) to 1 + gamma.

    Returns:
        float32 [B], as `adjust_gamma` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or gamma is negative or not finite.

    Example:
        >>> exponents = draw_gamma(seeds, gamma=0.3)
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(f"expected a finite gamma >= 0. Received: gamma={gamma}")
    largest = math.log1p(gamma)
    return tf.cast(tf.exp(between(uniforms(seeds, stream=Stream.GAMMA, count=1)[:, 0], -largest, largest)), tf.float32)


def adjust_gamma(images: tf.Tensor, exponents: tf.Tensor) -> tf.Tensor:
    """Raise each image to the power of its exponent.

    The result is x ** exponent: 0 and 1 stay, what lies between darkens with an exponent over 1.

    Args:
        images: float32 [B, H, W, C], 0..1. A negative value comes out as nan unless the exponent is a whole number.
        exponents: float32 [B], over 0.

    Returns:
        float32 [B, H, W, C], 0..1.

    Raises:
        ValueError: the images are not float32 of rank 4, or the exponents not float32 [B].

    Example:
        >>> darker = adjust_gamma(images, exponents)
    """
    images, exponents = tf.convert_to_tensor(images), tf.convert_to_tensor(exponents)
    check_images(images, tf.float32)
    check_per_image(exponents, images, name="exponents")
    by_image = tf.cast(exponents, tf.float64)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return tf.cast(tf.cast(images, tf.float64) ** by_image, tf.float32)


def _draw(seeds: tf.Tensor, stream: Stream, low: float, high: float) -> tf.Tensor:
    """Return float32 [B], uniform in low..high."""
    return tf.cast(between(uniforms(seeds, stream=stream, count=1)[:, 0], low, high), tf.float32)
