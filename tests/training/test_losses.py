"""Losses against the papers' formulas in NumPy, against Keras, against numbers worked out by hand, and at the edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.config import LossConfig
from ptxtf.models import unet
from ptxtf.training import losses

SHAPE = (3, 8, 10, 1)


@pytest.fixture
def masks(rng):
    return rng.integers(0, 2, SHAPE).astype(np.float32)


@pytest.fixture
def logits(rng):
    return rng.normal(0, 3, SHAPE).astype(np.float32)


def image(*values):
    """Return one image of one row."""
    return np.array(values, np.float32).reshape(1, 1, len(values), 1)


def gradient(function, masks, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(function(masks, logits))
    return tape.gradient(value, logits).numpy()


# The formulas, written down a second time for one image in float64.


def focal_of_paper(mask, logits, alpha=0.25, gamma=2.0):
    log_right = -np.logaddexp(0, np.where(mask == 1, -logits, logits))
    weight = np.where(mask == 1, alpha, 1 - alpha)
    return (-weight * (1 - np.exp(log_right)) ** gamma * log_right).mean()


def entropy_of_book(mask, logits):
    return (mask * np.logaddexp(0, -logits) + (1 - mask) * np.logaddexp(0, logits)).mean()


def tversky_of_paper(mask, logits, alpha=0.3, smooth=1.0):
    probabilities = np.exp(-np.logaddexp(0, -logits))
    right = (probabilities * mask).sum()
    false_positive, false_negative = (probabilities * (1 - mask)).sum(), ((1 - probabilities) * mask).sum()
    index = (2 * right + smooth) / (2 * (right + alpha * false_positive + (1 - alpha) * false_negative) + smooth)
    return 1 - index


def dice_of_book(mask, logits, smooth=1.0):
    probabilities = np.exp(-np.logaddexp(0, -logits))
    return 1 - (2 * (probabilities * mask).sum() + smooth) / (probabilities.sum() + mask.sum() + smooth)


def jaccard_loss(mask, mistakes):
    """Of a set of mistaken pixels, with both as sets: |M| / |Y ∪ M|."""
    return len(mistakes) / len(mask | mistakes) if mistakes else 0.0


def lovasz_of_paper(mask, logits):
    """The Lovász extension by its definition, from the Jaccard loss of growing sets of mistakes."""
    mask, logits = mask.ravel(), logits.ravel()
    errors = np.maximum(1 - logits * (2 * mask - 1), 0)
    foreground, mistakes, value = set(np.flatnonzero(mask)), set(), 0.0
    for pixel in np.argsort(-errors):
        before = jaccard_loss(foreground, mistakes)
        mistakes.add(pixel)
        value += errors[pixel] * (jaccard_loss(foreground, mistakes) - before)
    return value


LOSSES = {
    "focal": (losses.focal_loss, focal_of_paper),
    "dice": (losses.soft_dice_loss, dice_of_book),
    "bce": (losses.binary_crossentropy, entropy_of_book),
    "tversky": (losses.tversky_loss, tversky_of_paper),
    "lovasz": (losses.lovasz_hinge_loss, lovasz_of_paper),
}
each_formula = pytest.mark.parametrize(("function", "formula"), LOSSES.values(), ids=LOSSES)
each_loss = pytest.mark.parametrize("function", [function for function, _ in LOSSES.values()], ids=LOSSES)


@each_formula
def test_it_equals_the_formula(masks, logits, function, formula):
    expected = [formula(*pair) for pair in zip(masks, logits.astype(np.float64), strict=True)]
    found = function(masks, logits)
    assert (found.dtype, found.shape) == (tf.float32, SHAPE[:1])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@each_formula
def test_its_gradient_is_that_of_the_formula_by_differences(masks, logits, function, formula):
    mask, middle, step = masks[0], logits[0].astype(np.float64), 1e-6
    expected = np.zeros_like(middle)
    for pixel in np.ndindex(middle.shape):
        above, below = middle.copy(), middle.copy()
        above[pixel] += step
        below[pixel] -= step
        expected[pixel] = (formula(mask, above) - formula(mask, below)) / (2 * step)
    np.testing.assert_allclose(gradient(function, masks[:1], logits[:1])[0], expected, rtol=1e-4, atol=1e-7)


@each_formula
@pytest.mark.parametrize("fill", ["empty", "full", "half"])
@pytest.mark.parametrize("logit", ["low", "high", "both"])
def test_extreme_logits_give_the_formula_s_value_and_a_finite_gradient(function, formula, fill, logit):
    mask = image(*{"empty": [0, 0, 0, 0], "full": [1, 1, 1, 1], "half": [0, 1, 0, 1]}[fill])
    logits = 1e4 * image(*{"low": [-1, -1, -1, -1], "high": [1, 1, 1, 1], "both": [-1, -1, 1, 1]}[logit])
    np.testing.assert_allclose(function(mask, logits), [formula(mask[0], logits[0])], rtol=1e-6)
    assert np.isfinite(gradient(function, mask, logits)).all()


@each_loss
def test_eager_function_and_xla_are_equal(masks, logits, function):
    def both(masks, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = function(masks, logits)
        return value, tape.gradient(value, logits)

    inputs = tf.constant(masks), tf.constant(logits)
    for compiled in (tf.function(both, autograph=False), tf.function(both, autograph=False, jit_compile=True)):
        for found, expected in zip(compiled(*inputs), both(*inputs), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@each_loss
def test_a_batch_is_each_image_alone(masks, logits, function):
    alone = [function(masks[i : i + 1], logits[i : i + 1]).numpy()[0] for i in range(len(masks))]
    np.testing.assert_allclose(function(masks, logits), alone, rtol=1e-6)
    assert function(masks[:0], logits[:0]).shape == (0,)


@each_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_left_before_anything_is_computed(rng, function, dtype):
    masks = tf.constant(rng.integers(0, 2, (1, 64, 64, 1)), dtype)  # more pixels than float16 can count
    logits = tf.cast(rng.normal(0, 3, (1, 64, 64, 1)), dtype)
    found = function(masks, logits)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, function(tf.cast(masks, tf.float32), tf.cast(logits, tf.float32)))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.0), (0.9, 1.5)])
def test_focal_loss_equals_the_paper_s_formula(masks, logits, alpha, gamma):
    expected = [focal_of_paper(*pair, alpha, gamma) for pair in zip(masks, logits.astype(np.float64), strict=True)]
    np.testing.assert_allclose(losses.focal_loss(masks, logits, alpha=alpha, gamma=gamma), expected, rtol=1e-5)


def test_focal_loss_of_one_pixel_by_hand():
    # p = sigmoid(0) = 1/2, truth 1: 0.25 * (1 - 1/2)^2 * ln 2
    value = losses.focal_loss(image(1), image(0), alpha=0.25, gamma=2.0)
    np.testing.assert_allclose(value, [0.25 * 0.25 * np.log(2)], rtol=1e-6)


def test_focal_loss_equals_keras_away_from_the_edges(masks, logits):
    keras_loss = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.25, gamma=2.0, from_logits=True, reduction=None
    )
    expected = tf.reduce_mean(keras_loss(masks, logits), axis=[1, 2])
    np.testing.assert_allclose(losses.focal_loss(masks, logits), expected, rtol=2e-5)


def test_confident_mistakes_keep_their_gradient():
    # of -alpha log(sigmoid(z)) at a very negative z: -alpha; half of it, as each pixel is half the mean
    found = gradient(losses.focal_loss, image(1, 1), image(-40, -90))
    np.testing.assert_allclose(found.ravel(), [-0.125, -0.125], rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_pixels_that_are_exactly_right_have_a_gradient_where_keras_has_none(gamma):
    ours = gradient(lambda m, z: losses.focal_loss(m, z, gamma=gamma), image(1, 1), image(60, 0))
    assert np.isfinite(ours).all()
    keras_loss = keras.losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
    assert np.isnan(gradient(keras_loss, image(1, 1), image(60, 0))).any()


def test_cross_entropy_by_hand():
    # p = 3/4 and 3/4; truth 1 and 0
    value = losses.binary_crossentropy(image(1, 0), image(np.log(3), np.log(3)))
    np.testing.assert_allclose(value, [(np.log(4 / 3) + np.log(4)) / 2], rtol=1e-6)


def test_cross_entropy_equals_keras(masks, logits):
    expected = keras.losses.BinaryCrossentropy(from_logits=True, axis=(1, 2, 3), reduction=None)(masks, logits)
    np.testing.assert_allclose(losses.binary_crossentropy(masks, logits), expected, rtol=1e-6)


# probabilities 3/4, 1/4, 1/4, 3/4: overlap 1, areas 2 + 2; false positive 1, false negative 1
QUARTERS = image(1, 1, 0, 0), image(*np.log([3, 1 / 3, 1 / 3, 3]))


def test_soft_dice_by_hand():
    np.testing.assert_allclose(losses.soft_dice_loss(*QUARTERS, smooth=1.0), [1 - 3 / 5], rtol=1e-6)


def test_soft_dice_equals_keras_without_smoothing(masks, logits):
    keras_loss = keras.losses.Dice(axis=(1, 2, 3), reduction=None)
    expected = keras_loss(masks, tf.sigmoid(logits))
    np.testing.assert_allclose(losses.soft_dice_loss(masks, logits, smooth=1e-6), expected, rtol=1e-5)


def test_a_healthy_image_is_rewarded_for_an_empty_prediction():
    healthy = np.zeros((1, 16, 16, 1), np.float32)
    values = [losses.soft_dice_loss(healthy, np.full_like(healthy, logit)).numpy()[0] for logit in (0, -4, -8, -20)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-4


def test_tversky_by_hand():
    mask, logits = image(1, 1, 0, 0), image(*np.log([3, 3, 1 / 3, 3]))  # 3/4, 3/4, 1/4, 3/4
    # right 3/2, false positive 1, false negative 1/2: (3 + 1) / (3 + 2 * (0.2 * 1 + 0.8 * 1/2) + 1)
    np.testing.assert_allclose(losses.tversky_loss(mask, logits, alpha=0.2, smooth=1.0), [1 - 4 / 5.2], rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.0])
def test_tversky_equals_keras_without_smoothing(masks, logits, alpha):
    def ours(alpha):
        return losses.tversky_loss(masks, logits, alpha=alpha, smooth=1e-6)

    def of_keras(alpha):
        keras_loss = keras.losses.Tversky(alpha=alpha, beta=1 - alpha, axis=(1, 2, 3), reduction=None)
        return keras_loss(masks, tf.sigmoid(logits))

    # either way round: Keras up to 3.15 takes alpha for false negatives, against its documentation (keras#23333)
    found, expected = ([f(alpha), f(1 - alpha)] for f in (ours, of_keras))
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(expected, axis=0), rtol=1e-5)


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, [1 / 2, 0]), (1.0, [0, 1 / 2])])
def test_tversky_s_alpha_weighs_false_positives(alpha, expected):
    masks, sure = np.stack([image(1, 1, 0)[0], image(1, 0, 0)[0]]), np.stack([image(1, -1, -1)[0], image(1, 1, -1)[0]])
    # the first image has a false negative, the second a false positive
    np.testing.assert_allclose(losses.tversky_loss(masks, 100 * sure, alpha=alpha, smooth=0), expected, atol=1e-6)


@pytest.mark.parametrize("smooth", [0.5, 1.0, 7.0])
def test_tversky_of_equal_weights_is_dice_of_the_same_smooth(masks, logits, smooth):
    expected = [dice_of_book(*pair, smooth) for pair in zip(masks, logits.astype(np.float64), strict=True)]
    np.testing.assert_allclose(losses.tversky_loss(masks, logits, alpha=0.5, smooth=smooth), expected, rtol=1e-5)


def test_lovasz_by_hand():
    # errors: foreground 1 - 1/2, background 1 + 0. The background first: |M| / |Y ∪ M| = 1/2, then 2/2
    np.testing.assert_allclose(losses.lovasz_hinge_loss(image(1, 0), image(0.5, 0)), [0.75], rtol=1e-6)


def test_lovasz_of_an_empty_mask_is_its_greatest_error():
    np.testing.assert_allclose(losses.lovasz_hinge_loss(image(0, 0, 0), image(-3, 2, 1)), [1 + 2], rtol=1e-6)
    np.testing.assert_allclose(losses.lovasz_hinge_loss(image(0, 0, 0), image(-3, -2, -1)), [0], atol=0)
    np.testing.assert_array_equal(gradient(losses.lovasz_hinge_loss, image(0, 0, 0), image(-3, 2, 1)), image(0, 1, 0))


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_lovasz_of_a_decided_prediction_is_its_jaccard_loss(rng, size, share):
    masks, predicted = rng.random(SHAPE) < share, rng.random(SHAPE) < 0.4
    union = (masks | predicted).sum(axis=(1, 2, 3))
    expected = 1 - (masks & predicted).sum(axis=(1, 2, 3)) / union
    # all errors are 0 or 1 + size, of which the loss is a multiple
    found = losses.lovasz_hinge_loss(masks, np.where(predicted, size, -size)) / (1 + size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_lovasz_is_exact_in_a_large_image(rng):
    mask = np.arange(512 * 512) < 1000
    logits = rng.permutation(np.linspace(-0.9, 0.8, 512 * 512)).astype(np.float32)  # no two errors alike
    order = np.argsort(-np.where(mask, 1 - logits, 1 + logits))
    intersections, unions = 1000 - np.cumsum(mask[order]), 1000 + np.cumsum(~mask[order])
    expected = np.zeros(512 * 512)
    expected[order] = np.diff(1 - intersections / unions, prepend=0)
    expected[mask] *= -1
    found = gradient(losses.lovasz_hinge_loss, mask.reshape(1, 512, 512, 1), logits.reshape(1, 512, 512, 1))
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)


WEIGHTS = {"focal_weight": 3.0, "dice_weight": 0.5, "bce_weight": 0.25, "tversky_weight": 2.0, "lovasz_weight": 0.125}
NOTHING = dict.fromkeys(WEIGHTS, 0.0)


def weighted_by_hand(mask, logits):
    """The mask loss of WEIGHTS with focal_alpha 0.4, focal_gamma 1, tversky_alpha 0.9 and a smooth of 2."""
    return (
        3.0 * focal_of_paper(mask, logits, 0.4, 1.0)
        + 0.5 * dice_of_book(mask, logits, 2.0)
        + 0.25 * entropy_of_book(mask, logits)
        + 2.0 * tversky_of_paper(mask, logits, 0.9, 2.0)
        + 0.125 * lovasz_of_paper(mask, logits)
    )


def test_the_sum_is_weighted(masks, logits):
    options = {"focal_alpha": 0.4, "focal_gamma": 1.0, "tversky_alpha": 0.9, "smooth": 2.0}
    loss = losses.SegmentationLoss(**WEIGHTS, **options, reduction=None)
    expected = [weighted_by_hand(*pair) for pair in zip(masks, logits, strict=True)]
    np.testing.assert_allclose(loss(masks, logits), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.of_mask(masks, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_what_has_weight_0_is_not_computed(monkeypatch, masks, logits, name):
    computed = []
    for other, (function, _) in LOSSES.items():
        monkeypatch.setattr(
            losses, function.__name__, lambda masks, _, other=other, **__: computed.append(other) or tf.ones(len(masks))
        )
    loss = losses.SegmentationLoss(**NOTHING | {f"{name}_weight": 0.7}, reduction=None)
    np.testing.assert_allclose(loss(masks, logits), [0.7, 0.7, 0.7], rtol=1e-6)
    assert computed == [name]


def test_focal_dice_is_focal_and_dice(masks, logits):
    loss = losses.focal_dice(focal_weight=3.0, dice_weight=0.5, alpha=0.4, gamma=1.0, smooth=2.0, reduction=None)
    expected = [
        3.0 * focal_of_paper(*pair, 0.4, 1.0) + 0.5 * dice_of_book(*pair, 2.0)
        for pair in zip(masks, logits, strict=True)
    ]
    np.testing.assert_allclose(loss(masks, logits), expected, rtol=1e-5)


def test_the_mean_over_a_batch_is_that_of_each_alone(masks, logits):
    loss = losses.focal_dice()
    alone = [float(loss(masks[i : i + 1], logits[i : i + 1])) for i in range(len(masks))]
    np.testing.assert_allclose(float(loss(masks, logits)), np.mean(alone), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-60.0, 0.0, 60.0])
def test_low_precision_logits_of_a_large_image_give_finite_float32(dtype, fill, logit):
    logits = tf.Variable(tf.fill([1, 512, 512, 1], tf.cast(logit, dtype)))
    masks = tf.fill([1, 512, 512, 1], tf.cast(fill, dtype))
    with tf.GradientTape() as tape:
        value = losses.SegmentationLoss(**WEIGHTS, reduction=None)(masks, logits)
    assert value.dtype == tf.float32
    assert np.isfinite(value).all()
    assert np.isfinite(tf.cast(tape.gradient(value, logits), tf.float32)).all()


@pytest.mark.parametrize("loss", [losses.focal_dice(focal_weight=2.0, gamma=3.0), losses.SegmentationLoss(**WEIGHTS)])
def test_it_is_saved_with_its_settings(masks, logits, loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(masks, logits)) == float(loss(masks, logits))


def test_saved_settings_are_those_given():
    saved = losses.SegmentationLoss(
        **WEIGHTS, focal_gamma=3.0, smooth=2.0, sides_weight=0.5, reduction=None
    ).get_config()
    given = {**WEIGHTS, "focal_gamma": 3.0, "smooth": 2.0, "sides_weight": 0.5, "reduction": None}
    assert given.items() <= saved.items()
    assert losses.focal_dice().get_config()["name"] == "focal_dice"


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"expected tversky_alpha in 0\.\.1\. Received: tversky_alpha=2"):
        losses.SegmentationLoss(tversky_alpha=2)
    with pytest.raises(ValueError, match=r"expected focal_weight of 0 or more\. Received: focal_weight=-1"):
        losses.focal_dice(focal_weight=-1)
    with pytest.raises(TypeError, match="huber_weight"):
        losses.SegmentationLoss(huber_weight=1)


@pytest.fixture
def outputs(rng, logits):
    """Return what a network of all heads gives."""
    sides = {f"side{number}": rng.normal(0, 3, SHAPE).astype(np.float32) for number in (1, 2, 3)}
    return {"mask": logits, "presence": np.array([[np.log(3)], [0.0], [-1e4]], np.float32), **sides}


def test_a_classifier_s_loss_is_that_of_presence_alone_and_of_its_map_s_mean(masks, outputs):
    config = LossConfig(focal_weight=0, dice_weight=0, presence_weight=2)
    loss = losses.of_run(config)
    present = masks.max(axis=(1, 2, 3))
    entropy = np.logaddexp(0, np.where(present, -1, 1) * outputs["presence"][:, 0].astype(np.float64))
    np.testing.assert_allclose(loss(masks, outputs), 2 * entropy, rtol=1e-5)
    mean = outputs["mask"].mean(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(
        loss.of_mask(masks, outputs["mask"]), 2 * np.logaddexp(0, np.where(present, -1, 1) * mean), rtol=1e-5
    )


@pytest.mark.parametrize(
    "settings", [{"presence_weight": 0.0}, {"presence_weight": 1.0, "sides_weight": 1.0}], ids=["nothing", "sides"]
)
def test_a_loss_of_nothing_and_sides_of_no_mask_are_refused(settings):
    with pytest.raises(
        ValueError, match=r"expected (focal_weight, .* or presence_weight above 0|a loss of masks with)"
    ):
        LossConfig(focal_weight=0, dice_weight=0, **settings)


def test_presence_is_the_cross_entropy_of_any_pixel(masks, outputs):
    masks[1] = 0
    masks[2], masks[2, 5, 7] = 0, 1
    loss = losses.of_run(LossConfig(presence_weight=0.5))
    mask_loss = losses.focal_dice(reduction=None)(masks, outputs["mask"])
    # p = 3/4, there is one; p = 1/2, there is none; a logit of -1e4 where there is one
    expected = mask_loss + 0.5 * np.array([np.log(4 / 3), np.log(2), 1e4])
    np.testing.assert_allclose(loss(masks, outputs), expected, rtol=1e-6)


def test_sides_count_by_the_mean_of_their_mask_losses(masks, outputs):
    loss = losses.of_run(LossConfig(**WEIGHTS, sides_weight=0.3))
    mask_loss = losses.SegmentationLoss(**WEIGHTS, reduction=None)
    sides = [mask_loss(masks, outputs[f"side{number}"]) for number in (1, 2, 3)]
    expected = mask_loss(masks, outputs["mask"]) + 0.3 * np.mean(sides, axis=0)
    np.testing.assert_allclose(loss(masks, outputs), expected, rtol=1e-6)


def test_heads_without_weight_do_not_count(masks, logits, outputs):
    loss = losses.of_run(LossConfig())
    found = loss(masks, logits)
    assert (found.dtype, found.shape) == (tf.float32, SHAPE[:1])
    np.testing.assert_array_equal(loss(masks, outputs), found)


def test_all_heads_compile_under_xla_with_equal_values_and_gradients(masks, outputs):
    loss = losses.of_run(LossConfig(**WEIGHTS, presence_weight=0.5, sides_weight=0.3))

    def both(masks, outputs):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(masks, outputs)
        return {"value": value, **tape.gradient(value, outputs)}

    outputs = {name: tf.constant(logits) for name, logits in outputs.items()}
    compiled, eager = tf.function(both, jit_compile=True)(masks, outputs), both(masks, outputs)
    for name, expected in eager.items():
        assert np.abs(expected).max() > 0, name
        np.testing.assert_allclose(compiled[name], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, ("mask",)),
        ({"presence_weight": 0.1}, ("mask", "presence")),
        ({"sides_weight": 0.1}, ("mask", "sides")),
        ({"sides_weight": 0.1, "presence_weight": 0.1}, ("mask", "presence", "sides")),
    ],
)
def test_a_network_of_these_heads_gives_what_the_loss_takes(weights, expected):
    config = LossConfig(**weights)
    assert losses.heads(config) == expected
    model = unet("tiny", weights=None, decoder_filters=(8, 8, 8, 8, 8), heads=expected)
    with tf.GradientTape() as tape:
        value = losses.of_run(config)(tf.ones([2, 32, 32, 1]), model(tf.ones([2, 32, 32, 1]), training=True))
    assert value.shape == (2,)
    assert all(part is not None for part in tape.gradient(value, model.trainable_variables))


@pytest.mark.parametrize(
    ("head", "left"), [("presence", ["mask", "side1", "side2", "side3"]), ("sides", ["mask", "presence"])]
)
def test_outputs_that_lack_a_head_are_refused(masks, outputs, head, left):
    loss = losses.of_run(LossConfig(**{f"{head}_weight": 1.0}))
    expected = rf"expected outputs of the heads mask, {head}\. Received: outputs="
    with pytest.raises(ValueError, match=f"{expected}mask$"):
        loss(masks, outputs["mask"])
    with pytest.raises(ValueError, match=f"{expected}{', '.join(left)}$"):
        loss(masks, {name: outputs[name] for name in left})
