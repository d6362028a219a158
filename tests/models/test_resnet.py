import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.errors import InputError
from ptxtf.models.backbones import BACKBONES
from ptxtf.models.resnet import resnet18, resnet34
from ptxtf.models.weights import load_weights

# units of the four stages, and parameters as github.com/qubvel/classification_models builds them
UNITS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
PARAMETERS = {"resnet18": 11_186_889, "resnet34": 21_302_473}
BUILD = {"resnet18": resnet18, "resnet34": resnet34}


def published_layers(name, rng):
    """Random weights under the layer names and shapes of the published file, in no particular order."""
    layers = {"bn_data": norm(rng, 3, scale=False), "conv0": conv(rng, 7, 3, 64), "bn0": norm(rng, 64)}
    channels = 64
    for stage, units in enumerate(UNITS[name], start=1):
        filters = 64 * 2 ** (stage - 1)
        for unit in range(1, units + 1):
            prefix = f"stage{stage}_unit{unit}_"
            layers[prefix + "bn1"] = norm(rng, channels)
            layers[prefix + "conv1"] = conv(rng, 3, channels, filters)
            layers[prefix + "bn2"] = norm(rng, filters)
            layers[prefix + "conv2"] = conv(rng, 3, filters, filters)
            if unit == 1:
                layers[prefix + "sc"] = conv(rng, 1, channels, filters)
            channels = filters
    layers["bn1"] = norm(rng, 512)
    return dict(sorted(layers.items()))


def conv(rng, size, channels, filters):
    return {"kernel": rng.normal(0, (2 / (size * size * channels)) ** 0.5, (size, size, channels, filters))}


def norm(rng, channels, *, scale=True):
    gamma = {"gamma": rng.uniform(0.5, 1.0, channels)} if scale else {}
    return gamma | {
        "beta": rng.normal(0, 0.1, channels),
        "moving_mean": rng.normal(0, 0.1, channels),
        "moving_variance": rng.uniform(0.5, 1.5, channels),
    }


@pytest.fixture(scope="module", params=UNITS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def published(name):
    return published_layers(name, np.random.default_rng(0))


def write_legacy(path, layers):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
            for name, array in weights.items():
                group[f"{layer}/{name}:0"] = array.astype(np.float32)
    return path


class Reference:
    """The network written down a second time, in tf.nn operations on the arrays of the file."""

    def __init__(self, layers, units_per_stage):
        self.units_per_stage = units_per_stage
        self.layers = {
            name: {key: tf.constant(value, tf.float32) for key, value in weights.items()}
            for name, weights in layers.items()
        }

    def norm(self, x, name):
        weights = self.layers[name]
        return tf.nn.batch_normalization(
            x, weights["moving_mean"], weights["moving_variance"], weights["beta"], weights.get("gamma"), 2e-5
        )

    def conv(self, x, name, *, stride=1):
        kernel = self.layers[name]["kernel"]
        pad = kernel.shape[0] // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return tf.nn.conv2d(x, kernel, stride, "VALID")

    def unit(self, x, name, *, stride, project):
        active = tf.nn.relu(self.norm(x, name + "bn1"))
        shortcut = self.conv(active, name + "sc", stride=stride) if project else x
        residual = self.conv(active, name + "conv1", stride=stride)
        residual = self.conv(tf.nn.relu(self.norm(residual, name + "bn2")), name + "conv2")
        return residual + shortcut, active

    def __call__(self, images):
        x = tf.nn.relu(self.norm(self.conv(self.norm(images, "bn_data"), "conv0", stride=2), "bn0"))
        features = [x]
        x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
        for stage, units in enumerate(self.units_per_stage, start=1):
            for unit in range(1, units + 1):
                stride = 2 if unit == 1 and stage > 1 else 1
                x, active = self.unit(x, f"stage{stage}_unit{unit}_", stride=stride, project=unit == 1)
                if stride == 2:
                    features.append(active)
        return [*features, tf.nn.relu(self.norm(x, "bn1"))]


def test_the_published_layout_gives_the_published_features(name, published, tmp_path):
    model = BUILD[name]()
    load_weights(model, write_legacy(tmp_path / "w.h5", published), by_name=True)
    taps = [model.get_layer(tap).output for tap in BACKBONES[name].taps]
    images = np.random.default_rng(1).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    reference = Reference(published, UNITS[name])
    for received, expected in zip(keras.Model(model.input, taps)(images), reference(images), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(received / scale, expected / scale, atol=1e-5)


def test_parameters_by_hand(name, published):
    convolutions = 7 * 7 * 3 * 64
    normalizations = 3 * 3 + 4 * 64 + 4 * 512  # bn_data has no scale; bn0; bn1
    channels = 64
    for stage, units in enumerate(UNITS[name], start=1):
        filters = 64 * 2 ** (stage - 1)
        convolutions += channels * filters + 9 * channels * filters + (2 * units - 1) * 9 * filters * filters
        normalizations += 4 * channels + (2 * units - 1) * 4 * filters
        channels = filters
    assert BUILD[name]().count_params() == convolutions + normalizations == PARAMETERS[name]
    assert sum(a.size for weights in published.values() for a in weights.values()) == PARAMETERS[name]


def test_a_file_that_lacks_a_layer_is_refused(name, published, tmp_path):
    layers = {layer: weights for layer, weights in published.items() if layer != "stage3_unit2_conv2"}
    path = write_legacy(tmp_path / "w.h5", layers)
    with pytest.raises(InputError, match=rf"w\.h5: .*{name}'s layer 'stage3_unit2_conv2'\. Received: none"):
        load_weights(BUILD[name](), path, by_name=True)
