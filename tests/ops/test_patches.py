"""Patches against TensorFlow's own extraction, stitching against a NumPy loop, and each against the other."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf import ops

# (height, width), size, stride: no overlap, half overlap, stride that does not divide size, padding, one patch
GRIDS = [
    ((32, 48), 16, 16),
    ((32, 48), 16, 8),
    ((40, 40), 12, 7),
    ((33, 50), 16, 16),
    ((33, 50), 16, 4),
    ((16, 16), 16, 5),
]


def photographs(size: tuple[int, int], batch: int = 2, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((batch, *size, channels), np.float32)


def tensorflow_patches(images: np.ndarray, size: int, stride: int) -> np.ndarray:
    batch, height, width, channels = images.shape
    bottom, right = (-(length - size) % stride for length in (height, width))
    padded = np.pad(images, [(0, 0), (0, bottom), (0, right), (0, 0)])
    window, strides = [1, size, size, 1], [1, stride, stride, 1]
    patches = tf.image.extract_patches(padded, window, strides, [1, 1, 1, 1], "VALID").numpy()
    return patches.reshape(batch, -1, size, size, channels)


def blend_by_loop(patches: np.ndarray, image_size: tuple[int, int], stride: int, window: str) -> np.ndarray:
    """Add up weighted patches and weights on a canvas, in float64, and divide."""
    batch, _, size, _, channels = patches.shape
    distances = np.arange(size) - (size - 1) / 2
    line = np.exp(-(distances**2) / (2 * (size / 8) ** 2)) if window == "gaussian" else np.ones(size)
    weights = np.outer(line, line)[:, :, np.newaxis]
    rows, columns = (-(-(length - size) // stride) + 1 for length in image_size)
    total = np.zeros((batch, (rows - 1) * stride + size, (columns - 1) * stride + size, channels))
    weight = np.zeros_like(total)
    for index in range(rows * columns):
        top, left = index // columns * stride, index % columns * stride
        total[:, top : top + size, left : left + size] += patches[:, index] * weights
        weight[:, top : top + size, left : left + size] += weights
    return (total / weight)[:, : image_size[0], : image_size[1]]


@pytest.mark.parametrize(("image_size", "size", "stride"), GRIDS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_extraction_equals_tensorflow(image_size, size, stride, jit_compile):
    images = photographs(image_size)

    @tf.function(jit_compile=jit_compile)
    def extract(batch):
        return ops.extract_patches(batch, size=size, stride=stride)

    np.testing.assert_array_equal(extract(images), tensorflow_patches(images, size, stride))


@pytest.mark.parametrize(("image_size", "size", "stride"), GRIDS)
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_stitching_is_the_weighted_mean(image_size, size, stride, window, jit_compile):
    # Patches that disagree where they overlap, as predictions do.
    count = tensorflow_patches(photographs(image_size), size, stride).shape[1]
    patches = np.random.default_rng(1).random((2, count, size, size, 3), np.float32)

    @tf.function(jit_compile=jit_compile)
    def stitch(batch):
        return ops.stitch_patches(batch, image_size=image_size, stride=stride, window=window)

    np.testing.assert_allclose(stitch(patches), blend_by_loop(patches, image_size, stride, window), atol=1e-6)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(data=st.data(), window=st.sampled_from(["uniform", "gaussian"]))
def test_stitching_inverts_extraction(data, window):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    size = data.draw(st.integers(1, min(height, width)))
    stride = data.draw(st.integers(1, size))
    images = photographs((height, width), batch=1)
    patches = ops.extract_patches(images, size=size, stride=stride)
    stitched = ops.stitch_patches(patches, image_size=(height, width), stride=stride, window=window)
    np.testing.assert_allclose(stitched, images, rtol=0, atol=1e-6)


def test_without_overlap_every_dtype_comes_back_exactly():
    masks = (photographs((30, 30)) > 0.5).astype(np.uint8)
    patches = ops.extract_patches(masks, size=8)
    stitched = ops.stitch_patches(patches, image_size=30, window="gaussian")
    assert patches.dtype == stitched.dtype == tf.uint8
    np.testing.assert_array_equal(stitched, masks)


def test_one_patch_overlaps_nothing_whatever_the_stride():
    masks = (photographs((8, 8)) > 0.5).astype(np.uint8)
    patches = ops.extract_patches(masks, size=8, stride=3)
    np.testing.assert_array_equal(ops.stitch_patches(patches, image_size=8, stride=3, window="gaussian"), masks)


def test_patches_lie_row_by_row_and_end_in_zeros():
    images = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    patches = ops.extract_patches(images, size=2)[0, ..., 0].numpy()
    assert patches.tolist() == [[[1, 2], [4, 5]], [[3, 0], [6, 0]], [[7, 8], [0, 0]], [[9, 0], [0, 0]]]


def test_gaussian_window_favours_the_patch_centre():
    # Of two patches, 0 and 1, with one half in common, each decides next to its own centre.
    patches = np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))])[np.newaxis].astype(np.float32)
    row = ops.stitch_patches(patches, image_size=(8, 12), stride=4, window="gaussian")[0, 0, :, 0].numpy()
    assert row[:4].tolist() == [0.0] * 4
    assert row[8:].tolist() == [1.0] * 4
    # Offsets 0.5 and 3.5 from the centres, sigma 1: odds of exp((0.25 - 12.25) / 2) = exp(-6).
    assert row[4] == pytest.approx(np.exp(-6) / (1 + np.exp(-6)), rel=1e-5)
    assert row[4] + row[7] == pytest.approx(1.0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_what_is_not_a_number_stays_within_its_patch(jit_compile):
    patches = np.ones((1, 9, 8, 8, 1), np.float32)  # 3 x 3, half overlap, 16 x 16
    patches[0, 4] = np.nan
    stitch = tf.function(lambda batch: ops.stitch_patches(batch, image_size=16, stride=4), jit_compile=jit_compile)
    is_nan = np.isnan(stitch(patches)[0, ..., 0])
    assert is_nan[4:12, 4:12].all()
    assert is_nan.sum() == 8 * 8


def test_gradients_reach_every_pixel_once():
    images = tf.constant(photographs((20, 20)))
    with tf.GradientTape() as tape:
        tape.watch(images)
        patches = ops.extract_patches(images, size=8, stride=5)
        stitched = ops.stitch_patches(patches, image_size=20, stride=5, window="gaussian")
    np.testing.assert_allclose(tape.gradient(stitched, images), np.ones(images.shape), rtol=0, atol=1e-6)


def test_tf_data_with_unknown_batch_equals_eager():
    images = photographs((24, 24), batch=3)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2)
    cut = dataset.map(lambda batch: ops.extract_patches(batch, size=16, stride=8))
    joined = cut.map(lambda batch: ops.stitch_patches(batch, image_size=24, stride=8))
    assert cut.element_spec.shape.as_list() == [None, 4, 16, 16, 2]
    np.testing.assert_array_equal(np.concatenate(list(cut)), ops.extract_patches(images, size=16, stride=8))
    np.testing.assert_allclose(np.concatenate(list(joined)), images, rtol=0, atol=1e-6)


def test_batch_equals_each_alone():
    images = photographs((24, 24), batch=3)
    alone = [ops.extract_patches(image[np.newaxis], size=16, stride=8)[0] for image in images]
    np.testing.assert_array_equal(ops.extract_patches(images, size=16, stride=8), alone)
    stitched = [ops.stitch_patches(patches[tf.newaxis], image_size=24, stride=8)[0] for patches in alone]
    np.testing.assert_array_equal(ops.stitch_patches(np.stack(alone), image_size=24, stride=8), stitched)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 25}, r"expected size in 1..24, the image's shorter side. Received: size=25"),
        ({"size": 0}, "expected size in 1..24"),
        ({"size": 8, "stride": 9}, "expected stride in 1..8, the size, to leave no gaps. Received: stride=9"),
        ({"size": 8, "stride": 0}, "expected stride in 1..8"),
    ],
)
def test_grids_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ops.extract_patches(photographs((24, 30)), **options)


def test_as_many_patches_as_the_grid_has_are_needed_at_run_time_too():
    spec = tf.TensorSpec((None, None, 4, 4, 1), tf.float32)
    stitch = tf.function(lambda patches: ops.stitch_patches(patches, image_size=8, stride=2), input_signature=[spec])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 9 patches of each image"):
        stitch(np.zeros((1, 18, 4, 4, 1), np.float32))  # of two images


def test_numpy_integers_are_sizes_and_fractions_are_not():
    images = photographs((200, 200))
    patches = ops.extract_patches(images, size=np.uint8(100), stride=np.uint8(50))
    np.testing.assert_array_equal(patches, tensorflow_patches(images, 100, 50))
    stitched = ops.stitch_patches(patches, image_size=np.int64(200), stride=np.uint8(50))
    np.testing.assert_allclose(stitched, images, rtol=0, atol=1e-6)
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        ops.extract_patches(images, size=100, stride=2.5)


def test_images_of_another_rank_or_unknown_size_are_refused():
    with pytest.raises(ValueError, match=r"expected images \[B, H, W, C\] with known H, W and C. Received: shape="):
        ops.extract_patches(photographs((24, 24))[0], size=8)
    traced = tf.function(lambda batch: ops.extract_patches(batch, size=8))
    with pytest.raises(ValueError, match=r"Received: shape=\(None, None, 24, 1\)"):
        traced.get_concrete_function(tf.TensorSpec((None, None, 24, 1), tf.float32))


@pytest.mark.parametrize(
    ("patches", "options", "message"),
    [
        (
            np.zeros((1, 8, 8, 8, 1)),
            {"image_size": 24},
            r"expected 3 x 3 = 9 patches for image_size=\(24, 24\), size=8",
        ),
        (np.zeros((1, 9, 8, 6, 1)), {"image_size": 24}, r"expected patches \[B, N, size, size, C\] with known sizes"),
        (np.zeros((1, 9, 8, 8, 0)), {"image_size": 24}, r"expected patches \[B, N, size, size, C\]"),
        (np.zeros((9, 8, 8, 1)), {"image_size": 24}, r"expected patches \[B, N, size, size, C\]"),
        (np.zeros((1, 9, 8, 8, 1)), {"image_size": 24, "window": "hann"}, "expected window of 'uniform' or 'gaussian'"),
        (np.zeros((1, 9, 8, 8, 1)), {"image_size": (24, 7)}, "expected size in 1..7"),
        (
            np.zeros((1, 9, 8, 8, 1), np.uint8),
            {"image_size": 16, "stride": 4},
            "expected float32 patches where they overlap. Received: dtype=uint8",
        ),
    ],
)
def test_patches_that_do_not_fit_are_refused(patches, options, message):
    with pytest.raises(ValueError, match=message):
        ops.stitch_patches(patches, **options)
