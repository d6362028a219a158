"""Grey values against numbers by hand and NumPy; the draws by their laws."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ptxtf import ops


def seeds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.full(count, -3)], axis=1).astype(np.int32)


def photographs() -> np.ndarray:
    return np.random.default_rng(0).random((3, 14, 15, 2), np.float32)


by_draw = pytest.mark.parametrize(
    "draw",
    [
        functools.partial(ops.draw_brightness, brightness=0.15),
        functools.partial(ops.draw_contrast, contrast=0.4),
        functools.partial(ops.draw_gamma, gamma=0.5),
    ],
    ids=["brightness", "contrast", "gamma"],
)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_unit_range_divides_by_255(jit_compile, dtype):
    images = np.arange(256, dtype=dtype).reshape(1, 16, 16, 1)
    unit = tf.function(ops.to_unit_range, jit_compile=jit_compile)(images)
    np.testing.assert_array_equal(unit, ops.to_unit_range(images))
    assert unit.dtype == tf.float32
    assert unit.numpy().min() == 0.0
    assert unit.numpy().max() == 1.0
    np.testing.assert_allclose(unit, images / 255, rtol=1e-7)


def test_brightness_multiplies_each_image_and_does_not_clip():
    images = np.array([0.5, 0.8, -2.0, 0.5], np.float32).reshape(2, 1, 2, 1)
    adjusted = ops.adjust_brightness(images, [1.5, 0.5])
    np.testing.assert_allclose(adjusted.numpy().ravel(), [0.75, 1.2, -1.0, 0.25], rtol=1e-6)


def test_contrast_moves_pixels_from_the_mean_of_their_image_and_channel():
    # Means 0.5 and 4: factor 2 doubles the distances to them, and nothing is clipped.
    images = np.array([0.0, 2.0, 1.0, 6.0], np.float32).reshape(1, 1, 2, 2)
    assert ops.adjust_contrast(images, [2.0]).numpy().ravel().tolist() == [-0.5, 0.0, 1.5, 8.0]


def test_contrast_keeps_the_mean_and_multiplies_the_deviation():
    images, factors = photographs(), np.array([0.0, 0.7, 1.6], np.float32)
    adjusted = ops.adjust_contrast(images, factors).numpy().astype(np.float64)
    np.testing.assert_allclose(adjusted.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-6)
    expected = images.std(axis=(1, 2)) * factors[:, np.newaxis]
    np.testing.assert_allclose(adjusted.std(axis=(1, 2)), expected, rtol=1e-5, atol=1e-7)


def test_gamma_is_numpys_power_and_keeps_0_and_1():
    images = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 1, 101, 1)
    for exponent in (0.4, 2.2):
        adjusted = ops.adjust_gamma(images, [exponent]).numpy()
        np.testing.assert_allclose(adjusted, images.astype(np.float64) ** exponent, rtol=1e-6)
        assert adjusted.ravel()[[0, -1]].tolist() == [0.0, 1.0]


def test_gammas_one_after_the_other_multiply():
    images, first, second = photographs(), np.float32([0.5, 0.9, 1.3]), np.float32([1.5, 0.8, 0.7])
    both = ops.adjust_gamma(ops.adjust_gamma(images, first), second)
    np.testing.assert_allclose(both, ops.adjust_gamma(images, first * second), rtol=1e-5)


@pytest.mark.parametrize("adjust", [ops.adjust_brightness, ops.adjust_contrast, ops.adjust_gamma])
def test_a_parameter_of_one_changes_nothing(adjust):
    images = photographs()
    np.testing.assert_array_equal(adjust(images, np.ones(3, np.float32)), images)


@pytest.mark.parametrize("adjust", [ops.adjust_brightness, ops.adjust_contrast, ops.adjust_gamma])
def test_adjusting_is_the_same_on_every_path_and_for_each_alone(adjust):
    images, values = photographs(), np.array([0.9, 1.0, 1.1], np.float32)
    eager = adjust(images, values)
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(adjust, jit_compile=jit_compile)(images, values), eager)
    dataset = tf.data.Dataset.from_tensor_slices((images, values)).batch(1).map(adjust)
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_draws_are_uniform_in_the_range_asked_for():
    brightness = tf.function(ops.draw_brightness)(seeds(2000), brightness=0.15).numpy()
    assert stats.kstest(brightness, stats.uniform(0.85, 0.3).cdf).pvalue > 0.01
    contrast = tf.function(ops.draw_contrast)(seeds(2000), contrast=0.4).numpy()
    assert stats.kstest(contrast, stats.uniform(0.6, 0.8).cdf).pvalue > 0.01
    exponents = tf.function(ops.draw_gamma)(seeds(2000), gamma=0.5).numpy()
    assert stats.kstest(exponents, stats.loguniform(1 / 1.5, 1.5).cdf).pvalue > 0.01


@by_draw
def test_draws_are_the_same_on_every_path(draw):
    eager = draw(seeds(20))
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(draw, jit_compile=jit_compile)(seeds(20)), eager)
    np.testing.assert_array_equal(next(iter(tf.data.Dataset.from_tensors(seeds(20)).map(draw))), eager)


@by_draw
def test_an_example_draws_by_its_own_seed_alone(draw):
    assert draw(seeds(6))[4] == draw(seeds(6)[4:5])[0]


def test_no_change_draws_one():
    assert np.all(ops.draw_brightness(seeds(9), brightness=0) == 1.0)
    assert np.all(ops.draw_contrast(seeds(9), contrast=0) == 1.0)
    assert np.all(ops.draw_gamma(seeds(9), gamma=0) == 1.0)


def test_wide_ranges_draw_the_same_on_every_path():
    """Of these seeds, a compiler that rounds a product and a sum but once makes others."""
    known = [[-183929182, 1838045540], [1262532293, 110077963], [-1045727175, -1763466074]]
    others = np.random.default_rng(0).integers(-(2**31), 2**31, (20_000, 2))
    batch_seeds = np.concatenate([known, others]).astype(np.int32)

    def draw_all(seeds):
        affine = ops.draw_affine(
            seeds, rotation_degrees=(3, 171), zoom=0.9, flip_probability=0.5, shear_degrees=80, shift=0.9
        )
        return (
            ops.draw_contrast(seeds, contrast=0.9),
            ops.draw_brightness(seeds, brightness=0.8),
            ops.draw_blur(seeds, sigma_px=7.7),
            *affine,
            # XLA has an exponential of its own: the same in TensorFlow 2.21, another by its last digits in 2.17.
            *([ops.draw_gamma(seeds, gamma=5)] if tf.__version__ >= "2.21" else []),
        )

    plain, compiled = (tf.function(draw_all, jit_compile=jit)(batch_seeds) for jit in (False, True))
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_array_equal(one, other)


def test_drawing_functions_are_independent_of_one_another():
    masks = np.zeros((1000, 64, 64, 1), np.uint8)

    @tf.function
    def draw_all(seeds):
        return {
            "affine": ops.draw_affine(seeds, rotation_degrees=(0, 20), zoom=0.1, flip_probability=0.5)[1],
            "brightness": ops.draw_brightness(seeds, brightness=0.5),
            "contrast": ops.draw_contrast(seeds, contrast=0.5),
            "gamma": ops.draw_gamma(seeds, gamma=0.5),
            # The first number is the deviation: it shows in the root mean square of many pixels.
            "noise": tf.math.reduce_std(ops.draw_noise(seeds, noise=1.0, image_shape=(20, 20, 1)), axis=[1, 2, 3]),
            "blur": ops.draw_blur(seeds, sigma_px=1.0),
            "cutout": ops.draw_cutout(seeds, image_size=(1000, 1000), largest_share=0.5)[:, 2],
            "corners": ops.draw_corners(seeds, masks, size=1, count=1, foreground_share=0.0)[:, 0, 0],
        }

    drawn = np.stack([values.numpy().astype(np.float64) for values in draw_all(seeds(1000)).values()])
    correlations = stats.spearmanr(drawn, axis=1).statistic
    assert np.abs(correlations - np.eye(len(drawn))).max() < 0.13  # 4 standard deviations of 1 / sqrt(1000)


def test_wrong_arguments_are_refused():
    images = np.zeros((2, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match=r"expected uint8 or float32 images \[B, H, W, C\]\. Received: dtype=uint16"):
        ops.to_unit_range(images.astype(np.uint16))
    with pytest.raises(ValueError, match=r"expected float32 images \[B, H, W, C\].*shape=\(4, 4, 1\)"):
        ops.adjust_brightness(images[0], [1.0])
    with pytest.raises(ValueError, match=r"expected float32 factors \[2\]. Received: dtype=float32, shape=\(3,\)"):
        ops.adjust_brightness(images, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"expected 0 <= brightness < 1\. Received: brightness=-0\.1"):
        ops.draw_brightness(seeds(2), brightness=-0.1)
    with pytest.raises(ValueError, match=r"expected int32 seeds \[B, 2\]"):
        ops.draw_brightness(np.zeros((2, 3), np.int32), brightness=0.1)


def test_wrong_contrast_and_gamma_are_refused():
    images = np.zeros((2, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match=r"expected float32 images \[B, H, W, C\]\. Received: dtype=uint8"):
        ops.adjust_contrast(images.astype(np.uint8), [1.0, 1.0])
    with pytest.raises(ValueError, match=r"expected float32 factors \[2\]\. Received: dtype=float64, shape=\(2,\)"):
        ops.adjust_contrast(images, np.ones(2))
    with pytest.raises(ValueError, match=r"expected float32 images \[B, H, W, C\].*shape=\(4, 4, 1\)"):
        ops.adjust_gamma(images[0], [1.0])
    with pytest.raises(ValueError, match=r"expected float32 exponents \[2\]\. Received: dtype=float32, shape=\(1, 2\)"):
        ops.adjust_gamma(images, [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"expected 0 <= contrast < 1\. Received: contrast=1"):
        ops.draw_contrast(seeds(2), contrast=1)
    with pytest.raises(ValueError, match=r"expected a finite gamma >= 0\. Received: gamma=-0\.5"):
        ops.draw_gamma(seeds(2), gamma=-0.5)
    for draw in (functools.partial(ops.draw_contrast, contrast=0.1), functools.partial(ops.draw_gamma, gamma=0.1)):
        with pytest.raises(ValueError, match=r"expected int32 seeds \[B, 2\]"):
            draw(np.zeros((2, 3), np.int32))
