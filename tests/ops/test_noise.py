"""The noise's distribution against SciPy's normal one, and its laws."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ptxtf import ops

SHAPE = (13, 17, 3)  # an odd number of values, as two come from one random number


def seeds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.full(count, -3)], axis=1).astype(np.int32)


def draw(batch_seeds):
    return ops.draw_noise(batch_seeds, noise=0.1, image_shape=SHAPE)


def test_pixels_are_normal_around_zero():
    pixels = ops.draw_noise(seeds(1), noise=0.1, image_shape=(300, 400, 2)).numpy().ravel().astype(np.float64)
    # The deviation is not known: the pixels' own serves as well for so many of them.
    assert stats.kstest(pixels / pixels.std(), stats.norm.cdf).pvalue > 0.01
    assert stats.ttest_1samp(pixels, 0.0).pvalue > 0.01
    # Standard errors for n normal numbers: sqrt(24 / n) = 0.01 and sqrt(6 / n) = 0.005.
    assert abs(stats.kurtosis(pixels)) < 0.03
    assert abs(stats.skew(pixels)) < 0.015


def test_values_are_the_quantiles_of_the_normal_distribution():
    pixels = ops.draw_noise(seeds(1), noise=1.0, image_shape=(512, 512, 3)).numpy().ravel()
    values = np.unique(pixels)
    assert 2**16 - 10 < len(values) <= 2**16  # twelve draws for each
    # Once the deviation is divided out, each stands for a whole number of steps of 2**-16.
    scale = values[-1] / stats.norm.ppf((2**16 - 0.5) / 2**16)
    steps = stats.norm.cdf(values.astype(np.float64) / scale) * 2**16 - 0.5
    np.testing.assert_allclose(steps, np.round(steps), atol=0.02)


def test_deviations_are_uniform_up_to_the_largest():
    noise = tf.function(lambda s: ops.draw_noise(s, noise=0.1, image_shape=(40, 40, 1)))(seeds(500)).numpy()
    deviations = noise.std(axis=(1, 2, 3))  # each known to 1 / sqrt(2 * 1600), 2 %
    assert stats.kstest(deviations, stats.uniform(0, 0.1).cdf).pvalue > 0.01
    # No pixel is made of the number that made the deviation.
    assert stats.spearmanr(noise[:, 0, 0, 0] / deviations, deviations).pvalue > 0.01


def test_pixels_and_examples_are_independent():
    noise = ops.draw_noise(seeds(2), noise=0.1, image_shape=(200, 200, 2)).numpy().astype(np.float64)
    flat = noise.reshape(2, -1)
    half = flat.shape[1] // 2  # the distance between the two values of one random number
    limit = 4 / np.sqrt(half)
    assert abs(np.corrcoef(flat[0], flat[1])[0, 1]) < limit
    for lag in (1, 2, 400, half):
        assert abs(np.corrcoef(flat[0, lag:], flat[0, :-lag])[0, 1]) < limit


def test_draws_are_the_same_on_every_path():
    eager = draw(seeds(4))
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(draw, jit_compile=jit_compile)(seeds(4)), eager)
    dataset = tf.data.Dataset.from_tensor_slices(seeds(4)).batch(2).map(draw)
    assert dataset.element_spec.shape.as_list() == [None, *SHAPE]
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_an_example_draws_by_its_own_seed_alone():
    np.testing.assert_array_equal(draw(seeds(6))[4], draw(seeds(6)[4:5])[0])


def test_no_noise_is_zero():
    assert not ops.draw_noise(seeds(3), noise=0, image_shape=SHAPE).numpy().any()


def test_drawn_together_and_added_it_is_the_same_under_xla():
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32)

    def noisy(images):
        return ops.add_noise(images, draw(seeds(3)))

    np.testing.assert_array_equal(tf.function(noisy, jit_compile=True)(images), noisy(images))


def test_noise_is_added_and_not_clipped():
    images = np.array([0.5, 1.0, 0.0], np.float32).reshape(1, 1, 3, 1)
    noise = np.array([0.25, 0.5, -0.5], np.float32).reshape(1, 1, 3, 1)
    for add in (ops.add_noise, tf.function(ops.add_noise), tf.function(ops.add_noise, jit_compile=True)):
        assert add(images, noise).numpy().ravel().tolist() == [0.75, 1.5, -0.5]
    dataset = tf.data.Dataset.from_tensors((images, noise)).map(ops.add_noise)
    assert next(iter(dataset)).numpy().ravel().tolist() == [0.75, 1.5, -0.5]


def test_wrong_arguments_are_refused():
    images = np.zeros((2, 4, 5, 1), np.float32)
    with pytest.raises(ValueError, match=r"expected float32 images \[B, H, W, C\]\. Received: dtype=uint8"):
        ops.add_noise(images.astype(np.uint8), images)
    with pytest.raises(
        ValueError, match=r"expected float32 noise \(2, 4, 5, 1\), as the images\. Received: .*\(4, 5, 1"
    ):
        ops.add_noise(images, images[0])
    with pytest.raises(ValueError, match=r"expected float32 noise .*Received: dtype=float64"):
        ops.add_noise(images, images.astype(np.float64))
    with pytest.raises(ValueError, match=r"expected a finite noise >= 0\. Received: noise=-0\.1"):
        ops.draw_noise(seeds(2), noise=-0.1, image_shape=SHAPE)
    with pytest.raises(ValueError, match=r"expected image_shape \(height, width, channels\).*image_shape=\(4, 5\)"):
        ops.draw_noise(seeds(2), noise=0.1, image_shape=(4, 5))
    with pytest.raises(ValueError, match=r"expected int32 seeds \[B, 2\]"):
        ops.draw_noise(np.zeros((2, 3), np.int32), noise=0.1, image_shape=SHAPE)
