"""Dice and IoU by hand, in all four cases of empty masks; totals that merge."""

import numpy as np
import pytest
import tensorflow as tf

from ptxtf.training import metrics


def one(values) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, 2, -1, 1)


HALF = one([[1, 1, 0], [0, 0, 0]])
OTHER = one([[0, 1, 1], [0, 1, 0]])
NONE = one([[0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("mask", "predicted", "dice", "iou"),
    [
        (HALF, HALF, 1.0, 1.0),
        (HALF, OTHER, 2 * 1 / (2 + 3), 1 / 4),
        (HALF, NONE, 0.0, 0.0),
        (NONE, HALF, 0.0, 0.0),
        (NONE, NONE, 1.0, 1.0),
    ],
)
def test_by_hand(mask, predicted, dice, iou):
    np.testing.assert_allclose(metrics.dice(mask, predicted), [dice], rtol=1e-7)
    np.testing.assert_allclose(metrics.iou(mask, predicted), [iou], rtol=1e-7)


def test_the_score_of_empty_on_empty_is_the_caller_s():
    assert np.isnan(metrics.dice(NONE, NONE, empty=float("nan"))[0])
    assert metrics.iou(NONE, NONE, empty=0.0)[0] == 0
    assert metrics.dice(NONE, HALF, empty=0.5)[0] == 0


def test_dice_follows_from_iou(rng):
    masks = rng.integers(0, 2, (20, 9, 7, 1))
    predicted = rng.integers(0, 2, (20, 9, 7, 1))
    iou = metrics.iou(masks, predicted).numpy()
    np.testing.assert_allclose(metrics.dice(masks, predicted), 2 * iou / (1 + iou), rtol=1e-6)


def test_a_batch_is_each_alone_and_the_type_does_not_matter(rng):
    masks = rng.integers(0, 2, (4, 9, 7, 1), dtype=np.uint8)
    predicted = rng.integers(0, 2, (4, 9, 7, 1), dtype=np.uint8)
    together = metrics.dice(masks.astype(np.float32), predicted.astype(bool))
    np.testing.assert_array_equal(together, [metrics.dice(masks[i : i + 1], predicted[i : i + 1])[0] for i in range(4)])


def test_counts_stay_exact_beyond_what_float32_can_count():
    masks = np.ones((1, 4097, 4097, 1), np.uint8)
    predicted = masks.copy()
    predicted[0, 0, 0, 0] = 0
    pixels = 4097 * 4097
    assert metrics.iou(masks, predicted)[0] == np.float32((pixels - 1) / pixels)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="incompatible"):
        metrics.dice(np.zeros((1, 2, 2, 1)), np.zeros((1, 4, 1, 1)))


def batch(rng, count):
    masks = rng.integers(0, 2, (count, 6, 6, 1), dtype=np.uint8) * rng.integers(0, 2, (count, 1, 1, 1), dtype=np.uint8)
    probabilities = rng.random((count, 6, 6, 1), np.float32)
    return masks, probabilities, rng.random(count).astype(np.float32)


def test_merged_parts_equal_one_pass_and_fillers_do_not_count(rng):
    masks, probabilities, losses = batch(rng, 10)
    probabilities[0, 0, :3, 0] = [0, 0.5, 1]
    real = np.array([True] * 7 + [False] * 3)
    parts = [
        metrics.totals(masks[s], probabilities[s], losses[s], threshold=0.5, real=tf.constant(real[s]))
        for s in (slice(0, 4), slice(4, 10))
    ]
    whole = metrics.merge(*parts)
    merged = metrics.means(whole)
    scores = metrics.dice(masks, probabilities >= 0.5).numpy()[:7]
    positive = masks[:7].any(axis=(1, 2, 3))
    assert merged["dice"] == pytest.approx(scores.mean(), rel=1e-6)
    assert merged["positive_dice"] == pytest.approx(scores[positive].mean(), rel=1e-6)
    assert merged["loss"] == pytest.approx(losses[:7].mean(), rel=1e-6)
    edges = np.arange(129) / 128
    expected = [np.histogram(probabilities[:7][masks[:7] == kind], edges)[0] for kind in (0, 1)]
    np.testing.assert_array_equal(whole.pixels, expected)


def test_without_positives_their_mean_is_nan():
    probabilities, real = np.float32(NONE), tf.constant([True])
    whole = metrics.totals(NONE, probabilities, tf.constant([0.5]), threshold=0.5, real=real)
    assert metrics.means(whole)["dice"] == 1.0
    assert np.isnan(metrics.means(whole)["positive_dice"])
