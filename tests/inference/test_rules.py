"""The grid of rules against masks that are decided one by one, counts and choices by hand."""

import itertools
import math

import numpy as np
import pytest

from ptxtf.inference import masks, rules

EDGES = np.arange(129) / 128


def dice_by_hand(mask, predicted) -> float:
    """Return the Dice of two masks in NumPy alone, rounded to 2**-32 as the grid says."""
    total = int(mask.sum()) + int(predicted.sum())
    return round(2 * int((mask & predicted).sum()) / total * 2**32) / 2**32 if total else 1.0


def mean_by_hand(images, rule) -> float:
    dices = [dice_by_hand(mask, masks.decide(probabilities, rule)) for probabilities, mask in images]
    return math.fsum(dices) / len(dices)


def draw(rng, dtype, *, count=5, size=(5, 7)):
    """Return images that hold every kind of probability: 0, 1, on an edge, beside one, anywhere; two are healthy."""
    images = []
    for index in range(count):
        edges = rng.choice(EDGES, size).astype(dtype)
        beside = np.nextafter(edges, rng.choice([0, 1], size).astype(dtype))
        anywhere = rng.random(size).astype(dtype)
        probabilities = np.choose(rng.integers(0, 3, size), [edges, beside, anywhere])
        mask = (rng.random(size) < 0.3) & (index % 3 > 0)
        images.append((probabilities, mask.astype(np.uint8)))
    return images


def counts_of(images) -> rules.Counts:
    return rules.merge([rules.count(probabilities, mask) for probabilities, mask in images])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_rule_of_the_grid_scores_as_if_each_image_were_decided(rng, dtype):
    images = draw(rng, dtype)
    areas = np.array([0, 1, 9, 17])
    means = rules.mean_dice(counts_of(images), areas)
    assert means.shape == (127, 4, 127)
    for (bottom, low), (top, high) in itertools.combinations_with_replacement(enumerate(rules.THRESHOLDS), 2):
        for index, area in enumerate(areas):
            rule = masks.Rule(low, high, area, origin="")
            assert means[top, index, bottom] == mean_by_hand(images, rule), rule


def test_a_grid_by_hand():
    """Two pixels of three are true, and the false one is less sure than one of them."""
    sick = np.array([[0.25, 0.5, 0.75]], np.float32), np.array([[1, 0, 1]], np.uint8)
    healthy = np.array([[0.0, 0.625, 0.625]], np.float32), np.array([[0, 0, 0]], np.uint8)
    means = rules.mean_dice(counts_of([sick, healthy]), np.array([0, 1, 2]))

    def at(top, area, bottom):
        return means[int(top * 128) - 1, area, int(bottom * 128) - 1]

    assert at(0.5, 0, 0.5) == (2 * 1 / 4 + 0) / 2
    assert at(0.25, 0, 0.25) == pytest.approx((4 / 5 + 0) / 2, abs=2**-33)
    assert at(0.75, 1, 0.25) == pytest.approx((4 / 5 + 1) / 2, abs=2**-33)  # only the sick one has a pixel at 0.75
    assert at(0.5, 2, 0.75) == pytest.approx((2 / 3 + 1) / 2, abs=2**-33)
    assert at(0.75, 2, 0.25) == (0 + 1) / 2


def test_a_probability_on_an_edge_reaches_it_and_one_below_does_not():
    edges = rules.THRESHOLDS.astype(np.float32)
    below = np.nextafter(edges, np.float32(0))
    for probabilities, reached in ((edges, np.arange(1, 128)), (below, np.arange(127))):
        for probability, thresholds in zip(probabilities, reached, strict=True):
            found = rules.count(np.full((1, 1), probability), np.ones((1, 1), np.uint8))
            assert found.predicted_px.tolist() == [[1] * thresholds + [0] * (127 - thresholds)]
            np.testing.assert_array_equal(found.overlap_px, found.predicted_px)


def test_counts_by_hand():
    probabilities = np.array([[0.0, 0.5], [1.0, 0.501]], np.float32)
    found = rules.count(probabilities, np.array([[1, 1], [0, 0]], np.uint8))
    assert found.predicted_px.tolist() == [[3] * 64 + [1] * 63]
    assert found.overlap_px.tolist() == [[1] * 64 + [0] * 63]
    assert (found.area_px.tolist(), found.image_px.tolist()) == ([2], [4])
    assert {found.predicted_px.dtype, found.overlap_px.dtype, found.area_px.dtype} == {np.dtype(np.int64)}


def test_what_resizing_rounds_beyond_the_range_does_no_harm():
    probabilities = np.array([[-1e-6, 1 + 1e-6]], np.float32)
    found = rules.count(probabilities, np.zeros((1, 2), np.uint8))
    assert found.predicted_px.tolist() == [[1] * 127]


def test_merged_parts_are_one_pass(rng):
    images = draw(rng, np.float32, count=6)
    once = counts_of(images)
    parts = rules.merge([counts_of(images[:1]), counts_of(images[1:4]), counts_of(images[4:])])
    for name in ("predicted_px", "overlap_px", "area_px", "image_px"):
        np.testing.assert_array_equal(getattr(once, name), getattr(parts, name))
    areas = np.array([0, 5])
    np.testing.assert_array_equal(rules.mean_dice(once, areas), rules.mean_dice(counts_of(images[::-1]), areas))


