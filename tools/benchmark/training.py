"""The network that is timed, and its training functions."""

import keras

from ptxtf import forward, models
from ptxtf.config import LossConfig, OptimizerConfig, PreprocessConfig
from ptxtf.preprocess import Augment
from ptxtf.training import losses, optimizers, steps
from tools.benchmark.settings import BenchmarkConfig


def network(config: BenchmarkConfig) -> keras.Model:
    """Return a U-Net with random weights, in the precision that `ptxtf.train` would choose or that was asked for."""
    return models.unet(config.backbone, weights=None, precision=forward.choose_precision(config.precision))


def functions(model: keras.Model, config: BenchmarkConfig, augment: Augment) -> steps.Steps:
    """Return a network's training functions as `ptxtf.train` compiles them."""
    learner = steps.Learner(
        model=model,
        optimizer=optimizers.adam(model, OptimizerConfig(), 1e-3, precision=model.dtype_policy.name),
        loss=losses.of_run(LossConfig()),
        batch_size=config.batch_size,
        xla=forward.use_xla("auto"),
    )
    return steps.build(learner, forward.logits_function(model, PreprocessConfig(), xla=learner.xla), augment=augment)
