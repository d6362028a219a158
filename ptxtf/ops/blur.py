"""Gaussian blur, with a width for each image.

Flows in: float32 images [B, H, W, C] of any range and a sigma per image, in pixels. Flows out: images of the same shape
and within the same range.
"""

import math

import numpy as np
import tensorflow as tf

from ptxtf.ops.checks import check_images, check_per_image
from ptxtf.ops.draws import Stream, uniforms

REACH = 4.0
"""How far a blur reaches, in sigmas, rounded to a whole pixel: SciPy's default."""


def draw_blur(seeds: tf.Tensor, *, sigma_px: float) -> tf.Tensor:
    """Draw the sigma of a Gaussian blur for each example, from its own seed alone.

    Args:
        seeds: int32 [B, 2], one seed per example.
        sigma_px: largest sigma, in pixels, sigma_px >= 0; sigmas are uniform in 0 to sigma_px.

    Returns:
        float32 [B], as `blur` takes them with `largest_sigma_px=sigma_px`.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or sigma_px is negative or not finite.

    Example:
        >>> sigmas_px = draw_blur(seeds, sigma_px=1.5)
    """
    if not 0 <= sigma_px < math.inf:
        raise ValueError(f"expected a finite sigma_px >= 0. Received: sigma_px={sigma_px}")
    return tf.cast(sigma_px * uniforms(seeds, stream=Stream.BLUR, count=1)[:, 0], tf.float32)


def kernel_radius(largest_sigma_px: float) -> int:
    """Return how many pixels away the furthest neighbour is that a blur sums up."""
    # As float32, which the largest sigma that is drawn may round up to.
    return int(REACH * float(np.float32(largest_sigma_px)) + 0.5)


def blur(images: tf.Tensor, sigmas_px: tf.Tensor, *, largest_sigma_px: float) -> tf.Tensor:
    """Replace each pixel by the mean of its neighbours with Gaussian weights, rows and columns apart.

    A neighbour k pixels away weighs exp(-k**2 / (2 * sigma**2)), up to k = int(4 * sigma + 0.5), and the weights sum to
    1. Beyond the border the image is mirrored about its outermost pixels, which are not repeated. Equals
    `scipy.ndimage.gaussian_filter(channel, sigma, mode="mirror")` of each image and channel. A sigma of 0 is exactly
    the identity where the pixels are finite.

    Args:
        images: float32 [B, H, W, C] of any range. H and W must be more than int(4 * largest_sigma_px + 0.5), the
            kernel's radius, for a mirror image to be that large.
        sigmas_px: float32 [B], in pixels, 0..largest_sigma_px.
        largest_sigma_px: sets the number of neighbours that are summed up, and so the time, for all images.

    Returns:
        float32 [B, H, W, C], within the images' range.

    Raises:
        ValueError: the images are not float32 of rank 4 or are too small, the sigmas are not float32 [B], or
            largest_sigma_px is negative or not finite.
        tf.errors.InvalidArgumentError: a sigma is out of its range, which XLA does not check, or images of a size that
            was not known in tracing are too small.

    Example:
        >>> blurred = blur(images, draw_blur(seeds, sigma_px=1.5), largest_sigma_px=1.5)
    """
    images, sigmas_px = tf.convert_to_tensor(images), tf.convert_to_tensor(sigmas_px)
    if not 0 <= largest_sigma_px <= np.finfo(np.float32).max:
        raise ValueError(f"expected a finite largest_sigma_px >= 0. Received: largest_sigma_px={largest_sigma_px}")
    radius = kernel_radius(largest_sigma_px)
    _check_blur_arguments(images, sigmas_px, radius)
    tf.debugging.assert_equal(
        tf.reduce_all((sigmas_px >= 0) & (sigmas_px <= float(np.float32(largest_sigma_px)))),
        True,
        message=f"expected sigmas_px in 0..{largest_sigma_px}, the largest_sigma_px",
    )
    message = f"expected images higher and wider than {radius} pixels, the kernel's radius"
    with tf.control_dependencies([tf.debugging.assert_greater(tf.shape(images)[1:3], radius, message)]):
        images = tf.identity(images)
    weights = _half_kernels(sigmas_px, radius)
    return _blur_along(_blur_along(images, weights, axis=1), weights, axis=2)


def _check_blur_arguments(images: tf.Tensor, sigmas_px: tf.Tensor, radius: int) -> None:
    check_images(images, tf.float32)
    check_per_image(sigmas_px, images, name="sigmas_px")
    if any(length is not None and length <= radius for length in images.shape[1:3]):
        raise ValueError(
            f"expected images higher and wider than {radius} pixels, the kernel's radius. "
            f"Received: shape={images.shape}"
        )


def _half_kernels(sigmas_px: tf.Tensor, radius: int) -> tf.Tensor:
    """Return the weight of a neighbour by its distance: float32 [B] -> float64 [B, radius + 1]."""
    sigmas = tf.cast(sigmas_px, tf.float64)[:, tf.newaxis]
    distances = tf.range(radius + 1, dtype=tf.float64)
    # Of a sigma of 0 only distance 0 is within reach, at which any positive variance gives weight 1.
    weights = tf.exp(-0.5 * distances**2 / tf.where(sigmas > 0, sigmas**2, 1.0))
    within_reach = distances <= tf.floor(REACH * sigmas + 0.5)
    weights = tf.where(within_reach, weights, 0.0)
    return weights / (2.0 * tf.reduce_sum(weights, axis=1, keepdims=True) - weights[:, :1])


def _blur_along(images: tf.Tensor, weights: tf.Tensor, *, axis: int) -> tf.Tensor:
    """Sum up shifted copies: float32 [B, H, W, C] and float64 [B, radius + 1] -> float32 [B, H, W, C].

    In float64, as SciPy, so that the sum rounds to the same float32 however a compiler orders it.
    """
    radius = weights.shape[1] - 1
    length = images.shape[axis] or tf.shape(images)[axis]
    paddings = [[radius, radius] if dimension == axis else [0, 0] for dimension in range(4)]
    padded = tf.pad(images, paddings, "REFLECT")
    by_image = weights[:, :, tf.newaxis, tf.newaxis, tf.newaxis]  # [B, radius + 1, 1, 1, 1]

    def shifted(start: int) -> tf.Tensor:
        span = slice(start, start + length)
        return tf.cast(padded[:, span] if axis == 1 else padded[:, :, span], tf.float64)

    total = shifted(radius) * by_image[:, 0]
    for distance in range(1, radius + 1):
        total += (shifted(radius - distance) + shifted(radius + distance)) * by_image[:, distance]
    return tf.ensure_shape(tf.cast(total, tf.float32), images.shape)