def test_a_gate_leaves_images_empty_as_if_each_were_decided(rng):
    images = draw(rng, np.float32, count=7)
    presence = [0.5, 0.25, 0.9, 0.1, 0.5, 0.75, 1.0]
    counts = rules.merge([rules.count(*image, presence=one) for image, one in zip(images, presence, strict=True)])
    areas = np.array([0, 9])
    assert rules.gates_to_try(counts) == [k / 128 for k in (13, 33, 65, 97, 116)]
    for gate in (0.0, 0.5, 0.5 + 1 / 128, 0.99):
        means = rules.mean_dice(counts, areas, gate=gate)
        for bottom, top in ((0, 0), (10, 90), (63, 63)):
            for index, area in enumerate(areas):
                rule = masks.Rule(rules.THRESHOLDS[bottom], rules.THRESHOLDS[top], area, origin="", gate=gate)
                dices = [
                    dice_by_hand(mask, masks.decide(probabilities, rule, presence=one))
                    for (probabilities, mask), one in zip(images, presence, strict=True)
                ]
                assert means[top, index, bottom] == math.fsum(dices) / len(dices)


def test_no_gate_is_tried_where_an_image_has_no_presence(rng):
    first, second = draw(rng, np.float32, count=2)
    counts = rules.merge([rules.count(*first, presence=0.3), rules.count(*second)])
    assert rules.gates_to_try(counts) == []


def test_a_shut_gate_and_one_that_nobody_can_pass_leave_nothing():
    sure = np.ones((2, 2), np.float32)
    gated = masks.Rule(0.5, 0.5, 0, origin="", gate=0.25)
    found = [masks.decide(sure, gated, presence=one).sum() for one in (0.25, 0.24, math.nan)]
    assert found == [4, 0, 0]


@pytest.mark.parametrize(("kept", "dice"), [("healthy", 1.0), ("sick", None)])
def test_a_split_of_one_kind_only(rng, kept, dice):
    images = [(p, mask) for p, mask in draw(rng, np.float32, count=9) if mask.any() == (kept == "sick")]
    means = rules.mean_dice(counts_of(images), np.array([0, 10, 36]))
    top, area, bottom = rules.best(means)
    rule = masks.Rule(rules.THRESHOLDS[bottom], rules.THRESHOLDS[top], [0, 10, 36][area], origin="")
    assert means[top, area, bottom] == mean_by_hand(images, rule)
    assert np.isfinite(means).all()
    if dice is not None:
        assert means[top, area, bottom] == dice
    else:
        assert area == 0  # nobody gains by being left empty


@pytest.mark.parametrize(
    ("tied", "first"),
    [
        ([(90, 2, 63), (90, 1, 3)], (90, 1, 3)),
        ([(90, 1, 61), (64, 1, 64), (126, 1, 10)], (64, 1, 64)),
        ([(70, 1, 60), (66, 1, 66), (99, 1, 60)], (66, 1, 66)),
        ([(70, 0, 65), (66, 0, 61)], (66, 0, 61)),
        ([(10, 0, 11), (120, 2, 120)], (120, 2, 120)),
    ],
    ids=["smallest area", "nearest to 0.5", "nearest top", "lower", "no top below the other"],
)
def test_of_several_best_rules_one_is_taken(tied, first):
    means = np.full((127, 3, 127), 0.25)
    for at in tied:
        means[at] = 0.75
    assert rules.best(means) == first


def test_rules_that_decide_alike_are_tied():
    """Without a smallest area the top threshold decides nothing, so that 0.5 is the best by itself."""
    third = np.full((3, 1), 0.9, np.float32), np.array([[1], [0], [0]], np.uint8)
    means = rules.mean_dice(counts_of([third] * 7), np.array([0]))
    assert rules.best(means) == (rules.HALF, 0, rules.HALF)
    assert rules.THRESHOLDS[rules.HALF] == 0.5


def test_areas_follow_the_median_image():
    def areas(*sizes):
        empty = [np.zeros((size, size), np.float32) for size in sizes]
        return rules.areas_to_try(counts_of([(image, image.astype(np.uint8)) for image in empty])).tolist()

    assert areas(1024)[:4] == [0, 100, 200, 400]
    assert areas(1024)[-1] == 8000
    assert areas(256, 64, 1024)[:5] == [0, 6, 12, 25, 38]
    assert areas(16)[:4] == [0, 1, 2]  # none twice


@pytest.mark.parametrize(
    ("probabilities", "shape", "message"),
    [
        (np.zeros((2, 2)), (2, 3), r"expected probabilities and mask: \[H, W\] of one size. Received: \(2, 2\) and"),
        (np.zeros((2, 2, 1)), (2, 2, 1), r"expected probabilities and mask: \[H, W\]"),
        (np.full((2, 2), 1.5), (2, 2), r"expected probabilities in 0\.\.1\. Received: 1\.5\.\.1\.5"),
        (np.full((2, 2), 129 / 128), (2, 2), r"expected probabilities in 0\.\.1\. Received: "),
        (np.full((2, 2), -1 / 128), (2, 2), r"expected probabilities in 0\.\.1\. Received: "),
        (np.full((2, 2), np.nan), (2, 2), r"expected probabilities in 0\.\.1\. Received: nan"),
    ],
)
def test_what_are_no_probabilities_of_an_image_is_refused(probabilities, shape, message):
    with pytest.raises(ValueError, match=message):
        rules.count(probabilities, np.zeros(shape, np.uint8))
