"""Cutting out against NumPy slices; the draw by its laws."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ptxtf import ops

SIZE = (20, 30)
# Inside, in a corner, of no height, of no width, beyond the border, all of it.
RECTANGLES = np.array(
    [[3, 4, 5, 6], [0, 0, 1, 1], [3, 4, 0, 6], [3, 4, 5, 0], [15, 25, 9, 9], [0, 0, 20, 30]], np.int32
)


def seeds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.full(count, -3)], axis=1).astype(np.int32)


def photographs(dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (len(RECTANGLES), *SIZE, 2)).astype(dtype)


def draw(batch_seeds):
    return ops.draw_cutout(batch_seeds, image_size=SIZE, largest_share=0.3)


def numpy_cut(images: np.ndarray, rectangles: np.ndarray, fill_value: float) -> np.ndarray:
    cut = images.copy()
    for image, (top, left, height, width) in zip(cut, rectangles, strict=True):
        image[top : top + height, left : left + width] = fill_value
    return cut


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("fill_value", [0.0, 7])
def test_rectangles_are_filled_as_by_numpy(dtype, fill_value):
    images = photographs(dtype)
    cut = ops.cut_out(images, RECTANGLES, fill_value=fill_value)
    assert cut.dtype == dtype
    np.testing.assert_array_equal(cut, numpy_cut(images, RECTANGLES, fill_value))


def test_the_default_fills_with_zero():
    np.testing.assert_array_equal(ops.cut_out(photographs(), RECTANGLES), numpy_cut(photographs(), RECTANGLES, 0.0))


def test_cutting_is_the_same_on_every_path_and_for_each_alone():
    images, eager = photographs(), ops.cut_out(photographs(), RECTANGLES)
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(ops.cut_out, jit_compile=jit_compile)(images, RECTANGLES), eager)
    dataset = tf.data.Dataset.from_tensor_slices((images, RECTANGLES)).batch(1).map(ops.cut_out)
    assert dataset.element_spec.shape.as_list() == [None, *SIZE, 2]
    np.testing.assert_array_equal(np.concatenate(list(dataset)), eager)


def test_sides_are_uniform_up_to_the_largest_share():
    heights, widths = tf.function(draw)(seeds(4000)).numpy()[:, 2:].T
    for sides, largest in ((heights, 6), (widths, 9)):
        counts = np.bincount(sides)
        assert len(counts) == largest + 1
        assert stats.chisquare(counts).pvalue > 0.01
    table = np.histogram2d(heights, widths, bins=[7, 10])[0]
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_places_are_uniform_inside_the_image():
    drawn = tf.function(draw)(seeds(4000)).numpy()
    assert drawn.min() >= 0
    for axis in (0, 1):
        starts, sides = drawn[:, axis], drawn[:, axis + 2]
        assert (starts + sides).max() == SIZE[axis]
        for side in np.unique(sides):
            counts = np.bincount(starts[sides == side], minlength=SIZE[axis] - side + 1)
            assert stats.chisquare(counts).pvalue > 0.001


def test_the_largest_share_may_be_nothing_or_all():
    draw = tf.function(ops.draw_cutout)
    assert not draw(seeds(50), image_size=SIZE, largest_share=0)[:, 2:].numpy().any()
    assert draw(seeds(500), image_size=SIZE, largest_share=1)[:, 2:].numpy().max(axis=0).tolist() == [20, 30]
    # 0.29 * 100 is a little less than 29.
    assert draw(seeds(500), image_size=(100, 1), largest_share=0.29)[:, 2].numpy().max() == 29


def test_draws_are_the_same_on_every_path():
    eager = draw(seeds(50))
    assert eager.dtype == tf.int32
    for jit_compile in (False, True):
        np.testing.assert_array_equal(tf.function(draw, jit_compile=jit_compile)(seeds(50)), eager)
    np.testing.assert_array_equal(next(iter(tf.data.Dataset.from_tensors(seeds(50)).map(draw))), eager)


def test_an_example_draws_by_its_own_seed_alone():
    np.testing.assert_array_equal(draw(seeds(6))[4], draw(seeds(6)[4:5])[0])


def test_wrong_arguments_are_refused():
    images = photographs()
    with pytest.raises(ValueError, match=r"expected float32 or uint8 images \[B, H, W, C\]\. Received: dtype=int32"):
        ops.cut_out(images.astype(np.int32), RECTANGLES)
    with pytest.raises(ValueError, match=r"expected int32 rectangles \[6, 4\]\. Received: dtype=int32, shape=\(5, 4\)"):
        ops.cut_out(images, RECTANGLES[:5])
    with pytest.raises(ValueError, match=r"expected int32 rectangles \[6, 4\]\. Received: dtype=float32"):
        ops.cut_out(images, RECTANGLES.astype(np.float32))
    with pytest.raises(ValueError, match=r"expected fill_value, a whole number in 0\.\.255.*fill_value=0\.5"):
        ops.cut_out(images.astype(np.uint8), RECTANGLES, fill_value=0.5)
    with pytest.raises(ValueError, match=r"expected largest_share in 0\.\.1\. Received: largest_share=1\.5"):
        ops.draw_cutout(seeds(2), image_size=SIZE, largest_share=1.5)
    with pytest.raises(ValueError, match=r"expected image_size \(height, width\), positive.*image_size=\(0, 3\)"):
        ops.draw_cutout(seeds(2), image_size=(0, 3), largest_share=0.5)
    with pytest.raises(ValueError, match=r"expected int32 seeds \[B, 2\]"):
        ops.draw_cutout(np.zeros((2, 3), np.int32), image_size=SIZE, largest_share=0.5)
