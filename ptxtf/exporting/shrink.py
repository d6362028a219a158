"""Images to a network's own size in operations that every converter knows: area averaging by two matrices."""

import numpy as np
import tensorflow as tf


def resize(images: tf.Tensor, size: int) -> tf.Tensor:
    """Resize as `ptxtf.data.example.resize` does: area averaging where both sides shrink, else bilinear.

    Args:
        images: uint8 [B, H, W, 1], H and W static.
        size: height and width in pixels.

    Returns:
        uint8 [B, size, size, 1], rounded to the nearest grey level.
    """
    height, width = images.shape[1:3]
    pixels = tf.cast(images, tf.float32)
    if min(height, width) >= size:
        down, along = (tf.constant(_shares(length, size)) for length in (height, width))
        sums = tf.matmul(tf.matmul(down, pixels[..., 0]), along, transpose_b=True)[..., tf.newaxis]
        resized = sums * np.float32(size**2 / (height * width))  # at last, so that whole sums are exact
    else:
        resized = tf.image.resize(pixels, (size, size), method="bilinear")
    return tf.cast(tf.round(resized), tf.uint8)


def _shares(length: int, size: int) -> np.ndarray:
    """Return how much of each of `length` pixels lies in each of `size` larger ones: float32 [size, length] in 0..1."""
    edges = np.arange(size + 1) * (length / size)
    pixels = np.arange(length)
    ends = np.minimum(edges[1:, np.newaxis], pixels + 1) - np.maximum(edges[:-1, np.newaxis], pixels)
    return np.maximum(ends, 0).astype(np.float32)
