"""Settings -> what changes while a run goes on: the learning rate by step; by epoch, shares of positives and phases."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from ptxtf.config import OptimizerConfig, RunConfig


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at each step: a curve, a linear rise before it, and a factor that the loop may set.

    Args:
        curve: step after the rise -> learning rate.
        warmup: steps of the rise, in which the rate is 1/warmup, 2/warmup … of the curve's first.

    Attributes:
        factor: float32 variable, 1 at first.
    """

    def __init__(self, curve: keras.optimizers.schedules.LearningRateSchedule, *, warmup: int) -> None:
        self._curve = curve
        self._warmup = warmup
        self.factor = tf.Variable(1.0, trainable=False, name="rate_factor")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate, float32, at a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rise = tf.minimum((step + 1.0) / max(self._warmup, 1), 1.0)
        return self._curve(tf.maximum(step - self._warmup, 0.0)) * rise * self.factor


def learning_rate(config: OptimizerConfig, *, epochs: int, steps_per_epoch: int) -> LearningRate:
    """Return the learning rate of a run as a function of the step.

    "cosine" and "restarts" fall along half a cosine, once, or again and again (Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983); "constant" stays, and so does "plateau", but for `plateau_factor`.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    curves = keras.optimizers.schedules
    match config.schedule:
        case "cosine":
            steps = max(epochs * steps_per_epoch - warmup, 1)
            curve = curves.CosineDecay(config.learning_rate, steps, alpha=config.final_rate)
        case "restarts":
            steps = max(round(config.restart_epochs * steps_per_epoch), 1)
            curve = curves.CosineDecayRestarts(
                config.learning_rate, steps, t_mul=config.restart_factor, alpha=config.final_rate
            )
        case _:
            curve = curves.PiecewiseConstantDecay([0.0], [config.learning_rate] * 2)
    return LearningRate(curve, warmup=warmup)


def plateau_factor(config: OptimizerConfig, val_losses: Sequence[float]) -> float:
    """Return what the learning rate is multiplied by after epochs with these validation losses, first epoch first.

    It falls by `config.plateau_factor` each time that `config.plateau_epochs` epochs in a row have brought no lower
    loss.
    """
    if config.schedule != "plateau":
        return 1.0
    factor, best, waited = 1.0, float("inf"), 0
    for loss in val_losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == config.plateau_epochs:
            factor, waited = factor * config.plateau_factor, 0
    return factor


def positive_shares(shares: Sequence[float], schedule: str, epochs: int) -> list[float]:
    """Return the share of positive images in the training batches of each epoch.

    Args:
        shares: shares in 0..1 to go through, as (0.8, 0.4); one: it stays; none: no share is asked for.
        schedule: "linear": along straight lines through the shares, which stand at equal distances from the first
            epoch to the last; "stepped": each for as many epochs, to within one.
        epochs: number of epochs, 1 or more.

    Returns:
        One share per epoch; nothing for no shares.

    Example:
        >>> positive_shares((0.8, 0.4), "linear", 5)
        [0.8, 0.7, 0.6, 0.5, 0.4]
    """
    if not shares:
        return []
    if schedule == "stepped":
        return [shares[epoch * len(shares) // epochs] for epoch in range(epochs)]
    places = np.linspace(0, max(epochs - 1, 1), len(shares))  # a single epoch has the first share
    return np.interp(range(epochs), places, shares).tolist()


def is_over(patience: int, val_losses: Sequence[float]) -> bool:
    """Return whether the last `patience` epochs have brought no lower validation loss; never if patience is 0."""
    if not patience or not val_losses:
        return False
    return len(val_losses) - 1 - val_losses.index(min(val_losses)) >= patience


@dataclasses.dataclass(frozen=True)
class Phase:
    """Epochs that have in common what needs a graph of its own.

    Attributes:
        first: epoch that it begins with, counted from 0.
        image_size: height and width of the training images in pixels.
        frozen: stride up to which the encoder is kept as it is, in pixels; 0: all of it learns.
    """

    first: int
    image_size: int
    frozen: int


def phases(config: RunConfig) -> list[Phase]:
    """Divide a run's epochs into phases: images grow, and the encoder's stages begin to learn, coarsest first."""
    starts = sorted({0, *_sizes(config), *_frozen(config)})
    return [
        Phase(start, _at(_sizes(config), start), _at(_frozen(config), start))
        for start in starts
        if start < config.training.epochs
    ]


def _sizes(config: RunConfig) -> dict[int, int]:
    """Return the size that is trained at from some epochs on."""
    each = config.training.size_epochs
    sizes = (*config.training.first_sizes, config.inputs.image_size)
    return {number * each: size for number, size in enumerate(sizes)}


def _frozen(config: RunConfig) -> dict[int, int]:
    """Return the stride up to which the encoder is frozen from some epochs on."""
    ends = config.network.freeze_epochs
    starts = (0, *ends) if ends else (0,)
    strides = (*(32 >> number for number in range(len(ends))), 0)
    return dict(zip(starts, strides, strict=True))


def _at(by_start: dict[int, int], epoch: int) -> int:
    return by_start[max(start for start in by_start if start <= epoch)]
