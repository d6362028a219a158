"""Convolutions against TensorFlow's own in float64, values and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from ptxtf import devices
from ptxtf.models.convolution import convolve, convolve_by_case, convolve_pixels, sum_by_case

SIZES = [(1, 1, 1), (2, 3, 5), (1, 8, 8), (3, 7, 2)]


def convolve_enlarged(images, kernel):
    return convolve_by_case(images, sum_by_case(kernel))


def draw(shape):
    return np.random.default_rng(0).normal(size=shape)


def plain(images, kernel):
    return tf.nn.conv2d(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), kernel, 1, "VALID")


def plain_enlarged(images, kernel):
    return plain(tf.repeat(tf.repeat(images, 2, axis=1), 2, axis=2), kernel)


def with_gradients(function, images, kernel):
    """Return the outputs and the gradients of a sum that weighs each of them otherwise."""
    images, kernel = tf.constant(images), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        outputs = function(images, kernel)
        total = tf.reduce_sum(outputs * tf.cast(draw(outputs.shape), outputs.dtype))
    return [outputs, *tape.gradient(total, [images, kernel])]


def assert_same(function, oracle, images, kernel, *, dtype="float32", tolerance=1e-5):
    ours = with_gradients(function, images.astype(dtype), kernel.astype(dtype))
    for found, expected in zip(ours, with_gradients(oracle, images, kernel), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(tf.cast(found, tf.float64), expected, atol=tolerance * scale, rtol=0)


# Channels that take each way to the kernel's gradient: many to few, few to many, and fewer than it is worth;
# and one filter, for which channels are convolved one by one.
@pytest.mark.parametrize(("channels", "filters"), [(64, 3), (32, 32), (33, 50), (5, 4), (3, 1), (64, 1)])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("avx512", [False, True])
def test_convolution_and_its_gradients_are_tensorflow_s(monkeypatch, avx512, shape, size, channels, filters):
    monkeypatch.setattr(devices, "has_avx512", lambda: avx512)
    assert_same(convolve, plain, draw([*shape, channels]), draw([size, size, channels, filters]))


@pytest.mark.parametrize(("channels", "filters"), [(64, 3), (33, 9), (4, 5)])
@pytest.mark.parametrize("shape", SIZES)
def test_convolution_of_the_enlarged_map_is_that_of_a_map_enlarged(shape, channels, filters):
    assert_same(convolve_enlarged, plain_enlarged, draw([*shape, channels]), draw([3, 3, channels, filters]))


@pytest.mark.parametrize(("channels", "filters"), [(64, 3), (4, 5)])
@pytest.mark.parametrize("shape", SIZES)
def test_products_of_pixels_are_a_convolution_of_1_x_1(shape, channels, filters):
    def convolution(images, kernel):
        return tf.nn.conv2d(images, kernel, 1, "VALID")

    assert_same(convolve_pixels, convolution, draw([*shape, channels]), draw([1, 1, channels, filters]))


def test_an_enlarged_pixel_by_hand():
    kernel = np.arange(1.0, 10).reshape(3, 3, 1, 1).astype(np.float32)
    enlarged = convolve_enlarged(tf.ones([1, 1, 1, 1]), tf.constant(kernel))
    # Four equal pixels: under each corner of the enlarged map lies the kernel's opposite quarter.
    expected = [[5 + 6 + 8 + 9, 4 + 5 + 7 + 8], [2 + 3 + 5 + 6, 1 + 2 + 4 + 5]]
    np.testing.assert_array_equal(enlarged[0, :, :, 0], expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 4e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize(("function", "oracle"), [(convolve, plain), (convolve_enlarged, plain_enlarged)])
def test_half_precision(function, oracle, dtype, tolerance):
    dtype = tf.as_dtype(dtype).as_numpy_dtype
    assert_same(function, oracle, draw([2, 6, 4, 40]), draw([3, 3, 40, 8]), dtype=dtype, tolerance=tolerance)


def test_sums_of_weights_are_rounded_once():
    kernel = np.full([3, 3, 1, 1], 2**-8, np.float32)
    kernel[1, 1] = 1
    outputs = convolve_enlarged(tf.ones([1, 1, 1, 1], tf.bfloat16), tf.constant(kernel))
    # 1 + 3 / 256 is half way between 1 + 1 / 128 and 1 + 2 / 128, which is even. Summed in bfloat16, 1 + 1 / 256 is 1.
    assert float(outputs[0, 0, 0, 0]) == 1 + 2 / 128


@pytest.mark.parametrize("function", [convolve, convolve_enlarged])
def test_sizes_may_be_unknown_and_xla_gives_the_same(function):
    images, kernel = draw([2, 6, 4, 64]).astype(np.float32), draw([3, 3, 64, 8]).astype(np.float32)
    expected = with_gradients(function, images, kernel)
    signature = [tf.TensorSpec([None, None, None, 64]), tf.TensorSpec([3, 3, 64, 8])]

    def step(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            outputs = function(images, kernel)
            total = tf.reduce_sum(outputs * tf.cast(draw([2, *expected[0].shape[1:]]), outputs.dtype))
        return [outputs, *tape.gradient(total, [images, kernel])]

    for compiled in (tf.function(step, signature), tf.function(step, jit_compile=True)):
        for found, value in zip(compiled(images, kernel), expected, strict=True):
            np.testing.assert_allclose(found, value, atol=1e-5 * np.abs(value).max(), rtol=0)
