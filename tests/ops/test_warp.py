"""Warping images and masks against SciPy; the same bits on every path."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from ptxtf import ops

SIZE = (23, 31)


def photographs(batch: int = 3, size: tuple[int, int] = SIZE, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((batch, *size, channels), np.float32)


def skewed_matrices(batch: int = 3) -> np.ndarray:
    """Return matrices of every kind: shear, zoom, mirror, and offsets that reach far out of the image."""
    rng = np.random.default_rng(1)
    linear = np.eye(2) + rng.normal(0, 0.4, (batch, 2, 2))
    return np.concatenate([linear, rng.uniform(-30, 30, (batch, 2, 1))], axis=-1).astype(np.float32)


def scipy_warp(images: np.ndarray, matrices: np.ndarray, **options) -> np.ndarray:
    warped = np.empty_like(images)
    for index, matrix in enumerate(matrices.astype(np.float64)):
        for channel in range(images.shape[-1]):
            warped[index, ..., channel] = ndimage.affine_transform(
                images[index, ..., channel].astype(np.float64), matrix[:, :2], matrix[:, 2], **options
            )
    return warped


@pytest.mark.parametrize(("fill_mode", "scipy_mode"), [("constant", "grid-constant"), ("reflect", "mirror")])
@pytest.mark.parametrize(("interpolation", "order"), [("bilinear", 1), ("nearest", 0)])
def test_every_pixel_equals_scipy(fill_mode, scipy_mode, interpolation, order):
    images, matrices = photographs(), skewed_matrices()
    ours = ops.warp_affine(images, matrices, interpolation=interpolation, fill_mode=fill_mode, fill_value=0.25)
    expected = scipy_warp(images, matrices, order=order, mode=scipy_mode, cval=0.25)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_large_images_are_as_exact():
    images = photographs(1, (512, 512), 1)
    matrices = ops.affine_matrices([0.3], zooms=[1.07], flips=[True], image_size=(512, 512)).numpy()
    expected = scipy_warp(images, matrices, order=1, mode="grid-constant")
    np.testing.assert_allclose(ops.warp_affine(images, matrices), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 1)])
@pytest.mark.parametrize(("fill_mode", "scipy_mode"), [("constant", "grid-constant"), ("reflect", "mirror")])
def test_lines_and_points_equal_scipy(size, fill_mode, scipy_mode):
    images, matrices = photographs(3, size, 1), skewed_matrices()
    expected = scipy_warp(images, matrices, order=1, mode=scipy_mode)
    np.testing.assert_allclose(ops.warp_affine(images, matrices, fill_mode=fill_mode), expected, rtol=0, atol=1e-5)


def test_half_a_pixel_to_the_right_by_hand():
    images = np.array([1.0, 3.0, 7.0], np.float32).reshape(1, 1, 3, 1)
    matrices = np.array([[[1, 0, 0], [0, 1, -0.5]]], np.float32)
    blended = ops.warp_affine(images, matrices, fill_value=9.0)
    mirrored = ops.warp_affine(images, matrices, fill_mode="reflect")
    assert blended.numpy().ravel().tolist() == [5.0, 2.0, 5.0]
    assert mirrored.numpy().ravel().tolist() == [2.0, 2.0, 5.0]


def test_uint8_masks_keep_their_labels():
    masks = (photographs(channels=1) > 0.5).astype(np.uint8)
    moved = ops.warp_affine(masks, skewed_matrices(), interpolation="nearest", fill_value=2)
    expected = scipy_warp(masks, skewed_matrices(), order=0, mode="grid-constant", cval=2)
    assert moved.dtype == tf.uint8
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize(("fill_mode", "scipy_mode"), [("constant", "grid-constant"), ("reflect", "mirror")])
@pytest.mark.parametrize("channels", [1, 3])
def test_uint8_images_are_blended_without_rounding(fill_mode, scipy_mode, channels):
    images = (photographs(channels=channels) * 255).astype(np.uint8)
    moved = ops.warp_affine(images, skewed_matrices(), fill_mode=fill_mode, fill_value=9)
    expected = scipy_warp(images.astype(np.float32), skewed_matrices(), order=1, mode=scipy_mode, cval=9)
    assert moved.dtype == tf.float32
    np.testing.assert_allclose(moved, expected, rtol=0, atol=255 * 1e-5)


@pytest.mark.parametrize("fill_mode", ["constant", "reflect"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_uint8_images_come_out_alike_to_the_last_bit_on_every_path(fill_mode, interpolation):
    images, matrices = (photographs(4, (64, 80), 1) * 255).astype(np.uint8), skewed_matrices(4)

    def warp(batch, batch_matrices):
        return ops.warp_affine(batch, batch_matrices, fill_mode=fill_mode, interpolation=interpolation)

    eager = warp(images, matrices)
    np.testing.assert_array_equal(tf.function(warp, jit_compile=True)(images, matrices), eager)
    dataset = tf.data.Dataset.from_tensor_slices((images, matrices)).batch(3).map(warp)
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


@pytest.mark.parametrize("scale", [1e-3, 50.0, 1e6, 1e12])
def test_matrices_of_any_scale_are_safe(scale):
    images = photographs(1, (23, 31), 1)
    matrices = np.array([[[scale, 0, -3 * scale], [0, 1, 0.25]]], np.float32)
    expected = scipy_warp(images, matrices, order=1, mode="grid-constant", cval=0.5)
    np.testing.assert_allclose(ops.warp_affine(images, matrices, fill_value=0.5), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fill_mode", ["constant", "reflect"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_eager_equals_graph_data_and_xla(fill_mode, interpolation):
    images, matrices = photographs(4), skewed_matrices(4)

    def warp(batch, batch_matrices):
        return ops.warp_affine(batch, batch_matrices, fill_mode=fill_mode, interpolation=interpolation)

    eager = warp(images, matrices)
    dataset = tf.data.Dataset.from_tensor_slices((images, matrices)).batch(3).map(warp)  # B unknown: 3, then 1
    unknown = tf.TensorSpec((None, None, None, 2), tf.float32)
    graph = tf.function(warp, input_signature=[unknown, tf.TensorSpec((None, 2, 3), tf.float32)])
    np.testing.assert_array_equal(graph(images, matrices), eager)
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)
    np.testing.assert_allclose(tf.function(warp, jit_compile=True)(images, matrices), eager, rtol=0, atol=1e-6)


def test_batch_equals_each_alone():
    images, matrices = photographs(), skewed_matrices()
    alone = [ops.warp_affine(images[i : i + 1], matrices[i : i + 1])[0] for i in range(3)]
    np.testing.assert_array_equal(ops.warp_affine(images, matrices), alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"interpolation": "cubic"},
            "expected interpolation of 'bilinear' or 'nearest'. Received: interpolation='cubic'",
        ),
        ({"fill_mode": "wrap"}, "expected fill_mode of 'constant' or 'reflect'. Received: fill_mode='wrap'"),
        (
            {"images": photographs()[0]},
            r"expected float32 or uint8 images \[B, H, W, C\]\. Received: dtype=float32, shape=\(23, 31, 2\)",
        ),
        ({"images": np.zeros((3, 4, 4, 1), np.int32)}, r"float32 or uint8 images .* Received: dtype=int32"),
        ({"matrices": skewed_matrices(2)}, r"expected float32 matrices \[3, 2, 3\]. Received.*shape=\(2, 2, 3\)"),
        ({"matrices": skewed_matrices().astype(np.float64)}, "expected float32 matrices .*dtype=float64"),
    ],
)
def test_wrong_warp_arguments_are_refused(arguments, message):
    given = {"images": photographs(), "matrices": skewed_matrices(), **arguments}
    with pytest.raises(ValueError, match=message):
        ops.warp_affine(given.pop("images"), given.pop("matrices"), **given)


def test_a_fill_value_outside_uint8_is_refused():
    with pytest.raises(ValueError, match=r"expected fill_value, a whole number in 0\.\.255 for uint8"):
        ops.warp_affine(np.zeros((3, 4, 4, 1), np.uint8), skewed_matrices(), interpolation="nearest", fill_value=0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_images_of_unknown_size_are_warped_too(dtype, interpolation):
    images, matrices = (photographs() * 255).astype(dtype), skewed_matrices()

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2), dtype), tf.TensorSpec((None, 2, 3))])
    def warp(batch, batch_matrices):
        return ops.warp_affine(batch, batch_matrices, interpolation=interpolation)

    expected = ops.warp_affine(images, matrices, interpolation=interpolation)
    np.testing.assert_array_equal(warp(images, matrices), expected)
