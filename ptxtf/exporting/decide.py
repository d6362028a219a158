"""Probabilities -> score, mask and run-length text, inside a graph.

What `ptxtf.inference.masks.decide`, `ptxtf.inference.masks.presence` and `ptxtf.data.rle.encode` do outside of one.
"""

from typing import NamedTuple

import tensorflow as tf

from ptxtf.data import rle
from ptxtf.inference.masks import Rule


class Decided(NamedTuple):
    """What is said of B images."""

    scores: tf.Tensor
    """float32 [B]: how sure it is that there is a pneumothorax."""
    masks: tf.Tensor
    """uint8 [B, H, W, 1] of {0, 1}."""


def decide(probabilities: tf.Tensor, presence: tf.Tensor | None, rule: Rule) -> Decided:
    """Decide by a rule.

    Args:
        probabilities: float32 [B, H, W, 1], at the images' own size.
        presence: float32 [B], what the networks or their gate say of each image; None where they say nothing. A rule
            without a gate does not go by it: the score is the highest threshold at which the mask has the smallest
            area.
        rule: thresholds, smallest area and, where it has one, gate: the presence below which an image has no mask.
    """
    flat = tf.reshape(probabilities, [tf.shape(probabilities)[0], tf.reduce_prod(tf.shape(probabilities)[1:])])
    has_mask = tf.math.count_nonzero(flat >= rule.top_threshold, axis=1) >= rule.min_area_px
    if not rule.gate:
        rank = tf.clip_by_value(rule.min_area_px, 1, tf.shape(flat)[1])
        scores = tf.math.top_k(flat, rank).values[:, -1]
    elif presence is None:
        raise ValueError(f"expected networks that say presence, for a rule with a gate. Received: gate={rule.gate}")
    else:
        scores = presence
        has_mask &= presence >= rule.gate
    is_mask = (probabilities >= rule.threshold) & has_mask[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return Decided(scores, tf.cast(is_mask, tf.uint8))


def run_lengths(masks: tf.Tensor) -> tf.Tensor:
    """Write masks as SIIM's run-length text: uint8 [B, H, W, 1] -> string [B]."""
    return tf.map_fn(_run_lengths, masks[..., 0], fn_output_signature=tf.string)


def _run_lengths(mask: tf.Tensor) -> tf.Tensor:
    down_the_columns = tf.pad(tf.reshape(tf.transpose(mask), [-1]), [[1, 1]])
    edges = tf.reshape(tf.where(down_the_columns[1:] != down_the_columns[:-1]), [-1])  # start, end, start, end, …
    lengths = edges - tf.concat([[0], edges[:-1]], axis=0)
    text = tf.strings.reduce_join(tf.strings.as_string(lengths), separator=" ")
    return tf.where(tf.size(edges) > 0, text, rle.HEALTHY)
