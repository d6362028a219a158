"""Uniform random numbers from one seed per example.

Flows in: seeds, int32 [B, 2]. Flows out: float64 [B, count] in [0, 1).

An example's numbers depend on its own seed and the stream alone: not on its batch, nor on whether the code is compiled.
"""

import enum

import tensorflow as tf

from ptxtf.ops.checks import check_seeds


@enum.unique
class Stream(enum.IntEnum):
    """Who draws: with the same seeds, two of them draw different numbers."""

    AFFINE = 1
    BRIGHTNESS = 2
    PATCH_ORDER = 3
    CONTRAST = 4
    GAMMA = 5
    NOISE = 6
    BLUR = 7
    CUTOUT = 8
    CORNERS = 9


def uniforms(seeds: tf.Tensor, *, stream: Stream, count: int) -> tf.Tensor:
    """Draw `count` independent uniform numbers for each example.

    Args:
        seeds: int32 [B, 2], one seed per example.
        stream: which numbers to draw.
        count: numbers per example.

    Returns:
        float64 [B, count] in [0, 1), multiples of 2**-32.

    Raises:
        ValueError: the seeds are not int32 [B, 2].

    Example:
        >>> angles, coins = tf.unstack(uniforms(seeds, stream=Stream.AFFINE, count=2), axis=1)
    """
    seeds = tf.convert_to_tensor(seeds)
    check_seeds(seeds)

    def bits(seed: tf.Tensor) -> tf.Tensor:
        seed = tf.random.fold_in(seed, int(stream), alg="philox")
        # As integers: the float draw of the same seed is another one under XLA than without.
        return tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")

    drawn = tf.map_fn(bits, seeds, fn_output_signature=tf.int32)
    # In float64, so that what the caller computes from them rounds to the same float32 however a compiler orders it.
    return tf.cast(drawn, tf.float64) * 2.0**-32 + 0.5


def between(shares: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Turn uniform numbers in [0, 1) into uniform ones in [low, high): float64 -> float64 of the same shape."""
    # abs changes nothing, as no factor is negative. It keeps a compiler from fusing multiply and add, which rounds once
    # instead of twice: of numbers that lie in the middle between two of float32, others would come out.
    return tf.abs(shares * (high - low)) + low
