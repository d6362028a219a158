"""Calibration against scikit-learn's and numbers by hand."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from ptxtf.evaluation import calibration


def test_points_are_scikit_learn_s(rng):
    probabilities = rng.random(500) ** 2
    truth = (rng.random(500) < probabilities).astype(int)
    frequency, mean = calibration_curve(truth, probabilities, n_bins=calibration.BINS, strategy="uniform")
    found = calibration.points(calibration.bins(probabilities, truth))
    np.testing.assert_allclose([point[:2] for point in found], np.stack([mean, frequency], axis=1))
    assert sum(count for *_, count in found) == 500


def test_the_error_by_hand():
    probabilities, truth = np.array([0.9, 0.9, 0.9, 0.1]), np.array([1, 1, 0, 0])
    # three at 0.9 of which two are true, one at 0.1 that is not
    assert calibration.error(calibration.bins(probabilities, truth)) == pytest.approx((3 * abs(0.9 - 2 / 3) + 0.1) / 4)


def test_what_is_always_right_has_no_error():
    truth = np.array([[0, 1], [1, 1]])
    assert calibration.error(calibration.bins(truth.astype(np.float32), truth)) == 0
    assert calibration.points(calibration.bins(np.zeros((2, 2)), np.zeros((2, 2)))) == [(0, 0, 4)]


def test_parts_add_up(rng):
    probabilities, truth = rng.random((6, 5)), rng.integers(0, 2, (6, 5))
    whole = calibration.bins(probabilities, truth)
    merged = calibration.merge([calibration.bins(*pair) for pair in zip(probabilities, truth, strict=True)])
    for name, values in vars(whole).items():
        np.testing.assert_allclose(getattr(merged, name), values)
