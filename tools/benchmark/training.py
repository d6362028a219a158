"""The network that is timed, and what trains it."""

import keras
import tensorflow as tf

from ptxtf import forward, models
from ptxtf.config import LossConfig, OptimizerConfig
from ptxtf.training import losses, optimizers, steps
from tools.benchmark.settings import BenchmarkConfig


def network(config: BenchmarkConfig) -> keras.Model:
    """Return a U-Net with random weights, in the precision that `ptxtf.train` would choose or that was asked for."""
    return models.unet(config.backbone, weights=None, precision=forward.choose_precision(config.precision))


def learner(model: keras.Model, config: BenchmarkConfig) -> steps.Learner:
    """Return what `ptxtf.train` would train a network by."""
    return steps.Learner(
        model=model,
        optimizer=optimizers.adam(model, OptimizerConfig(), 1e-3, precision=model.dtype_policy.name),
        loss=losses.of_run(LossConfig()),
        batch_size=config.batch_size,
        xla=forward.use_xla("auto"),
    )


def as_it_is(images: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Augment a batch that is augmented, float32 [S, B, h, w, 1]."""
    return images, masks
