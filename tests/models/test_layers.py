import inspect
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.models.layers import FusedBatchNormalization, GroupedConv2D

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


CONVOLUTIONS = [
    {"groups": 4},  # one block
    {"groups": 4, "channels": 64},  # two blocks of two groups
    {"groups": 2, "channels": 80},  # each group a block
    {"groups": 4, "strides": 2, "padding": "same", "use_bias": False},
    {"groups": 4, "dilation_rate": 2, "activation": "relu"},
    {"groups": 8},  # each channel by itself
    {"groups": 8, "dilation_rate": 2, "padding": "same"},
    {"groups": 8, "strides": 2},
    {"groups": 1},
]


def group_by_group(layer, inputs):
    """What a grouped convolution is by definition: one convolution for each group."""
    kernels = np.split(layer.kernel.numpy(), layer.groups, axis=-1)
    pieces = [
        tf.nn.conv2d(piece, kernel, layer.strides, layer.padding.upper(), dilations=layer.dilation_rate)
        for piece, kernel in zip(tf.split(inputs, layer.groups, axis=-1), kernels, strict=True)
    ]
    outputs = tf.concat(pieces, axis=-1)
    return layer.activation(outputs + layer.bias if layer.use_bias else outputs)


def a_grouped_convolution(*, channels=8, dtype="float32", **options):
    layer = GroupedConv2D(2 * channels, 3, dtype=dtype, bias_initializer="random_normal", **options)
    layer.build((None, None, None, channels))
    return layer, random_images(2, 9, 8, channels)


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_a_grouped_convolution_is_one_for_each_group(options):
    layer, inputs = a_grouped_convolution(**options)
    outputs = layer(inputs)
    assert outputs.shape == layer.compute_output_shape(inputs.shape)
    np.testing.assert_allclose(outputs, group_by_group(layer, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", CONVOLUTIONS[:4])
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_a_grouped_convolution_has_the_weights_config_and_gradients_of_keras_layer(options, jit_compile):
    layer, inputs = a_grouped_convolution(**options)
    config = layer.get_config()
    plain = keras.layers.Conv2D.from_config(config)
    plain.build(inputs.shape)
    assert plain.get_config() == config
    assert [(v.name, v.shape) for v in plain.weights] == [(v.name, v.shape) for v in layer.weights]
    plain.set_weights(layer.get_weights())
    for one, other in zip(gradients(layer, inputs, jit_compile), gradients(plain, inputs, None), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def gradients(layer, inputs, jit_compile):
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.square(tf.cast(layer(inputs), tf.float32)))
        return tape.gradient(loss, [inputs, *layer.trainable_weights])

    return (step if jit_compile is None else tf.function(step, jit_compile=jit_compile))(tf.constant(inputs))


@pytest.mark.parametrize(("dtype", "tolerance"), [("mixed_float16", 5e-3), ("mixed_bfloat16", 5e-2)])
def test_grouped_convolutions_in_half_precision(dtype, tolerance):
    layer, inputs = a_grouped_convolution(groups=4, channels=64, dtype=dtype)
    outputs = layer(inputs)
    assert outputs.dtype == dtype.removeprefix("mixed_")
    expected = group_by_group(layer, inputs)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=tolerance * np.abs(expected).max())
    assert all(np.isfinite(gradient).all() for gradient in gradients(layer, inputs, jit_compile=False))


def test_a_saved_model_holds_keras_own_layers(tmp_path):
    images = keras.Input((None, None, 2))
    x = GroupedConv2D(6, 3, groups=2, padding="same", name="conv")(images)
    model = keras.Model(images, FusedBatchNormalization(momentum=0.5, scale=False, name="bn")(x))
    model(random_images(1, 6, 8, 2), training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(again.get_layer("bn")) is keras.layers.BatchNormalization
    assert type(again.get_layer("conv")) is keras.layers.Conv2D
    assert again.get_layer("bn").get_config() == model.get_layer("bn").get_config()
    inputs = random_images(2, 5, 9, 2)
    np.testing.assert_allclose(again(inputs), model(inputs), atol=1e-6)


GROUPS_WITH_HOLES = """
import numpy as np, tensorflow as tf, keras
from ptxtf.models.layers import GroupedConv2D
images = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 9, 8)), tf.float32)
options = dict(filters=8, kernel_size=3, groups=4, dilation_rate=2, padding="same")
theirs, ours = keras.layers.Conv2D(**options), GroupedConv2D(**options)
found = []
for layer in (theirs, ours):
    layer.build(images.shape)
    layer.set_weights(theirs.get_weights())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 2)
    found.append(tape.gradient(loss, layer.trainable_variables)[0].numpy())
np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-3)
"""


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_groups_with_holes_train_with_and_without_onednn(onednn):
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn}
    done = subprocess.run([sys.executable, "-c", GROUPS_WITH_HOLES], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-1000:]
