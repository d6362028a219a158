"""A training step and a prediction of the network."""

import dataclasses

import keras
import tensorflow as tf

from ptxtf import forward, models, preprocess
from ptxtf.config import PreprocessConfig
from ptxtf.errors import InputError
from ptxtf.preprocess import Augment
from ptxtf.training import losses, steps
from tools.benchmark import timing
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report, figures_of


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print seconds and images per second of each."""
    model, functions = build(config, preprocess.for_training(PreprocessConfig()))
    images = tf.random.uniform([1, config.batch_size, config.image_size, config.image_size, 1])
    masks = tf.cast(images > 0.9, tf.float32)
    infer = tf.function(lambda: model(images[0], training=False), jit_compile=forward.use_xla("auto"))
    times = timing.interleaved(
        {
            "training step": timing.clocked(lambda: float(functions.update(images, masks, tf.constant(0))), items=1),
            "prediction": timing.clocked(lambda: infer().numpy(), items=1),
        },
        turns=config.repeats,
    )
    figures = [dataclasses.replace(figure, ratio=None) for figure in figures_of("U-Net", times, unit="s")]
    report.add(figures)
    for figure in figures:
        print(f"{figure.name:16s} {figure.median:7.3f} s, {config.batch_size / figure.median:6.1f} images/s")


def build(config: BenchmarkConfig, augment: Augment) -> tuple[keras.Model, steps.Steps]:
    """Return a network with random weights, and its training functions as `ptxtf.train` compiles them."""
    if config.backbone not in models.BACKBONES:
        raise InputError(
            f"expected --backbone, one of {', '.join(models.BACKBONES)}. Received: --backbone={config.backbone}"
        )
    model = models.unet(config.backbone, weights=None, precision=config.precision)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    xla = forward.use_xla("auto")
    functions = steps.build(
        model,
        forward.logits_function(model, PreprocessConfig(), xla=xla),
        losses.focal_dice(reduction=None),
        optimizer,
        augment=augment,
        batch_size=config.batch_size,
        xla=xla,
    )
    return model, functions
