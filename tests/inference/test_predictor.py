"""The predictor against the model called by hand, whole and in patches, at its own size and at others."""

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf import devices, forward, models, preprocess
from ptxtf.config import PreprocessConfig
from ptxtf.errors import InputError
from ptxtf.inference import Predictor
from ptxtf.inference.network import Network
from ptxtf.inference.predictor import Film


@pytest.fixture(scope="module")
def model():
    """Return a network whose logit is a fixed function of a pixel and its right neighbour."""
    images = keras.Input((None, None, 1))
    convolution = keras.layers.Conv2D(1, (1, 2), padding="same")
    outputs = convolution(images)
    convolution.set_weights([np.array([3.0, -2.0], np.float32).reshape(1, 2, 1, 1), np.array([-0.5], np.float32)])
    return keras.Model(images, outputs)


def by_hand(image: np.ndarray) -> np.ndarray:
    """Return the probabilities of uint8 [H, W] with OpenCV and NumPy."""
    x = cv2.createCLAHE(2.0, (8, 8)).apply(image) / 255
    right = np.pad(x, ((0, 0), (0, 1)))[:, 1:]
    return 1 / (1 + np.exp(-(3 * x - 2 * right - 0.5)))


def predictor(model, config, *, xla=False) -> Predictor:
    return Predictor([Network(model, config, image_size=64, tiles=preprocess.tiles_of(config), xla=xla)])


@pytest.fixture
def images(rng):
    noise = rng.integers(0, 256, (3, 64, 64)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(image, (7, 7), 0) for image in noise])


def test_whole_images(model, images):
    predicted = predictor(model, PreprocessConfig())(images[..., np.newaxis])
    assert predicted.dtype == tf.float32
    np.testing.assert_allclose(predicted[..., 0], [by_hand(image) for image in images], atol=2e-6)


def test_patches_are_equalised_as_one_image_and_stitched(model, images):
    predicted = predictor(model, PreprocessConfig(mode="patch", patch_size=32))(images[..., np.newaxis])
    whole = np.stack([by_hand(image) for image in images])
    # the network sees nothing to the right of a patch: its last column differs, every other pixel is the same
    inner = np.ones((64, 64), bool)
    inner[:, 31] = False
    np.testing.assert_allclose(predicted.numpy()[..., 0][:, inner], whole[:, inner], atol=2e-6)
    assert np.abs(predicted.numpy()[:, :, 31, 0] - whole[:, :, 31]).max() > 0.01


def test_xla_changes_nothing(model, images):
    plain, compiled = (predictor(model, PreprocessConfig(), xla=xla)(images[..., np.newaxis]) for xla in (False, True))
    np.testing.assert_allclose(plain, compiled, atol=1e-6)


def test_what_was_trained_in_half_precision_predicts_where_that_is_missing(monkeypatch):
    half = models.unet("tiny", weights=None, decoder_filters=(8,) * 5, precision="mixed_bfloat16")
    exact = models.unet("tiny", weights=None, decoder_filters=(8,) * 5, precision="float32")
    exact.set_weights(half.get_weights())
    images = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
    expected = exact(images, training=False)
    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
    assert forward.for_this_device(half, "mixed_bfloat16") is half
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    assert forward.for_this_device(exact, "float32") is exact
    error = np.abs(half(images, training=False) - expected).max()
    found = np.abs(forward.for_this_device(half, "mixed_bfloat16")(images, training=False) - expected).max()
    assert found < 1e-5 * np.abs(expected).max() < error


def test_a_larger_image_is_shrunk_by_area_and_its_probabilities_grow_back(model, images):
    large = np.kron(images[0], np.ones((2, 2), np.uint8))
    predicted = predictor(model, PreprocessConfig())(large[np.newaxis, ..., np.newaxis])
    expected = cv2.resize(by_hand(images[0]).astype(np.float32), (128, 128), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(predicted[0, ..., 0], expected, atol=1e-5)


def test_a_smaller_image_that_is_not_square_keeps_its_shape(model, rng):
    small = rng.integers(0, 256, (2, 40, 52, 1)).astype(np.uint8)
    predicted = predictor(model, PreprocessConfig())(small)
    assert predicted.shape == (2, 40, 52, 1)
    grown = np.round(cv2.resize(small[0, ..., 0].astype(np.float32), (64, 64), interpolation=cv2.INTER_LINEAR))
    expected = cv2.resize(by_hand(grown.astype(np.uint8)).astype(np.float32), (52, 40), interpolation=cv2.INTER_LINEAR)
    assert np.mean(np.abs(predicted[0, ..., 0] - expected)) < 2e-3


def test_one_predictor_serves_all_sizes(model, rng):
    one = predictor(model, PreprocessConfig())
    for shape in ((1, 64, 64), (2, 128, 128), (1, 40, 52), (3, 64, 64)):
        images = rng.integers(0, 256, (*shape, 1)).astype(np.uint8)
        assert one(images).shape == (*shape, 1)
        np.testing.assert_array_equal(one(images), predictor(model, PreprocessConfig())(images))


def test_no_image_at_all_is_refused(model):
    with pytest.raises(ValueError, match=r"expected images: at least one\. Received: none"):
        predictor(model, PreprocessConfig())(np.zeros((0, 8, 8, 1), np.uint8))


@pytest.mark.parametrize(
    "pixels", [np.zeros((8, 8), np.float32), np.zeros((8, 8, 1), np.uint8), np.zeros((8, 0), np.uint8)]
)
def test_other_pixels_are_no_film(pixels):
    with pytest.raises(ValueError, match=r"expected pixels: uint8 \[H, W\]\. Received: "):
        Film.of(1, pixels, 8)


def test_films_of_another_size_and_empty_batches_are_refused(model):
    films = [Film.of(1, np.zeros((9, 9), np.uint8), 8)]
    one = Predictor([Network(model, PreprocessConfig(), 16)])
    with pytest.raises(ValueError, match=r"expected images: uint8 \(16, 16, 1\)\. Received: uint8 \(8, 8, 1\)"):
        list(one.each(films, batch_size=1))
    with pytest.raises(ValueError, match=r"expected batch_size of at least 1\. Received: 0"):
        list(one.each(films, batch_size=0))


def test_an_unknown_size_is_told(model):
    ask = tf.function(predictor(model, PreprocessConfig()), autograph=False)
    with pytest.raises(ValueError, match=r"of known size\. Received: uint8 \(None, 8, 8, 1\)"):
        ask.get_concrete_function(tf.TensorSpec([None, 8, 8, 1], tf.uint8))


@pytest.mark.parametrize(
    "images", [np.zeros((1, 8, 8, 1), np.float32), np.zeros((8, 8, 1), np.uint8), np.zeros((1, 0, 8, 1), np.uint8)]
)
def test_other_arrays_are_refused(model, images):
    with pytest.raises(ValueError, match=r"expected images: uint8 \[B, H, W, 1\] of known size. Received: "):
        predictor(model, PreprocessConfig())(images)


def test_a_folder_without_a_run_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"run\.flags: expected a run folder written by ptxtf\.train"):
        Predictor.load(tmp_path)


def test_an_unfinished_run_is_one_clear_line(tmp_path):
    (tmp_path / "run.flags").write_text("--records_dir=r\n--run_dir=d\n")
    with pytest.raises(InputError, match=r"model\.keras: expected the model of a finished run"):
        Predictor.load(tmp_path)


def test_a_spoiled_model_is_one_clear_line(tmp_path):
    (tmp_path / "run.flags").write_text("--records_dir=r\n--run_dir=d\n")
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"model\.keras: expected a saved model\. Received: "):
        Predictor.load(tmp_path)
