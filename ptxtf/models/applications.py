"""The networks of keras.applications, one function per family: what its members differ in -> a row of the table.

A row reproduces the network that Keras' published weights were made for. Layers that scale the images (EfficientNet,
MobileNetV3, ConvNeXt) stay inside, so that these networks take 0..255: scaling "raw".
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from ptxtf.models.backbone import Backbone, ImageNetWeights
from ptxtf.models.framing import IMAGENET_MEAN, IMAGENET_STD
from ptxtf.models.rebuild import finalize, rebuild

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_EFFICIENTNET = "https://storage.googleapis.com/keras-applications"  # in a bucket of its own


def application(name: str) -> Callable[[], keras.Model]:
    """Give a builder of `keras.applications.<name>` without classifier, with random weights, for images of any size."""
    constructor = getattr(keras.applications, name)
    return functools.partial(constructor, include_top=False, weights=None, input_shape=(None, None, 3))


def application_padded_same(name: str) -> Callable[[], keras.Model]:
    """As `application`, with "same" padding throughout: "valid" layers trim edges, so strides would not line up."""
    return functools.partial(_pad_same, application(name))


def vgg(depth: int, *, convolutions: int, millions: int, checksum: str) -> Backbone:
    """VGG-16 or VGG-19, which have so many convolutions at each of the strides 4, 8 and 16."""
    return Backbone(
        f"VGG-{depth}, {millions} M parameters (Simonyan and Zisserman 2014)",
        build=application(f"VGG{depth}"),
        taps=("block2_conv2", *(f"block{block}_conv{convolutions}" for block in (3, 4, 5)), "block5_pool"),
        scaling="caffe",
        imagenet=ImageNetWeights(
            f"{KERAS}/vgg{depth}/vgg{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5", checksum
        ),
        centre=True,
    )


def resnet(depth: int, *, blocks: tuple[int, int, int, int], millions: int, checksum: str) -> Backbone:
    """ResNet-50, 101 or 152 with so many blocks in each stage."""
    stages = (f"conv{number}_block{last}_out" for number, last in enumerate(blocks, start=2))
    return Backbone(
        f"ResNet-{depth}, {millions} M parameters (He et al. 2015)",
        build=application(f"ResNet{depth}"),
        taps=("conv1_relu", *stages),
        scaling="caffe",
        imagenet=ImageNetWeights(f"{KERAS}/resnet/resnet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5", checksum),
    )


def densenet(depth: int, *, millions: int, checksum: str) -> Backbone:
    """DenseNet-121, 169 or 201."""
    return Backbone(
        f"DenseNet-{depth}, {millions} M parameters (Huang et al. 2017)",
        build=application(f"DenseNet{depth}"),
        taps=("conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu"),
        scaling="torch",
        imagenet=ImageNetWeights(
            f"{KERAS}/densenet/densenet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5", checksum
        ),
    )


def efficientnet(size: str, *, millions: int, checksum: str) -> Backbone:
    """EfficientNet-B0 to B7."""
    return Backbone(
        f"EfficientNet-{size}, {millions} M parameters (Tan and Le 2019)",
        build=functools.partial(_divide_by_deviation, application(f"EfficientNet{size}")),
        # The widened input of each stage's first, strided convolution.
        taps=(*(f"block{block}a_expand_activation" for block in (2, 3, 4, 6)), "top_activation"),
        scaling="raw",
        imagenet=ImageNetWeights(f"{_EFFICIENTNET}/efficientnet{size.lower()}_notop.h5", checksum),
    )


def efficientnet_v2(size: str, *, last: str, millions: int, checksum: str) -> Backbone:
    """EfficientNetV2-B0 to B3, S, M or L; `last` has the letters of the last blocks of its first two stages."""
    # These stages fuse widening and striding, so what they widen is no longer at their input's stride: tap their ends.
    # A first stage of one block changes the number of channels, so it has no sum.
    first, second = last[0], last[1]
    ends = ("block1a_project_activation" if first == "a" else f"block1{first}_add", f"block2{second}_add")
    return Backbone(
        f"EfficientNetV2-{size}, {millions} M parameters (Tan and Le 2021)",
        build=application(f"EfficientNetV2{size}"),
        taps=(*ends, "block4a_expand_activation", "block6a_expand_activation", "top_activation"),
        scaling="raw",
        imagenet=ImageNetWeights(f"{KERAS}/efficientnet_v2/efficientnetv2-{size.lower()}_notop.h5", checksum),
    )


def mobilenet_v3(size: str, *, taps: tuple[str, str, str, str], millions: int, checksum: str) -> Backbone:
    """MobileNetV3-Small or Large, tapped at its stages' ends and at the last activation."""
    return Backbone(
        f"MobileNetV3-{size}, {millions} M parameters (Howard et al. 2019)",
        build=functools.partial(_name_activations, application(f"MobileNetV3{size}")),
        taps=(*taps, "top_activation"),
        scaling="raw",
        imagenet=ImageNetWeights(
            f"{KERAS}/mobilenet_v3/weights_mobilenet_v3_{size.lower()}_224_1.0_float_no_top_v2.h5", checksum
        ),
    )


