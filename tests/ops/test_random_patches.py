"""Where the patches lie, by chi-square tests; cutting them out against NumPy slices."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ptxtf import ops

SIZE = (9, 11)


def seeds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.full(count, -3)], axis=1).astype(np.int32)


def spots(batch: int = 1) -> np.ndarray:
    """Return masks with foreground in the corners, alone and in a block, and none in every fourth one's."""
    masks = np.zeros((batch, *SIZE, 1), np.uint8)
    masks[:, 0, 0] = masks[:, 8, 10] = masks[:, 2, 7] = 1
    masks[:, 4:6, 3:6] = 1
    masks[3::4] = 0
    return masks


def draw(batch_seeds, masks):
    return ops.draw_corners(batch_seeds, masks, size=4, count=5, foreground_share=0.5)


def draw_many(mask: np.ndarray, *, size: int, share: float, seed: int = 0) -> np.ndarray:
    """Return 8,000 corners of patches of one mask, [8000, 2]."""
    batch_seeds = seeds(40) + seed

    @tf.function
    def draw(batch_seeds, masks):
        return ops.draw_corners(batch_seeds, masks, size=size, count=200, foreground_share=share)

    return draw(batch_seeds, np.repeat(mask[np.newaxis], 40, axis=0)).numpy().reshape(-1, 2)


def corner_chances(mask: np.ndarray, size: int) -> np.ndarray:
    """Sum up by a loop over foreground pixels how likely each corner is: [H - size + 1, W - size + 1]."""
    height, width = mask.shape[0] - size + 1, mask.shape[1] - size + 1
    chances = np.zeros((height, width))
    for row, column in np.argwhere(mask[..., 0]):
        around = np.zeros((height, width))
        around[max(row - size + 1, 0) : row + 1, max(column - size + 1, 0) : column + 1] = 1
        chances += around / around.sum()
    return chances / chances.sum()


def corner_counts(corners: np.ndarray, size: int) -> np.ndarray:
    height, width = SIZE[0] - size + 1, SIZE[1] - size + 1
    assert corners.min() >= 0
    assert np.all(corners.max(axis=0) < [height, width])
    return np.bincount(corners[:, 0] * width + corners[:, 1], minlength=height * width)


def numpy_crop(images: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    return np.stack(
        [
            [image[top : top + size, left : left + size] for top, left in places]
            for image, places in zip(images, corners, strict=True)
        ]
    )


def test_foreground_pixels_are_chosen_uniformly():
    # A patch of one pixel lies where the pixel is.
    counts = corner_counts(draw_many(spots()[0], size=1, share=1.0), 1)
    is_foreground = spots()[0].ravel() == 1
    assert not counts[~is_foreground].any()
    assert stats.chisquare(counts[is_foreground]).pvalue > 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_patches_lie_uniformly_around_the_chosen_pixel(dtype):
    mask = spots()[0]
    counts = corner_counts(draw_many(mask.astype(dtype), size=4, share=1.0), 4)
    chances = corner_chances(mask, 4).ravel()
    assert not counts[chances == 0].any()
    possible = chances > 0
    assert stats.chisquare(counts[possible], chances[possible] * counts.sum()).pvalue > 0.01


def test_with_share_1_every_patch_contains_foreground_if_there_is_any():
    masks = spots(40)
    corners = ops.draw_corners(seeds(40), masks, size=3, count=20, foreground_share=1.0)
    has_foreground = ops.crop_patches(masks, corners, size=3).numpy().any(axis=(2, 3, 4))
    np.testing.assert_array_equal(has_foreground, np.repeat(masks.any(axis=(1, 2, 3))[:, np.newaxis], 20, axis=1))


@pytest.mark.parametrize("size", [1, 4])
def test_with_share_0_or_without_foreground_corners_are_uniform(size):
    nothing = np.zeros((*SIZE, 1), np.uint8)
    assert stats.chisquare(corner_counts(draw_many(spots()[0], size=size, share=0.0), size)).pvalue > 0.01
    assert stats.chisquare(corner_counts(draw_many(nothing, size=size, share=1.0, seed=99), size)).pvalue > 0.01


def test_the_share_is_that_of_patches_laid_over_foreground():
    mask = np.zeros((*SIZE, 1), np.uint8)
    mask[3, 3] = 1
    on_it = np.all(draw_many(mask, size=1, share=0.3) == 3, axis=1).sum()
    assert stats.binomtest(int(on_it), 8000, 0.3 + 0.7 / 99).pvalue > 0.001


def test_a_patch_as_large_as_the_image_lies_at_its_corner():
    masks = np.ones((3, 6, 6, 1), np.uint8)
    for share in (0.0, 1.0):
        assert not ops.draw_corners(seeds(3), masks, size=6, count=2, foreground_share=share).numpy().any()


def test_patches_of_an_example_are_independent():
    masks = np.ones((3000, *SIZE, 1), np.uint8)
    corners = tf.function(draw)(seeds(3000), masks).numpy().reshape(3000, -1)
    correlations = stats.spearmanr(corners).statistic
    assert np.abs(correlations - np.eye(10)).max() < 4 / np.sqrt(3000)


def test_draws_are_the_same_on_every_path():
    masks = spots(8)
    eager = draw(seeds(8), masks)
    assert eager.dtype == tf.int32
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(draw, jit_compile=jit_compile)(seeds(8), masks), eager)
    dataset = tf.data.Dataset.from_tensor_slices((seeds(8), masks)).batch(3).map(draw)
    assert dataset.element_spec.shape.as_list() == [None, 5, 2]
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_an_example_draws_by_its_own_seed_and_mask_alone():
    np.testing.assert_array_equal(draw(seeds(6), spots(6))[4], draw(seeds(6)[4:5], spots(6)[4:5])[0])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float64, bool])
