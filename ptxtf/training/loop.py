"""Settings -> a trained run: the loop over epochs, and everything that stands around it.

    records ─► Split (host) ─► steps.augment, steps.update (device) ─► checkpoint, history.csv, events ─► model.keras

An epoch depends on the seed and its number alone, so that a run that was stopped goes on as if it had not been.
"""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
import tqdm

from ptxtf import files, forward, models, pipeline, preprocess, rundir
from ptxtf.config import InputConfig, ModelConfig, Precision, PreprocessConfig, TrainConfig
from ptxtf.data.dataset import Split, as_it_is, readable
from ptxtf.errors import InputError
from ptxtf.training import checkpoints, history, losses, metrics, optimizers, schedules, steps, watch


@dataclasses.dataclass(frozen=True)
class _Run:
    """What the epochs of one run have in common."""

    inputs: InputConfig
    preprocessing: PreprocessConfig
    seed: int
    source: pipeline.TrainingSource
    val_split: Split | None
    steps_per_epoch: int
    strategy: tf.distribute.Strategy
    functions: steps.Steps


def train(
    inputs: InputConfig, preprocessing: PreprocessConfig, network: ModelConfig, training: TrainConfig
) -> files.Path:
    """Train a network, or go on with a run that was stopped; return the run's folder.

    Reads the splits that `inputs` names; writes run.flags, checkpoints, history.csv, TensorBoard events, curves.png and
    model.keras to `training.run_dir`.

    Raises:
        InputError: settings that do not fit the records, the backbone or the run's folder.
    """
    if network.freeze_encoder and training.encoder_rate != 1:
        raise InputError(
            f"expected no encoder_rate with freeze_encoder. Received: encoder_rate={training.encoder_rate:g}"
        )
    run_dir = files.path(training.run_dir)
    source = pipeline.training_source(inputs, preprocessing)
    val_split = _val_split(inputs)
    files.sweep(run_dir)
    begun = rundir.newest_checkpoint(run_dir)
    # run.flags tells what "as stored" and "auto" were
    inputs = dataclasses.replace(inputs, image_size=source.split.image_size)
    if chosen := network.precision == "auto":
        network = dataclasses.replace(network, precision=_choose_precision(run_dir, begun=bool(begun)))
    settings = rundir.Settings(inputs, preprocessing, network, training)
    steps_per_batch = preprocess.patches_per_image(preprocessing, image_size=(inputs.image_size, inputs.image_size))
    steps_per_epoch = source.split.steps(inputs.batch_size) * steps_per_batch

    keras.utils.set_random_seed(training.seed)
    strategy = _strategy()
    xla = forward.use_xla(training.xla) and strategy.num_replicas_in_sync == 1  # replicas sum between XLA's programs
    if begun:
        rundir.check_same(run_dir, settings)
    with strategy.scope():
        # a begun run has its weights in the checkpoint, and need not find the first ones again
        model = build_model(dataclasses.replace(network, weights="none") if begun else network)
        optimizer = optimizers.adam(
            model,
            schedules.learning_rate(training, steps_per_epoch=steps_per_epoch),
            encoder_rate=training.encoder_rate,
            precision=network.precision,
        )
        state = checkpoints.RunState(run_dir, model, optimizer)
        logits_of = forward.logits_function(model, preprocessing, xla=xla)
        functions = steps.build(
            model, logits_of, _loss(training), optimizer, augment=source.augment, batch_size=inputs.batch_size, xla=xla
        )
    if chosen:
        print(f"{run_dir}: --precision={network.precision}, {'as it was begun' if begun else 'as this machine has it'}")
    if begun:
        state.restore(begun, epochs=training.epochs)
        print(f"{run_dir}: going on after epoch {state.epoch} of {training.epochs}")
    rundir.write_flags(run_dir, settings)
    run = _Run(inputs, preprocessing, training.seed, source, val_split, steps_per_epoch, strategy, functions)
    with readable(inputs.records_dir):
        cases = (
            watch.choose_cases(val_split, training.overlays, inputs.batch_size)
            if val_split and training.overlays
            else None
        )
    events = watch.Watch(run_dir, cases, logits_of)
    rows = history.read(run_dir, epochs=state.epoch)
    stream = _augmented(run, first_epoch=state.epoch)
    for epoch in range(state.epoch, training.epochs):
        with readable(inputs.records_dir):
            rows.append(_train_and_validate(run, stream, epoch))
        history.write(run_dir, rows)
        events.epoch(rows[-1])
        state.save(val_loss=rows[-1].get("val_loss"))
        print(_line(rows[-1], training.epochs), flush=True)
    state.finish()
    watch.draw_curves(run_dir, rows)
    return run_dir


