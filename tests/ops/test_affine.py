"""Matrices against NumPy's own rotations and flips and by hand; the draws by their laws."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ptxtf import ops

SIZE = (23, 31)


def photographs(batch: int = 3, size: tuple[int, int] = SIZE, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((batch, *size, channels), np.float32)


def turned(degrees: float, *, zoom: float = 1.0, flip: bool = False, size: tuple[int, int] = SIZE) -> tf.Tensor:
    return ops.affine_matrices([np.float32(np.radians(degrees))], zooms=[zoom], flips=[flip], image_size=size)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    interpolation=st.sampled_from(["bilinear", "nearest"]),
    fill_mode=st.sampled_from(["constant", "reflect"]),
)
def test_identity_and_flips_are_exact(height, width, interpolation, fill_mode):
    images = photographs(1, (height, width), 1)
    options = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": 0.7}
    same, mirror = (turned(0, flip=flip, size=(height, width)) for flip in (False, True))
    flipped = ops.warp_affine(images, mirror, **options)
    np.testing.assert_array_equal(ops.warp_affine(images, same, **options), images)
    np.testing.assert_array_equal(flipped, images[:, :, ::-1])
    np.testing.assert_array_equal(ops.warp_affine(flipped, mirror, **options), images)


def test_positive_angles_turn_counter_clockwise():
    images = photographs(1, (9, 9), 1)
    moved = ops.warp_affine(images, turned(90, size=(9, 9)), interpolation="nearest")
    np.testing.assert_array_equal(moved[0], np.rot90(images[0]))


def test_flip_comes_before_rotation():
    images = photographs(1, (8, 8), 1)
    moved = ops.warp_affine(images, turned(90, flip=True, size=(8, 8)), interpolation="nearest")
    np.testing.assert_array_equal(moved[0], np.rot90(images[0, :, ::-1]))


def test_zoom_above_one_enlarges_about_the_centre():
    images = photographs(1, (5, 5), 1)
    moved = ops.warp_affine(images, turned(0, zoom=2.0, size=(5, 5)))
    np.testing.assert_allclose(moved[:, ::2, ::2], images[:, 1:4, 1:4], atol=1e-6)


def test_shift_moves_down_and_to_the_right_by_shares_of_the_sides():
    images = photographs(1, (8, 10), 1)
    matrices = ops.affine_matrices([0.0], zooms=[1.0], flips=[False], shifts=[[0.25, -0.1]], image_size=(8, 10))
    moved = ops.warp_affine(images, matrices).numpy()
    np.testing.assert_allclose(moved[:, 2:, :-1], images[:, :-2, 1:], atol=1e-6)
    assert not moved[:, :2].any()
    assert not moved[:, :, -1].any()


def test_shear_leans_vertical_lines_by_its_angle():
    images = np.zeros((1, 9, 9, 1), np.float32)
    images[0, :, 4] = 1
    lean = np.float32(np.arctan(0.5))  # half a pixel to the right for each one down
    matrices = ops.affine_matrices([0.0], zooms=[1.0], flips=[False], shears_radians=[lean], image_size=(9, 9))
    moved = ops.warp_affine(images, matrices).numpy()[0, ..., 0]
    centres = (moved * np.arange(9)).sum(axis=1) / moved.sum(axis=1)
    np.testing.assert_allclose(centres, 4 + 0.5 * (np.arange(9) - 4), atol=1e-5)


def test_shear_comes_before_rotation_and_shift_comes_last():
    images = photographs(1, (9, 9), 1)
    everything = {"zooms": [1.0], "image_size": (9, 9), "flips": [True], "shears_radians": [np.float32(0.3)]}
    together = ops.affine_matrices([np.float32(np.pi / 2)], **everything, shifts=[[0.0, 1 / 9]])
    leant = ops.affine_matrices([0.0], **everything)
    turned_back = np.rot90(ops.warp_affine(images, leant, fill_value=0.5)[0])
    expected = np.roll(turned_back, 1, axis=1)[:, 1:]
    np.testing.assert_allclose(ops.warp_affine(images, together, fill_value=0.5)[0, :, 1:], expected, atol=1e-5)


def test_matrices_are_the_same_under_xla():
    angles = np.linspace(-1, 1, 50).astype(np.float32)
    zooms, flips = np.linspace(0.8, 1.2, 50).astype(np.float32), np.arange(50) % 2 == 0

    def compose(angles, zooms, flips):
        return ops.affine_matrices(angles, zooms=zooms, flips=flips, image_size=(512, 400))

    compiled = tf.function(compose, jit_compile=True)(angles, zooms, flips)
    np.testing.assert_array_equal(compiled, compose(angles, zooms, flips))


def test_wrong_matrix_arguments_are_refused():
    with pytest.raises(
        ValueError,
        match=r"expected .* and shears_radians of one shape \[B\]. Received: shapes=\(1,\), \(\), \(1,\), \(1,\)",
    ):
        ops.affine_matrices([0.0], zooms=1.0, flips=[False], image_size=(4, 4))
    with pytest.raises(
        ValueError,
        match=r"expected .* and shears_radians of one shape \[B\]. Received: shapes=\(2,\), \(1,\), \(1,\), \(2,\)",
    ):
        ops.affine_matrices([0.0, 1.0], zooms=[1.0], flips=[False], image_size=(4, 4))
    with pytest.raises(ValueError, match=r"expected shifts \[1, 2\]\. Received: shape=\(2,\)"):
        ops.affine_matrices([0.0], zooms=[1.0], flips=[False], shifts=[0.1, 0.1], image_size=(4, 4))
    with pytest.raises(ValueError, match=r"expected image_size \(height, width\).*Received: image_size=\(0, 4\)"):
        ops.affine_matrices([0.0], zooms=[1.0], flips=[False], image_size=(0, 4))
    with pytest.raises(ValueError, match=r"positive integers\. Received: image_size=\(None, 4\)"):
        ops.affine_matrices([0.0], zooms=[1.0], flips=[False], image_size=(None, 4))


def seeds(count: int) -> np.ndarray:
    """Return neighbouring seeds, the hardest case for independence."""
    return np.stack([np.full(count, 7), np.arange(count)], axis=1).astype(np.int32)


def draw(batch_seeds):
    return ops.draw_affine(
        batch_seeds, rotation_degrees=(5.0, 20.0), zoom=0.1, flip_probability=0.25, shear_degrees=8.0, shift=0.2
    )


def test_draws_have_the_distributions_asked_for():
    rotations_radians, zooms, flips, shears_radians, shifts = (
        drawn.numpy() for drawn in tf.function(draw)(seeds(3000))
    )
    degrees = np.degrees(rotations_radians)
    assert stats.kstest(np.abs(degrees), stats.uniform(5, 15).cdf).pvalue > 0.01
    assert stats.kstest(zooms, stats.uniform(0.9, 0.2).cdf).pvalue > 0.01
    assert np.mean(degrees > 0) == pytest.approx(0.5, abs=0.03)
    assert np.mean(flips) == pytest.approx(0.25, abs=0.03)
    assert stats.kstest(np.degrees(shears_radians), stats.uniform(-8, 16).cdf).pvalue > 0.01
    assert [stats.kstest(way, stats.uniform(-0.2, 0.4).cdf).pvalue > 0.01 for way in shifts.T] == [True, True]


def test_draws_are_independent_of_each_other():
    drawn = tf.function(draw)(seeds(3000))
    brightness = tf.function(lambda s: ops.draw_brightness(s, brightness=0.1))(seeds(3000))
    size, sign = np.abs(drawn[0]), np.sign(drawn[0])
    flips, shifts = drawn.flips.numpy().astype(float), drawn.shifts.numpy().T
    correlations = np.corrcoef([size, sign, drawn.zooms, flips, drawn.shears_radians, *shifts, brightness])
    assert np.abs(correlations - np.eye(8)).max() < 0.07  # four standard errors of 3000 independent pairs


def test_draws_are_the_same_on_every_path():
    eager = draw(seeds(20))
    compiled = tf.function(draw, jit_compile=True)(seeds(20))
    dataset = next(iter(tf.data.Dataset.from_tensors(seeds(20)).map(draw)))
    for one, other, third in zip(eager, compiled, dataset, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)


def test_an_example_draws_by_its_own_seed_alone():
    together, alone = draw(seeds(6)), draw(seeds(6)[4:5])
    for all_drawn, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(all_drawn[4], one[0])


def test_nothing_is_drawn_from_ranges_of_one_value():
    drawn = ops.draw_affine(seeds(50), rotation_degrees=(0, 0), zoom=0, flip_probability=0)
    assert [np.unique(values).tolist() for values in drawn] == [[0.0], [1.0], [False], [0.0], [0.0]]
    assert np.all(ops.draw_affine(seeds(50), rotation_degrees=(0, 0), zoom=0, flip_probability=1).flips)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotation_degrees": (20, 10)}, r"expected rotation_degrees \(low, high\), 0 <= low <= high. Received: .*20"),
        ({"rotation_degrees": (-5, 5)}, "expected rotation_degrees"),
        ({"zoom": 1.0}, "expected 0 <= zoom < 1. Received: zoom=1.0"),
        ({"flip_probability": 1.5}, "expected flip_probability in 0..1. Received: flip_probability=1.5"),
        ({"shear_degrees": 90}, "expected 0 <= shear_degrees < 90. Received: shear_degrees=90"),
        ({"shift": -0.1}, "expected shift of at least 0. Received: shift=-0.1"),
        ({"seeds": seeds(4)[0]}, r"expected int32 seeds \[B, 2\]. Received: dtype=int32, shape=\(2,\)"),
        ({"seeds": seeds(4).astype(np.int64)}, "expected int32 seeds .* Received: dtype=int64"),
    ],
)
def test_wrong_draw_arguments_are_refused(arguments, message):
    given = {"seeds": seeds(4), "rotation_degrees": (0, 20), "zoom": 0.1, "flip_probability": 0.5, **arguments}
    with pytest.raises(ValueError, match=message):
        ops.draw_affine(given.pop("seeds"), **given)
