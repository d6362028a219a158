"""SE-ResNet and SE-ResNeXt, which keras.applications lacks.

Flows in: RGB images, float [B, H, W, 3], of mean 0 and deviation 1 over ImageNet. Flows out: features, float
[B, H/32, W/32, 2048], not negative.

Bottleneck networks (He et al. 2015, https://arxiv.org/abs/1512.03385; ResNeXt: Xie et al. 2017,
https://arxiv.org/abs/1611.05431) whose residuals are weighed channel by channel (squeeze and excitation, Hu et al.
2018, https://arxiv.org/abs/1709.01507), in the form whose ImageNet weights github.com/qubvel/classification_models
publishes. Its weight files are read by order, since their layers bear names that Keras counted; the layers here come in
the same order. Where one grouped convolution stands here, the files hold a convolution for each group.
"""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

_EPSILON = 1e-5
_REDUCTION = 16  # of channels, where a residual is squeezed


@dataclasses.dataclass(frozen=True)
class _Bottleneck:
    """What tells the two kinds of residual apart, with the layer of theirs that takes a stage's stride.

    Args:
        narrowing: channels of the unit per channel of its 3x3 convolution.
        groups: of the 3x3 convolution.
        strides_first: the 1x1 convolution in front takes the stride, as in Caffe's models; else the 3x3 one does.
    """

    narrowing: int
    groups: int
    strides_first: bool


_RESNET = _Bottleneck(narrowing=4, groups=1, strides_first=True)
_RESNEXT = _Bottleneck(narrowing=2, groups=32, strides_first=False)  # 32 x 4d


def seresnet50() -> keras.Model:
    """Build the SE-ResNet-50 encoder with random weights, for images of any size.

    Returns:
        A keras.Model: images, float [B, H, W, 3] -> features, float [B, H/32, W/32, 2048], not negative.

    Example:
        >>> seresnet50().count_params()
        26092144
    """
    return _senet((3, 4, 6, 3), _RESNET, name="seresnet50")


def seresnext50() -> keras.Model:
    """Build the SE-ResNeXt-50 (32 x 4d) encoder with random weights, for images of any size.

    Returns:
        A keras.Model: images, float [B, H, W, 3] -> features, float [B, H/32, W/32, 2048], not negative.

    Example:
        >>> seresnext50().count_params()
        25579120
    """
    return _senet((3, 4, 6, 3), _RESNEXT, name="seresnext50")


def seresnext101() -> keras.Model:
    """Build the SE-ResNeXt-101 (32 x 4d) encoder with random weights, for images of any size.

    Returns:
        A keras.Model: images, float [B, H, W, 3] -> features, float [B, H/32, W/32, 2048], not negative.

    Example:
        >>> seresnext101().count_params()
        47044272
    """
    return _senet((3, 4, 23, 3), _RESNEXT, name="seresnext101")


def _senet(units_per_stage: Sequence[int], bottleneck: _Bottleneck, *, name: str) -> keras.Model:
    images = keras.Input((None, None, 3), name="data")
    x = layers.ZeroPadding2D(3, name="pad0")(images)
    x = _conv(x, 64, 7, stride=2, name="conv0")
    x = layers.Activation("relu", name="relu0")(_normalize(x, name="bn0"))
    x = layers.ZeroPadding2D(1, name="pooling0_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pooling0")(x)
    for stage, units in enumerate(units_per_stage, start=1):
        for unit in range(1, units + 1):
            stride = 2 if unit == 1 and stage > 1 else 1
            x = _unit(x, 128 * 2**stage, bottleneck, stride=stride, name=f"stage{stage}_unit{unit}")
    return keras.Model(images, x, name=name)


def _unit(x: keras.KerasTensor, filters: int, bottleneck: _Bottleneck, *, stride: int, name: str) -> keras.KerasTensor:
    shortcut = x
    if x.shape[-1] != filters:  # so in the first unit of each stage
        shortcut = _normalize(_conv(x, filters, 1, stride=stride, name=f"{name}_sc"), name=f"{name}_sc_bn")
    x = _residual(x, filters, bottleneck, stride=stride, name=name)
    x = layers.Add(name=f"{name}_add")([_excite(x, name=f"{name}_se"), shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _residual(
    x: keras.KerasTensor, filters: int, bottleneck: _Bottleneck, *, stride: int, name: str
) -> keras.KerasTensor:
    width = filters // bottleneck.narrowing
    first, second = (stride, 1) if bottleneck.strides_first else (1, stride)
    x = _conv(x, width, 1, stride=first, name=f"{name}_conv1")
    x = layers.Activation("relu", name=f"{name}_relu1")(_normalize(x, name=f"{name}_bn1"))
    # "same" pads a strided convolution at the bottom and right only; the published weights saw one pixel all around.
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = _conv(x, width, 3, stride=second, groups=bottleneck.groups, name=f"{name}_conv2")
    x = layers.Activation("relu", name=f"{name}_relu2")(_normalize(x, name=f"{name}_bn2"))
    return _normalize(_conv(x, filters, 1, name=f"{name}_conv3"), name=f"{name}_bn3")


def _excite(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Weigh each channel, in 0..1, by what all channels are on average over the image."""
    filters = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    for number, (channels, activation) in enumerate([(filters // _REDUCTION, "relu"), (filters, "sigmoid")], start=1):
        weights = layers.Conv2D(
            channels, 1, activation=activation, kernel_initializer="he_uniform", name=f"{name}_conv{number}"
        )(weights)
    return layers.Multiply(name=f"{name}_excite")([x, weights])


def _conv(
    x: keras.KerasTensor, filters: int, size: int, *, stride: int = 1, groups: int = 1, name: str
) -> keras.KerasTensor:
    return layers.Conv2D(
        filters, size, strides=stride, groups=groups, use_bias=False, kernel_initializer="he_uniform", name=name
    )(x)


def _normalize(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)
