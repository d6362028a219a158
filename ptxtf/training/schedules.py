"""Settings -> the learning rate as a function of the training step."""

import keras

from ptxtf.config import TrainConfig


def learning_rate(
    config: TrainConfig, *, steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return what Keras' optimizers take as learning rate.

    "constant" is the study's own. "cosine" rises linearly over `warmup_epochs` and falls to 0 along half a cosine
    (Loshchilov and Hutter, 2017, without restarts).
    """
    if config.schedule == "constant":
        return config.learning_rate
    warmup = round(config.warmup_epochs * steps_per_epoch)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / warmup if warmup else config.learning_rate,
        decay_steps=max(config.epochs * steps_per_epoch - warmup, 1),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
