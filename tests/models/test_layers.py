import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.models.layers import FusedBatchNormalization

# Keras 3.15 converts variables in a way that NumPy 2 deprecates, whenever it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def a_pair_of_normalizations(channels, *, dtype="float32", **options):
    """Keras' layer and the fused one with the same random weights."""
    pair = [layer(dtype=dtype, **options) for layer in (keras.layers.BatchNormalization, FusedBatchNormalization)]
    rng = np.random.default_rng(1)
    for layer in pair:
        layer.build((None, None, None, channels))
    values = [rng.uniform(0.5, 1.5, variable.shape) for variable in pair[0].weights]
    for layer in pair:
        layer.set_weights(values)
    return pair


def run(layer, inputs, *, training, jit_compile=None):
    """Outputs, and gradients of a random projection of them with respect to inputs and weights."""
    projection = np.random.default_rng(2).normal(size=inputs.shape).astype(np.float32)

    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * projection)
        return [outputs, *tape.gradient(loss, [inputs, *layer.trainable_weights])]

    if jit_compile is not None:
        step = tf.function(step, jit_compile=jit_compile)
    return [result.numpy() for result in step(tf.constant(inputs))]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False, "momentum": 0.9, "epsilon": 2e-5}],
)
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_fused_normalization_equals_that_of_keras(training, options, jit_compile):
    inputs = 3 * random_images(2, 3, 5, 4) + 1
    plain, fused = a_pair_of_normalizations(4, **options)
    expected = run(plain, inputs, training=training)
    received = run(fused, inputs, training=training, jit_compile=jit_compile)
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    for one, other in zip(fused.weights, plain.weights, strict=True):
        assert one.name == other.name
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_moving_averages_by_hand():
    layer = FusedBatchNormalization(momentum=0.75)
    layer(np.array([1.0, 3.0, 5.0, 7.0], np.float32).reshape(1, 2, 2, 1), training=True)
    # mean 4 and variance (9 + 1 + 1 + 9) / 4 = 5, mixed with the initial 0 and 1
    assert layer.moving_mean.numpy() == pytest.approx([0.25 * 4])
    assert layer.moving_variance.numpy() == pytest.approx([0.75 + 0.25 * 5])


@pytest.mark.parametrize("jit_compile", [None, True])
def test_one_single_value_has_variance_zero(jit_compile):
    inputs = random_images(1, 1, 1, 4)
    plain, fused = a_pair_of_normalizations(4)
    expected = run(plain, inputs, training=True)
    received = run(fused, inputs, training=True, jit_compile=jit_compile)
    np.testing.assert_allclose(received[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(fused.moving_variance, plain.moving_variance, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("mixed_float16", 2e-3), ("mixed_bfloat16", 2e-2)])
@pytest.mark.parametrize("training", [False, True])
def test_half_precision_keeps_float32_statistics(dtype, tolerance, training):
    inputs = random_images(2, 8, 8, 4)
    plain, fused = a_pair_of_normalizations(4, dtype=dtype)
    expected, received = plain(inputs, training=training), fused(inputs, training=training)
    assert received.dtype == expected.dtype == dtype.removeprefix("mixed_")
    np.testing.assert_allclose(
        tf.cast(received, tf.float32), tf.cast(expected, tf.float32), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(fused.moving_variance, plain.moving_variance, rtol=1e-4)


def test_a_frozen_layer_uses_and_keeps_its_averages():
    plain, fused = a_pair_of_normalizations(4)
    plain.trainable = fused.trainable = False
    before = fused.get_weights()
    inputs = random_images(2, 3, 3, 4)
    np.testing.assert_allclose(fused(inputs, training=True), plain(inputs, training=False), rtol=1e-5, atol=1e-6)
    for one, other in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


WITHOUT_RENORM = "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 4), {}),
        ((2, 4, 3, 3), {"axis": 1}),
        pytest.param(
            (2, 3, 3, 4),
            {"renorm": True},
            marks=pytest.mark.skipif(WITHOUT_RENORM, reason="Keras 3.12 has none"),
        ),
    ],
)
def test_what_the_operation_cannot_do_is_left_to_keras(shape, options):
    inputs = random_images(*shape)
    pair = [layer(**options) for layer in (keras.layers.BatchNormalization, FusedBatchNormalization)]
    plain, fused = (layer(inputs, training=True) for layer in pair)
    np.testing.assert_array_equal(fused, plain)


def test_a_mask_is_respected():
    inputs, mask = random_images(1, 2, 2, 4), np.array([[[True, False], [True, True]]])
    plain, fused = a_pair_of_normalizations(4)
    np.testing.assert_array_equal(fused(inputs, training=True, mask=mask), plain(inputs, training=True, mask=mask))


def test_statistics_move_in_a_replica_of_a_strategy():
    inputs = random_images(4, 3, 3, 4)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        layer = FusedBatchNormalization(momentum=0.5)
        layer.build(inputs.shape)

    @tf.function
    def step(inputs):
        return strategy.run(lambda images: layer(images, training=True), args=(inputs,))

    step(tf.constant(inputs))
    np.testing.assert_allclose(layer.moving_mean, 0.5 * inputs.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_a_saved_model_holds_keras_own_layer(tmp_path):
    images = keras.Input((None, None, 2))
    model = keras.Model(images, FusedBatchNormalization(momentum=0.5, scale=False, name="bn")(images))
    model(random_images(1, 6, 8, 2), training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(again.get_layer("bn")) is keras.layers.BatchNormalization
    assert again.get_layer("bn").get_config() == model.get_layer("bn").get_config()
    inputs = random_images(2, 5, 9, 2)
    np.testing.assert_allclose(again(inputs), model(inputs), atol=1e-6)
