"""Decoders: from an encoder's pyramid of features to maps that a head turns into logits.

Flows in: `Pyramid`, the features P1 … P5 at strides 2, 4, 8, 16, 32, each float [B, H/s, W/s, C]. Flows out: `Decoded`,
features at a finer stride, and the coarser ones on the way there. The names of a block's layers begin with the block's.

| decoder        | its way                                                                        | ends at stride |
|----------------|--------------------------------------------------------------------------------|----------------|
| unet           | doubles the size five times, joining at each size what the encoder saw there   | 1              |
| unet_plus_plus | the same with more nodes between an encoder's map and the decoder's             | 1              |
| fpn            | adds coarse maps to finer ones, brings all to one size and adds them up         | 4              |
| deeplab_v3plus | looks at the coarsest map at several distances, then joins the map at stride 4 | 4              |
"""

import typing
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
from keras import layers

from ptxtf import config
from ptxtf.models.backbone import STRIDES, level
from ptxtf.models.layers import BATCH_MOMENTUM, FusedBatchNormalization

UPSAMPLINGS = typing.get_args(config.Upsampling)
ATTENTIONS = typing.get_args(config.Attention)

CENTRE_FILTERS = 512

Pyramid = Mapping[str, keras.KerasTensor]
"""An encoder's features by name: "P1" at stride 2 (which may be missing) to "P5" at stride 32."""


class Decoded(NamedTuple):
    """What a decoder gives.

    Attributes:
        features: float [B, H/stride, W/stride, C].
        stride: of the features, in pixels.
        sides: further maps on the way there, finest first, with their strides: for deep supervision.
        is_activation_map: whether the mean of the logits made of them is the presence logit, instead of one made of the
            coarsest features.
    """

    features: keras.KerasTensor
    stride: int
    sides: list[tuple[int, keras.KerasTensor]]
    is_activation_map: bool = False


def unet_decoder(
    pyramid: Pyramid, *, filters: Sequence[int], upsampling: str = "nearest", attention: str = "none"
) -> Decoded:
    """Climb from the coarsest features to full size, joining at each size what the encoder saw there.

    The decoder of Ronneberger et al. (https://arxiv.org/abs/1505.04597) with padded convolutions and batch
    normalization. There is no skip at full size, where an encoder has nothing but pixels.

    Args:
        pyramid: the encoder's features.
        filters: channels of the blocks that end at stride 16, 8, 4, 2, 1.
        upsampling: "nearest", or "transposed": a convolution of stride 2, which learns how to enlarge.
        attention: "scse" weighs what goes into a block and what comes out of it, see `scse`; or "none".
    """
    x = pyramid["P5"]
    sides: list[tuple[int, keras.KerasTensor]] = []
    for stage, (stride, stage_filters) in enumerate(zip((16, 8, 4, 2, 1), filters, strict=True), start=1):
        name = f"decoder{stage}"
        x = join([enlarge(x, stage_filters, upsampling, name=name), pyramid.get(level(stride))], name=name)
        if attention == "scse":
            x = scse(double_conv(scse(x, name=f"{name}_scse1"), stage_filters, name=name), name=f"{name}_scse2")
        else:
            x = double_conv(x, stage_filters, name=name)
        sides.insert(0, (stride, x))
    return Decoded(x, 1, sides[1:])


def unet_plus_plus_decoder(pyramid: Pyramid, *, filters: Sequence[int]) -> Decoded:
    """Fill the way between an encoder's map and the decoder's with nodes that see all before them at their size.

    Node (i, j) convolves the nodes (i, 0) … (i, j - 1) with node (i + 1, j - 1), enlarged; (i, 0) are the encoder's.
    Zhou et al., UNet++ (https://arxiv.org/abs/1807.10165).

    Args:
        pyramid: the encoder's features.
        filters: channels of the nodes at stride 16, 8, 4, 2, 1.
    """
    by_stride = dict(zip((16, 8, 4, 2, 1), filters, strict=True))
    rows = {stride: [pyramid.get(level(stride))] for stride in STRIDES}
    for depth in range(1, len(STRIDES)):
        for stride in STRIDES[: len(STRIDES) - depth]:
            name = f"node{level(stride)}_{depth}"
            coarser = enlarge(rows[2 * stride][depth - 1], by_stride[stride], "nearest", name=name)
            rows[stride].append(double_conv(join([*rows[stride], coarser], name=name), by_stride[stride], name=name))
    *sides, finest = rows[2][1:]
    x = double_conv(enlarge(finest, by_stride[1], "nearest", name="decoder5"), by_stride[1], name="decoder5")
    return Decoded(x, 1, [(2, side) for side in (finest, *reversed(sides))])


