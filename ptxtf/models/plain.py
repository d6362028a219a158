"""A small plain encoder for demonstrations and tests on a CPU: no ImageNet weights, half a million parameters.

Flows in: images, float [B, H, W, 3] in 0..1. Flows out: features, float [B, H/32, W/32, 128].
"""

import keras
from keras import layers

from ptxtf.models.layers import BATCH_MOMENTUM

_FILTERS = (16, 32, 64, 96, 128)  # of the levels at strides 2, 4, 8, 16 and 32


def plain_encoder() -> keras.Model:
    """Build an encoder of two 3x3 convolutions per level, each level at half the size of the one before.

    Returns:
        A keras.Model for images of any size, whose level n ends in the layer `level<n>_relu2`, at stride 2**n.

    Example:
        >>> plain_encoder().get_layer("level2_relu2").output.shape
        (None, None, None, 32)
    """
    images = x = keras.Input((None, None, 3), name="images")
    for level, filters in enumerate(_FILTERS, start=1):
        # The first level halves by a strided convolution: pooling would throw pixels away before any filter saw them.
        if level > 1:
            x = layers.MaxPooling2D(2, name=f"level{level}_pool")(x)
        x = _conv_bn_relu(x, filters, stride=2 if level == 1 else 1, level=level, number=1)
        x = _conv_bn_relu(x, filters, stride=1, level=level, number=2)
    return keras.Model(images, x, name="tiny")


def _conv_bn_relu(x: keras.KerasTensor, filters: int, *, stride: int, level: int, number: int) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_uniform",
        name=f"level{level}_conv{number}",
    )(x)
    x = layers.BatchNormalization(momentum=BATCH_MOMENTUM, name=f"level{level}_bn{number}")(x)
    return layers.Activation("relu", name=f"level{level}_relu{number}")(x)
