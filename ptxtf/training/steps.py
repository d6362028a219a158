"""Model, loss, optimizer and strategy -> the compiled functions that the loop calls.

    batch (host, uint8) ─► augment (XLA) ─► images, masks [S, B, h, w, 1] ─► update, S times
    batch (host, uint8) ─► score: prepare ─► model ─► stitch ─► loss, Dice per image (whole images in either mode)

Preprocessing is always compiled by XLA; the model where that pays (see `TrainConfig.xla`). Under several replicas each
sees its share of the batch and gradients are summed, so losses are divided by the global batch size.
"""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from ptxtf import forward
from ptxtf.data.dataset import Batch
from ptxtf.preprocess import Augment
from ptxtf.training import metrics

THRESHOLD = 0.5
"""Probability from which a pixel counts as pneumothorax while training is watched."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """The compiled functions of one run.

    Attributes:
        augment: batch -> (images, masks), float32 [S, B, h, w, 1] on each replica.
        update: (images, masks, index) -> float32 scalar, the loss over the global batch before step `index` was taken.
        score: batch -> `metrics.Totals`.
    """

    augment: Callable[[Batch], tuple[tf.Tensor, tf.Tensor]]
    update: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    score: Callable[[Batch], metrics.Totals]


def build(
    model: keras.Model,
    logits_of: forward.Logits,
    loss: keras.losses.Loss,
    optimizer: keras.optimizers.Optimizer,
    *,
    augment: Augment,
    batch_size: int,
    xla: bool,
) -> Steps:
    """Build the compiled functions under the current `tf.distribute` strategy.

    Args:
        model: gives logits [B, h, w, 1] for images in 0..1.
        logits_of: the same model behind its preprocessing, from `forward.logits_function`.
        loss: called with (masks, logits); gives one value per image.
        optimizer: built for the model's trainable variables.
        augment: preprocessing, compiled, from `pipeline.training_source`.
        batch_size: images or patches per step over all replicas.
        xla: compile the training step too.
    """
    strategy = tf.distribute.get_strategy()
    quick = forward.fastest_form(model, training=True, xla=xla)

    def augment_batch(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy.run(augment, (batch["image"], batch["mask"], batch["seed"]))

    def update(images: tf.Tensor, masks: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        # a function within a function costs seconds at the first step, so there is one only where XLA needs it
        one = tf.function(update_replica, jit_compile=True, autograph=False) if xla else update_replica
        return strategy.reduce("SUM", strategy.run(one, (images, masks, index)), axis=None)

    def update_replica(images: tf.Tensor, masks: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = quick(images[index], training=True)
            value = tf.reduce_sum(loss(masks[index], logits)) / batch_size
            scaled = optimizer.scale_loss(value)
        optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
        return value

    def score(batch: Batch) -> metrics.Totals:
        per_replica = strategy.run(score_replica, (batch["image"], batch["mask"], batch["image_id"]))
        return metrics.Totals(*(strategy.reduce("SUM", value, axis=None) for value in per_replica))

    def score_replica(images: tf.Tensor, masks: tf.Tensor, image_ids: tf.Tensor) -> metrics.Totals:
        logits = logits_of(images)
        predicted = tf.sigmoid(logits) >= THRESHOLD
        return metrics.totals(masks, predicted, loss(masks, logits), real=image_ids != "")

    return Steps(
        augment=augment_batch, update=tf.function(update, autograph=False), score=tf.function(score, autograph=False)
    )
