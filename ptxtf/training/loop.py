"""Settings -> a trained run: the loop over epochs, and everything that stands around it.

    records ─► batches (host) ─► training steps, scores (device) ─► checkpoint, history.csv, events ─► model.keras

An epoch depends on the seed and its number alone, so that a run that was stopped goes on as if it had not been.
"""

import contextlib
import dataclasses
import io
import itertools
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ptxtf import files, forward, rundir
from ptxtf.config import RunConfig
from ptxtf.data.dataset import Batch, common_size, names, readable
from ptxtf.errors import InputError
from ptxtf.inference import choose_rule
from ptxtf.training import averages, checkpoints, distribution, epochs, history, metrics, schedules, setup, watch
from ptxtf.training.setup import Run, Stage

Row = dict[str, float]
"""Of history.csv."""


def train(config: RunConfig) -> files.Path:
    """Train a network, or go on with a run that was stopped; return the run's folder.

    Reads the splits that `config.inputs` names; writes run.flags, checkpoints, history.csv, TensorBoard events,
    curves.png, model.keras and rule.json to `config.training.run_dir`.

    Raises:
        InputError: settings that do not fit the records, the devices, the backbone or the run's folder; another process
            at work there; a loss that is no number; a disk that is full; another machine that is gone.
    """
    _check(config)
    if machines := distribution.machines():
        print(f"waiting for all machines of TF_CONFIG: {machines}", flush=True)
    elif name := distribution.tpu():
        print(f"waiting for the TPU of TPU_NAME: {name}", flush=True)
    strategy = distribution.strategy()  # before TensorFlow computes
    run_dir = files.path(config.training.run_dir)
    with _at_work(run_dir, strategy, dry_run=config.training.dry_run):
        begun = rundir.checkpoints(run_dir)
        config = complete(config, begun=bool(begun))
        if begun:
            rundir.check_same(run_dir, config)
        elif (run_dir / rundir.MODEL).is_file() and not config.training.dry_run:
            raise InputError(
                f"{run_dir / rundir.CHECKPOINTS}: expected the checkpoints of the run that ended in {rundir.MODEL}; "
                "give another run another --run_dir. Received: none"
            )
        with distribution.together(strategy):
            distribution.check_alike(strategy, rundir.shared(config))
            run = setup.build(config, strategy, begun=bool(begun))
            print(_means(run), flush=True)
            if config.training.dry_run:
                _try_out(run)
            else:
                _train(run, begun)
    return run_dir


def complete(config: RunConfig, *, begun: bool) -> RunConfig:
    """Replace "as stored" and "auto" by what they are here, or were where the run was begun.

    Raises:
        InputError: images that keep their own sizes, and none is given; a begun run without settings.
    """
    size = common_size(config.inputs.records_dir, image_size=config.inputs.image_size)
    inputs = dataclasses.replace(config.inputs, image_size=size)
    if config.network.precision != "auto":
        return config._replace(inputs=inputs)
    run_dir = files.path(config.training.run_dir)
    precision = rundir.read_flags(run_dir).network.precision if begun else forward.choose_precision("auto")
    return config._replace(inputs=inputs, network=dataclasses.replace(config.network, precision=precision))


@contextlib.contextmanager
def _at_work(run_dir: files.Path, strategy: tf.distribute.Strategy, *, dry_run: bool) -> Iterator[None]:
    """Keep the folder for this run; let only one of several machines speak and write."""
    if not distribution.is_chief(strategy):
        with contextlib.redirect_stdout(io.StringIO()):
            yield
        return
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"{run_dir}: expected a folder as --run_dir. Received: a file")
    if dry_run:
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with files.locked(run_dir):
        for folder in (run_dir, run_dir / rundir.EPOCHS):
            files.sweep(folder)
        yield


