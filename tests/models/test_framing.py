"""Scaling as keras.applications documents it; padding and cropping as NumPy does, at sizes known and unknown."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf.models import framing

# Keras 3.15 converts variables in a way that NumPy 2 deprecates, whenever it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def model_of(function, *shapes):
    """Return a model that is one call of a function of images with these shapes."""
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, function(*inputs))


def scaled(images, scaling, channels=3):
    return model_of(lambda x: framing.scale(x, scaling, channels=channels), images.shape[1:])(images)


@pytest.mark.parametrize(
    ("scaling", "preprocess"),
    [
        ("caffe", keras.applications.vgg16.preprocess_input),
        ("caffe", keras.applications.resnet50.preprocess_input),
        ("torch", keras.applications.densenet.preprocess_input),
        ("tf", keras.applications.inception_v3.preprocess_input),
        ("raw", lambda images: images),
        ("paper", lambda images: images / 255),
    ],
)
def test_scaling_equals_what_keras_applications_documents(scaling, preprocess):
    images = random_images(2, 5, 7, 3)
    np.testing.assert_allclose(scaled(images, scaling), preprocess(255 * images.copy()), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("scaling", framing.SCALINGS)
def test_grey_is_three_equal_channels(scaling):
    grey = random_images(2, 5, 7, 1)
    np.testing.assert_array_equal(scaled(grey, scaling), scaled(np.repeat(grey, 3, axis=-1), scaling))


def test_one_channel_stays_one_where_the_encoder_wants_one():
    grey = random_images(1, 4, 4, 1)
    np.testing.assert_array_equal(scaled(grey, "tf", channels=1), 2 * grey - 1)


def test_scaling_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"expected input_scaling of paper, .*Received: input_scaling='imagenet'"):
        framing.scale(keras.Input((4, 4, 3)), "imagenet")
    with pytest.raises(ValueError, match=r"expected three channels for input_scaling 'torch'\. Received: channels=1"):
        framing.scale(keras.Input((4, 4, 1)), "torch", channels=1)


def padded(images, multiple):
    """What padding means, by NumPy."""
    _, height, width, _ = images.shape
    return np.pad(images, [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)])


@settings(deadline=None, max_examples=10, derandomize=True)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 8, 32]), st.booleans())
def test_padding_is_zeros_at_the_bottom_and_right_and_cropping_undoes_it(height, width, multiple, is_known):
    images = random_images(2, height, width, 2)
    sides = (height, width) if is_known else (None, None)
    pad = model_of(lambda x: framing.pad(x, multiple), (*sides, 2))
    received = pad(images)
    np.testing.assert_array_equal(received, padded(images, multiple))
    if is_known:
        assert pad.output_shape == (None, *received.shape[1:])
    crop = model_of(framing.crop, (*received.shape[1:3], 2) if is_known else (None, None, 2), (*sides, 2))
    np.testing.assert_array_equal(crop([received, tf.constant(images)]), images)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_padding_and_cropping_follow_sizes_unknown_when_tracing(jit_compile):
    pad = model_of(lambda x: framing.pad(x, 32), (None, None, 1))
    crop = model_of(framing.crop, (None, None, 1), (None, None, 1))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1])], jit_compile=jit_compile)
    def there_and_back(images):
        larger = pad(images)
        return larger, crop([larger, images])

    for height, width in [(33, 64), (70, 31)]:
        images = random_images(2, height, width, 1)
        larger, back = there_and_back(images)
        np.testing.assert_array_equal(larger, padded(images, 32))
        np.testing.assert_array_equal(back, images)


def test_a_size_that_fits_is_left_alone():
    images = keras.Input((64, 96, 1))
    assert framing.pad(images, 32) is images
    assert framing.crop(images, images) is images


def test_the_gradient_of_padding_and_cropping_is_that_of_copying():
    frame = model_of(lambda x: framing.crop(framing.pad(x, 32), x), (None, None, 1))
    images = tf.constant(random_images(2, 33, 40, 1))
    weights = random_images(2, 33, 40, 1, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.reduce_sum(frame(images) * weights)
    np.testing.assert_allclose(tape.gradient(loss, images), weights, rtol=1e-6)


def test_all_of_it_is_saved_as_keras_own(tmp_path):
    images = keras.Input((None, None, 1))
    x = framing.scale(framing.pad(images, 8), "torch")
    model = keras.Model(images, framing.crop(x, images))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = random_images(2, 5, 9, 1)
    np.testing.assert_array_equal(again(inputs), model(inputs))
    layers = [layer for nested in (again, *again.layers) if isinstance(nested, keras.Model) for layer in nested.layers]
    assert all(type(layer).__module__.startswith("keras.") for layer in layers)
