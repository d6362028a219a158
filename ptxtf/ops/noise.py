"""Noise, as a detector's: drawn and added.

Flows in: seeds, int32 [B, 2], and float32 images [B, H, W, C] of any range. Flows out: noise in the images' unit, and
images that are not clipped.

The normal numbers are looked up, not computed: float draws and logarithms differ from path to path, an index does not.
"""

import functools
import math
import statistics

import numpy as np
import tensorflow as tf

from ptxtf.ops.checks import check_images, checked_lengths
from ptxtf.ops.draws import Stream, uniforms

_BITS = 16  # per pixel: half of what one uniform number has


def draw_noise(seeds: tf.Tensor, *, noise: float, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Draw white noise for each example, from its own seed alone.

    An example has a standard deviation, uniform in 0 to noise; its pixels are that times independent normal numbers. A
    number is one of 2**16 equally likely values, the quantiles of the normal distribution at (i + 0.5) / 2**16: the
    distribution function is off by at most 2**-17, the standard deviation by 2e-5 and the kurtosis by 1e-3. No pixel
    lies further than 4.33 standard deviations from zero.

    Args:
        seeds: int32 [B, 2], one seed per example.
        noise: largest standard deviation, in the images' unit, noise >= 0.
        image_shape: (height, width, channels) of the images.

    Returns:
        float32 [B, H, W, C] of mean zero, as `add_noise` takes it.

    Raises:
        ValueError: the seeds are not int32 [B, 2], noise is negative or not finite, or image_shape is not three
            positive integers.

    Example:
        >>> noise = draw_noise(seeds, noise=0.03, image_shape=(512, 512, 1))
    """
    if not 0 <= noise < math.inf:
        raise ValueError(f"expected a finite noise >= 0. Received: noise={noise}")
    lengths = checked_lengths(image_shape, name="image_shape", axes=("height", "width", "channels"))
    values = math.prod(lengths)
    drawn = uniforms(seeds, stream=Stream.NOISE, count=1 + -(-values // 2))
    deviations, normal = noise * drawn[:, :1], tf.gather(_normal_quantiles(), _halves(drawn[:, 1:])[:, :values])
    # In float64, which the standard deviations fill: their product rounds the same way whatever it is fused with.
    pixels = tf.cast(deviations * tf.cast(normal, tf.float64), tf.float32)
    return tf.reshape(pixels, [-1, *lengths])  # [B, H * W * C] -> [B, H, W, C]


def add_noise(images: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Add noise to images.

    Args:
        images: float32 [B, H, W, C] of any range.
        noise: float32 [B, H, W, C], in the images' unit.

    Returns:
        float32 [B, H, W, C], not clipped: images in 0..1 may leave that range.

    Raises:
        ValueError: the images are not float32 of rank 4, or the noise has another dtype or shape than they.

    Example:
        >>> noisy = tf.clip_by_value(add_noise(images, noise), 0, 1)
    """
    images, noise = tf.convert_to_tensor(images), tf.convert_to_tensor(noise)
    check_images(images, tf.float32)
    # The rank of its own: a noise of unknown rank is compatible with any shape.
    if noise.dtype != tf.float32 or noise.shape.rank != 4 or not noise.shape.is_compatible_with(images.shape):
        raise ValueError(
            f"expected float32 noise {images.shape}, as the images. "
            f"Received: dtype={noise.dtype.name}, shape={noise.shape}"
        )
    return images + noise


def _halves(numbers: tf.Tensor) -> tf.Tensor:
    """Return the upper and the lower 16 bits of uniform numbers: float64 [B, N] in [0, 1) -> int32 [B, 2 * N]."""
    scaled = numbers * 2.0**_BITS
    upper = tf.floor(scaled)
    lower = (scaled - upper) * 2.0**_BITS  # whole, as the numbers are multiples of 2**-32
    return tf.cast(tf.concat([upper, lower], axis=1), tf.int32)


@functools.cache
def _normal_quantiles() -> np.ndarray:
    """Return float32 [2**16], rising and antisymmetric."""
    count, normal = 2**_BITS, statistics.NormalDist()
    return np.array([normal.inv_cdf((index + 0.5) / count) for index in range(count)], np.float32)
