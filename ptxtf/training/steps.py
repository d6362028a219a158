"""Model, loss, optimizer and strategy -> the compiled functions that the loop calls.

    batches (host, uint8) ─► train: for each, augment (XLA) ─► images, masks [S, B, h, w, 1] ─► S steps
    batch (host, uint8) ─► score: prepare ─► model ─► stitch ─► loss, Dice per image (whole images in either mode)

Preprocessing is always compiled by XLA; the model where that pays (see `TrainConfig.xla`). Under several replicas each
sees its share of the batch and gradients are summed, so losses are divided by the global batch size. All that a batch
asks for is one call, and nothing in it is for the host alone, as TPUs want it.
"""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from ptxtf import forward
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


Batch = tuple[tf.Tensor, ...]
"""What a compiled function takes of a batch, by replica."""


Train = Callable[[Sequence[Batch]], tf.Tensor]
Score = Callable[[Batch], metrics.Totals]


def train_function(learner: Learner, augment: Callable[..., tuple[tf.Tensor, tf.Tensor]]) -> Train:
    """Build what trains on some batches in a row, under the current `tf.distribute` strategy.

    Args:
        learner: what learns; its layers are frozen or not as they are to be.
        augment: a replica's part of a batch -> images and masks of S steps, float32 [S, B, h, w, 1].

    Returns:
        Compiled function: batches, each what `augment` takes -> float32 [batches * S], the loss over the global batch
        before each step.
    """
    strategy = tf.distribute.get_strategy()
    update = _update(learner)

    def train(batches: Sequence[Batch]) -> tf.Tensor:
        stacked = strategy.run(lambda *each: tuple(map(tf.stack, zip(*each, strict=True))), batches)
        return tf.reshape(_one_by_one(lambda number: train_on(stacked, number), len(batches)), [-1])

    def train_on(stacked: Batch, number: tf.Tensor) -> tf.Tensor:
        images, masks = strategy.run(augment_replica, (stacked, number))
        steps = strategy.experimental_local_results(images)[0].shape[0]
        return _one_by_one(lambda index: update(images, masks, index), steps)

    def augment_replica(stacked: Batch, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(*(values[number] for values in stacked))

    return tf.function(train, autograph=False)


def score_function(learner: Learner, logits_of: forward.Logits) -> Score:
    """Build what scores a batch of whole images, under the current `tf.distribute` strategy.

    Args:
        learner: whose loss is found, of masks alone.
        logits_of: its model behind its preprocessing, from `forward.logits_function`.

    Returns:
        Compiled function: (images, masks, which of them are no filler) -> `metrics.Totals`.
    """
    strategy = tf.distribute.get_strategy()

    def score(batch: Batch) -> metrics.Totals:
        per_replica = strategy.run(score_replica, batch)
        return metrics.Totals(*(strategy.reduce("SUM", value, axis=None) for value in per_replica))

    def score_replica(images: tf.Tensor, masks: tf.Tensor, real: tf.Tensor) -> metrics.Totals:
        logits = logits_of(images)
        losses_of = learner.loss.of_mask(masks, logits)
        return metrics.totals(masks, tf.sigmoid(logits), losses_of, threshold=THRESHOLD, real=real)

    return tf.function(score, autograph=False)


def _one_by_one(of_index: Callable[[tf.Tensor], tf.Tensor], count: int) -> tf.Tensor:
    """Return what a function that changes variables gives for 0, 1, … count - 1, stacked."""
    if count == 1:
        return of_index(tf.constant(0))[tf.newaxis]
    return tf.map_fn(of_index, tf.range(count), fn_output_signature=tf.float32, parallel_iterations=1)


def _update(learner: Learner) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the training step: (images, masks, index), of which `images[index]` are used -> the loss before it."""
    strategy = tf.distribute.get_strategy()
    loss_and_gradients = _loss_and_gradients(learner)

    def update_replica(images: tf.Tensor, masks: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        loss, gradients = loss_and_gradients(images[index], masks[index])
        if isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer) and strategy.num_replicas_in_sync > 1:
            gradients = _shared(gradients)
        learner.optimizer.apply(gradients, learner.model.trainable_variables)
        if learner.average:
            learner.average.update()
        return loss

    # a function within a function costs seconds at the first step, so there is one only where XLA needs it
    one = tf.function(update_replica, jit_compile=True, autograph=False) if learner.xla else update_replica
    return lambda *step: strategy.reduce("SUM", strategy.run(one, step), axis=None)


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
