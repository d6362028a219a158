"""Settings and a strategy -> what a run's epochs need: network, optimizer, functions, records.

`build` makes what the whole run has in common, `stage` what the epochs of a phase (see `schedules.phases`) have.
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from ptxtf import files, forward, models, pipeline, preprocess
from ptxtf.config import LossConfig, ModelConfig, RunConfig
from ptxtf.data.dataset import Split
from ptxtf.errors import InputError
from ptxtf.training import distribution, losses, optimizers, schedules, steps
from ptxtf.training.averages import MovingAverage
from ptxtf.training.schedules import LearningRate, Phase


@dataclasses.dataclass(frozen=True)
class Run:
    """What all epochs have in common.

    Attributes:
        config: the settings, "as stored" and "auto" replaced by what they were.
        run_dir: where it writes.
        strategy: over which devices.
        learner: model, optimizer and loss.
        rate: the learning rate.
        logits_of: uint8 images [B, H, W, 1] -> float32 logits, by the model as it is at the time.
        score: what scores a batch of the validation split.
        source: what it is trained on, at the size of the last phase.
        val_split: what it is validated on, if anything.
        phases: of the epochs.
    """

    config: RunConfig
    run_dir: files.Path
    strategy: tf.distribute.Strategy
    learner: steps.Learner
    rate: LearningRate
    logits_of: forward.Logits
    score: steps.Score
    source: pipeline.TrainingSource
    val_split: Split | None
    phases: list[Phase]

    @property
    def is_chief(self) -> bool:
        """Whether this process writes and speaks for all."""
        return distribution.is_chief(self.strategy)


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the epochs of a phase have in common.

    Attributes:
        source: the training records.
        train: what trains on some batches of it in a row.
        batches_per_epoch: how many it takes in an epoch; a batch that the host has augmented is one step's.
        batches_per_call: how many it takes at once.
        steps_per_epoch: training steps in an epoch, one or more a batch.
    """

    source: pipeline.TrainingSource
    train: steps.Train
    batches_per_epoch: int
    batches_per_call: int
    steps_per_epoch: int


def build(config: RunConfig, strategy: tf.distribute.Strategy, *, begun: bool) -> Run:
    """Build a run.

    Args:
        config: the settings.
        strategy: over which devices.
        begun: whether its weights come from a checkpoint.

    Raises:
        InputError: settings that do not fit the records, the devices or the backbone.
    """
    inputs, training = config.inputs, config.training
    distribution.check_batch(strategy, inputs.batch_size, config.optimizer.accumulate)
    phases = schedules.phases(config)
    source = _source(config, phases[-1])
    steps_per_epoch = _steps_per_epoch(config, source)
    keras.utils.set_random_seed(training.seed)
    xla = forward.use_xla(training.xla) and strategy.num_replicas_in_sync == 1  # replicas sum between XLA's programs
    with strategy.scope():
        # a begun run has its weights in the checkpoint, and need not find the first ones again
        network = dataclasses.replace(config.network, weights="none") if begun else config.network
        model = build_model(network, config.loss)
        late = _late_variables(model, phases, steps_per_epoch) if network.freeze_epochs else None
        rate = schedules.learning_rate(config.optimizer, epochs=training.epochs, steps_per_epoch=steps_per_epoch)
        learner = steps.Learner(
            model=model,
            optimizer=optimizers.adam(model, config.optimizer, rate, precision=network.precision, late_variables=late),
            loss=losses.of_run(config.loss),
            batch_size=inputs.batch_size,
            accumulate=config.optimizer.accumulate,
            average=MovingAverage(model, config.optimizer.ema) if config.optimizer.ema else None,
            xla=xla,
        )
        logits_of = forward.logits_function(model, config.preprocessing, xla=xla)
        score = steps.score_function(learner, logits_of)
    run_dir = files.path(training.run_dir)
    return Run(config, run_dir, strategy, learner, rate, logits_of, score, source, _val_split(config), phases)


