"""Tiles, views and ensembles against the loops that anybody would write, with OpenCV, SciPy and NumPy."""

import contextlib
import itertools

import cv2
import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from ptxtf import forward, models, preprocess
from ptxtf.config import InferenceConfig, PreprocessConfig
from ptxtf.errors import InputError
from ptxtf.inference import Predictor
from ptxtf.inference.network import Network, portable
from ptxtf.inference.predictor import Film

SIZE = 64


def network_of(model, config=None, *, size=SIZE, weight=1.0, xla=False, **asked) -> Network:
    config, asked = config or PreprocessConfig(), InferenceConfig(**asked)
    return Network(model, config, size, weight, preprocess.tiles_of(config, asked), preprocess.views_of(asked), xla)


@pytest.fixture(scope="module")
def model():
    """Return a network whose logits depend on a pixel's surroundings, and on where its tile ends."""
    images = keras.Input((None, None, 1))
    convolution = keras.layers.Conv2D(1, 5, padding="same")
    outputs = convolution(images)
    kernel = np.random.default_rng(5).normal(size=(5, 5, 1, 1)).astype(np.float32)
    convolution.set_weights([kernel, np.array([0.3], np.float32)])
    return keras.Model(images, outputs)


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(image, (9, 9), 0) for image in noise])[..., np.newaxis]


def by_loops(network: Network, image: np.ndarray) -> np.ndarray:
    """Return the probabilities of uint8 [S, S]: view by view, tile by tile."""
    equalised = cv2.createCLAHE(2.0, (8, 8)).apply(image).astype(float)
    total, weights = np.zeros(image.shape), np.zeros(image.shape)
    for view in network.views:
        to_view, back = ways(view, image.shape)
        shown = (moved(equalised, *to_view) / 255) ** view.gamma
        probabilities = 1 / (1 + np.exp(-tile_by_tile(network, shown)))
        total += moved(probabilities, *back)
        weights += moved(np.ones(image.shape), *back)
    return total / weights


def ways(view, shape):
    """Return (matrix, offset) that make a view, and that undo it, as SciPy takes them: output to input."""
    angle = np.deg2rad(view.rotation_degrees)
    turn = view.scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # of (down, right)
    there = turn @ np.diag([1, -1 if view.is_mirrored else 1])
    centre = (np.array(shape) - 1) / 2
    back = np.linalg.inv(there)
    return (back, centre - back @ centre), (there, centre - there @ centre)


def moved(image, matrix, offset):
    return scipy.ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-constant")


def tile_by_tile(network: Network, shown: np.ndarray) -> np.ndarray:
    """Return the logits of float [S, S]."""
    if network.tiles is None:
        return logits_of(network, shown)
    size, stride = network.tiles.size, network.tiles.stride
    offsets = np.arange(size) - (size - 1) / 2
    bell = np.exp(-0.5 * (offsets / (size / 8)) ** 2) if stride < size else np.ones(size)
    starts = range(0, len(shown) - size + stride, stride)
    large = np.pad(shown, (0, starts[-1] + size - len(shown)))
    total, weights = np.zeros(large.shape), np.zeros(large.shape)
    for top, left in itertools.product(starts, starts):
        here = np.s_[top : top + size, left : left + size]
        total[here] += logits_of(network, large[here]) * np.outer(bell, bell)
        weights[here] += np.outer(bell, bell)
    return (total / weights)[: len(shown), : len(shown)]


def logits_of(network: Network, picture: np.ndarray) -> np.ndarray:
    outputs = network.model(picture[np.newaxis, ..., np.newaxis].astype(np.float32), training=False)
    return (outputs["mask"] if isinstance(outputs, dict) else outputs).numpy()[0, ..., 0]


ASKED = {
    "as it is": {},
    "mirrored": {"tta_flip": True},
    "turned": {"tta_rotations": (-5.0, 8.0)},
    "scaled": {"tta_scales": (0.9, 1.2)},
    "gammas": {"tta_gammas": (0.7, 1.4)},
    "tiles": {"tile_size": 32},
    "overlap": {"tile_size": 32, "tile_overlap": 0.5},
    "odd overlap": {"tile_size": 24, "tile_overlap": 0.3},
    "all": {
        "tile_size": 40, "tile_overlap": 0.25, "tta_flip": True, "tta_rotations": (4.0,), "tta_scales": (1.1,),
        "tta_gammas": (1.3,),
    },
}  # fmt: skip


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_one_compiled_graph_equals_the_loops(model, images, asked):
    network = network_of(model, **asked)
    found = Predictor([network], in_pairs=True)(images).numpy()[..., 0]
    np.testing.assert_allclose(found, [by_loops(network, image[..., 0]) for image in images], atol=1e-5)


