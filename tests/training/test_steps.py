"""A training step under XLA, in parts and with several heads, against one written out by Keras' own means."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf import forward
from ptxtf.config import LossConfig, PreprocessConfig
from ptxtf.models.layers import FusedBatchNormalization
from ptxtf.training import losses, optimizers, steps
from ptxtf.training.averages import MovingAverage

LOSS = LossConfig(presence_weight=0.5, sides_weight=0.25, bce_weight=1.0)
HALF = 2


def network(precision):
    """Return a small network with all heads, and smooth: rounding switches no rectifier."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        images = keras.Input((None, None, 1))
        fine = keras.layers.Conv2D(4, 3, padding="same", activation="swish")(images)
        fine = FusedBatchNormalization()(fine)
        coarse = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="swish")(fine)
        side = keras.layers.UpSampling2D(2)(coarse)
        outputs = {
            "mask": keras.layers.Conv2D(1, 3, padding="same", dtype="float32")(
                keras.layers.Concatenate()([fine, side])
            ),
            "presence": keras.layers.Dense(1, dtype="float32")(keras.layers.GlobalAveragePooling2D()(coarse)),
            "side1": keras.layers.Conv2D(1, 1, dtype="float32")(side),
        }
        return keras.Model(images, outputs)
    finally:
        keras.config.set_dtype_policy(before)


def batch():
    images = np.random.default_rng(0).random((1, 4, 64, 64, 1), np.float32)
    return tf.constant(images), tf.constant((images > 0.8).astype(np.float32))


def as_it_is(images, masks):
    return images, masks


def expected_gradients(model, images, masks, parts):
    """Return the norm of the gradient, the mean of the parts' gradients, and itself."""
    loss = losses.of_run(LOSS)
    sums = None
    for image, mask in zip(tf.split(images, parts), tf.split(masks, parts), strict=True):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(mask, model(image, training=True)))
        gradients = [one.numpy() / parts for one in tape.gradient(value, model.trainable_variables)]
        sums = gradients if sums is None else [a + b for a, b in zip(sums, gradients, strict=True)]
    norm = np.sqrt(sum(np.sum(one.astype(np.float64) ** 2) for one in sums))
    return norm, sums


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("parts", [1, HALF])
def test_a_step(xla, parts):
    images, masks = batch()
    norm, gradients = expected_gradients(network("float32"), images[0], masks[0], parts)
    model = network("float32")
    optimizer = optimizers.Adam(1e-3, clip_norm=norm / 2)
    optimizer.build(model.trainable_variables)
    learner = steps.Learner(
        model=model, optimizer=optimizer, loss=losses.of_run(LOSS), batch_size=4, accumulate=parts, xla=xla
    )
    steps.train_function(learner, as_it_is)([(images, masks)])
    # Adam's first moment is a tenth of the gradient, which is half as long as it was
    found = np.concatenate([np.ravel(one) for one in optimizer._momentums])
    expected = np.concatenate([np.ravel(one) for one in gradients]) * 0.1 / 2
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_a_step_in_half_precision_with_all_heads_in_parts(precision):
    images, masks = batch()
    model = network(precision)
    optimizer = optimizers.Adam(1e-3, clip_norm=1.0)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    learner = steps.Learner(
        model=model, optimizer=optimizer, loss=losses.of_run(LOSS), batch_size=4, accumulate=HALF, xla=True
    )
    train = steps.train_function(learner, as_it_is)
    values = [train([(images, masks)]).numpy().item() for _ in range(6)]
    assert np.isfinite(values).all()
    assert values[-1] < values[0]


def test_all_of_a_call_can_be_one_program():
    """Nothing in it needs the host, so that it can run on a TPU: here XLA compiles the loops and what is in them."""
    one_by_one, calls = several(tf.random.stateless_uniform([4, 4, 32, 32, 1], [1, 2]))
    compiled = trained(calls, wrap=lambda train: tf.function(train, jit_compile=True, autograph=False))
    np.testing.assert_allclose(compiled, trained(one_by_one), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_steps_of_a_call_are_those_taken_one_by_one(precision):
    one_by_one, calls = several(tf.random.stateless_uniform([4, 4, 32, 32, 1], [1, 2]))
    atol = 1e-5 if precision == "float32" else 1e-3
    np.testing.assert_allclose(trained(calls, precision), trained(one_by_one, precision), rtol=1e-4, atol=atol)


def several(images):
    """Return four steps' images and masks in four calls of one step each, and in one call of two batches of two."""
    masks = tf.cast(images > 0.8, tf.float32)
    one_by_one = [[(images[k : k + 1], masks[k : k + 1])] for k in range(4)]
    return one_by_one, [[(images[:2], masks[:2]), (images[2:], masks[2:])]]


def trained(calls, precision="float32", wrap=lambda train: train):
    """Return the moving averages of the weights after some calls."""
    model = network(precision)
    optimizer = optimizers.Adam(1e-2, clip_norm=1.0)
    optimizer.build(model.trainable_variables)
    average = MovingAverage(model, 0.5)
    learner = steps.Learner(model=model, optimizer=optimizer, loss=losses.of_run(LOSS), batch_size=4, average=average)
    train = wrap(steps.train_function(learner, as_it_is))
    assert sum(len(train(call)) for call in calls) == 4
    with average.in_place():
        return np.concatenate([np.ravel(weight) for weight in model.get_weights()])


def test_scores_can_be_one_program():
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), np.uint8))
    masks, real = tf.cast(images > 200, tf.uint8), tf.constant([True, True, False])
    model = network("float32")
    learner = steps.Learner(model=model, optimizer=None, loss=losses.of_run(LOSS), batch_size=4)
    score = steps.score_function(learner, forward.logits_function(model, PreprocessConfig(clahe=False), xla=False))
    compiled = tf.function(score, jit_compile=True, autograph=False)
    for one, other in zip(score((images, masks, real)), compiled((images, masks, real)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
