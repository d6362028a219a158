import functools
import re

import h5py
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.errors import InputError
from ptxtf.models.backbones import BACKBONES
from ptxtf.models.encoders import EncoderOptions, named_encoder
from ptxtf.models.senet import seresnet50, seresnext50, seresnext101
from ptxtf.models.weights import load_weights

BUILD = {"seresnet50": seresnet50, "seresnext50": seresnext50, "seresnext101": seresnext101}
UNITS = {"seresnet50": (3, 4, 6, 3), "seresnext50": (3, 4, 6, 3), "seresnext101": (3, 4, 23, 3)}
GROUPS = {"seresnet50": 1, "seresnext50": 32, "seresnext101": 32}
# as github.com/qubvel/classification_models builds them
PARAMETERS = {"seresnet50": 26_092_144, "seresnext50": 25_579_120, "seresnext101": 47_044_272}
SLOW = ("seresnext101",)  # for the number of its layers

every_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BUILD]
)


def convolution_shapes(name):
    """Each unit's kernels by hand: name of the convolution -> size, channels in, channels out, groups."""
    shapes, channels = {"conv0": (7, 3, 64, 1)}, 64
    for stage, units in enumerate(UNITS[name], start=1):
        filters = 128 * 2**stage
        width = filters // (4 if GROUPS[name] == 1 else 2)
        for unit in range(1, units + 1):
            prefix = f"stage{stage}_unit{unit}_"
            shapes[prefix + "conv1"] = (1, channels, width, 1)
            shapes[prefix + "conv2"] = (3, width, width, GROUPS[name])
            shapes[prefix + "conv3"] = (1, width, filters, 1)
            shapes[prefix + "se1"] = (1, filters, filters // 16, 1)
            shapes[prefix + "se2"] = (1, filters // 16, filters, 1)
            if unit == 1:
                shapes[prefix + "sc"] = (1, channels, filters, 1)
            channels = filters
    return shapes


@functools.cache
def published_layers(name):
    """Random weights in the order of the published file: a convolution, then what is applied to its output."""
    rng = np.random.default_rng(0)
    layers = {}
    for conv, (size, channels, filters, groups) in convolution_shapes(name).items():
        shape = (size, size, channels // groups, filters // groups)
        parts = [rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape) for _ in range(groups)]
        if "_se" in conv:
            layers[conv] = [parts[0], rng.normal(0, 0.5, filters)]
        else:
            layers |= {f"{conv}_group{number}": [part] for number, part in enumerate(parts)}
            layers[f"{conv}_bn"] = [
                rng.uniform(0.3, 0.7, filters),
                rng.normal(0, 0.1, filters),
                rng.normal(0, 0.1, filters),
                rng.uniform(0.5, 1.5, filters),
            ]
    return layers


def write_legacy(path, layers):
    """Write layers in order, under names that say nothing but their kind, as Keras counts them."""
    with h5py.File(path, "w") as file:
        names = []
        for number, weights in enumerate(layers.values()):
            names.append(f"{'batch_normalization' if len(weights) == 4 else 'conv2d'}_{number}")
            group = file.create_group(names[-1])
            group.attrs["weight_names"] = [f"{names[-1]}/{place}:0".encode() for place in range(len(weights))]
            for place, array in enumerate(weights):
                group[f"{names[-1]}/{place}:0"] = array.astype(np.float32)
        file.attrs["layer_names"] = [name.encode() for name in names]
    return path


class Reference:
    """The network written down a second time, in tf.nn operations on the arrays of the file."""

    def __init__(self, name):
        self.units_per_stage, self.groups = UNITS[name], GROUPS[name]
        self.layers = {
            layer: [tf.constant(array, tf.float32) for array in weights]
            for layer, weights in published_layers(name).items()
        }

    def conv(self, x, name, *, stride=1, groups=1):
        kernels = [self.layers[f"{name}_group{group}"][0] for group in range(groups)]
        pad = kernels[0].shape[0] // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        pieces = tf.split(x, groups, axis=-1)
        x = tf.concat([tf.nn.conv2d(*pair, stride, "VALID") for pair in zip(pieces, kernels, strict=True)], axis=-1)
        gamma, beta, mean, variance = self.layers[f"{name}_bn"]
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-5)

    def excite(self, x, name):
        squeezed = tf.reduce_mean(x, axis=[1, 2])
        for number, activate in [(1, tf.nn.relu), (2, tf.nn.sigmoid)]:
            kernel, bias = self.layers[f"{name}se{number}"]
            squeezed = activate(squeezed @ kernel[0, 0] + bias)
        return x * squeezed[:, tf.newaxis, tf.newaxis, :]

    def unit(self, x, name, *, stride, project):
        first, second = (stride, 1) if self.groups == 1 else (1, stride)
        residual = tf.nn.relu(self.conv(x, name + "conv1", stride=first))
        residual = tf.nn.relu(self.conv(residual, name + "conv2", stride=second, groups=self.groups))
        residual = self.excite(self.conv(residual, name + "conv3"), name)
        return tf.nn.relu(residual + (self.conv(x, name + "sc", stride=stride) if project else x))

    def __call__(self, images):
        x = tf.nn.relu(self.conv(images, "conv0", stride=2))
        features = [x]
        x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
        for stage, units in enumerate(self.units_per_stage, start=1):
            for unit in range(1, units + 1):
                stride = 2 if unit == 1 and stage > 1 else 1
                x = self.unit(x, f"stage{stage}_unit{unit}_", stride=stride, project=unit == 1)
            features.append(x)
        return features


@every_network
def test_the_published_layout_gives_the_published_features(name, tmp_path):
    path = write_legacy(tmp_path / "w.h5", published_layers(name))
    model = named_encoder(name, EncoderOptions(channels=3, weights=path)).model
    images = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)
    for received, expected in zip(model(images).values(), Reference(name)(images), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(received / scale, expected / scale, atol=1e-5)


@pytest.mark.parametrize("name", BUILD)
def test_parameters_by_hand(name):
    total = 0
    for conv, (size, channels, filters, groups) in convolution_shapes(name).items():
        total += size * size * channels * filters // groups + (1 if "_se" in conv else 4) * filters
    assert BUILD[name]().count_params() == total == PARAMETERS[name]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("stage2_unit1_se2", "'stage2_unit1_se_conv2'OTHERS. Received: shapes=[(1, 1, 256, 512)] of the file's layer "),
        (
            "stage3_unit2_conv2_group31",
            "'stage3_unit2_conv2'OTHERS. Received: shapes=[(3, 3, 16, 16)] of the file's layer ",
        ),
        (
            "stage4_unit3_conv3_bn",
            "'stage4_unit3_bn3'OTHERS. Received: shapes=[(1, 1, 2048, 128), (128,)] of the file's ",
        ),
        ("stage4_unit3_se2", "138 layers. Received: layers=137"),
    ],
)
def test_a_file_that_lacks_a_layer_is_refused(missing, reason, tmp_path):
    layers = {layer: weights for layer, weights in published_layers("seresnext50").items() if layer != missing}
    with pytest.raises(
        InputError, match=rf"w\.h5: .*seresnext50's .*{re.escape(reason).replace('OTHERS', ' and [0-9]+ others')}"
    ):
        load_weights(seresnext50(), write_legacy(tmp_path / "w.h5", layers))


@pytest.mark.parametrize("name", BUILD)
def test_weights_are_those_published(name):
    row = BACKBONES[name].imagenet
    assert row.url.endswith(f"/0.0.1/{name}_imagenet_1000_no_top.h5")
    assert not row.by_name  # the file's names are "conv2d_17"
