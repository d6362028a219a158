"""Grey values against numbers by hand; the brightness draw by its laws."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ptxtf import ops


def seeds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.full(count, -3)], axis=1).astype(np.int32)


def draw(batch_seeds):
    return ops.draw_brightness(batch_seeds, brightness=0.15)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_unit_range_divides_by_255(jit_compile):
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = tf.function(ops.to_unit_range, jit_compile=jit_compile)(images)
    assert unit.dtype == tf.float32
    assert unit.numpy().min() == 0.0
    assert unit.numpy().max() == 1.0
    np.testing.assert_allclose(unit, images / 255, rtol=1e-7)


def test_brightness_multiplies_each_image_and_does_not_clip():
    images = np.array([0.5, 0.8, -2.0, 0.5], np.float32).reshape(2, 1, 2, 1)
    adjusted = ops.adjust_brightness(images, [1.5, 0.5])
    np.testing.assert_allclose(adjusted.numpy().ravel(), [0.75, 1.2, -1.0, 0.25], rtol=1e-6)


def test_brightness_one_changes_nothing():
    images = np.random.default_rng(0).random((3, 4, 5, 2), np.float32)
    np.testing.assert_array_equal(ops.adjust_brightness(images, np.ones(3, np.float32)), images)


def test_brightness_is_the_same_on_every_path_and_for_each_alone():
    images = np.random.default_rng(0).random((3, 4, 5, 2), np.float32)
    factors = np.array([0.9, 1.0, 1.1], np.float32)
    eager = ops.adjust_brightness(images, factors)
    np.testing.assert_array_equal(tf.function(ops.adjust_brightness, jit_compile=True)(images, factors), eager)
    dataset = tf.data.Dataset.from_tensor_slices((images, factors)).batch(1).map(ops.adjust_brightness)
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_draws_are_uniform_in_the_range_asked_for():
    factors = tf.function(draw)(seeds(2000)).numpy()
    assert stats.kstest(factors, stats.uniform(0.85, 0.3).cdf).pvalue > 0.01


def test_draws_are_the_same_on_every_path():
    eager = draw(seeds(20))
    np.testing.assert_array_equal(tf.function(draw, jit_compile=True)(seeds(20)), eager)
    np.testing.assert_array_equal(next(iter(tf.data.Dataset.from_tensors(seeds(20)).map(draw))), eager)


def test_an_example_draws_by_its_own_seed_alone():
    assert draw(seeds(6))[4] == draw(seeds(6)[4:5])[0]


def test_no_change_draws_one():
    assert np.all(ops.draw_brightness(seeds(9), brightness=0) == 1.0)


def test_wrong_arguments_are_refused():
    images = np.zeros((2, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match=r"expected uint8 images \[B, H, W, C\]. Received: dtype=float32"):
        ops.to_unit_range(images)
    with pytest.raises(ValueError, match=r"expected float32 images \[B, H, W, C\].*shape=\(4, 4, 1\)"):
        ops.adjust_brightness(images[0], [1.0])
    with pytest.raises(ValueError, match=r"expected float32 factors \[2\]. Received: dtype=float32, shape=\(3,\)"):
        ops.adjust_brightness(images, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"expected 0 <= brightness < 1\. Received: brightness=-0\.1"):
        ops.draw_brightness(seeds(2), brightness=-0.1)
    with pytest.raises(ValueError, match=r"expected int32 seeds \[B, 2\]"):
        ops.draw_brightness(np.zeros((2, 3), np.int32), brightness=0.1)
