"""How much of a training step is spent on its input: the step as it is, against the same batch again and again."""

import pathlib
import statistics
from collections.abc import Callable

from ptxtf import pipeline
from ptxtf.config import InputConfig, PreprocessConfig
from ptxtf.data import dataset
from ptxtf.training import steps
from tools.benchmark import timing, training
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_STEPS = 3
"""Training steps of a turn."""


def run(records: pathlib.Path, config: BenchmarkConfig, report: Report) -> None:
    """Print the times of both, and the input's share."""
    size = min(config.step_size, config.image_size)
    inputs = InputConfig(records_dir=str(records), image_size=size, batch_size=config.batch_size)
    source = pipeline.training_source(inputs, PreprocessConfig())
    split = source.split
    for _ in split.batches(config.batch_size, training=True):
        pass  # decoded once, it is in memory from now on
    network = training.network(config)
    learner = training.learner(network, config)
    train = steps.train_function(learner, source.augment)
    train_as_it_is = steps.train_function(learner, training.as_it_is)

    def step(batch: dataset.Batch) -> None:
        train([(batch["image"], batch["mask"], batch["seed"])]).numpy()

    def whole() -> float:
        batches = iter(split.batches(config.batch_size, training=True).repeat())
        step(next(batches))  # the stream works ahead from here
        return _clock(lambda: step(next(batches)), config)

    augmented = source.augment_batch(next(iter(split.batches(config.batch_size, training=True))))

    def data_free() -> float:
        return _clock(lambda: train_as_it_is([augmented]).numpy(), config)

    names = ("training, records to step", "training, the same batch again")
    times = timing.interleaved(dict(zip(names, (whole, data_free), strict=True)), turns=config.turns, warm_up=1)
    title = f"Training step, {config.backbone}, {network.dtype_policy.name}, {config.batch_size} images of {size}²"
    report.table(title, times, rate="images/s")
    full, free = (statistics.median(times[name]) for name in names)
    report.fact("the input's share of a training step", 100 * (1 - free / full), "%")


def _clock(step: Callable[[], object], config: BenchmarkConfig) -> float:
    def several() -> None:
        for _ in range(_STEPS):
            step()

    return timing.clocked(several, items=_STEPS * config.batch_size)()