def convnext(size: str, *, millions: int, checksum: str) -> Backbone:
    """ConvNeXt-Tiny, Small, Base, Large or XLarge, which begin at stride 4."""
    return Backbone(
        f"ConvNeXt-{size}, {millions} M parameters (Liu et al. 2022)",
        build=functools.partial(_name_stages, application(f"ConvNeXt{size}")),
        taps=_STAGES,
        scaling="raw",
        imagenet=ImageNetWeights(f"{KERAS}/convnext/convnext_{size.lower()}_notop.h5", checksum),
    )


def _pad_same(build: Callable[[], keras.Model]) -> keras.Model:
    def pad_same(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        if config.get("padding") == "valid":
            config["padding"] = "same"
        return type(layer).from_config(config)

    return rebuild(build(), pad_same)


def _divide_by_deviation(build: Callable[[], keras.Model]) -> keras.Model:
    """Give EfficientNet the layer that keras.applications puts in only where it loads the ImageNet weights itself.

    These hold the deviation where Normalization expects the variance, and so divide by its root: the other half is
    this layer's (https://github.com/tensorflow/tensorflow/issues/49930). Normalization begins with what they hold, so
    that images are scaled alike whatever weights come, and a network can be built anew to take a trained one's.
    """

    def call(layer: keras.Layer, *args: Any, **options: Any) -> keras.KerasTensor:
        outputs = layer(*args, **options)
        if isinstance(layer, keras.layers.Normalization):
            return keras.layers.Rescaling([std**-0.5 for std in IMAGENET_STD])(outputs)
        return outputs

    model = keras.models.clone_model(build(), call_function=call)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_STD), np.array(0)])
            finalize(layer)
    return model


def _name_activations(build: Callable[[], keras.Model]) -> keras.Model:
    """Name MobileNetV3's first and last activations."""
    model = build()
    return _with_named(model, {"stem_activation": _after(model, "conv_bn"), "top_activation": model.output})


def _after(model: keras.Model, name: str) -> keras.KerasTensor:
    """Give the output of the layer that alone follows a named one."""
    (node,) = model.get_layer(name)._outbound_nodes
    return node.operation.output


_STAGES = ("stage_0_out", "stage_1_out", "stage_2_out", "stage_3_out")


def _name_stages(build: Callable[[], keras.Model]) -> keras.Model:
    """Name the outputs of ConvNeXt's stages: bare sums that go into the next stage, and the normalized last one."""
    model = build()
    sums = [model.get_layer(f"{model.name}_downsampling_block_{number}").input for number in range(3)]
    return _with_named(model, dict(zip(_STAGES, [*sums, model.output], strict=True)))


def _with_named(model: keras.Model, maps: Mapping[str, keras.KerasTensor]) -> keras.Model:
    """Add names to maps that have none, or one that Keras numbers anew in each build. The layers stay as they are."""
    outputs = [keras.layers.Identity(name=name)(map_) for name, map_ in maps.items()]
    return keras.Model(model.input, outputs, name=model.name)
