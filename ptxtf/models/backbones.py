"""The table of backbones: for each name how to build it, where to tap it, how to feed it and where its weights are.

Flows in: a name. Flows out: a `Backbone` row, plain data; `ptxtf.models.encoders` makes an encoder of it. A further
network of keras.applications needs one more row here and nothing else.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras

from ptxtf.models.plain import plain_encoder
from ptxtf.models.rebuild import rebuild
from ptxtf.models.resnet import resnet18, resnet34
from ptxtf.models.senet import seresnet50, seresnext50, seresnext101

STRIDES = (2, 4, 8, 16, 32)


def level(stride: int) -> str:
    """Return the name of a stride's features: "P1" for 2 to "P5" for 32."""
    return f"P{stride.bit_length() - 1}"


@dataclasses.dataclass(frozen=True)
class ImageNetWeights:
    """A published weight file without the classifier: its URL and MD5 checksum."""

    url: str
    md5: str
    by_name: bool = False  # match layers by name; else by order, see ptxtf.models.weights


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Args:
        description: for people.
        build: builds the network without classifier and with random weights for RGB images of any size.
        taps: names of the layers whose outputs are taken at strides 2, 4, 8, 16 and 32.
        scaling: a key of `ptxtf.models.framing.SCALINGS`, what the network expects of images in 0..1.
        imagenet: where its ImageNet weights are; None: there are none.
        centre: convolve once more at stride 32, for networks that end in a pooling layer.
    """

    description: str
    build: Callable[[], keras.Model]
    taps: tuple[str, str, str, str, str]
    scaling: str
    imagenet: ImageNetWeights | None = None
    centre: bool = False


def _application(constructor: Callable[..., keras.Model]) -> Callable[[], keras.Model]:
    return functools.partial(constructor, include_top=False, weights=None, input_shape=(None, None, 3))


def _inception_v3() -> keras.Model:
    """Give InceptionV3 "same" padding throughout: its "valid" layers trim edges, so strides would not line up."""

    def pad_same(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        if config.get("padding") == "valid":
            config["padding"] = "same"
        return type(layer).from_config(config)

    return rebuild(_application(keras.applications.InceptionV3)(), pad_same)


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_QUBVEL = "https://github.com/qubvel/classification_models/releases/download"

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "vgg16": Backbone(
            "VGG-16, 15 M parameters (Simonyan and Zisserman 2014)",
            build=_application(keras.applications.VGG16),
            taps=("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"),
            scaling="caffe",
            imagenet=ImageNetWeights(
                f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="6d6bbae143d832006294945121d1f1fc",
            ),
            centre=True,
        ),
        "vgg19": Backbone(
            "VGG-19, 20 M parameters (Simonyan and Zisserman 2014)",
            build=_application(keras.applications.VGG19),
            taps=("block2_conv2", "block3_conv4", "block4_conv4", "block5_conv4", "block5_pool"),
            scaling="caffe",
            imagenet=ImageNetWeights(
                f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="253f8cb515780f3b799900260a226db6",
            ),
            centre=True,
        ),
        "resnet34": Backbone(
            "ResNet-34 with pre-activation, 21 M parameters (He et al. 2016)",
            build=resnet34,
            taps=("relu0", "stage2_unit1_relu1", "stage3_unit1_relu1", "stage4_unit1_relu1", "relu1"),
            scaling="raw",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/resnet34_imagenet_1000_no_top.h5",
                md5="8caaa0ad39d927cb8ba5385bf945d582",
                by_name=True,
            ),
        ),
        "resnet18": Backbone(
            "ResNet-18 with pre-activation, 11 M parameters (He et al. 2016)",
            build=resnet18,
            taps=("relu0", "stage2_unit1_relu1", "stage3_unit1_relu1", "stage4_unit1_relu1", "relu1"),
            scaling="raw",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/resnet18_imagenet_1000_no_top.h5",
                md5="318e3ac0cd98d51e917526c9f62f0b50",
                by_name=True,
            ),
        ),
        "seresnet50": Backbone(
            "SE-ResNet-50, 26 M parameters (Hu et al. 2018)",
            build=seresnet50,
            taps=("relu0", "stage1_unit3_relu", "stage2_unit4_relu", "stage3_unit6_relu", "stage4_unit3_relu"),
            scaling="torch",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/seresnet50_imagenet_1000_no_top.h5",
                md5="043777781b0d5ca756474d60bf115ef1",
            ),
        ),
        "seresnext50": Backbone(
            "SE-ResNeXt-50 32x4d, 26 M parameters (Hu et al. 2018)",
            build=seresnext50,
            taps=("relu0", "stage1_unit3_relu", "stage2_unit4_relu", "stage3_unit6_relu", "stage4_unit3_relu"),
            scaling="torch",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/seresnext50_imagenet_1000_no_top.h5",
                md5="b0f23d2e1cd406d67335fb92d85cc279",
            ),
        ),
        "seresnext101": Backbone(
            "SE-ResNeXt-101 32x4d, 47 M parameters (Hu et al. 2018)",
            build=seresnext101,
            taps=("relu0", "stage1_unit3_relu", "stage2_unit4_relu", "stage3_unit23_relu", "stage4_unit3_relu"),
            scaling="torch",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/seresnext101_imagenet_1000_no_top.h5",
                md5="e48708cbe40071cc3356016c37f6c9c7",
            ),
        ),
        "resnet50": Backbone(
            "ResNet-50, 24 M parameters (He et al. 2015)",
            build=_application(keras.applications.ResNet50),
            taps=("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
            scaling="caffe",
            imagenet=ImageNetWeights(
                f"{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="4d473c1dd8becc155b73f8504c6f6626",
            ),
        ),
        "densenet121": Backbone(
            "DenseNet-121, 7 M parameters (Huang et al. 2017)",
            build=_application(keras.applications.DenseNet121),
            taps=("conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu"),
            scaling="torch",
            imagenet=ImageNetWeights(
                f"{_KERAS}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="30ee3e1110167f948a6b9946edeeb738",
            ),
        ),
        "inceptionv3": Backbone(
            "Inception-v3 with same padding throughout, 22 M parameters (Szegedy et al. 2015)",
            build=_inception_v3,
            taps=("activation_2", "activation_4", "mixed2", "mixed7", "mixed10"),
            scaling="tf",
            imagenet=ImageNetWeights(
                f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
                md5="bcbd6486424b2319ff4ef7d526e38f63",
            ),
        ),
        "tiny": Backbone(
            "a plain encoder of half a million parameters, for demonstrations and tests on a CPU",
            build=plain_encoder,
            taps=("level1_relu2", "level2_relu2", "level3_relu2", "level4_relu2", "level5_relu2"),
            scaling="paper",
        ),
    }
)
