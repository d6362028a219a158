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
from ptxtf.training import losses, metrics
from ptxtf.training.averages import MovingAverage

THRESHOLD = 0.5
"""Probability from which a pixel counts as pneumothorax while training is watched."""


@dataclasses.dataclass(frozen=True)
class Learner:
    """What learns, and how.

    Attributes:
        model: gives logits [B, h, w, 1], or a dictionary of such by head, for images in 0..1.
        optimizer: built for all of the model's variables that are ever trained.
        loss: (masks, what the model gives) -> float32 [B], one value per image.
        batch_size: images or patches per step over all replicas.
        accumulate: parts that a replica computes its share of the batch in, one after the other.
        average: takes each step's weights in, if any.
        xla: compile the training step too.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: losses.SegmentationLoss
    batch_size: int
    accumulate: int = 1
    average: MovingAverage | None = None
    xla: bool = False


@dataclasses.dataclass(frozen=True)
class Steps:
    """The compiled functions of a phase of a run.

    Attributes:
        augment: batch -> (images, masks), float32 [S, B, h, w, 1] on each replica.
        update: (images, masks, index) -> float32 scalar, the loss over the global batch before step `index` was taken.
        score: batch -> `metrics.Totals`.
    """

    augment: Callable[[Batch], tuple[tf.Tensor, tf.Tensor]]
    update: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    score: Callable[[Batch], metrics.Totals]


def build(learner: Learner, logits_of: forward.Logits, *, augment: Augment) -> Steps:
    """Build the compiled functions under the current `tf.distribute` strategy.

    Args:
        learner: what learns; its layers are frozen or not as they are to be.
        logits_of: the same model behind its preprocessing, from `forward.logits_function`.
        augment: preprocessing, compiled, from `pipeline.training_source`.
    """
    strategy = tf.distribute.get_strategy()

    def augment_batch(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy.run(augment, (batch["image"], batch["mask"], batch["seed"]))

    def score(batch: Batch) -> metrics.Totals:
        per_replica = strategy.run(score_replica, (batch["image"], batch["mask"], batch["image_id"]))
        return metrics.Totals(*(strategy.reduce("SUM", value, axis=None) for value in per_replica))

    def score_replica(images: tf.Tensor, masks: tf.Tensor, image_ids: tf.Tensor) -> metrics.Totals:
        logits = logits_of(images)
        losses_of = learner.loss.of_mask(masks, logits)
        return metrics.totals(masks, tf.sigmoid(logits), losses_of, threshold=THRESHOLD, real=image_ids != "")

    return Steps(
        augment=augment_batch,
        update=tf.function(_update(learner), autograph=False),
        score=tf.function(score, autograph=False),
    )


def _update(learner: Learner) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the training step."""
    strategy = tf.distribute.get_strategy()
    loss_and_gradients = _loss_and_gradients(learner)

    def update_replica(images: tf.Tensor, masks: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        loss, gradients = loss_and_gradients(images[index], masks[index])
        if isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer) and strategy.num_replicas_in_sync > 1:
            gradients = _shared(gradients)
        learner.optimizer.apply(gradients, learner.model.trainable_variables)
        return loss

    # a function within a function costs seconds at the first step, so there is one only where XLA needs it
    one = tf.function(update_replica, jit_compile=True, autograph=False) if learner.xla else update_replica

    def update(images: tf.Tensor, masks: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        loss = strategy.reduce("SUM", strategy.run(one, (images, masks, index)), axis=None)
        if learner.average:
            learner.average.update()
        return loss

    return update


def _shared(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Give each replica the same gradients, which add up to what they were.

    One that overflows does so on every replica then; Keras' loss scale looks at the first one's alone.
    """
    replica = tf.distribute.get_replica_context()
    return [total / replica.num_replicas_in_sync for total in replica.all_reduce("SUM", gradients)]


_LossAndGradients = tuple[tf.Tensor, list[tf.Tensor]]


def _loss_and_gradients(learner: Learner) -> Callable[[tf.Tensor, tf.Tensor], _LossAndGradients]:
    """Return the function from a replica's images and masks to its share of the loss and (scaled) gradients."""
    model = learner.model
    quick = forward.fastest_form(model, training=True, xla=learner.xla)

    def of_part(images: tf.Tensor, masks: tf.Tensor) -> _LossAndGradients:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(learner.loss(masks, quick(images, training=True))) / learner.batch_size
            scaled = learner.optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, model.trainable_variables)

    def in_parts(images: tf.Tensor, masks: tf.Tensor) -> _LossAndGradients:
        # indexed, as XLA cannot cut at places that are known only when it runs
        images, masks = (tf.reshape(values, [learner.accumulate, -1, *values.shape[1:]]) for values in (images, masks))

        def add(number: tf.Tensor, loss: tf.Tensor, gradients: list[tf.Tensor]) -> tuple:
            more, others = of_part(images[number], masks[number])
            return number + 1, loss + more, [one + other for one, other in zip(gradients, others, strict=True)]

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in model.trainable_variables]
        sums = (tf.constant(0), tf.constant(0.0), zeros)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:  # which cannot talk to one another within a loop
            for _ in range(learner.accumulate):
                with tf.control_dependencies([sums[1], *sums[2]]):
                    sums = add(*sums)
        else:
            is_left = lambda number, *_: number < learner.accumulate  # noqa: E731
            sums = tf.while_loop(is_left, add, sums, parallel_iterations=1)
        return sums[1], sums[2]

    return in_parts if learner.accumulate > 1 else of_part