def fpn_decoder(pyramid: Pyramid, *, pyramid_filters: int = 256, filters: int = 128) -> Decoded:
    """Add coarse maps to finer ones from the top down, bring each sum to stride 4 step by step, and add them up.

    Lin et al., Feature Pyramid Networks (https://arxiv.org/abs/1612.03144), with the segmentation branch of Kirillov et
    al., Panoptic FPN (https://arxiv.org/abs/1901.02446), here with batch instead of group normalization.

    Args:
        pyramid: the encoder's features; P1 is not used.
        pyramid_filters: channels of the sums.
        filters: channels of the segmentation branch.
    """
    above, branches = None, []
    sides: list[tuple[int, keras.KerasTensor]] = []
    for stride in (32, 16, 8, 4):
        name = f"fpn_{level(stride)}"
        x = layers.Conv2D(pyramid_filters, 1, name=f"{name}_lateral")(pyramid[level(stride)])
        if above is not None:
            x = layers.Add(name=f"{name}_add")([x, layers.UpSampling2D(2, name=f"{name}_up")(above)])
        above = x
        x = layers.Conv2D(pyramid_filters, 3, padding="same", name=f"{name}_smooth")(x)
        for step in range(1, max(stride.bit_length() - 3, 1) + 1):
            x = conv_bn_relu(x, filters, 3, name=f"{name}_branch{step}")
            if stride > 4:
                x = _enlarge_smoothly(x, 2, name=f"{name}_branch{step}_up")
        branches.append(x)
        sides.insert(0, (4, x))
    return Decoded(layers.Add(name="fpn_sum")(branches), 4, sides)


def deeplab_v3plus_decoder(pyramid: Pyramid, *, stride: int, filters: int = 256, low_filters: int = 48) -> Decoded:
    """Look at the coarsest map at several distances at once, then sharpen the result by the map at stride 4.

    Chen et al., DeepLabv3+ (https://arxiv.org/abs/1802.02611): atrous spatial pyramid pooling with separable
    convolutions at rates 6, 12 and 18 (for a coarsest map at stride 16), and of the whole image; two more of them after
    the joint.

    Args:
        pyramid: the encoder's features; P2 and P5 are used.
        stride: of P5, 16 or 32.
        filters: channels throughout.
        low_filters: channels that the map at stride 4 is reduced to, lest it outweigh the coarse one.
    """
    coarse = pyramid["P5"]
    rates = [rate * 16 // stride for rate in (6, 12, 18)]
    branches = [conv_bn_relu(coarse, filters, 1, name="aspp_1x1")]
    branches += [separable_conv(coarse, filters, rate, name=f"aspp_rate{rate}") for rate in rates]
    # The joint's 1x1 convolution of the whole image's mean, which is the same everywhere, is added instead of joined.
    whole = layers.GlobalAveragePooling2D(keepdims=True, name="aspp_mean")(coarse)
    whole = layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_uniform", name="aspp_mean_conv")(whole)
    whole = layers.Conv2D(filters, 1, use_bias=False, name="aspp_mean_join")(
        layers.Activation("relu", name="aspp_mean_relu")(whole)
    )
    x = layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_uniform", name="aspp_join")(
        layers.Concatenate(name="aspp_branches")(branches)
    )
    x = normalize_and_rectify(layers.Add(name="aspp_add")([x, whole]), name="aspp")
    fine = _enlarge_smoothly(x, stride // 4, name="decoder_up")
    low = conv_bn_relu(pyramid["P2"], low_filters, 1, name="low")
    y = layers.Concatenate(name="decoder_join")([fine, low])
    for number in (1, 2):
        y = separable_conv(y, filters, 1, name=f"decoder_conv{number}")
    return Decoded(y, 4, [(stride, x)])


def enlarge(x: keras.KerasTensor, filters: int, upsampling: str, *, name: str) -> keras.KerasTensor:
    """Double height and width."""
    if upsampling == "transposed":
        # Kernels of 4 at stride 2 overlap evenly; those of 3 leave a checkerboard.
        return layers.Conv2DTranspose(
            filters, 4, strides=2, padding="same", kernel_initializer="he_uniform", name=f"{name}_up"
        )(x)
    return layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)


