"""Uniform random numbers from one seed per example.

Flows in: seeds, int32 [B, 2]. Flows out: float64 [B, count] in [0, 1).

An example's numbers depend on its own seed and the stream alone: not on its batch, nor on whether the code is compiled.
"""

import tensorflow as tf


def uniforms(seeds: tf.Tensor, *, stream: int, count: int) -> tf.Tensor:
    """Draw `count` independent uniform numbers for each example.

    Args:
        seeds: int32 [B, 2], one seed per example.
        stream: which numbers to draw. Two drawing functions with the same seeds need different streams, or they would
            draw the same numbers.
        count: numbers per example.

    Returns:
        float64 [B, count] in [0, 1), multiples of 2**-32.

    Raises:
        ValueError: the seeds are not int32 [B, 2].

    Example:
        >>> angles, coins = tf.unstack(uniforms(seeds, stream=9, count=2), axis=1)
    """
    seeds = tf.convert_to_tensor(seeds)
    if seeds.dtype != tf.int32 or seeds.shape.rank != 2 or seeds.shape[1] != 2:
        raise ValueError(f"expected int32 seeds [B, 2]. Received: dtype={seeds.dtype.name}, shape={seeds.shape}")

    def bits(seed: tf.Tensor) -> tf.Tensor:
        seed = tf.random.fold_in(seed, stream, alg="philox")
        # As integers: the float draw of the same seed is another one under XLA than without.
        return tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")

    drawn = tf.map_fn(bits, seeds, fn_output_signature=tf.int32)
    # In float64, so that what the caller computes from them rounds to the same float32 however a compiler orders it.
    return tf.cast(drawn, tf.float64) * 2.0**-32 + 0.5
