"""Moving averages of a model's weights, and the mean of several epochs' weights.

Flows in: a model while it trains. Flows out: the same model with other weights.
"""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf


class MovingAverage(tf.Module):
    """Exponential moving averages of all of a model's weights, batch statistics too.

    average = d average + (1 - d) weight, where d = min(decay, (1 + step) / (10 + step)), so that the random weights of
    the beginning are soon forgotten.

    Args:
        model: whose weights are averaged; averages begin with what they are now.
        decay: share of the old average that a step keeps, 0..1.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        super().__init__(name="moving_average")
        self._weights = [weight.value for weight in model.weights if weight.dtype == "float32"]
        self._decay = decay
        self._step = _each_replica_s(tf.constant(0, tf.int64), "step")
        self._averages = [_each_replica_s(weight, f"average{number}") for number, weight in enumerate(self._weights)]

    def update(self) -> None:
        """Take the weights of another step in, on each replica."""
        step = tf.cast(self._step, tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + step) / (10.0 + step))
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.assign_sub(share * (average - weight))
        self._step.assign_add(1)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averages for as long as the context lasts."""
        kept = [weight.numpy() for weight in self._weights]
        self._set(average.numpy() for average in self._averages)
        try:
            yield
        finally:
            self._set(kept)

    def _set(self, values: Iterable[np.ndarray]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


def _each_replica_s(value: tf.Tensor, name: str) -> tf.Variable:
    """Return a variable that each replica keeps alike by itself."""
    return tf.Variable(
        value,
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def mean(weights: Iterator[list[np.ndarray]]) -> list[np.ndarray]:
    """Return the mean of several models' weights, computed in float64, in the dtypes that they come in."""
    first = next(weights)
    sums, count = [value.astype(np.float64) for value in first], 1
    for others in weights:
        sums = [total + value for total, value in zip(sums, others, strict=True)]
        count += 1
    return [(total / count).astype(value.dtype) for total, value in zip(sums, first, strict=True)]


def recalibrate(model: keras.Model, batches: Iterator[tf.Tensor]) -> None:
    """Give a model's batch normalizations the statistics of its present weights (Izmailov et al. 2018, 3.2).

    Each batch's mean and variance count alike. https://arxiv.org/abs/1803.05407

    Args:
        model: changed in place; of what it consists otherwise stays.
        batches: images as the model takes them, float32 [B, h, w, 1].
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    momenta = [layer.momentum for layer in layers]
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    forward = tf.function(lambda images: model(images, training=True), autograph=False)

    def of_batch(images: tf.Tensor) -> list[np.ndarray]:
        forward(images)
        return [variable.numpy() for variable in statistics]

    try:
        for layer in layers:
            layer.momentum = 0.0  # so that a batch leaves its own statistics
        found = mean(map(of_batch, batches))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for variable, value in zip(statistics, found, strict=True):
        variable.assign(value)
