"""A folded stem gives from one channel what three equal ones give."""

import keras
import numpy as np
import pytest

from ptxtf.models import framing, stem, unet

FEW = (8, 8, 8, 8, 8)


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def network(*before, padding="same"):
    """A network with layers before its first convolution."""
    images = x = keras.Input((None, None, 3))
    for layer in before:
        x = layer(x)
    x = keras.layers.Conv2D(6, 3, strides=2, padding=padding, bias_initializer="normal", name="first")(x)
    return keras.Model(images, x)


def channelwise():
    return keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.2, 0.3, 0.5])


@pytest.mark.parametrize("scaling", framing.SCALINGS)
@pytest.mark.parametrize(
    "before",
    [
        list,
        lambda: [keras.layers.ZeroPadding2D(3)],
        lambda: [keras.layers.Rescaling(1 / 127.5, -1.0), keras.layers.ZeroPadding2D(1)],
        lambda: [keras.layers.Rescaling(1 / 255), channelwise(), keras.layers.Rescaling([4.4, 4.5, 4.6])],
    ],
)
def test_it_equals_three_equal_channels_the_border_too(scaling, before):
    model, images = network(*before()), random_images(2, 15, 18, 1)
    grey, rgb = keras.Input((None, None, 1)), keras.Input((None, None, 3))
    expected = model(keras.Model(rgb, framing.scale(rgb, scaling))(np.repeat(images, 3, axis=-1)))
    folded = stem.fold(model, framing.SCALINGS[scaling])
    scaled = keras.Model(grey, framing.scale_grey(grey, shift=folded.shift, with_ones=folded.with_ones))(images)
    assert scaled.shape[-1] == folded.kernel.shape[2] == 1 + folded.with_ones
    assert folded.convolution.name == "first"
    pads = [layer for layer in model.layers if isinstance(layer, keras.layers.ZeroPadding2D)]
    for pad in pads:
        scaled = pad(scaled)
    twin = keras.layers.Conv2D(6, 3, strides=2, padding="same")
    twin.build(scaled.shape)
    twin.set_weights([folded.kernel, model.get_layer("first").bias.value])
    np.testing.assert_allclose(twin(scaled), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_kernels_are_folded_in_float32_under_any_policy(policy):
    layers = {"dtype": policy}
    images = keras.Input((None, None, 3))
    scaled = keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.2, 0.3, 0.5], **layers)(
        keras.layers.Rescaling(1 / 255, **layers)(images)
    )
    model = keras.Model(images, keras.layers.Conv2D(6, 3, name="first", **layers)(scaled))
    folded = stem.fold(model, framing.SCALINGS["raw"])
    kernel = model.get_layer("first").kernel.numpy()
    mean, deviation = np.array([0.4, 0.5, 0.6]), np.sqrt([0.2, 0.3, 0.5])
    slope, offset = (np.einsum("hwcf,c->hwf", kernel, values) for values in (1 / deviation, -mean / deviation))
    np.testing.assert_allclose(folded.kernel[:, :, 0], slope / 255, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(folded.kernel[:, :, 1], offset, rtol=1e-4, atol=1e-5)


def test_one_channel_is_enough_where_a_shift_does():
    assert not any(stem.fold(network(), framing.SCALINGS[name]).with_ones for name in ("paper", "raw", "tf"))
    assert all(stem.fold(network(), framing.SCALINGS[name]).with_ones for name in ("torch", "caffe"))


def test_a_stem_with_something_else_in_it_is_left_alone():
    images = keras.Input((None, None, 3))
    twice = keras.Model(images, [keras.layers.Conv2D(2, 3)(images), keras.layers.Conv2D(2, 1)(images)])
    for model in (network(keras.layers.BatchNormalization()), network(keras.layers.ReLU()), twice):
        assert stem.fold(model, framing.SCALINGS["raw"]) is None


@pytest.mark.parametrize(("name", "scaling"), [("tiny", "torch"), ("tiny", "tf"), ("vgg16", None), ("resnet34", None)])
def test_a_network_for_grey_images_equals_that_for_three_channels(name, scaling):
    networks = []
    for channels in (1, 3):
        keras.utils.set_random_seed(0)
        options = {"input_shape": (None, None, channels), "decoder_filters": FEW, "input_scaling": scaling}
        networks.append(unet(name, weights=None, **options))
    grey, rgb = networks
    images = random_images(1, 33, 70, 1)
    expected = rgb(np.repeat(images, 3, axis=-1)).numpy()
    np.testing.assert_allclose(grey(images), expected, atol=1e-5 * np.abs(expected).max())
    channels = grey.get_layer("encoder").input_shape[-1]
    assert channels == 3 if name == "resnet34" else channels < 3