def join(maps: Sequence[keras.KerasTensor | None], *, name: str) -> keras.KerasTensor:
    """Concatenate the maps that there are."""
    found = [one for one in maps if one is not None]
    return layers.Concatenate(name=f"{name}_join")(found) if len(found) > 1 else found[0]


def scse(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Weigh channels by what they hold on the whole, and places by what their channels hold; add both.

    Concurrent spatial and channel squeeze and excitation, Roy et al. 2018 (https://arxiv.org/abs/1803.02579), with a
    reduction to a sixteenth.
    """
    channels = x.shape[-1]
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    squeezed = layers.Conv2D(max(channels // 16, 1), 1, activation="relu", name=f"{name}_reduce")(squeezed)
    by_channel = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_channels")(squeezed)
    by_place = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_places")(x)
    # x * channels + x * places, with one product
    return layers.Multiply(name=f"{name}_weigh")([x, layers.Add(name=f"{name}_add")([by_channel, by_place])])


def centre_block(x: keras.KerasTensor) -> keras.KerasTensor:
    """Convolve the coarsest features twice: for encoders that end in a pooling layer, as VGG does."""
    return double_conv(x, CENTRE_FILTERS, name="centre")


def double_conv(x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
    """Twice convolution 3x3, batch normalization and ReLU."""
    for number in (1, 2):
        x = conv_bn_relu(x, filters, 3, name=name, suffix=number)
    return x


def conv_bn_relu(
    x: keras.KerasTensor, filters: int, size: int, *, name: str, suffix: int | str = ""
) -> keras.KerasTensor:
    """Convolution, batch normalization and ReLU."""
    # No bias: the normalization after it would take it away again.
    x = layers.Conv2D(
        filters, size, padding="same", use_bias=False, kernel_initializer="he_uniform", name=f"{name}_conv{suffix}"
    )(x)
    return normalize_and_rectify(x, name=name, suffix=suffix)


def separable_conv(x: keras.KerasTensor, filters: int, rate: int, *, name: str) -> keras.KerasTensor:
    """Convolution 3x3 with holes, channel by channel, then across channels; batch normalization and ReLU."""
    x = layers.DepthwiseConv2D(
        3, padding="same", dilation_rate=rate, use_bias=False, depthwise_initializer="he_uniform", name=f"{name}_depth"
    )(x)
    return conv_bn_relu(x, filters, 1, name=name)


def normalize_and_rectify(x: keras.KerasTensor, *, name: str, suffix: int | str = "") -> keras.KerasTensor:
    """Batch normalization and ReLU."""
    x = FusedBatchNormalization(momentum=BATCH_MOMENTUM, name=f"{name}_bn{suffix}")(x)
    return layers.Activation("relu", name=f"{name}_relu{suffix}")(x)


def _enlarge_smoothly(x: keras.KerasTensor, factor: int, *, name: str) -> keras.KerasTensor:
    """Enlarge by bilinear interpolation, in float32: XLA's gradient is float32 in any case and fits no other."""
    return layers.UpSampling2D(factor, interpolation="bilinear", dtype="float32", name=name)(x)
