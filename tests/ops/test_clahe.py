"""CLAHE against OpenCV, pixel by pixel, on every path."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf import ops


def opencv(images: np.ndarray, clip_limit: float, tile_grid: tuple[int, int]) -> np.ndarray:
    rows, columns = tile_grid
    equaliser = cv2.createCLAHE(clip_limit, (columns, rows))
    return np.stack([equaliser.apply(image[..., 0]) for image in images])[..., np.newaxis]


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def shaded(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return images of smooth structures with a little noise, as radiographs are: few grey levels per tile."""
    batch, height, width, _ = shape
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 235, (batch, 5, 5)).astype(np.float32)
    smooth = np.stack([cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse])
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)[..., np.newaxis]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile_grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    clip_limit=st.sampled_from([-1.0, 0.0, 0.01, 0.9, 1.0, 2.0, 3.7, 40.0, 1e6]),
    make=st.sampled_from([noise, shaded]),
    seed=st.integers(0, 1000),
)
def test_every_pixel_equals_opencv(height, width, tile_grid, clip_limit, make, seed):
    images = make((1, height, width, 1), seed)
    tile_grid = (min(tile_grid[0], height), min(tile_grid[1], width))
    ours = ops.clahe(images, clip_limit=clip_limit, tile_grid=tile_grid)
    np.testing.assert_array_equal(ours, opencv(images, clip_limit, tile_grid))


