"""Scores by hand; intervals against an explicit resampling; the baseline."""

import math

import numpy as np
import pytest

from ptxtf.evaluation import scores


def row(patient, dice, *, positive=True, predicted=1):
    return scores.ImageScore(
        image_id=f"{patient}-{dice}-{positive}-{predicted}",
        patient=patient,
        positive=positive,
        area_px=int(positive),
        predicted_area_px=predicted,
        probability=0.5,
        dice=dice,
        iou=dice / (2 - dice),
    )


def test_one_image_by_hand():
    mask = np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
    predicted = np.array([[0, 1, 1], [0, 1, 0]], np.uint8)
    found = scores.score(mask, predicted, image_id="a", patient="p", probability=0.9)
    assert (found.dice, found.iou) == (2 / 5, 1 / 4)
    assert (found.positive, found.area_px, found.predicted_area_px) == (True, 2, 3)


@pytest.mark.parametrize(("mask", "predicted", "expected"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0), (1, 1, 1.0)])
def test_empty_masks(mask, predicted, expected):
    found = scores.score(
        np.full((3, 3), mask, np.uint8), np.full((3, 3), predicted, np.uint8), image_id="", patient="", probability=0
    )
    assert found.dice == found.iou == expected


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="expected masks of one shape"):
        scores.score(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), image_id="", patient="", probability=0)


def test_means_by_hand():
    rows = [
        row("a", 0.5),
        row("b", 0.0, predicted=0),
        row("c", 1.0, positive=False, predicted=0),
        row("d", 0.0, positive=False, predicted=9),
        row("e", 1.0, positive=False, predicted=0),
    ]
    summary = scores.summarize(rows, resamples=50, seed=0)
    assert (summary["images"], summary["positives"]) == (5, 2)
    assert summary["all_empty_dice"] == 3 / 5
    assert summary["dice"].value == pytest.approx(2.5 / 5)
    assert summary["positive_dice"].value == pytest.approx(0.25)
    assert summary["positive_iou"].value == pytest.approx((0.5 / 1.5) / 2)
    assert summary["sensitivity"].value == 1 / 2
    assert summary["specificity"].value == pytest.approx(2 / 3)


def test_the_baseline_of_the_full_siim_label_file_is_what_kaggle_saw():
    rows = [row(str(i), 0.0, predicted=0) for i in range(2669)]
    rows += [row(str(-i), 1.0, positive=False, predicted=0) for i in range(1, 9379)]
    summary = scores.summarize(rows, resamples=2, seed=0)
    assert summary["all_empty_dice"] == pytest.approx(0.77845, abs=1e-5)
    assert summary["dice"].value == pytest.approx(0.77845, abs=1e-5)


def test_the_interval_is_that_of_a_bootstrap_written_out(rng):
    patients = rng.integers(0, 12, 60)
    dices = rng.random(60)
    rows = [row(str(patient), dice) for patient, dice in zip(patients, dices, strict=True)]
    found = scores.summarize(rows, resamples=4000, seed=1)["dice"]
    people = np.unique(patients)
    means = []
    for _ in range(4000):
        drawn = [dices[patients == person] for person in rng.choice(people, len(people))]
        means.append(np.concatenate(drawn).mean())
    np.testing.assert_allclose([found.low, found.high], np.percentile(means, [2.5, 97.5]), atol=0.01)
    by_image = np.percentile(dices[rng.integers(0, 60, (4000, 60))].mean(axis=1), [2.5, 97.5])
    assert abs(found.low - by_image[0]) + abs(found.high - by_image[1]) > 0.01  # patients, not images, are drawn


def test_means_over_no_image_are_nan():
    summary = scores.summarize([row("a", 1.0, positive=False, predicted=0)], resamples=5, seed=0)
    assert math.isnan(summary["positive_dice"].value)
    assert math.isnan(summary["sensitivity"].low)
    assert summary["specificity"].value == 1


def test_the_seed_fixes_the_intervals():
    rows = [row(str(i), i / 10) for i in range(10)]
    first, again, other = (scores.summarize(rows, resamples=100, seed=seed)["dice"] for seed in (1, 1, 2))
    assert first == again
    assert first != other
