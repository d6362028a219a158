"""One pass over the training split, and one over the validation split.

Split (host) ─► batches: steps.augment ─► train: steps.update ─► mean loss
Split (host) ─► validate: steps.score ─► totals
"""

import collections
import functools
import math
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tqdm

from ptxtf.data.dataset import as_it_is, readable
from ptxtf.errors import InputError
from ptxtf.training import distribution, metrics, watch
from ptxtf.training.setup import Run, Stage

_LAG = 8
"""Steps after which a loss is looked at: it is known by then, so that nobody waits for it."""

_Stream = Iterator[tuple[tf.Tensor, tf.Tensor]]
"""Images and masks, float32 [S, B, h, w, 1] on each replica, for S steps."""

Batches = Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""The same, once for each step, with its number among the S."""


def batches(run: Run, stage: Stage, *, first_epoch: int) -> Batches:
    """Yield the batches of one epoch after another without end, from epoch `first_epoch` on."""
    for images, masks in _augmented(run, stage, first_epoch=first_epoch):
        for index in range(run.strategy.experimental_local_results(images)[0].shape[0]):
            yield images, masks, tf.constant(index)


def train(run: Run, stage: Stage, batches: Batches, epoch: int) -> float:
    """Train on every batch of an epoch, counted from 0; return the mean loss."""
    losses: list[float] = []
    pending: collections.deque[tf.Tensor] = collections.deque()
    input_s, start = 0.0, time.perf_counter()
    with _bar(run, stage, epoch) as bar:
        for _ in range(stage.steps_per_epoch):
            before = time.perf_counter()
            with readable(run.config.inputs.records_dir):
                step = next(batches)
            input_s += time.perf_counter() - before
            pending.append(stage.functions.update(*step))
            if len(pending) > _LAG:
                losses.append(_finite(run, stage, epoch, len(losses), pending.popleft()))
            share = input_s / (time.perf_counter() - start)
            bar.set_postfix_str(f"waiting for batches {share:.0%}, {watch.memory_gib():.1f} GiB", refresh=False)
            bar.update()
        while pending:
            losses.append(_finite(run, stage, epoch, len(losses), pending.popleft()))
    return math.fsum(losses) / len(losses)


def check_weights(run: Run, epoch: int) -> None:
    """Check the weights that an epoch, counted from 0, has led to: its last step's loss was found before that step.

    Raises:
        InputError: some are no finite numbers.
    """
    broken = [weight.path for weight in run.learner.model.weights if not np.isfinite(weight.numpy()).all()]
    if broken:
        raise InputError(
            f"{run.run_dir}: expected weights that are numbers after epoch {epoch + 1}; a lower --learning_rate or "
            f"--clip_norm may help. The state after epoch {epoch} is kept. Received: {broken[0]} and "
            f"{len(broken) - 1} others that are not"
        )


def validate(run: Run, stage: Stage) -> metrics.Totals | None:
    """Return the totals over the validation split, of whole images in either mode; None where there is none."""
    if not run.val_split:
        return None
    batches = run.val_split.batches(run.config.inputs.batch_size, training=False)
    with readable(run.config.inputs.records_dir):
        return functools.reduce(
            metrics.merge, map(stage.functions.score, distribution.distribute(run.strategy, batches))
        )


def images_of_one_more(run: Run) -> Iterator[tf.Tensor]:
    """Yield the images of one more epoch, augmented, as the model takes them."""
    batch_size, training = run.config.inputs.batch_size, run.config.training
    batches = run.source.epochs(batch_size, seed=training.seed, first=training.epochs)
    for batch in batches.take(run.source.split.steps(batch_size)):
        for images in run.source.augment_batch(batch)[0]:
            yield from tf.split(images, batch_size // of_one_device(run))


def of_one_device(run: Run) -> int:
    """Return how many images a device takes at once."""
    return run.config.inputs.batch_size // (run.strategy.num_replicas_in_sync * run.learner.accumulate)


def _augmented(run: Run, stage: Stage, *, first_epoch: int) -> _Stream:
    """Yield one epoch after another without end, augmented on the replicas or on the host.

    On the replicas unless the host was asked for, even where the processor is the only replica: the model fills all of
    its cores, so that working ahead, as `ptxtf.batches` does there, would gain nothing.
    """
    batch_size, seed = run.config.inputs.batch_size, run.config.training.seed
    if run.config.preprocessing.preprocess_on == "host":
        augmented = stage.source.augmented(batch_size, seed=seed, first=first_epoch)
        steps_of = tf.data.Dataset.from_tensor_slices
        single = augmented.flat_map(as_it_is(lambda images, masks: steps_of((images, masks)))).prefetch(2)
        for step in distribution.distribute(run.strategy, single, accumulate=run.learner.accumulate):
            yield run.strategy.run(lambda images, masks: (images[tf.newaxis], masks[tf.newaxis]), step)
        return
    batches = stage.source.epochs(batch_size, seed=seed, first=first_epoch)
    for batch in distribution.distribute(run.strategy, batches, accumulate=run.learner.accumulate):
        yield stage.functions.augment(batch)


def _bar(run: Run, stage: Stage, epoch: int) -> tqdm.tqdm:
    return tqdm.tqdm(
        total=stage.steps_per_epoch,
        desc=f"epoch {epoch + 1}",
        unit="step",
        leave=False,
        disable=None if run.is_chief else True,
    )


def _finite(run: Run, stage: Stage, epoch: int, step: int, loss: tf.Tensor) -> float:
    """Return a step's loss.

    Raises:
        InputError: it is no finite number.
    """
    value = float(loss)
    if math.isfinite(value):
        return value
    batch_size, seed = run.config.inputs.batch_size, run.config.training.seed
    steps_per_batch = stage.steps_per_epoch // stage.source.split.steps(batch_size)
    batches = stage.source.epochs(batch_size, seed=seed, first=epoch)
    batch = next(iter(batches.skip(step // steps_per_batch)))
    ids = ", ".join(image_id.decode() for image_id in batch["image_id"].numpy())
    raise InputError(
        f"{run.run_dir}: expected a loss that is a number; a lower --learning_rate or --clip_norm may help. The state "
        f"after epoch {epoch} is kept. Received: loss={value} at step {step + 1} of epoch {epoch + 1}, images {ids}"
    )