def _choose_precision(run_dir: files.Path, *, begun: bool) -> Precision:
    """Return the precision that a run was begun with, or that is right for this machine."""
    if begun:
        return rundir.read_flags(run_dir).network.precision
    return forward.choose_precision("auto")


def _val_split(inputs: InputConfig) -> Split | None:
    """Return the split that is validated on, if there is to be one."""
    if not inputs.val_split:
        return None
    return Split(inputs.records_dir, inputs.val_split, image_size=inputs.image_size, cache=inputs.cache != "none")


def build_model(network: ModelConfig) -> keras.Model:
    """Return the network that the settings describe."""
    options: dict[str, Any] = {}
    if network.decoder in ("unet", "unet_plus_plus"):
        options["decoder_filters"] = network.decoder_filters
    if network.decoder == "unet":
        options |= {"upsampling": network.upsampling, "attention": network.attention}
    model = getattr(models, network.decoder)(
        network.backbone,
        weights=None if network.weights == "none" else network.weights,
        input_scaling=None if network.input_scaling == "family" else network.input_scaling,
        precision=forward.choose_precision(network.precision),
        **options,
    )
    if network.freeze_encoder:
        models.freeze(model)
    return model


def _strategy() -> tf.distribute.Strategy:
    """Return the strategy for what the machine has: all GPUs where there are several, else the one device."""
    return (
        tf.distribute.MirroredStrategy()
        if len(tf.config.list_logical_devices("GPU")) > 1
        else tf.distribute.get_strategy()
    )


def _loss(training: TrainConfig) -> keras.losses.Loss:
    return losses.focal_dice(
        focal_weight=training.focal_weight,
        dice_weight=training.dice_weight,
        alpha=training.focal_alpha,
        gamma=training.focal_gamma,
        reduction=None,
    )


_Stream = Iterator[tuple[tf.Tensor, tf.Tensor]]
"""Images and masks, float32 [S, B, h, w, 1] on each replica, for S steps."""


def _train_and_validate(run: _Run, stream: _Stream, epoch: int) -> dict[str, float]:
    """Run one epoch, counted from 0, and return its row of history.csv."""
    start = time.perf_counter()
    row = {"epoch": epoch + 1.0, "loss": _train_epoch(run, stream, epoch)}
    if run.val_split:
        row |= {f"val_{name}": value for name, value in _validate(run, run.val_split).items()}
    return row | {"seconds": time.perf_counter() - start}


def _train_epoch(run: _Run, stream: _Stream, epoch: int) -> float:
    """Train on every batch of an epoch once; return the mean loss."""
    values: list[tf.Tensor] = []
    with tqdm.tqdm(total=run.steps_per_epoch, desc=f"epoch {epoch + 1}", unit="step", leave=False, disable=None) as bar:
        while len(values) < run.steps_per_epoch:
            images, masks = next(stream)
            for index in range(run.strategy.experimental_local_results(images)[0].shape[0]):
                values.append(run.functions.update(images, masks, tf.constant(index)))
                bar.update()
    return float(tf.reduce_mean(values))


def _augmented(run: _Run, *, first_epoch: int) -> _Stream:
    """Yield one epoch after another without end, augmented on the replicas or on the host.

    On the replicas unless the host was asked for, even where the processor is the only replica: the model fills all of
    its cores, so that working ahead, as `ptxtf.batches` does there, would gain nothing.
    """
    distribute = run.strategy.experimental_distribute_dataset
    if run.preprocessing.preprocess_on == "host":
        augmented = run.source.augmented(run.inputs.batch_size, seed=run.seed, first=first_epoch)
        steps_of = tf.data.Dataset.from_tensor_slices  # one after another, as replicas share the first axis
        for step in distribute(
            augmented.flat_map(as_it_is(lambda images, masks: steps_of((images, masks)))).prefetch(2)
        ):
            yield run.strategy.run(lambda images, masks: (images[tf.newaxis], masks[tf.newaxis]), step)
        return
    for batch in distribute(run.source.split.epochs(run.inputs.batch_size, seed=run.seed, first=first_epoch)):
        yield run.functions.augment(batch)


def _validate(run: _Run, split: Split) -> dict[str, float]:
    """Return loss, Dice (empty-empty = 1) and Dice over positives of a split, whole images in either mode."""
    batches = split.batches(run.inputs.batch_size, training=False)
    parts = [run.functions.score(batch) for batch in run.strategy.experimental_distribute_dataset(batches)]
    return metrics.means(functools.reduce(metrics.merge, parts))


def _line(row: dict[str, float], epochs: int) -> str:
    """Return what is printed after an epoch."""
    shown = [f"{name} {row[name]:.4f}" for name in ("loss", "val_loss", "val_dice", "val_positive_dice") if name in row]
    return f"epoch {row['epoch']:.0f}/{epochs}  {'  '.join(shown)}  {row['seconds']:.1f} s"
