"""The blur against SciPy; the draw by its laws."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from ptxtf import ops

SIGMAS_PX = np.array([0.0, 0.1, 0.125, 0.7, 1.3, 2.0], np.float32)


def seeds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.full(count, -3)], axis=1).astype(np.int32)


def photographs(batch: int = len(SIGMAS_PX), size: tuple[int, int] = (20, 33), channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, *size, channels)).astype(np.float32)


def blur(images, sigmas_px):
    return ops.blur(images, sigmas_px, largest_sigma_px=2.0)


def draw(batch_seeds):
    return ops.draw_blur(batch_seeds, sigma_px=1.5)


def scipy_blur(images: np.ndarray, sigmas_px: np.ndarray) -> np.ndarray:
    sigmas = [float(sigma) for sigma in sigmas_px]
    pairs = zip(images.astype(np.float64), sigmas, strict=True)
    return np.stack([ndimage.gaussian_filter(x, (s, s, 0), mode="mirror", truncate=4.0) for x, s in pairs])


@pytest.mark.parametrize("size", [(20, 33), (9, 9)])  # 9: the smallest for a radius of 8
def test_every_pixel_equals_scipy(size):
    images = photographs(size=size)
    np.testing.assert_allclose(blur(images, SIGMAS_PX), scipy_blur(images, SIGMAS_PX), rtol=0, atol=5e-7)


def test_the_largest_sigma_only_makes_room():
    images = photographs()
    wider = ops.blur(images, SIGMAS_PX, largest_sigma_px=4.4)
    np.testing.assert_allclose(wider, blur(images, SIGMAS_PX), rtol=0, atol=1e-7)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_sigma_zero_changes_nothing(jit_compile):
    images = photographs(2)
    same = tf.function(blur, jit_compile=jit_compile)(images, np.zeros(2, np.float32))
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(ops.blur(images, np.zeros(2, np.float32), largest_sigma_px=0), images)


def test_a_flat_image_stays_and_a_point_keeps_its_sum():
    flat = np.full((1, 20, 20, 1), 0.3, np.float32)
    np.testing.assert_allclose(blur(flat, [1.7]), flat, rtol=1e-6)
    point = np.zeros((1, 21, 21, 1), np.float32)
    point[0, 10, 10, 0] = 1.0
    assert blur(point, [1.7]).numpy().sum() == pytest.approx(1.0, abs=1e-6)


def test_it_is_the_same_on_every_path_and_for_each_alone():
    images = photographs()
    eager = blur(images, SIGMAS_PX)
    np.testing.assert_array_equal(tf.function(blur)(images, SIGMAS_PX), eager)
    # XLA has an exponential of its own: the same weights in TensorFlow 2.21, others by their last digits in 2.17.
    tolerance = 0 if tf.__version__ >= "2.21" else 1e-6
    compiled = tf.function(blur, jit_compile=True)(images, SIGMAS_PX)
    np.testing.assert_allclose(compiled, eager, rtol=0, atol=tolerance)
    dataset = tf.data.Dataset.from_tensor_slices((images, SIGMAS_PX)).batch(1).map(blur)
    assert dataset.element_spec.shape.as_list() == [None, 20, 33, 2]
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_height_and_width_may_be_unknown_in_tracing():
    spec = [tf.TensorSpec([None, None, None, 2], tf.float32), tf.TensorSpec([None], tf.float32)]
    traced = tf.function(blur, input_signature=spec)
    np.testing.assert_array_equal(traced(photographs(), SIGMAS_PX), blur(photographs(), SIGMAS_PX))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="expected images higher and wider than 8 pixels, the kern"
    ):
        traced(photographs(size=(8, 9)), SIGMAS_PX)


def test_draws_are_uniform_in_the_range_asked_for():
    sigmas_px = tf.function(draw)(seeds(2000)).numpy()
    assert stats.kstest(sigmas_px, stats.uniform(0, 1.5).cdf).pvalue > 0.01


def test_draws_are_the_same_on_every_path():
    eager = draw(seeds(20))
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(draw, jit_compile=jit_compile)(seeds(20)), eager)
    np.testing.assert_array_equal(next(iter(tf.data.Dataset.from_tensors(seeds(20)).map(draw))), eager)


def test_an_example_draws_by_its_own_seed_alone():
    assert draw(seeds(6))[4] == draw(seeds(6)[4:5])[0]


def test_no_blur_draws_zero():
    assert not ops.draw_blur(seeds(9), sigma_px=0).numpy().any()


def test_wrong_arguments_are_refused():
    images, sigmas_px = photographs(2), np.float32([1.0, 2.0])
    with pytest.raises(ValueError, match=r"expected float32 images \[B, H, W, C\]\. Received: dtype=float64"):
        blur(images.astype(np.float64), sigmas_px)
    with pytest.raises(ValueError, match=r"expected float32 sigmas_px \[2\]\. Received: dtype=float32, shape=\(1,\)"):
        blur(images, sigmas_px[:1])
    with pytest.raises(
        ValueError, match=r"higher and wider than 8 pixels, the kernel's radius\. .*shape=\(2, 20, 8, 2\)"
    ):
        blur(images[:, :, :8], sigmas_px)
    with pytest.raises(ValueError, match=r"expected a finite largest_sigma_px >= 0\. Received: largest_sigma_px=-1"):
        ops.blur(images, sigmas_px, largest_sigma_px=-1)
    with pytest.raises(ValueError, match=r"expected a finite sigma_px >= 0\. Received: sigma_px=-1"):
        ops.draw_blur(seeds(2), sigma_px=-1)
    with pytest.raises(ValueError, match=r"expected int32 seeds \[B, 2\]"):
        ops.draw_blur(np.zeros((2, 3), np.int32), sigma_px=1)


@pytest.mark.parametrize("path", [blur, tf.function(blur)])
@pytest.mark.parametrize("sigma", [-0.1, 2.1, np.nan])
def test_sigmas_out_of_range_are_refused(path, sigma):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected sigmas_px in 0\.\.2\.0"):
        path(photographs(2), np.float32([1.0, sigma]))