def _check(config: RunConfig) -> None:
    """Refuse settings of one stage that do not go with those of another."""
    inputs, network, optimizer, training = config.inputs, config.network, config.optimizer, config.training
    if network.freeze_encoder and optimizer.encoder_rate != 1:
        raise InputError(
            f"expected no encoder_rate with freeze_encoder. Received: encoder_rate={optimizer.encoder_rate:g}"
        )
    if config.preprocessing.mode == "patch" and training.first_sizes:
        raise InputError(f"expected no first_sizes with mode=patch. Received: first_sizes={training.first_sizes}")
    if not inputs.val_split and (training.patience or training.keep == "dice" or optimizer.schedule == "plateau"):
        raise InputError("expected a --val_split for --patience, --keep=dice and --schedule=plateau. Received: none")
    if both := set(inputs.train_split.split("+")) & set(inputs.val_split.split("+")):
        raise InputError(f"expected a --val_split that is not trained on. Received: {', '.join(sorted(both))} in both")
    ends = {"freeze_epochs": max(network.freeze_epochs, default=0)}
    ends["first_sizes"] = len(training.first_sizes) * training.size_epochs
    for name, end in ends.items():
        if end >= training.epochs:
            raise InputError(f"expected --epochs above {end}, where --{name} end. Received: epochs={training.epochs}")


def _note_records(run: Run, *, is_begun: bool) -> None:
    """Write which images the run learns from; when it goes on, they have to be the same.

    Raises:
        InputError: they are others.
    """
    now, before = list(_learnt_from(run)), rundir.read_trained_on(run.run_dir)
    if is_begun and before is not None and before != now:
        raise InputError(
            f"{run.config.inputs.records_dir}: expected the images that the run was begun with, as "
            f"{run.run_dir / rundir.TRAINED_ON} lists them; give another run another --run_dir. Received: others"
        )
    rundir.write_trained_on(run.run_dir, now)


def _learnt_from(run: Run) -> Iterator[rundir.Used]:
    """Yield the images that a run learns from, and is chosen by."""
    inputs = run.config.inputs
    for used, split in (("train", inputs.train_split), ("val", inputs.val_split)):
        for image_id, patient in names(inputs.records_dir, split) if split else ():
            yield rundir.Used(image_id, patient, used)


def _means(run: Run) -> str:
    """Return what is printed of the means that a run is computed by."""
    count = run.strategy.num_replicas_in_sync
    return (
        f"{run.run_dir}: --precision={run.config.network.precision}, --xla={'on' if run.learner.xla else 'off'}, "
        f"{count} device{'s' * (count > 1)}"
    )


def _train(run: Run, begun: list[files.Path]) -> None:
    """Run the epochs that are still to come, and write the final model."""
    learner, count = run.learner, run.config.training.epochs
    with run.strategy.scope():
        state = checkpoints.RunState(run.run_dir, learner.model, learner.optimizer, learner.average)
    if begun:
        for damage in state.restore(begun, epochs=count):
            print(f"{damage}; going on with the one before")
        print(f"{run.run_dir}: going on after epoch {state.epoch} of {count}")
    rows = history.read(run.run_dir, epochs=state.epoch)
    if run.is_chief:
        rundir.write_flags(run.run_dir, run.config)
        _note_records(run, is_begun=bool(begun))
    events = watch.Watch(run.run_dir, _cases(run), run.logits_of) if run.is_chief else None
    stage = None
    for phase, following in itertools.zip_longest(run.phases, run.phases[1:]):
        last = following.first if following else count
        if state.epoch < last and not _is_over(run, rows):
            stage = setup.stage(run, phase, before=stage)
            _train_phase(run, stage, last, state, rows, events)
    if run.is_chief:
        _finish(run, rows)
    distribution.meet(run.strategy)


def _train_phase(
    run: Run, stage: Stage, last: int, state: checkpoints.RunState, rows: list[Row], events: watch.Watch | None
) -> None:
    """Run the epochs of a phase that are still to come, up to `last`."""
    batches = epochs.batches(run, stage, first_epoch=state.epoch)
    for epoch in range(state.epoch, last):
        run.rate.factor.assign(schedules.plateau_factor(run.config.optimizer, history.val_losses(rows)))
        start = time.perf_counter()
        row = {"epoch": epoch + 1.0, "loss": epochs.train(run, stage, batches, epoch)}
        epochs.check_weights(run, epoch)
        with run.learner.average.in_place() if run.learner.average else contextlib.nullcontext():
            totals = epochs.validate(run)
            row |= {f"val_{name}": value for name, value in metrics.means(totals).items()} if totals else {}
            rows.append(history.rounded(row | {"seconds": time.perf_counter() - start}))
            _note(run, rows, totals, events)
        if run.is_chief and not (run.run_dir / rundir.FLAGS).is_file():
            raise InputError(
                f"{run.run_dir}: expected the run's folder to stay while it goes on. Received: no {rundir.FLAGS}"
            )
        state.save(write=run.is_chief)
        if run.is_chief:
            rundir.note_memory(run.run_dir, watch.memory_gib())
            # those of the epoch before are for its checkpoint, should this one be damaged
            checkpoints.drop_weights(run.run_dir, but=[*_chosen(run, rows), *_chosen(run, rows[:-1])])
        print(_line(rows[-1], run.config.training.epochs), flush=True)
        if _is_over(run, rows):
            return