def test_cropping_equals_slices_of_numpy(dtype):
    images = (np.random.default_rng(0).random((8, *SIZE, 3)) * 255).astype(dtype)
    corners = draw(seeds(8), spots(8)).numpy()
    corners[0, :2] = [[0, 0], [5, 7]]
    patches = ops.crop_patches(images, corners, size=4)
    assert patches.dtype == dtype
    np.testing.assert_array_equal(patches, numpy_crop(images, corners, 4))


def test_cropping_is_the_same_on_every_path_and_for_each_alone():
    images = np.random.default_rng(0).random((8, *SIZE, 3), np.float32)
    corners = draw(seeds(8), spots(8))

    def crop(images, corners):
        return ops.crop_patches(images, corners, size=4)

    eager = crop(images, corners)
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(crop, jit_compile=jit_compile)(images, corners), eager)
    dataset = tf.data.Dataset.from_tensor_slices((images, corners)).batch(1).map(crop)
    assert dataset.element_spec.shape.as_list() == [None, 5, 4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_drawn_and_cropped_in_one_graph_it_is_the_same():
    # Grappler may replace a slice of a stack by what was stacked, and forgets a new axis that the slice adds.
    images = np.random.default_rng(0).random((8, *SIZE, 3), np.float32)

    def cut(images):
        return ops.crop_patches(images, draw(seeds(8), spots(8)), size=4)

    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(cut, jit_compile=jit_compile)(images), cut(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 10}, r"expected size in 1\.\.9, the image's shorter side\. Received: size=10"),
        ({"size": 0}, r"expected size in 1\.\.9"),
        ({"count": 0}, r"expected count of at least 1\. Received: count=0"),
        ({"foreground_share": 1.1}, r"expected foreground_share in 0\.\.1\. Received: foreground_share=1\.1"),
        ({"foreground_share": -0.1}, r"expected foreground_share in 0\.\.1"),
        ({"masks": spots(2).astype(np.int32)}, r"expected uint8 or float32 masks \[B, H, W, 1\].*dtype=int32"),
        ({"masks": spots(2)[..., 0]}, r"expected uint8 or float32 masks \[B, H, W, 1\].*shape=\(2, 9, 11\)"),
        ({"masks": spots(1)}, r"expected a mask for each of 2 seeds\. Received: shape=\(1, 9, 11, 1\)"),
        ({"seeds": np.zeros((2, 3), np.int32)}, r"expected int32 seeds \[B, 2\]"),
    ],
)
def test_wrong_arguments_of_the_draw_are_refused(options, message):
    given = {"seeds": seeds(2), "masks": spots(2), "size": 3, "count": 2, "foreground_share": 0.5} | options
    with pytest.raises(ValueError, match=message):
        ops.draw_corners(given.pop("seeds"), given.pop("masks"), **given)


def test_wrong_arguments_of_the_crop_are_refused():
    images, corners = np.zeros((2, *SIZE, 1), np.float32), np.zeros((2, 3, 2), np.int32)
    with pytest.raises(ValueError, match=r"expected images \[B, H, W, C\]\. Received: shape=\(9, 11, 1\)"):
        ops.crop_patches(images[0], corners, size=3)
    with pytest.raises(ValueError, match=r"expected size from 1 to the images' sides, \(9, 11\)\. Received: size=10"):
        ops.crop_patches(images, corners, size=10)
    with pytest.raises(ValueError, match=r"expected int32 corners \[2, count, 2\]\. Received: dtype=int64"):
        ops.crop_patches(images, corners.astype(np.int64), size=3)
    with pytest.raises(ValueError, match=r"expected int32 corners .*Received: dtype=int32, shape=\(3, 2\)"):
        ops.crop_patches(images, corners[0], size=3)


@pytest.mark.parametrize("corner", [[-1, 0], [0, -1], [7, 0], [0, 9]])
def test_patches_beyond_the_image_are_refused(corner):
    images, corners = np.zeros((1, *SIZE, 1), np.float32), np.array([[[0, 0], corner]], np.int32)
    for crop in (ops.crop_patches, tf.function(ops.crop_patches)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="expected corners of patches inside the images, size=3"
        ):
            crop(images, corners, size=3)
