"""Averages of weights, against numbers worked out by hand."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.training import averages


def one_weight(value=0.0) -> keras.Model:
    images = keras.Input((1,))
    model = keras.Model(images, keras.layers.Dense(1, use_bias=False)(images))
    model.set_weights([np.full([1, 1], value)])
    return model


def test_moving_averages_forget_the_beginning_soon():
    model = one_weight(5.0)
    average = averages.MovingAverage(model, 0.5)
    update = tf.function(average.update)
    expected = 5.0
    for step, value in enumerate([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]):
        model.set_weights([np.full([1, 1], value)])
        update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.in_place():
        assert model.get_weights()[0].item() == pytest.approx(expected, rel=1e-6)
    assert model.get_weights()[0].item() == 512


def test_weights_come_back_whatever_happens():
    model = one_weight(1.0)
    average = averages.MovingAverage(model, 0.9)
    model.set_weights([np.full([1, 1], 3.0)])
    with contextlib.suppress(KeyboardInterrupt), average.in_place():
        inside = model.get_weights()[0].item()
        raise KeyboardInterrupt
    assert inside == 1
    assert model.get_weights()[0].item() == 3


def test_the_mean_of_weights():
    found = averages.mean(iter([[np.float32([1, 2]), np.float32(3)], [np.float32([3, 6]), np.float32(5)]]))
    np.testing.assert_array_equal(found[0], np.float32([2, 4]))
    assert found[1] == np.float32(4)
    assert [value.dtype for value in found] == [np.float32, np.float32]


def test_recalibrated_statistics_are_the_mean_of_the_batches():
    images = keras.Input((None, None, 2))
    frozen = keras.layers.BatchNormalization(trainable=False)
    layer = keras.layers.BatchNormalization(momentum=0.9)
    inner = keras.Model(images, layer(images))
    model = keras.Model(images, frozen(inner(images)))
    rng = np.random.default_rng(0)
    batches = [rng.normal(number, 1 + number, (3, 4, 4, 2)).astype(np.float32) for number in range(3)]
    averages.recalibrate(model, map(tf.constant, batches))
    np.testing.assert_allclose(layer.moving_mean, np.mean([b.mean((0, 1, 2)) for b in batches], 0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, np.mean([b.var((0, 1, 2)) for b in batches], 0), rtol=1e-4)
    assert layer.momentum == 0.9
    np.testing.assert_array_equal(frozen.moving_mean, [0, 0])
