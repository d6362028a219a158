"""Weighted means of two and of four neighbours, and how four small numbers come out of one look-up."""

from collections.abc import Sequence

import tensorflow as tf


def blend(first: tf.Tensor, second: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Mix two tensors: first * (1 - weights) + second * weights, each product rounded.

    The same bits come out however it is compiled.

    Args:
        first: float32, 0 or more.
        second: the same.
        weights: float32 in 0..1, of a shape that broadcasts; the share of the second.

    Returns:
        float32, within the range of the two.
    """
    # abs changes nothing, as no factor is negative. It keeps a compiler from fusing multiply and add, which rounds once
    # instead of twice and would move 1 pixel in 4,000 of an equalised image by a grey level.
    return tf.abs(first * (1.0 - weights)) + tf.abs(second * weights)


def blend_four(neighbours: Sequence[tf.Tensor], down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Mix four tensors bilinearly.

    Args:
        neighbours: upper left, upper right, lower left, lower right, of any dtype, 0 or more.
        down: float32 in 0..1, the share of the lower two.
        right: the same of the right two.

    Returns:
        float32, within the range of the four.
    """
    upper_left, upper_right, lower_left, lower_right = (tf.cast(values, tf.float32) for values in neighbours)
    return blend(blend(upper_left, upper_right, right), blend(lower_left, lower_right, right), down)


def unpack_bytes(packed: tf.Tensor) -> list[tf.Tensor]:
    """Return the four bytes of each int32, the lowest first: four of int32 in 0..255 and the same shape.

    A highest byte over 127 makes the integer negative and fills up with ones when shifted, which the mask takes away.
    """
    return [tf.bitwise.bitwise_and(tf.bitwise.right_shift(packed, shift), 255) for shift in (0, 8, 16, 24)]
