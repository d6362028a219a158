"""Score, mask and run-length text from a graph against NumPy's, by rules of every kind."""

import numpy as np
import pytest
import tensorflow as tf

from ptxtf.data import rle
from ptxtf.exporting.decide import decide, run_lengths
from ptxtf.inference import masks

RULES = [
    masks.Rule(0.5, 0.5, 0, origin=""),
    masks.Rule(0.25, 0.75, 1, origin=""),
    masks.Rule(0.3, 0.9, 25, origin=""),
    masks.Rule(0.3, 0.9, 10_000, origin=""),
]


def in_graph(rule, probabilities, presence=None):
    """Return score, mask and text of each image, by a graph that knows no sizes."""
    images = tf.TensorSpec([None, None, None, 1], tf.float32)

    def answer(probabilities):
        scores, found = decide(probabilities, presence, rule)
        return scores, found[..., 0], run_lengths(found)

    function = tf.function(answer, input_signature=[images], autograph=False)
    scores, found, texts = function(tf.constant(probabilities[..., np.newaxis]))
    return scores.numpy(), found.numpy(), [text.decode() for text in texts.numpy()]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("shape", [(16, 16), (1, 40), (40, 1), (1, 1), (23, 9)])
def test_numpy_says_the_same(rng, rule, shape):
    probabilities = rng.random((4, *shape), np.float32) * np.array([1, 0.92, 0.2, 0], np.float32).reshape(4, 1, 1)
    probabilities[0].flat[0] = rule.threshold  # a pixel on a threshold reaches it
    scores, found, texts = in_graph(rule, probabilities)
    expected = [masks.decide(image, rule) for image in probabilities]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    assert texts == [rle.encode(mask) for mask in expected]
    assert list(scores) == [np.float32(masks.presence(image, rule)) for image in probabilities]


def test_a_full_and_an_empty_mask_are_written_as_siim_does():
    probabilities = np.stack([np.ones((3, 5), np.float32), np.zeros((3, 5), np.float32)])
    _, _, texts = in_graph(RULES[0], probabilities)
    assert texts == ["0 15", "-1"]


def test_by_hand():
    """Two by two, down the columns: the lower left and the whole right side."""
    _, found, texts = in_graph(RULES[0], np.array([[[0.1, 0.5], [0.9, 0.7]]], np.float32))
    assert found.tolist() == [[[0, 1], [1, 1]]]
    assert texts == ["1 3"]


def test_as_many_pixels_as_the_smallest_area_are_enough():
    probabilities = np.full((2, 4, 10), 0.4, np.float32)
    probabilities[0].flat[:25], probabilities[1].flat[:24] = 0.9, 0.9
    scores, found, _ = in_graph(RULES[2], probabilities)
    assert found.sum(axis=(1, 2)).tolist() == [40, 0]
    np.testing.assert_array_equal(scores, np.array([0.9, 0.4], np.float32))


def test_what_the_network_says_of_presence_is_the_score_and_may_close_the_gate():
    rule = masks.Rule(0.5, 0.5, 0, origin="", gate=0.4)
    presence = tf.constant([0.39, 0.4, 0.9])
    scores, found, _ = in_graph(rule, np.ones((3, 2, 2), np.float32), presence)
    np.testing.assert_array_equal(scores, presence)
    assert found.sum(axis=(1, 2)).tolist() == [0, 4, 4]
