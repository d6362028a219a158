"""Each decoder against itself written down a second time, in tf.nn operations on the layers' weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.models import decoders

CHANNELS = {"P1": 3, "P2": 4, "P3": 5, "P4": 6, "P5": 7}
FEW = (8, 7, 6, 5, 4)


def pyramid_of(height=64, width=96, *, batch=2, coarsest=32, without=()):
    rng = np.random.default_rng(0)
    strides = dict(zip(CHANNELS, (2, 4, 8, 16, coarsest), strict=True))
    return {
        name: rng.normal(size=(batch, height // strides[name], width // strides[name], channels)).astype(np.float32)
        for name, channels in CHANNELS.items()
        if name not in without
    }


class Decoder:
    """A decoder as a model of its pyramid, and its layers' operations in tf.nn."""

    def __init__(self, decoder, pyramid):
        keras.utils.set_random_seed(0)
        inputs = {name: keras.Input((None, None, values.shape[-1]), name=name) for name, values in pyramid.items()}
        decoded = decoder(inputs)
        self.stride = decoded.stride
        self.side_strides = [stride for stride, _ in decoded.sides]
        self.model = keras.Model(inputs, [decoded.features, *(side for _, side in decoded.sides)])
        self.model({name: tf.constant(values) for name, values in pyramid.items()}, training=True)  # statistics move
        self.received = self.model({name: tf.constant(values) for name, values in pyramid.items()})

    def conv(self, x, name):
        kernel, *bias = self.model.get_layer(name).get_weights()
        x = tf.nn.conv2d(x, kernel, 1, "SAME")
        return x + bias[0] if bias else x

    def norm_relu(self, x, name):
        gamma, beta, mean, variance = self.model.get_layer(name).get_weights()
        return tf.nn.relu((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta)

    def block(self, x, name, suffix=""):
        return self.norm_relu(self.conv(x, f"{name}_conv{suffix}"), f"{name}_bn{suffix}")

    def double(self, x, name):
        return self.block(self.block(x, name, 1), name, 2)

    def separable(self, x, name, rate):
        (kernel,) = self.model.get_layer(f"{name}_depth").get_weights()
        x = tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME", dilations=[rate, rate])
        return self.block(x, name)

    def scse(self, x, name):
        squeezed = tf.nn.relu(self.conv(tf.reduce_mean(x, axis=[1, 2], keepdims=True), f"{name}_reduce"))
        by_channel = tf.sigmoid(self.conv(squeezed, f"{name}_channels"))
        return x * by_channel + x * tf.sigmoid(self.conv(x, f"{name}_places"))


def repeated(x, times=2):
    return np.repeat(np.repeat(x, times, axis=1), times, axis=2)


def enlarged(x, times):
    return tf.image.resize(x, [times * x.shape[1], times * x.shape[2]], method="bilinear")


def close(received, expected):
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("without", [(), ("P1",)])
def test_unet(without):
    pyramid = pyramid_of(without=without)
    it = Decoder(functools.partial(decoders.unet_decoder, filters=FEW), pyramid)
    x, maps = pyramid["P5"], []
    for stage, name in enumerate(("P4", "P3", "P2", "P1", None), start=1):
        x = tf.concat([repeated(x), *([pyramid[name]] if name in pyramid else [])], axis=-1)
        x = it.double(x, f"decoder{stage}")
        maps.insert(0, x)
    assert (it.stride, it.side_strides) == (1, [2, 4, 8, 16])
    for one, other in zip(it.received, maps, strict=True):
        close(one, other)


def test_unet_with_transposed_convolutions_and_attention():
    pyramid = pyramid_of(32, 64)
    decoder = functools.partial(decoders.unet_decoder, filters=FEW, upsampling="transposed", attention="scse")
    it = Decoder(decoder, pyramid)
    x = pyramid["P5"]
    for stage, name in enumerate(("P4", "P3", "P2", "P1", None), start=1):
        kernel, bias = it.model.get_layer(f"decoder{stage}_up").get_weights()
        batch, height, width, _ = x.shape
        x = tf.nn.conv2d_transpose(x, kernel, [batch, 2 * height, 2 * width, kernel.shape[2]], 2, "SAME") + bias
        x = tf.concat([x, *([pyramid[name]] if name else [])], axis=-1)
        x = it.scse(x, f"decoder{stage}_scse1")
        x = it.scse(it.double(x, f"decoder{stage}"), f"decoder{stage}_scse2")
    close(it.received[0], x)


@pytest.mark.parametrize("without", [(), ("P1",)])
def test_unet_plus_plus(without):
    pyramid = pyramid_of(without=without)
    it = Decoder(functools.partial(decoders.unet_plus_plus_decoder, filters=FEW), pyramid)
    node = {(row, 0): pyramid.get(f"P{row + 1}") for row in range(5)}
    for column in range(1, 5):
        for row in range(5 - column):
            before = [node[row, j] for j in range(column) if node[row, j] is not None]
            joined = tf.concat([*before, repeated(node[row + 1, column - 1])], axis=-1)
            node[row, column] = it.double(joined, f"nodeP{row + 1}_{column}")
    expected = [it.double(repeated(node[0, 4]), "decoder5"), *(node[0, column] for column in (4, 3, 2, 1))]
    assert (it.stride, it.side_strides) == (1, [2, 2, 2, 2])
    for one, other in zip(it.received, expected, strict=True):
        close(one, other)


def test_fpn():
    pyramid = pyramid_of()
    it = Decoder(functools.partial(decoders.fpn_decoder, pyramid_filters=9, filters=6), pyramid)
    branches, above = [], None
    for name, steps in (("P5", 3), ("P4", 2), ("P3", 1), ("P2", 0)):
        x = it.conv(pyramid[name], f"fpn_{name}_lateral")
        above = x if above is None else x + repeated(above)
        x = it.conv(above, f"fpn_{name}_smooth")
        for step in range(1, max(steps, 1) + 1):
            x = it.block(x, f"fpn_{name}_branch{step}")
            x = enlarged(x, 2) if steps else x
        branches.insert(0, x)
    assert (it.stride, it.side_strides) == (4, [4, 4, 4, 4])
    for one, other in zip(it.received, [tf.add_n(branches), *branches], strict=True):
        close(one, other)


@pytest.mark.parametrize(("coarsest", "rates"), [(16, (6, 12, 18)), (32, (3, 6, 9))])
def test_deeplab_v3plus(coarsest, rates):
    pyramid = pyramid_of(128, 96, coarsest=coarsest)
    it = Decoder(functools.partial(decoders.deeplab_v3plus_decoder, stride=coarsest, filters=8, low_filters=3), pyramid)
    coarse = pyramid["P5"]
    branches = [it.block(coarse, "aspp_1x1"), *(it.separable(coarse, f"aspp_rate{rate}", rate) for rate in rates)]
    mean = tf.nn.relu(it.conv(tf.reduce_mean(coarse, axis=[1, 2], keepdims=True), "aspp_mean_conv"))
    # as the paper has it: the mean is joined with the other branches and convolved with them
    everywhere = tf.broadcast_to(mean, [*branches[0].shape[:3], 8])
    kernel = np.concatenate([it.model.get_layer(n).get_weights()[0] for n in ("aspp_join", "aspp_mean_join")], axis=2)
    x = it.norm_relu(tf.nn.conv2d(tf.concat([*branches, everywhere], axis=-1), kernel, 1, "SAME"), "aspp_bn")
    y = tf.concat([enlarged(x, coarsest // 4), it.block(pyramid["P2"], "low")], axis=-1)
    for number in (1, 2):
        y = it.separable(y, f"decoder_conv{number}", 1)
    assert (it.stride, it.side_strides) == (4, [coarsest])
    for one, other in zip(it.received, [y, x], strict=True):
        close(one, other)
