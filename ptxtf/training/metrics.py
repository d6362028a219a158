"""Masks and predicted masks -> Dice and IoU per image, and totals that can be merged.

Flows in: `masks` and `predicted_masks` of {0, 1} (or bool), [B, H, W, 1], any numeric type. Flows out: float32 [B].

What counts when both masks are empty is the argument `empty`: 1 on Kaggle and in the study. Where just one of the two
is empty the score is 0.
"""

from typing import NamedTuple

import tensorflow as tf


def dice(masks: tf.Tensor, predicted_masks: tf.Tensor, *, empty: float = 1.0) -> tf.Tensor:
    """Return each image's Dice coefficient, 2 |X∩Y| / (|X| + |Y|).

    Args:
        masks: truth, [B, H, W, 1] of {0, 1}.
        predicted_masks: of the same shape, of {0, 1}.
        empty: score of an image where both are empty.

    Returns:
        float32 [B] in 0..1.

    Example:
        >>> dice(tf.zeros([1, 8, 8, 1]), tf.zeros([1, 8, 8, 1]))
        <tf.Tensor: shape=(1,), dtype=float32, numpy=array([1.], dtype=float32)>
    """
    overlap, areas = _overlap_and_areas(masks, predicted_masks)
    return _ratio(2 * overlap, areas, empty)


def iou(masks: tf.Tensor, predicted_masks: tf.Tensor, *, empty: float = 1.0) -> tf.Tensor:
    """Return each image's intersection over union, |X∩Y| / |X∪Y|. Arguments and shape as `dice`."""
    overlap, areas = _overlap_and_areas(masks, predicted_masks)
    return _ratio(overlap, areas - overlap, empty)


STEPS = 128
"""Probabilities are counted by how many of so many steps they reach: 0, 1/128, … 127/128."""


class Totals(NamedTuple):
    """Sums over images from which every mean follows; `merge` of two parts equals one pass over both."""

    images: tf.Tensor
    positives: tf.Tensor
    dice: tf.Tensor
    positive_dice: tf.Tensor
    loss: tf.Tensor
    pixels: tf.Tensor
    """int64 [2, STEPS]: background and foreground pixels by the steps that their probability reaches."""


def totals(
    masks: tf.Tensor, probabilities: tf.Tensor, losses: tf.Tensor, *, threshold: float, real: tf.Tensor
) -> Totals:
    """Return the sums over one batch.

    Args:
        masks: truth, [B, H, W, 1] of {0, 1}.
        probabilities: float32 of the same shape, in 0..1.
        losses: float32 [B].
        threshold: a pixel at or above this probability is predicted as foreground.
        real: bool [B]; False for images that only fill up the batch, which do not count.
    """
    steps = tf.clip_by_value(tf.cast(probabilities * STEPS, tf.int32), 0, STEPS - 1)  # nan is any number
    nowhere = 2 * STEPS
    places = tf.where(real[:, tf.newaxis, tf.newaxis, tf.newaxis], STEPS * tf.cast(masks, tf.int32) + steps, nowhere)
    # as tf.math.bincount, but with a size that XLA can see to be constant
    pixels = tf.raw_ops.DenseBincount(input=tf.reshape(places, [-1]), size=nowhere, weights=tf.zeros([0], tf.int64))
    real = tf.cast(real, tf.float32)
    scores = dice(masks, probabilities >= threshold) * real
    positive = tf.cast(tf.reduce_any(tf.cast(masks, tf.bool), axis=[1, 2, 3]), tf.float32) * real
    return Totals(
        pixels=tf.reshape(pixels, [2, STEPS]),
        images=tf.reduce_sum(real),
        positives=tf.reduce_sum(positive),
        dice=tf.reduce_sum(scores),
        positive_dice=tf.reduce_sum(scores * positive),
        loss=tf.reduce_sum(losses * real),
    )


def merge(first: Totals, second: Totals) -> Totals:
    """Return the totals of both parts."""
    return Totals(*(a + b for a, b in zip(first, second, strict=True)))


def means(whole: Totals) -> dict[str, float]:
    """Return the means behind totals: loss, dice (empty-empty = 1), positive_dice (nan without positives)."""
    images, positives = float(whole.images), float(whole.positives)
    return {
        "loss": float(whole.loss) / images if images else float("nan"),
        "dice": float(whole.dice) / images if images else float("nan"),
        "positive_dice": float(whole.positive_dice) / positives if positives else float("nan"),
    }


def _overlap_and_areas(masks: tf.Tensor, predicted_masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return |X∩Y| and |X| + |Y| as whole numbers [B]; float32 sums would lose pixels beyond 2²⁴."""
    first, second = tf.cast(masks, tf.int32), tf.cast(predicted_masks, tf.int32)
    first.shape.assert_is_compatible_with(second.shape)  # (B, H, W, 1) and (H, W, 1) would broadcast
    overlap = tf.reduce_sum(first * second, axis=[1, 2, 3])
    return overlap, tf.reduce_sum(first, axis=[1, 2, 3]) + tf.reduce_sum(second, axis=[1, 2, 3])


def _ratio(numerator: tf.Tensor, denominator: tf.Tensor, empty: float) -> tf.Tensor:
    scores = tf.cast(numerator / tf.maximum(denominator, 1), tf.float32)  # whole numbers divide in float64
    return tf.where(denominator == 0, tf.constant(empty, tf.float32), scores)
