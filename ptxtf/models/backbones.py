"""The table of backbones: for each name how to build it, where to tap it, how to feed it and where its weights are.

Flows in: a name. Flows out: a `Backbone` row, plain data; `ptxtf.models.encoders` makes an encoder of it. A further
network of keras.applications needs one more row here and nothing else; rows that differ in little are made by the
functions of `ptxtf.models.applications`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ptxtf.models.applications import (
    KERAS,
    application,
    application_padded_same,
    convnext,
    densenet,
    efficientnet,
    efficientnet_v2,
    mobilenet_v3,
    resnet,
    vgg,
)
from ptxtf.models.backbone import Backbone, ImageNetWeights
from ptxtf.models.plain import plain_encoder
from ptxtf.models.resnet import resnet18, resnet34
from ptxtf.models.senet import seresnet50, seresnext50, seresnext101

_QUBVEL = "https://github.com/qubvel/classification_models/releases/download"

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "vgg16": vgg(16, convolutions=3, millions=15, checksum="6d6bbae143d832006294945121d1f1fc"),
        "vgg19": vgg(19, convolutions=4, millions=20, checksum="253f8cb515780f3b799900260a226db6"),
        "resnet34": Backbone(
            "ResNet-34 with pre-activation, 21 M parameters (He et al. 2016)",
            build=resnet34,
            taps=("relu0", "stage2_unit1_relu1", "stage3_unit1_relu1", "stage4_unit1_relu1", "relu1"),
            scaling="raw",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/resnet34_imagenet_1000_no_top.h5",
                checksum="8caaa0ad39d927cb8ba5385bf945d582",
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
                checksum="318e3ac0cd98d51e917526c9f62f0b50",
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
                checksum="043777781b0d5ca756474d60bf115ef1",
            ),
        ),
        "seresnext50": Backbone(
            "SE-ResNeXt-50 32x4d, 26 M parameters (Hu et al. 2018)",
            build=seresnext50,
            taps=("relu0", "stage1_unit3_relu", "stage2_unit4_relu", "stage3_unit6_relu", "stage4_unit3_relu"),
            scaling="torch",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/seresnext50_imagenet_1000_no_top.h5",
                checksum="b0f23d2e1cd406d67335fb92d85cc279",
            ),
        ),
        "seresnext101": Backbone(
            "SE-ResNeXt-101 32x4d, 47 M parameters (Hu et al. 2018)",
            build=seresnext101,
            taps=("relu0", "stage1_unit3_relu", "stage2_unit4_relu", "stage3_unit23_relu", "stage4_unit3_relu"),
            scaling="torch",
            imagenet=ImageNetWeights(
                f"{_QUBVEL}/0.0.1/seresnext101_imagenet_1000_no_top.h5",
                checksum="e48708cbe40071cc3356016c37f6c9c7",
            ),
        ),
        "resnet50": resnet(50, blocks=(3, 4, 6, 3), millions=24, checksum="4d473c1dd8becc155b73f8504c6f6626"),
        "densenet121": densenet(121, millions=7, checksum="30ee3e1110167f948a6b9946edeeb738"),
        "inceptionv3": Backbone(
            "Inception-v3 with same padding throughout, 22 M parameters (Szegedy et al. 2015)",
            build=application_padded_same("InceptionV3"),
            taps=("activation_2", "activation_4", "mixed2", "mixed7", "mixed10"),
            scaling="tf",
            imagenet=ImageNetWeights(
                f"{KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
                checksum="bcbd6486424b2319ff4ef7d526e38f63",
            ),
        ),
        "densenet169": densenet(169, millions=13, checksum="b8c4d4c20dd625c148057b9ff1c1176b"),
        "densenet201": densenet(201, millions=18, checksum="c13680b51ded0fb44dff2d8f86ac8bb1"),
        "resnet101": resnet(101, blocks=(3, 4, 23, 3), millions=43, checksum="88cf7a10940856eca736dc7b7e228a21"),
        "resnet152": resnet(152, blocks=(3, 8, 36, 3), millions=58, checksum="ee4c566cf9a93f14d82f913c2dc6dd0c"),
        "efficientnetb0": efficientnet("B0", millions=4, checksum="50bc09e76180e00e4465e1a485ddc09d"),
        "efficientnetb1": efficientnet("B1", millions=7, checksum="74c4e6b3e1f6a1eea24c589628592432"),
        "efficientnetb2": efficientnet("B2", millions=8, checksum="111f8e2ac8aa800a7a99e3239f7bfb39"),
        "efficientnetb3": efficientnet("B3", millions=11, checksum="af6d107764bb5b1abb91932881670226"),
        "efficientnetb4": efficientnet("B4", millions=18, checksum="ebc24e6d6c33eaebbd558eafbeedf1ba"),
        "efficientnetb5": efficientnet("B5", millions=29, checksum="38879255a25d3c92d5e44e04ae6cec6f"),
        "efficientnetb6": efficientnet("B6", millions=41, checksum="9ecce42647a20130c1f39a5d4cb75743"),
        "efficientnetb7": efficientnet("B7", millions=64, checksum="cbcfe4450ddf6f3ad90b1b398090fe4a"),
        "efficientnetv2b0": efficientnet_v2("B0", last="ab", millions=6, checksum="893217f2bb855e2983157299931e43ff"),
        "efficientnetv2b1": efficientnet_v2("B1", last="bc", millions=7, checksum="0e80663031ca32d657f9caa404b6ec37"),
        "efficientnetv2b2": efficientnet_v2("B2", last="bc", millions=9, checksum="1dfe2e7a5d45b6632553a8961ea609eb"),
        "efficientnetv2b3": efficientnet_v2("B3", last="bc", millions=13, checksum="f6abf7b5849ac99a89b50dd3fd532856"),
        "efficientnetv2s": efficientnet_v2("S", last="bd", millions=20, checksum="af0682fb74e8c54910f2d4393339c070"),
        "efficientnetv2m": efficientnet_v2("M", last="ce", millions=53, checksum="1b8dc055df72dde80d614482840fe342"),
        "efficientnetv2l": efficientnet_v2("L", last="dg", millions=118, checksum="b0b66b5c863aef5b46e8608fe1711615"),
        "inceptionresnetv2": Backbone(
            "Inception-ResNet-v2 with same padding throughout, 54 M parameters (Szegedy et al. 2016)",
            build=application_padded_same("InceptionResNetV2"),
            taps=("activation_2", "activation_4", "block35_10_ac", "block17_20_ac", "conv_7b_ac"),
            scaling="tf",
            imagenet=ImageNetWeights(
                f"{KERAS}/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                checksum="d19885ff4a710c122648d3b5c3b684e4",
            ),
        ),
        "xception": Backbone(
            "Xception with same padding throughout, 21 M parameters (Chollet 2016)",
            build=application_padded_same("Xception"),
            taps=(
                "block1_conv2_act",
                "block3_sepconv1_act",
                "block4_sepconv1_act",
                "block13_sepconv1_act",
                "block14_sepconv2_act",
            ),
            scaling="tf",
            imagenet=ImageNetWeights(
                f"{KERAS}/xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
                checksum="b0042744bf5b25fce3cb969f33bebb97",
            ),
        ),
        "mobilenetv2": Backbone(
            "MobileNetV2, 2 M parameters (Sandler et al. 2018)",
            build=application("MobileNetV2"),
            taps=(
                "block_1_expand_relu",
                "block_3_expand_relu",
                "block_6_expand_relu",
                "block_13_expand_relu",
                "out_relu",
            ),
            scaling="tf",
            imagenet=ImageNetWeights(
                f"{KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
                checksum=None,  # Keras checks none either
            ),
        ),
        "mobilenetv3small": mobilenet_v3(
            "Small",
            taps=("stem_activation", "expanded_conv_project_bn", "expanded_conv_2_add", "expanded_conv_7_add"),
            millions=1,
            checksum="d3e8ec802a04aa4fc771ee12a9a9b836",
        ),
        "mobilenetv3large": mobilenet_v3(
            "Large",
            taps=("expanded_conv_add", "expanded_conv_2_add", "expanded_conv_5_add", "expanded_conv_11_add"),
            millions=3,
            checksum="07fb09a5933dd0c8eaafa16978110389",
        ),
        "convnexttiny": convnext(
            "Tiny", millions=28, checksum="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"
        ),
        "convnextsmall": convnext(
            "Small", millions=49, checksum="6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"
        ),
        "convnextbase": convnext(
            "Base", millions=88, checksum="40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"
        ),
        "convnextlarge": convnext(
            "Large", millions=196, checksum="96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"
        ),
        "convnextxlarge": convnext(
            "XLarge", millions=348, checksum="de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"
        ),
        "tiny": Backbone(
            "a plain encoder of half a million parameters, for demonstrations and tests on a CPU",
            build=plain_encoder,
            taps=("level1_relu2", "level2_relu2", "level3_relu2", "level4_relu2", "level5_relu2"),
            scaling="paper",
        ),
    }
)
