"""ResNet-18 and ResNet-34, which keras.applications lacks.

Flows in: RGB images, float [B, H, W, 3] in 0..255. Flows out: features, float [B, H/32, W/32, 512].

This is the pre-activation form (He et al. 2016, https://arxiv.org/abs/1603.05027) with a batch normalization on the
input, whose ImageNet weights github.com/qubvel/classification_models publishes. Layer names and weight shapes are
those of its weight files, which are read by layer name.
"""

from collections.abc import Sequence

import keras
from keras import layers

_EPSILON = 2e-5


def resnet18() -> keras.Model:
    """Build the ResNet-18 encoder with random weights, for images of any size.

    Returns:
        A keras.Model: images, float [B, H, W, 3] in 0..255 -> features, float [B, H/32, W/32, 512], not negative.

    Example:
        >>> resnet18().count_params()
        11186889
    """
    return _resnet((2, 2, 2, 2), name="resnet18")


def resnet34() -> keras.Model:
    """Build the ResNet-34 encoder with random weights, for images of any size.

    Returns:
        A keras.Model: images, float [B, H, W, 3] in 0..255 -> features, float [B, H/32, W/32, 512], not negative.

    Example:
        >>> resnet34().count_params()
        21302473
    """
    return _resnet((3, 4, 6, 3), name="resnet34")


def _resnet(units_per_stage: Sequence[int], *, name: str) -> keras.Model:
    images = keras.Input((None, None, 3), name="data")
    x = layers.BatchNormalization(epsilon=_EPSILON, scale=False, name="bn_data")(images)
    x = layers.ZeroPadding2D(3, name="pad0")(x)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, kernel_initializer="he_uniform", name="conv0")(x)
    x = _normalize_and_rectify(x, suffix="0")
    x = layers.ZeroPadding2D(1, name="pooling0_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pooling0")(x)
    for stage, units in enumerate(units_per_stage, start=1):
        filters = 32 * 2**stage
        x = _projection_unit(x, filters, stride=1 if stage == 1 else 2, name=f"stage{stage}_unit1")
        for unit in range(2, units + 1):
            x = _identity_unit(x, filters, name=f"stage{stage}_unit{unit}")
    return keras.Model(images, _normalize_and_rectify(x, suffix="1"), name=name)


def _projection_unit(x: keras.KerasTensor, filters: int, *, stride: int, name: str) -> keras.KerasTensor:
    """First unit of a stage: the shortcut is a 1x1 convolution of the activated input."""
    activated = _normalize_and_rectify(x, prefix=f"{name}_", suffix="1")
    shortcut = layers.Conv2D(
        filters, 1, strides=stride, use_bias=False, kernel_initializer="he_uniform", name=f"{name}_sc"
    )(activated)
    return layers.Add(name=f"{name}_add")([_residual(activated, filters, stride=stride, name=name), shortcut])


def _identity_unit(x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
    """Any later unit: the shortcut is the input itself."""
    activated = _normalize_and_rectify(x, prefix=f"{name}_", suffix="1")
    return layers.Add(name=f"{name}_add")([_residual(activated, filters, stride=1, name=name), x])


def _residual(activated: keras.KerasTensor, filters: int, *, stride: int, name: str) -> keras.KerasTensor:
    x = _conv3x3(activated, filters, stride=stride, name=f"{name}_conv1")
    x = _normalize_and_rectify(x, prefix=f"{name}_", suffix="2")
    return _conv3x3(x, filters, stride=1, name=f"{name}_conv2")


def _conv3x3(x: keras.KerasTensor, filters: int, *, stride: int, name: str) -> keras.KerasTensor:
    # "same" pads a strided convolution at the bottom and right only; the published weights saw one pixel all around.
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, 3, strides=stride, use_bias=False, kernel_initializer="he_uniform", name=name)(x)


def _normalize_and_rectify(x: keras.KerasTensor, *, prefix: str = "", suffix: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{prefix}bn{suffix}")(x)
    return layers.Activation("relu", name=f"{prefix}relu{suffix}")(x)
