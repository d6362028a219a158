"""One pass over the training split, and one over the validation split.

Split (host) ─► batches ─► train: Stage.train ─► mean loss
Split (host) ─► validate: Run.score ─► totals
"""

import collections
import functools
import itertools
import math
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tqdm

from ptxtf.data import served
from ptxtf.data.dataset import as_it_is, readable
from ptxtf.errors import InputError
from ptxtf.training import distribution, metrics, steps, watch
from ptxtf.training.setup import Run, Stage

_LAG = 8
"""Calls after which losses are looked at: they are known by then, so that nobody waits for them."""

Batches = Iterator[list[steps.Batch]]
"""What `Stage.train` takes, call after call."""


def batches(run: Run, stage: Stage, *, first_epoch: int) -> Batches:
    """Yield the batches of one epoch after another without end, from epoch `first_epoch` on."""
    with served.understood(stage.source.services):
        stream = _stream(run, stage, first_epoch=first_epoch)
        by_replica = iter(distribution.distribute(run.strategy, stream, accumulate=run.learner.accumulate))
    made = served.answered(by_replica, stage.source.services)
    while True:
        for left in range(stage.batches_per_epoch, 0, -stage.batches_per_call):
            yield list(itertools.islice(made, min(left, stage.batches_per_call)))


def train(run: Run, stage: Stage, batches: Batches, epoch: int) -> float:
    """Train on every batch of an epoch, counted from 0; return the mean loss."""
    losses: list[float] = []
    pending: collections.deque[tf.Tensor] = collections.deque()
    started, input_s, start = 0, 0.0, time.perf_counter()
    with _bar(run, stage, epoch) as bar:
        while started < stage.steps_per_epoch:
            before = time.perf_counter()
            with readable(run.config.inputs.records_dir):
                call = next(batches)
            input_s += time.perf_counter() - before
            pending.append(stage.train(call))
            started += len(pending[-1])
            if len(pending) > _LAG:
                losses += _finite(run, stage, epoch, len(losses), pending.popleft())
            share = input_s / (time.perf_counter() - start)
            bar.set_postfix_str(f"waiting for batches {share:.0%}, {watch.memory_gib():.1f} GiB", refresh=False)
            bar.update(len(pending[-1]))
        while pending:
            losses += _finite(run, stage, epoch, len(losses), pending.popleft())
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


def validate(run: Run) -> metrics.Totals | None:
    """Return the totals over the validation split, of whole images in either mode; None where there is none."""
    if not run.val_split:
        return None
    batches = run.val_split.batches(run.config.inputs.batch_size, training=False).map(
        as_it_is(lambda batch: (batch["image"], batch["mask"], batch["image_id"] != ""))
    )
    with readable(run.config.inputs.records_dir):
        return functools.reduce(metrics.merge, map(run.score, distribution.distribute(run.strategy, batches)))


def images_of_one_more(run: Run) -> Iterator[tf.Tensor]:
    """Yield the images of one more epoch, augmented, as the model takes them."""
    batch_size, training = run.config.inputs.batch_size, run.config.training
    batches = run.source.here().epochs(batch_size, seed=training.seed, first=training.epochs)
    with readable(run.config.inputs.records_dir):
        for batch in batches.take(run.source.split.steps(batch_size)):
            for images in run.source.augment_batch(batch)[0]:
                yield from tf.split(images, batch_size // of_one_device(run))


def of_one_device(run: Run) -> int:
    """Return how many images a device takes at once."""
    return run.config.inputs.batch_size // (run.strategy.num_replicas_in_sync * run.learner.accumulate)


def _stream(run: Run, stage: Stage, *, first_epoch: int) -> tf.data.Dataset:
    """Return batches as `Stage.train` takes them, to be augmented on the replicas, or augmented by tf.data.

    By tf.data only where it was asked for, even where the processor is the only replica: the model fills all of its
    cores, so that working ahead, as `ptxtf.batches` does there, would gain nothing.
    """
    batch_size, seed = run.config.inputs.batch_size, run.config.training.seed
    if run.config.preprocessing.preprocess_on == "host":
        augmented = stage.source.augmented(batch_size, seed=seed, first=first_epoch)
        steps_of = tf.data.Dataset.from_tensor_slices
        stream = augmented.flat_map(as_it_is(lambda images, masks: steps_of((images, masks)))).prefetch(2)
    else:
        stream = stage.source.epochs(batch_size, seed=seed, first=first_epoch).map(
            as_it_is(lambda batch: (batch["image"], batch["mask"], batch["seed"]))
        )
    return stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _bar(run: Run, stage: Stage, epoch: int) -> tqdm.tqdm:
    return tqdm.tqdm(
        total=stage.steps_per_epoch,
        desc=f"epoch {epoch + 1}",
        unit="step",
        leave=False,
        disable=None if run.is_chief else True,
    )


def _finite(run: Run, stage: Stage, epoch: int, step: int, losses: tf.Tensor) -> list[float]:
    """Return the losses of some steps, of which the first is number `step`.

    Raises:
        InputError: one is no finite number.
    """
    values = losses.numpy().tolist()
    bad = [index for index, value in enumerate(values) if not math.isfinite(value)]
    if not bad:
        return values
    step, value = step + bad[0], values[bad[0]]
    batch_size, seed = run.config.inputs.batch_size, run.config.training.seed
    steps_per_batch = stage.steps_per_epoch // stage.source.split.steps(batch_size)
    batches = stage.source.here().epochs(batch_size, seed=seed, first=epoch)
    batch = next(iter(batches.skip(step // steps_per_batch)))
    ids = ", ".join(image_id.decode() for image_id in batch["image_id"].numpy())
    raise InputError(
        f"{run.run_dir}: expected a loss that is a number; a lower --learning_rate or --clip_norm may help. The state "
        f"after epoch {epoch} is kept. Received: loss={value} at step {step + 1} of epoch {epoch + 1}, images {ids}"
    )