@pytest.mark.parametrize("asked", [ASKED["as it is"], ASKED["all"]], ids=["as it is", "all"])
def test_the_portable_form_is_the_same_without_xla_for_any_batch(model, images, asked):
    network = network_of(model, **asked)
    function = tf.function(portable(network, preprocess.equalise(network.config))).get_concrete_function(
        tf.TensorSpec([None, SIZE, SIZE, 1], tf.uint8)
    )
    expected = Predictor([network])(images)
    np.testing.assert_allclose(function(tf.constant(images)).probabilities, expected, atol=2e-6)
    np.testing.assert_allclose(function(tf.constant(images[:1])).probabilities, expected[:1], atol=2e-6)


@pytest.mark.parametrize("xla", [False, True])
def test_an_ensemble_is_the_weighted_mean_at_its_largest_size(model, images, xla):
    small = network_of(model, PreprocessConfig(clahe=False), size=32, weight=0.25, xla=xla)
    large = network_of(model, weight=0.75, tta_flip=True, xla=xla)
    found = Predictor([small, large])(images).numpy()[..., 0]
    for image, probabilities in zip(images[..., 0], found, strict=True):
        halved = cv2.resize(image.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
        alone = 1 / (1 + np.exp(-logits_of(small, np.rint(halved) / 255)))
        grown = cv2.resize(alone.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(probabilities, 0.25 * grown + 0.75 * by_loops(large, image), atol=1e-5)


def test_views_that_change_nothing_are_asked_once():
    views = preprocess.views_of(InferenceConfig(tta_rotations=(0.0, 5.0, 5.0), tta_scales=(1.0,), tta_gammas=(1.0,)))
    assert views == [preprocess.View(), preprocess.View(rotation_degrees=5.0)]
    assert len(preprocess.views_of(InferenceConfig(tta_flip=True, tta_rotations=(5.0,)))) == 4


@pytest.mark.parametrize("in_pairs", [False, True])
def test_a_network_that_xla_compiles_is_one_program_unless_it_is_in_pairs(model, images, in_pairs):
    network = network_of(model, tile_size=32, tile_overlap=0.5, xla=True)
    predictor = Predictor([network], in_pairs=in_pairs)
    with pytest.raises(ValueError, match="jit_compile") if in_pairs else contextlib.nullcontext():
        predictor._ask.experimental_get_compiler_ir(tf.constant(images))()
    expected = [by_loops(network, image) for image in images[..., 0]]
    np.testing.assert_allclose(predictor(images)[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize(("in_pairs", "size"), [(True, 7), (False, 17)])
def test_parts_are_alike(monkeypatch, images, in_pairs, size):
    """Of 49 tiles, 7 parts of 7 where 8 may be together, and 3 of 17 where 20 may be; the last is filled up."""
    seen = set()

    class Watch(keras.Layer):
        def call(self, pictures):
            seen.add(pictures.shape[0])
            return pictures

    inputs = keras.Input((None, None, 1))
    network = network_of(keras.Model(inputs, Watch()(inputs)), tile_size=16, tile_overlap=0.5)
    monkeypatch.setattr("ptxtf.inference.network._SMALL_PART_PX", 8 * 16**2)
    monkeypatch.setattr("ptxtf.inference.network._LARGE_PART_PX", 20 * 16**2)
    found = Predictor([network], in_pairs=in_pairs)(images[:1])
    assert seen - {None} == {size}
    np.testing.assert_allclose(found[0, ..., 0], by_loops(network, images[0, ..., 0]), atol=1e-5)


def test_a_part_is_filled_across_images_and_bounded():
    """What the network sees at a time is so many tiles, whatever the batch; the last part is filled up with black."""
    seen = []
    part = forward.in_parts(lambda tiles: (seen.append(tuple(tiles.shape)), tiles * 2.0)[1], size=4, at_once=2)
    tiles = tf.random.stateless_uniform([10, 8, 8, 1], [1, 2])
    np.testing.assert_array_equal(part(tiles), tiles * 2.0)
    assert set(seen) == {(4, 8, 8, 1)}


# --- the gate --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate():
    """Return a classifier whose logit is how far an image's mean is from one half."""
    images = keras.Input((None, None, 1))
    mask = keras.layers.Rescaling(40.0, offset=-20.0)(images)
    return keras.Model(images, {"mask": mask, "presence": keras.layers.GlobalAveragePooling2D()(mask)})


def films_of(images) -> list[Film]:
    return [Film(number, image, (SIZE, SIZE)) for number, image in enumerate(images)]


def test_a_gate_says_presence_and_what_it_shuts_out_is_not_asked_for(model, gate, monkeypatch):
    images = np.stack([np.full((SIZE, SIZE, 1), level, np.uint8) for level in (200, 20, 120, 250, 30, 126, 10)])
    plain = PreprocessConfig(clahe=False)
    predictor = Predictor([network_of(model, plain)], gate=network_of(gate, plain))
    asked, real = [], predictor._ask
    monkeypatch.setattr(predictor, "_ask", lambda batch: (asked.append(batch.numpy()), real(batch))[1])
    found = list(predictor.each(films_of(images), batch_size=2, gate=0.25))
    assert [key for key, _ in found] == list(range(7))
    presence = 1 / (1 + np.exp(-(40.0 * images[:, 0, 0, 0] / 255 - 20)))
    np.testing.assert_allclose([one.presence for _, one in found], presence, atol=1e-5)
    passes = presence >= 0.25
    assert passes.tolist() == [True, False, False, True, False, True, False]
    alone = Predictor([network_of(model, plain)])(images).numpy()[..., 0]
    for one, through, expected in zip((one for _, one in found), passes, alone, strict=True):
        np.testing.assert_allclose(one.probabilities, expected if through else 0, atol=1e-6)
    assert [batch[:, 0, 0, 0].tolist() for batch in asked] == [[200, 250], [126, 0]]  # filled across images


def test_without_a_threshold_all_are_asked(model, gate, images):
    plain = PreprocessConfig(clahe=False)
    predictor = Predictor([network_of(model, plain)], gate=network_of(gate, plain))
    found = [one.probabilities for _, one in predictor.each(films_of(images), batch_size=2)]
    np.testing.assert_allclose(found, Predictor([network_of(model, plain)])(images)[..., 0], atol=1e-6)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("is_gate", [False, True])
def test_networks_with_presence_heads_say_it_of_the_surest_tile_and_the_mean_view(gate, images, is_gate, xla):
    plain = PreprocessConfig(clahe=False)
    network = network_of(gate, plain, tile_size=32, tta_gammas=(2.0,), xla=xla)
    predictor = Predictor([network], gate=network if is_gate else None)
    ((_, found),) = predictor.each(films_of(images[:1]), batch_size=1)
    x = images[0, ..., 0] / 255
    tiles = [x[top : top + 32, left : left + 32] for top in (0, 32) for left in (0, 32)]
    surest = [max(1 / (1 + np.exp(-(40 * (tile**gamma).mean() - 20))) for tile in tiles) for gamma in (1, 2)]
    assert found.presence == pytest.approx(np.mean(surest), abs=1e-5)


def test_networks_without_such_a_head_say_nothing(model, images):
    ((_, found),) = Predictor([network_of(model)]).each(films_of(images[:1]), batch_size=1)
    assert np.isnan(found.presence)


@pytest.mark.parametrize("as_gate", [False, True])
def test_a_presence_that_is_no_number_is_told(model, images, as_gate):
    inputs = keras.Input((None, None, 1))
    presence = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(np.nan)(inputs))
    broken = network_of(keras.Model(inputs, {"mask": keras.layers.Rescaling(1.0)(inputs), "presence": presence}))
    predictor = Predictor([network_of(model)], gate=broken) if as_gate else Predictor([broken])
    with pytest.raises(InputError, match=r"expected a model that gives numbers\. Received: nan"):
        list(predictor.each(films_of(images[:1]), batch_size=1))


def test_a_classifier_s_presence_is_the_mean_of_its_map():
    classifier = models.classifier("tiny", weights=None)
    outputs = classifier(np.random.default_rng(0).random((2, 64, 64, 1)).astype(np.float32))
    np.testing.assert_allclose(outputs["presence"][:, 0], np.mean(outputs["mask"], axis=(1, 2, 3)), atol=1e-6)
    # and what a dense layer behind the mean of the features gives
    features = keras.Model(classifier.input, classifier.get_layer("logits").input)
    kernel, bias = classifier.get_layer("logits").get_weights()
    mean = np.mean(features(np.random.default_rng(0).random((2, 64, 64, 1)).astype(np.float32)), axis=(1, 2))
    np.testing.assert_allclose(outputs["presence"], mean @ kernel[0, 0] + bias, atol=1e-5)
