import contextlib
import dataclasses
import functools
import re
import types

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import inception_resnet_v2, inception_v3, xception
from keras.src.backend.common import global_state
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from ptxtf.models.backbone import STRIDES
from ptxtf.models.backbones import BACKBONES
from ptxtf.models.encoders import EncoderOptions, named_encoder
from ptxtf.models.framing import SCALINGS
from ptxtf.models.segmenter import unet

APPLICATIONS = keras.applications

pytestmark = [
    # MobileNets say so of images of any size.
    pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square:UserWarning"),
    # Keras 3.15 converts variables in a way that NumPy 2 deprecates, whenever it saves.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

# what keras.applications calls the networks -> its documented preprocessing of RGB in 0..255
PREPROCESSING = {
    ("VGG16", "VGG19"): APPLICATIONS.vgg16.preprocess_input,
    ("ResNet50", "ResNet101", "ResNet152"): APPLICATIONS.resnet.preprocess_input,
    ("DenseNet121", "DenseNet169", "DenseNet201"): APPLICATIONS.densenet.preprocess_input,
    ("InceptionV3",): APPLICATIONS.inception_v3.preprocess_input,
    ("InceptionResNetV2",): APPLICATIONS.inception_resnet_v2.preprocess_input,
    ("Xception",): APPLICATIONS.xception.preprocess_input,
    tuple(f"EfficientNetB{size}" for size in range(8)): APPLICATIONS.efficientnet.preprocess_input,
    tuple(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")): (
        APPLICATIONS.efficientnet_v2.preprocess_input
    ),
    ("MobileNetV2",): APPLICATIONS.mobilenet_v2.preprocess_input,
    ("MobileNetV3Small", "MobileNetV3Large"): APPLICATIONS.mobilenet_v3.preprocess_input,
    tuple(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")): (
        APPLICATIONS.convnext.preprocess_input
    ),
}
ORIGINALS = {
    original.lower(): (original, preprocess) for names, preprocess in PREPROCESSING.items() for original in names
}


@contextlib.contextmanager
def graphs_alone():
    """Build models without their weights: the largest row has 1.4 GB of them."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:  # Keras has taken note of the weights, to make all of them at its next occasion.
        global_state.set_global_attribute("uninitialized_variables", [])


def original_model(name, monkeypatch):
    """The network into which keras.applications loads ImageNet weights, still random, and the file that it asks for."""
    asked = {}

    def get_file(_fname, origin, *, file_hash=None, **_options):
        asked.update(url=origin, checksum=file_hash)

    with monkeypatch.context() as patch:
        patch.setattr(file_utils, "get_file", get_file)
        patch.setattr(keras.Model, "load_weights", lambda _model, _path: None)
        constructor = getattr(APPLICATIONS, ORIGINALS[name][0])
        model = constructor(include_top=False, weights="imagenet", input_shape=(None, None, 3))
    return model, asked


def original_taps(model):
    """Name -> output, with our names for what keras.applications leaves without."""
    outputs = {layer.name: layer.output for layer in model.layers}
    # Names of these begin where other models' ended: count them.
    activations = [layer.output for layer in model.layers if re.fullmatch(r"activation(_\d+)?", layer.name)]
    sums = [operation.output for operation in model.operations if re.fullmatch(r"add(_\d+)?", operation.name)]
    if model.name.startswith("inception"):
        return {**outputs, "activation_2": activations[2], "activation_4": activations[4]}
    if model.name.startswith("MobileNetV3"):
        return {**outputs, "stem_activation": activations[0], "top_activation": activations[-1]}
    if model.name == "convnext_tiny":  # 3, 3, 9 and 3 blocks, each of which ends in a sum
        return {"stage_0_out": sums[2], "stage_1_out": sums[5], "stage_2_out": sums[14], "stage_3_out": model.output}
    return outputs


def original_features(name, model, images):
    """What the keras.applications model sees at the taps, given images in 0..1."""
    taps = original_taps(model)
    outputs = [taps[tap] for tap in BACKBONES[name].taps]
    return keras.Model(model.input, outputs)(ORIGINALS[name][1](255 * images.copy()))


def randomize(model, *, seed=0):
    """Random scales, offsets and statistics too, so that no layer is an identity."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 1:
            is_offset = weight.name in ("beta", "bias", "mean", "moving_mean")
            weight.assign(rng.normal(0, 0.1, weight.shape) if is_offset else rng.uniform(0.5, 1.5, weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def write_legacy(path, model):
    """Write a model's weights as keras.applications publishes them."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def pad_same_in_keras(monkeypatch):
    """Have keras.applications itself build with "same" padding: another way to it than ours."""

    def padded(layer):
        return lambda *args, **options: layer(*args, **{**options, "padding": "same"})

    for module in (inception_v3, inception_resnet_v2):
        monkeypatch.setattr(module, "conv2d_bn", padded(module.conv2d_bn))
    for module in (inception_v3, inception_resnet_v2, xception):
        layers = vars(module.layers) | {
            layer: padded(getattr(module.layers, layer)) for layer in ("Conv2D", "MaxPooling2D")
        }
        monkeypatch.setattr(module, "layers", types.SimpleNamespace(**layers))


# One of each family in every run, further ones where something else is in them, and the large ones by their graphs.
PADDED = ("inceptionv3", "inceptionresnetv2", "xception")
COMPARED = (
    "vgg16",
    "resnet50",
    "mobilenetv2",
    "mobilenetv3small",
    "efficientnetb0",
    "efficientnetv2b0",
    "convnexttiny",
    "xception",
)
COMPARED_SLOWLY = (
    "vgg19",
    "densenet121",
    "inceptionv3",
    "mobilenetv3large",
)


def slowly(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


LONGEST = pytest.param("inceptionresnetv2", marks=pytest.mark.exhaustive)


@pytest.mark.parametrize("name", [*COMPARED, *slowly(*COMPARED_SLOWLY), LONGEST])
def test_a_published_file_gives_the_original_s_features(name, tmp_path, monkeypatch):
    if name in PADDED:
        pad_same_in_keras(monkeypatch)
    original, _ = original_model(name, monkeypatch)
    monkeypatch.undo()
    randomize(original)
    path = write_legacy(tmp_path / "w.h5", original)
    model = unet(name, weights=path, input_shape=(None, None, 3), decoder_filters=(1, 1, 1, 1, 1))
    encoder = model.get_layer("encoder")

    images = np.random.default_rng(1).random((1, 64, 96, 3), np.float32)
    received = encoder(model.get_layer("scale")(images)).values()
    for one, other in zip(received, original_features(name, original, images), strict=True):
        assert np.std(other) > 0
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())
    assert encoder.count_params() == original.count_params()


@pytest.mark.slow
def test_efficientnet_scales_images_alike_with_imagenet_s_weights_and_without(tmp_path):
    """A run that goes on builds its network without weights, to take those of its checkpoint."""
    original = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(None, None, 3))
    normalization = next(layer for layer in original.layers if isinstance(layer, keras.layers.Normalization))
    # What the published file holds: ImageNet's means and, where variances should be, deviations.
    normalization.set_weights([np.array(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0)])
    options = {"decoder_filters": (1, 1, 1, 1, 1)}
    model = unet("efficientnetb0", weights=write_legacy(tmp_path / "w.h5", original), **options)
    other = unet("efficientnetb0", weights=None, **options)
    other.set_weights(model.get_weights())
    images = np.random.default_rng(1).random((1, 64, 96, 1), np.float32)
    np.testing.assert_array_equal(other(images), model(images))


@pytest.mark.parametrize("name", BACKBONES)
def test_features_have_the_strides_and_weights_the_number_they_are_said_to_have(name):
    row = BACKBONES[name]
    with graphs_alone():
        model = row.build()
        taps = keras.Model(model.input, [model.get_layer(tap).output for tap in row.taps])
        maps = taps.compute_output_spec(keras.KerasTensor((1, 64, 96, 3)))
    assert row.strides == (STRIDES[1:] if name.startswith("convnext") else STRIDES)
    assert [tuple(map_.shape[1:3]) for map_ in maps] == [(64 // stride, 96 // stride) for stride in row.strides]
    if name != "tiny":
        assert f" {model.count_params() / 1e6:.0f} M parameters" in row.description


@pytest.mark.slow
@pytest.mark.parametrize(  # which have layers that Keras names
    "name", ["inceptionv3", "mobilenetv3small", "convnexttiny"]
)
def test_layer_names_are_unique_and_the_same_in_every_build(name):
    first, second = (named_encoder(name, EncoderOptions()).model for _ in range(2))
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert len(set(names)) == len(names)


# Layers of keras.applications' own, bare operations, and layers with values that are no weights.
@pytest.mark.parametrize("name", ["mobilenetv3small", *slowly("convnexttiny", "efficientnetb0")])
def test_a_saved_model_loads_as_it_was_and_scales_in_float32(name, tmp_path):
    # Three channels: for one, what scales is folded into the first convolution.
    options = {"decoder_filters": (4, 4, 4, 4, 4), "precision": "mixed_bfloat16", "input_shape": (None, None, 3)}
    model = unet(name, weights=None, **options)
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    images = np.random.default_rng(0).random((1, 40, 70, 3), np.float32)
    logits = model(images)
    assert np.std(logits) > 0
    # Of a normalization, what is saved rounds otherwise to 8 bits than what ran.
    assert np.abs(loaded(images) - logits).mean() < 0.1 * np.std(logits)

    layers = [layer for layer in loaded.get_layer("encoder")._flatten_layers() if not isinstance(layer, keras.Model)]
    scaling = [layer for layer in layers if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))]
    assert {layer.compute_dtype for layer in scaling} == {"float32"}
    assert {layer.compute_dtype for layer in layers if layer.weights and layer not in scaling} == {"bfloat16"}


@pytest.mark.parametrize("name", ORIGINALS)
def test_weights_come_from_where_keras_takes_them(name, monkeypatch):
    with graphs_alone():
        _, asked = original_model(name, monkeypatch)
    row = BACKBONES[name].imagenet
    assert asked == {"url": row.url, "checksum": row.checksum}


def test_one_more_row_is_all_that_a_further_network_needs(monkeypatch):
    row = dataclasses.replace(
        BACKBONES["vgg16"],
        build=functools.partial(APPLICATIONS.MobileNet, include_top=False, weights=None, input_shape=(None, None, 3)),
        taps=tuple(f"conv_pw_{number}_relu" for number in (1, 3, 5, 11, 13)),
        scaling="tf",
        imagenet=None,
        centre=False,
    )
    monkeypatch.setattr("ptxtf.models.encoders.BACKBONES", {"mobilenet": row})
    model = unet("mobilenet", weights=None, decoder_filters=(8, 8, 8, 8, 8))
    assert model(np.zeros((1, 40, 33, 1), np.float32)).shape == (1, 40, 33, 1)


def test_rows_are_complete_and_cannot_change():
    hand_built = {"resnet18", "resnet34", "seresnet50", "seresnext50", "seresnext101", "tiny"}
    assert set(BACKBONES) == {*ORIGINALS, *hand_built}
    for row in BACKBONES.values():
        assert row.description
        assert row.scaling in SCALINGS
    with pytest.raises(dataclasses.FrozenInstanceError):
        BACKBONES["tiny"].scaling = "tf"
    with pytest.raises(TypeError):
        BACKBONES["tiny"] = None