def deep(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return uint16 images over the whole range, like the given uint8 ones and with noise below their levels."""
    return (images.astype(np.uint16) * 257) ^ noise(images.shape, seed)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    tile_grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    clip_limit=st.sampled_from([-1.0, 0.0, 0.9, 2.0, 40.0, 1e6]),
    make=st.sampled_from([noise, shaded]),
)
def test_every_pixel_equals_opencv_in_16_bits(height, width, tile_grid, clip_limit, make):
    images = deep(make((1, height, width, 1)))
    tile_grid = (min(tile_grid[0], height), min(tile_grid[1], width))
    ours = ops.clahe(images, clip_limit=clip_limit, tile_grid=tile_grid)
    assert ours.dtype == tf.uint16
    np.testing.assert_array_equal(ours, opencv(images, clip_limit, tile_grid))


@pytest.mark.parametrize("size", [(128, 96), (111, 97)])
def test_every_pixel_equals_opencv_in_16_bits_under_xla_and_in_tf_data(size):
    images = deep(shaded((2, *size, 1)))
    expected = opencv(images, 2.0, (4, 3))

    def equalise(batch):
        return ops.clahe(batch, tile_grid=(4, 3))

    np.testing.assert_array_equal(tf.function(equalise, jit_compile=True)(images), expected)
    mapped = tf.data.Dataset.from_tensors(images).map(equalise)
    np.testing.assert_array_equal(next(iter(mapped)), expected)


@pytest.mark.parametrize(
    ("size", "tile_grid", "clip_limit"),
    [
        ((256, 256), (8, 8), 2.0),  # tiles of 32: every product in the blending is exact
        ((200, 200), (8, 8), 2.0),  # tiles of 25: fused multiply-add would flip rounding ties here
        ((160, 120), (8, 8), 0.0),
        ((111, 97), (5, 3), 4.0),  # mirrored on both sides
        ((96, 97), (8, 4), 2.0),  # a side that divides is padded because the other does not
        ((6, 5), (4, 5), 1.0),  # one column of pixels a tile
        ((1, 3), (1, 2), 1.0),  # mirrored several times over
    ],
)
@pytest.mark.parametrize("make", [noise, shaded])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_every_pixel_equals_opencv_in_graphs(size, tile_grid, clip_limit, make, jit_compile):
    images = make((4, *size, 1))

    @tf.function(jit_compile=jit_compile)
    def compiled(batch):
        return ops.clahe(batch, clip_limit=clip_limit, tile_grid=tile_grid)

    np.testing.assert_array_equal(compiled(images), opencv(images, clip_limit, tile_grid))


def test_tile_grid_is_rows_then_columns():
    images = shaded((1, 64, 64, 1))
    tall, wide = (ops.clahe(images, tile_grid=grid).numpy() for grid in [(1, 4), (4, 1)])
    np.testing.assert_array_equal(tall, opencv(images, 2.0, (1, 4)))
    assert not np.array_equal(tall, wide)


def test_one_tile_without_limit_by_hand():
    # One pixel of each level: cumulative shares 1/4, 2/4, 3/4, 1 of 255 are 63.75, 127.5 (to even: 128), 191.25, 255.
    images = np.array([[[0], [7]], [[9], [200]]], np.uint8)[np.newaxis]
    equalised = ops.clahe(images, clip_limit=0.0, tile_grid=(1, 1))
    assert equalised.numpy().ravel().tolist() == [64, 128, 191, 255]


def test_equal_rows_stay_equal():
    images = np.repeat(noise((1, 1, 64, 1)), 64, axis=1)
    equalised = ops.clahe(images).numpy()
    np.testing.assert_array_equal(equalised, np.repeat(equalised[:, :1], 64, axis=1))


@pytest.mark.parametrize("signature", [(None, 48, 60, 1), (None, None, None, 1)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_shapes_may_be_unknown_while_tracing(signature, jit_compile):
    images = shaded((2, 48, 60, 1))

    @tf.function(input_signature=[tf.TensorSpec(signature, tf.uint8)], jit_compile=jit_compile)
    def traced(batch):
        return ops.clahe(batch, tile_grid=(4, 7))

    np.testing.assert_array_equal(traced(images), opencv(images, 2.0, (4, 7)))


def test_tf_data_keeps_the_static_shape_and_the_values():
    images = shaded((4, 50, 60, 1))
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2, drop_remainder=True).map(ops.clahe)
    assert dataset.element_spec == tf.TensorSpec((2, 50, 60, 1), tf.uint8)
    np.testing.assert_array_equal(np.concatenate(list(dataset)), opencv(images, 2.0, (8, 8)))


def test_batch_equals_each_alone():
    images = np.concatenate([shaded((2, 40, 40, 1)), noise((1, 40, 40, 1))])
    alone = [ops.clahe(image[np.newaxis])[0] for image in images]
    np.testing.assert_array_equal(ops.clahe(images), alone)


@pytest.mark.parametrize("images", [np.zeros((1, 8, 8, 1), np.float32), noise((8, 8, 1)), noise((1, 8, 8, 3))])
def test_other_than_grey_integer_batches_are_refused(images):
    with pytest.raises(ValueError, match=r"expected uint8 or uint16 images \[B, H, W, 1\] with pixels\. Received: dty"):
        ops.clahe(images)


@pytest.mark.parametrize("shape", [(1, 0, 8, 1), (0, 8, 8, 1)])
def test_batches_without_pixels_are_refused(shape):
    with pytest.raises(ValueError, match="with pixels"):
        ops.clahe(np.zeros(shape, np.uint8))


def test_numpy_integers_are_tile_grids():
    images = noise((1, 20, 30, 1))
    for integer in (np.int32, np.int64, np.uint8):
        np.testing.assert_array_equal(
            ops.clahe(images, tile_grid=(integer(2), integer(3))), ops.clahe(images, tile_grid=(2, 3))
        )


@pytest.mark.parametrize("tile_grid", [(0, 8), (8,), (8, 2.5)])
def test_grids_without_tiles_are_refused(tile_grid):
    with pytest.raises(ValueError, match=r"expected tile_grid \(rows, columns\).*Received: tile_grid="):
        ops.clahe(noise((1, 8, 8, 1)), tile_grid=tile_grid)


@pytest.mark.parametrize(
    ("tile_grid", "expected"),
    [((9, 8), "at most 8 rows, one per pixel"), ((8, 11), "at most 10 columns, one per pixel")],
)
def test_a_grid_larger_than_the_image_is_refused(tile_grid, expected):
    with pytest.raises(ValueError, match=rf"expected tile_grid of {expected}\. Received: tile_grid="):
        ops.clahe(noise((1, 8, 10, 1)), tile_grid=tile_grid)


def test_more_tables_than_can_be_numbered_are_refused():
    with pytest.raises(
        ValueError, match=r"expected tile_grid of at most 32768 tiles.*Received: tile_grid=\(180, 180\)"
    ):
        ops.clahe(np.zeros((1, 180, 180, 1), np.uint16), tile_grid=(180, 180))


def test_a_grid_larger_than_an_image_of_unknown_size_is_refused():
    traced = tf.function(lambda batch: ops.clahe(batch, tile_grid=(9, 8))).get_concrete_function(
        tf.TensorSpec((None, None, None, 1), tf.uint8)
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected images of at least 9 x 8 pixels, one for each"):
        traced(tf.constant(noise((1, 8, 10, 1))))


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"expected a finite clip_limit\. Received: clip_limit=nan"):
        ops.clahe(noise((1, 8, 8, 1)), clip_limit=float("nan"))