def stage(run: Run, phase: Phase, before: Stage | None = None) -> Stage:
    """Build what the epochs of a phase need, and freeze or thaw the encoder for it.

    Args:
        run: that the phase is of.
        phase: which one.
        before: that of the phase before, whose records are gone on with, if images have the same size: in memory as
            they are, unless data services make the batches.
    """
    opened = [run.source, *([before.source] if before else [])]
    fitting = [source for source in opened if source.split.image_size == phase.image_size]
    source = fitting[0] if fitting else _source(run.config, phase)
    freeze(run, phase)
    steps_per_epoch = _steps_per_epoch(run.config, source)
    on_host = run.config.preprocessing.preprocess_on == "host"
    batches_per_epoch = steps_per_epoch if on_host else source.split.steps(run.config.inputs.batch_size)
    with run.strategy.scope():
        train = steps.train_function(run.learner, _as_one_step if on_host else source.augment)
    steps_per_batch = steps_per_epoch // batches_per_epoch
    batches_per_call = max(run.config.training.steps_per_call // steps_per_batch, 1)
    return Stage(source, train, batches_per_epoch, batches_per_call, steps_per_epoch)


def _as_one_step(images: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Augment what the host has augmented."""
    return images[tf.newaxis], masks[tf.newaxis]


def freeze(run: Run, phase: Phase) -> None:
    """Freeze or thaw the encoder as it is in a phase."""
    if run.config.network.freeze_epochs:
        models.freeze(run.learner.model, up_to_stride=phase.frozen)


def _late_variables(model: keras.Model, phases: list[Phase], steps_per_epoch: int) -> dict[int, list[keras.Variable]]:
    """Return what begins to learn with each phase, by the steps before it; leave all of the encoder trainable.

    Raises:
        InputError: the encoder has not what is to be frozen.
    """
    late: dict[int, list[keras.Variable]] = {}
    known: set[int] = set()
    try:
        for phase in phases:
            models.freeze(model, up_to_stride=phase.frozen)
            late[phase.first * steps_per_epoch] = [one for one in model.trainable_variables if id(one) not in known]
            known |= set(map(id, model.trainable_variables))
        models.freeze(model, up_to_stride=0)
    except ValueError as error:
        raise InputError(f"expected fewer --freeze_epochs for this backbone: {error}") from None
    return late


def build_model(network: ModelConfig, loss: LossConfig) -> keras.Model:
    """Return the network that the settings describe, with the heads that the loss needs.

    Raises:
        InputError: a loss of images for masks, or the other way round.
    """
    is_classifier = network.decoder == "classifier"
    if is_classifier != loss.is_of_images:
        raise InputError(
            "expected --decoder=classifier where --presence_weight alone is above 0, and nowhere else. "
            f"Received: decoder={network.decoder}"
        )
    options: dict[str, Any] = {} if is_classifier else {"heads": losses.heads(loss)}
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


def _source(config: RunConfig, phase: Phase) -> pipeline.TrainingSource:
    """Return the training records of a phase's epochs."""
    inputs = dataclasses.replace(config.inputs, image_size=phase.image_size)
    shares = schedules.positive_shares(inputs.positive_share, inputs.positive_schedule, config.training.epochs)
    return pipeline.training_source(inputs, config.preprocessing, positive_shares=shares)


def _steps_per_epoch(config: RunConfig, source: pipeline.TrainingSource) -> int:
    size = (source.split.image_size, source.split.image_size)
    each = preprocess.tiles_per_image(preprocess.tiles_of(config.preprocessing), image_size=size)
    return source.split.steps(config.inputs.batch_size) * each


def _val_split(config: RunConfig) -> Split | None:
    inputs = config.inputs
    if not inputs.val_split:
        return None
    split = Split(inputs.records_dir, inputs.val_split, image_size=inputs.image_size, cache=inputs.cache != "none")
    if config.training.keep == "dice" and not split.positives:
        raise InputError(
            f"{inputs.records_dir}: expected images with a pneumothorax in --val_split={inputs.val_split} for "
            "--keep=dice. Received: none"
        )
    return split