def _note(run: Run, rows: list[Row], totals: metrics.Totals | None, events: watch.Watch | None) -> None:
    """Write what the last epoch has brought, and its weights if they may become the final ones."""
    if not events:
        return
    events.epoch(rows[-1], totals.pixels.numpy() if totals else None)
    if len(rows) in _chosen(run, rows):
        checkpoints.keep_weights(run.run_dir, run.learner.model, len(rows))
    history.write(run.run_dir, rows)


def _finish(run: Run, rows: list[Row]) -> None:
    """Write the final model, made of the epochs chosen, the curves, and the rule for masks."""
    kept = _chosen(run, rows)
    checkpoints.load_mean(run.run_dir, run.learner.model, kept)
    if len(kept) > 1:
        # the phase of the last epoch, which the process may not have been in
        setup.freeze(run, [phase for phase in run.phases if phase.first < len(rows)][-1])
        averages.recalibrate(run.learner.model, epochs.images_of_one_more(run))
    (run.run_dir / rundir.RULE).unlink(missing_ok=True)  # that of another model
    checkpoints.write_model(run.run_dir, run.learner.model)
    checkpoints.drop_weights(run.run_dir, but=kept)
    watch.draw_curves(run.run_dir, rows)
    inputs = run.config.inputs
    if inputs.val_split:
        choice = choose_rule(run.run_dir, inputs.records_dir, inputs.val_split, batch_size=epochs.of_one_device(run))
        print(f"{run.run_dir / rundir.RULE}: {choice}")


def _try_out(run: Run) -> None:
    """Train on two batches of the last phase, and say what its epochs take."""
    stage = dataclasses.replace(setup.stage(run, run.phases[-1]), batches_per_call=1)
    batches = epochs.batches(run, stage, first_epoch=0)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        with readable(run.config.inputs.records_dir):
            call = next(batches)
        losses = stage.train(call).numpy()
        if not np.isfinite(losses).all():
            raise InputError(
                f"expected a loss that is a number; a lower --learning_rate or --clip_norm may help. Received: {losses}"
            )
        steps = len(losses)
        seconds.append(time.perf_counter() - start)
    each, count = seconds[1] / steps, stage.steps_per_epoch
    print(
        f"first batch {seconds[0]:.1f} s, then {each:.2f} s a step; an epoch of {count} steps "
        f"{count * each:.0f} s without validation; memory {watch.memory_gib():.1f} GiB at most"
    )
    distribution.meet(run.strategy)


def _chosen(run: Run, rows: list[Row]) -> list[int]:
    return checkpoints.chosen(rows, keep=run.config.training.keep, count=run.config.training.average)


def _is_over(run: Run, rows: list[Row]) -> bool:
    return schedules.is_over(run.config.training.patience, history.val_losses(rows))


def _cases(run: Run) -> Batch | None:
    """Return the validation cases that are drawn after each epoch."""
    count = run.config.training.overlays
    if not run.val_split or not count:
        return None
    with readable(run.config.inputs.records_dir):
        return watch.choose_cases(run.val_split, count, run.config.inputs.batch_size)


def _line(row: Row, epochs: int) -> str:
    """Return what is printed after an epoch."""
    shown = [f"{name} {row[name]:.4f}" for name in ("loss", "val_loss", "val_dice", "val_positive_dice") if name in row]
    return f"epoch {row['epoch']:.0f}/{epochs}  {'  '.join(shown)}  {row['seconds']:.1f} s"
