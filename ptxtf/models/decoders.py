"""U-Net decoder blocks as functions.

Flows in: an encoder's features, float [B, H/s, W/s, C] for the strides s = 2, 4, 8, 16, 32. Flows out: features, and
from the head logits, float32 [B, H, W, 1]. The names of a block's layers begin with the block's.
"""

from collections.abc import Sequence

import keras
from keras import layers

from ptxtf.models.layers import BATCH_MOMENTUM, FusedBatchNormalization

CENTRE_FILTERS = 512


def unet_decoder(features: Sequence[keras.KerasTensor | None], filters: Sequence[int]) -> keras.KerasTensor:
    """Climb from the coarsest features to full size, joining at each size what the encoder saw there.

    The decoder of Ronneberger et al. (https://arxiv.org/abs/1505.04597) with padded convolutions, batch normalization
    and nearest upsampling. There is no skip at full size, where an encoder has nothing but pixels.

    Args:
        features: finest first: float [B, H/s, W/s, C] at strides 2, 4, 8, 16, 32. None: no skip at that stride.
        filters: channels of the block that ends at stride 16, 8, 4, 2, 1; one for each of the features.

    Returns:
        float [B, H, W, filters[-1]], not negative.
    """
    *finer, x = features
    skips = [*reversed(finer), None]
    for stage, (skip, stage_filters) in enumerate(zip(skips, filters, strict=True), start=1):
        x = upsample_block(x, skip, stage_filters, name=f"decoder{stage}")
    return x


def upsample_block(
    x: keras.KerasTensor, skip: keras.KerasTensor | None, filters: int, *, name: str
) -> keras.KerasTensor:
    """Double the size, join the skip if there is one, and convolve twice."""
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    if skip is not None:
        x = layers.Concatenate(name=f"{name}_join")([x, skip])
    return double_conv(x, filters, name=name)


def centre_block(x: keras.KerasTensor) -> keras.KerasTensor:
    """Convolve the coarsest features twice: for encoders that end in a pooling layer, as VGG does."""
    return double_conv(x, CENTRE_FILTERS, name="centre")


def double_conv(x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
    """Twice convolution 3x3, batch normalization and ReLU."""
    for number in (1, 2):
        # No bias: the normalization after it would take it away again.
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_uniform",
            name=f"{name}_conv{number}",
        )(x)
        x = FusedBatchNormalization(momentum=BATCH_MOMENTUM, name=f"{name}_bn{number}")(x)
        x = layers.Activation("relu", name=f"{name}_relu{number}")(x)
    return x


def segmentation_head(x: keras.KerasTensor) -> keras.KerasTensor:
    """Turn features into one logit per pixel, in float32 under any precision policy."""
    return layers.Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
