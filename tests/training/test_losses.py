"""Losses against the papers' formulas in NumPy, against numbers worked out by hand, and at the edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.training import losses

SHAPE = (3, 8, 10, 1)


@pytest.fixture
def masks(rng):
    return rng.integers(0, 2, SHAPE).astype(np.float32)


@pytest.fixture
def logits(rng):
    return rng.normal(0, 3, SHAPE).astype(np.float32)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.0), (0.9, 1.5)])
def test_focal_loss_equals_the_paper_s_formula(masks, logits, alpha, gamma):
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    right = np.where(masks == 1, probabilities, 1 - probabilities)
    weight = np.where(masks == 1, alpha, 1 - alpha)
    expected = (-weight * (1 - right) ** gamma * np.log(right)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(losses.focal_loss(masks, logits, alpha=alpha, gamma=gamma), expected, rtol=1e-5)


def test_focal_loss_of_one_pixel_by_hand():
    # p = sigmoid(0) = 1/2, truth 1: 0.25 * (1 - 1/2)^2 * ln 2
    value = losses.focal_loss(np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1)), alpha=0.25, gamma=2.0)
    np.testing.assert_allclose(value, [0.25 * 0.25 * np.log(2)], rtol=1e-6)


def test_soft_dice_by_hand():
    masks = np.array([1, 1, 0, 0], np.float32).reshape(1, 2, 2, 1)
    # probabilities 3/4, 1/4, 1/4, 3/4: overlap 1, areas 2 + 2
    logits = np.log(np.array([3, 1 / 3, 1 / 3, 3], np.float32)).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(losses.soft_dice_loss(masks, logits, smooth=1.0), [1 - 3 / 5], rtol=1e-6)


def test_soft_dice_equals_keras_without_smoothing(masks, logits):
    keras_loss = keras.losses.Dice(axis=(1, 2, 3), reduction=None)
    expected = keras_loss(masks, tf.sigmoid(logits))
    np.testing.assert_allclose(losses.soft_dice_loss(masks, logits, smooth=1e-6), expected, rtol=1e-5)


def test_the_sum_is_weighted(masks, logits):
    loss = losses.focal_dice(focal_weight=3.0, dice_weight=0.5, alpha=0.4, gamma=1.0, reduction=None)
    expected = 3.0 * losses.focal_loss(masks, logits, alpha=0.4, gamma=1.0) + 0.5 * losses.soft_dice_loss(masks, logits)
    np.testing.assert_allclose(loss(masks, logits), expected, rtol=1e-6)


def test_the_mean_over_a_batch_is_that_of_each_alone(masks, logits):
    loss = losses.focal_dice()
    alone = [float(loss(masks[i : i + 1], logits[i : i + 1])) for i in range(len(masks))]
    np.testing.assert_allclose(float(loss(masks, logits)), np.mean(alone), rtol=1e-6)


def gradient_of_focal_loss(function, logits):
    logits = tf.constant(logits, shape=[1, len(logits), 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(function(tf.ones_like(logits), logits))
    return tape.gradient(value, logits).numpy().ravel()


def test_confident_mistakes_keep_their_gradient():
    # of -alpha log(sigmoid(z)) at a very negative z: -alpha; half of it, as each pixel is half the mean
    found = gradient_of_focal_loss(losses.focal_loss, [-40.0, -90.0])
    np.testing.assert_allclose(found, [-0.125, -0.125], rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_pixels_that_are_exactly_right_have_a_gradient_where_keras_has_none(gamma):
    ours = gradient_of_focal_loss(lambda m, z: losses.focal_loss(m, z, gamma=gamma), [60.0, 0.0])
    assert np.isfinite(ours).all()
    keras_loss = keras.losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
    assert np.isnan(gradient_of_focal_loss(keras_loss, [60.0, 0.0])).any()


def test_focal_loss_equals_keras_away_from_the_edges(masks, logits):
    keras_loss = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.25, gamma=2.0, from_logits=True, reduction=None
    )
    expected = tf.reduce_mean(keras_loss(masks, logits), axis=[1, 2])
    np.testing.assert_allclose(losses.focal_loss(masks, logits), expected, rtol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-60.0, 0.0, 60.0])
def test_low_precision_logits_of_a_large_image_give_finite_float32(dtype, fill, logit):
    logits = tf.Variable(tf.fill([1, 512, 512, 1], tf.cast(logit, dtype)))
    masks = tf.fill([1, 512, 512, 1], tf.cast(fill, dtype))
    with tf.GradientTape() as tape:
        value = losses.focal_dice(reduction=None)(masks, logits)
    assert value.dtype == tf.float32
    assert np.isfinite(value).all()
    assert np.isfinite(tf.cast(tape.gradient(value, logits), tf.float32)).all()


def test_a_healthy_image_is_rewarded_for_an_empty_prediction():
    healthy = np.zeros((1, 16, 16, 1), np.float32)
    values = [losses.soft_dice_loss(healthy, np.full_like(healthy, logit)).numpy()[0] for logit in (0, -4, -8, -20)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-4


def test_it_compiles_under_xla_with_equal_values(masks, logits):
    loss = losses.focal_dice(reduction=None)
    compiled = tf.function(loss.call, jit_compile=True)
    np.testing.assert_allclose(compiled(masks, logits), loss(masks, logits), rtol=1e-5)


def test_it_is_saved_with_its_settings():
    loss = losses.focal_dice(focal_weight=2.0, gamma=3.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert again.get_config()["gamma"] == 3.0
