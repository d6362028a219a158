import dataclasses
import functools

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import inception_v3 as keras_inception_v3
from keras.src.utils import file_utils

from ptxtf.models.backbones import BACKBONES, STRIDES
from ptxtf.models.encoders import EncoderOptions, named_encoder
from ptxtf.models.framing import SCALINGS
from ptxtf.models.segmenter import unet

APPLICATIONS = keras.applications

# name -> what keras.applications calls it, and its documented preprocessing of RGB in 0..255
ORIGINALS = {
    "vgg16": (APPLICATIONS.VGG16, APPLICATIONS.vgg16.preprocess_input),
    "vgg19": (APPLICATIONS.VGG19, APPLICATIONS.vgg19.preprocess_input),
    "resnet50": (APPLICATIONS.ResNet50, APPLICATIONS.resnet50.preprocess_input),
    "densenet121": (APPLICATIONS.DenseNet121, APPLICATIONS.densenet.preprocess_input),
    "inceptionv3": (APPLICATIONS.InceptionV3, APPLICATIONS.inception_v3.preprocess_input),
}


def original_model(name):
    return ORIGINALS[name][0](include_top=False, weights=None, input_shape=(None, None, 3))


def original_features(name, model, images):
    """What the keras.applications model sees at the taps, given images in 0..1."""
    order = {layer.name: layer.output for layer in model.layers}
    activations = [layer.output for layer in model.layers if isinstance(layer, keras.layers.Activation)]
    # InceptionV3's activations have no names of their own: the third and the fifth are meant.
    unnamed = {"activation_2": activations[2], "activation_4": activations[4]} if name == "inceptionv3" else {}
    taps = [unnamed.get(tap) if tap in unnamed else order[tap] for tap in BACKBONES[name].taps]
    return keras.Model(model.input, taps)(ORIGINALS[name][1](255 * images.copy()))


def randomize(model, *, seed=0):
    """Random statistics too, so that no normalization is an identity."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_variance.shape))


def write_legacy(path, model):
    """Write a model's weights as keras.applications publishes them."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{weight.name}:0".encode() for weight in layer.weights]
            for weight in layer.weights:
                group[f"{weight.name}:0"] = weight.numpy()
    return path


def pad_same_in_keras(monkeypatch):
    """Have keras.applications itself build InceptionV3 with "same" padding: another way to it than ours."""
    conv2d_bn = keras_inception_v3.conv2d_bn

    def conv2d_bn_same(*args, **options):
        return conv2d_bn(*args, **{**options, "padding": "same"})

    max_pooling = functools.partial(keras.layers.MaxPooling2D, padding="same")
    monkeypatch.setattr(keras_inception_v3, "conv2d_bn", conv2d_bn_same)
    monkeypatch.setattr(keras_inception_v3.layers, "MaxPooling2D", max_pooling)


SLOW = ("densenet121", "inceptionv3")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ORIGINALS]
)
def test_a_published_file_gives_the_original_s_features(name, tmp_path, monkeypatch):
    if name == "inceptionv3":
        pad_same_in_keras(monkeypatch)
    original = original_model(name)
    monkeypatch.undo()
    randomize(original)
    model = unet(name, weights=write_legacy(tmp_path / "w.h5", original), input_shape=(None, None, 3))
    encoder = model.get_layer("encoder")

    images = np.random.default_rng(1).random((1, 64, 96, 3), np.float32)
    received = encoder(model.get_layer("scale")(images)).values()
    for one, other in zip(received, original_features(name, original, images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())
    assert encoder.count_params() == original.count_params()


@pytest.mark.parametrize("name", BACKBONES)
def test_features_have_the_strides_they_are_said_to_have(name):
    model = named_encoder(name, EncoderOptions(channels=3)).model
    maps = model.compute_output_spec(keras.KerasTensor((1, 64, 96, 3)))
    expected = {f"P{level}": (64 // stride, 96 // stride) for level, stride in enumerate(STRIDES, start=1)}
    assert {name: tuple(map_.shape[1:3]) for name, map_ in maps.items()} == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "inceptionv3"])  # which have layers that Keras names
def test_layer_names_are_unique_and_the_same_in_every_build(name):
    first, second = (named_encoder(name, EncoderOptions()).model for _ in range(2))
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ORIGINALS)
def test_weights_come_from_where_keras_takes_them(name, monkeypatch):
    asked = {}

    def get_file(_fname, origin, *, file_hash, **_options):
        asked.update(url=origin, md5=file_hash)
        raise InterruptedError

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(InterruptedError):
        ORIGINALS[name][0](include_top=False, weights="imagenet", input_shape=(None, None, 3))
    row = BACKBONES[name].imagenet
    assert asked == {"url": row.url, "md5": row.md5}


def test_one_more_row_is_all_that_a_further_network_needs(monkeypatch):
    row = dataclasses.replace(
        BACKBONES["vgg16"],
        build=functools.partial(APPLICATIONS.MobileNetV2, include_top=False, weights=None, input_shape=(None, None, 3)),
        taps=("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
        scaling="tf",
        imagenet=None,
        centre=False,
    )
    monkeypatch.setattr("ptxtf.models.encoders.BACKBONES", {"mobilenetv2": row})
    model = unet("mobilenetv2", weights=None, decoder_filters=(8, 8, 8, 8, 8))
    assert model(np.zeros((1, 40, 33, 1), np.float32)).shape == (1, 40, 33, 1)


def test_rows_are_complete_and_cannot_change():
    assert {"vgg16", "vgg19", "resnet34", "resnet50", "densenet121", "inceptionv3", "tiny"} <= set(BACKBONES)
    for row in BACKBONES.values():
        assert row.description
        assert row.scaling in SCALINGS
    with pytest.raises(dataclasses.FrozenInstanceError):
        BACKBONES["tiny"].scaling = "tf"
    with pytest.raises(TypeError):
        BACKBONES["tiny"] = None
