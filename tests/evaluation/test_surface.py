"""Distances of outlines against MONAI's and DeepMind's."""

import math

import numpy as np
import pytest
import surface_distance

from ptxtf.evaluation import surface

# Of blobs 2 i and 2 i + 1, by MONAI 1.6.1: compute_hausdorff_distance(percentile=95) and
# compute_average_surface_distance(symmetric=True), both with this spacing, in float32.
MONAI = [
    (0, (0.5, 0.8), 19.729711532592773, 8.247455596923828),
    (1, (1.0, 1.0), 33.73124694824219, 13.027912139892578),
    (2, (0.5, 0.8), 29.366174697875977, 12.893289566040039),
    (3, (1.0, 1.0), 38.51276779174805, 17.398855209350586),
    (4, (0.5, 0.8), 17.010347366333008, 4.671172142028809),
    (5, (1.0, 1.0), 40.89116287231445, 20.48651695251465),
]


@pytest.mark.parametrize(("number", "spacing", "hausdorff_95", "average"), MONAI)
def test_distances_are_monai_s(blob, number, spacing, hausdorff_95, average):
    mask, predicted = blob(2 * number), blob(2 * number + 1)
    for one, other in ((mask, predicted), (predicted, mask)):
        found = surface.distances(one, other, spacing=spacing)
        np.testing.assert_allclose(found, (hausdorff_95, average), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # surface-distance 0.1, SciPy 1.17
@pytest.mark.parametrize("number", range(20, 26))
def test_distances_are_about_those_along_deepmind_s_contours(blob, number):
    mask, predicted = blob(2 * number), blob(2 * number + 1)
    theirs = surface_distance.compute_surface_distances(mask > 0, predicted > 0, (0.5, 0.8))
    back, there = surface_distance.compute_average_surface_distance(theirs)
    expected = surface_distance.compute_robust_hausdorff(theirs, 95), (back + there) / 2
    # theirs runs between pixels and weighs by length, and the average is of two means
    np.testing.assert_allclose(surface.distances(mask, predicted, spacing=(0.5, 0.8)), expected, atol=1.0, rtol=0.1)


def test_equal_masks_are_no_distance_apart(blob):
    assert surface.distances(blob(1), blob(1)) == (0.0, 0.0)


def test_shifted_masks_are_as_far_apart_as_they_were_shifted():
    mask = np.zeros((9, 40), np.uint8)
    mask[4, 5] = 1
    assert surface.distances(mask, np.roll(mask, 7, axis=1), spacing=(1.0, 0.3)) == pytest.approx((2.1, 2.1))
    assert surface.distances(mask, np.roll(mask, 3, axis=0), spacing=(0.5, 0.3)) == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0)])
def test_an_empty_mask_has_no_distance(first, second):
    shape = np.ones((4, 4), np.uint8)
    assert all(map(math.isnan, surface.distances(shape * first, shape * second)))
