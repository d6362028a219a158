"""Segmentation models: any backbone, a decoder, and one logit per pixel.

Flows in: radiographs, float32 [B, H, W, 1 or 3] in 0..1, of any size. Flows out: logits, float32 [B, H, W, 1].
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

import keras

from ptxtf.models.backbones import STRIDES
from ptxtf.models.decoders import centre_block, segmentation_head, unet_decoder
from ptxtf.models.encoders import Encoder, encoder_of, named_encoder
from ptxtf.models.layers import CropToMatch, InputScaling, PadToMultiple

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def unet(
    backbone: str | keras.Model,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    precision: str | None = None,
    input_scaling: str | None = None,
    freeze_encoder: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Build a U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) over a backbone.

    Images of any size go in: the model pads them with zeros at the bottom and right to multiples of 32 and crops the
    logits back. It scales them itself to what the backbone was trained on, and repeats a grey channel three times.

    Args:
        backbone: a key of `BACKBONES`, or any keras.Model with maps at strides 4, 8, 16 and 32: the last layer of each
            stride is tapped, or its `pyramid_outputs` are. The model given is copied, not changed (but see weights).
        input_shape: (height, width, channels) of the images in pixels, None where any will do; 1 or 3 channels.
        weights: of the encoder: "imagenet", None for random ones, or a file: legacy .h5 or Keras-3 .weights.h5. A
            keras.Model keeps what it has unless a file is named, which is loaded into it.
        decoder_filters: channels of the five decoder blocks, coarsest first.
        precision: "float32", "mixed_float16" or "mixed_bfloat16"; None: Keras' global policy. Logits are float32.
        input_scaling: a key of `SCALINGS`; None: what the backbone expects, and 0..1 for a keras.Model. "paper" feeds
            0..1 to any backbone, as the study did.
        freeze_encoder: keep the encoder's weights and batch statistics as they are in training.
        name: of the model; by default after the backbone.

    Returns:
        A keras.Model: images, float32 [B, H, W, 1 or 3] in 0..1 -> logits, float32 [B, H, W, 1]. Its encoder is the
        layer "encoder".

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the weights cannot be had, or do not fit.

    Example:
        >>> model = unet("resnet34", weights=None, input_shape=(512, 512, 1))
        >>> model.output.shape
        (None, 512, 512, 1)
    """
    _check(input_shape, decoder_filters, precision)
    with _dtype_policy(precision):
        encoder = _encoder(backbone, weights, precision)
        if freeze_encoder:
            encoder.model.trainable = False
        images = keras.Input(input_shape, dtype="float32", name="images")
        features = _encode(encoder, images, input_scaling or encoder.scaling)
        logits = segmentation_head(unet_decoder(features, decoder_filters))
        logits = CropToMatch(dtype="float32", name="crop")(logits, images)
    title = backbone if isinstance(backbone, str) else backbone.name
    return keras.Model(images, logits, name=name or f"unet_{title}")


def _check(
    input_shape: tuple[int | None, int | None, int], decoder_filters: Sequence[int], precision: str | None
) -> None:
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        raise ValueError(f"expected input_shape (height, width, 1 or 3). Received: input_shape={input_shape}")
    if len(decoder_filters) != len(STRIDES):
        raise ValueError(f"expected {len(STRIDES)} decoder_filters. Received: decoder_filters={decoder_filters}")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"expected precision of {', '.join(PRECISIONS)}. Received: precision={precision!r}")


@contextlib.contextmanager
def _dtype_policy(precision: str | None) -> Iterator[None]:
    """Build layers under a dtype policy and put the global one back, whatever happens."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _encoder(backbone: str | keras.Model, weights: str | os.PathLike[str] | None, precision: str | None) -> Encoder:
    make = named_encoder if isinstance(backbone, str) else encoder_of
    return make(backbone, weights=weights, precision=precision)


def _encode(encoder: Encoder, images: keras.KerasTensor, scaling: str) -> list[keras.KerasTensor | None]:
    """Pad, scale and encode images: a feature map per stride, None where the encoder has none."""
    # Padding comes first, so that the border is black (0) and not what black was scaled from.
    padded = PadToMultiple(STRIDES[-1], dtype="float32", name="pad")(images)
    channels = encoder.model.input_shape[-1]
    # In float32, as bfloat16 would lose grey levels before the first convolution.
    scaled = InputScaling(scaling, channels=channels, dtype="float32", name="scale")(padded)
    maps = dict(zip(encoder.strides, encoder.model(scaled), strict=True))
    if encoder.centre:
        maps[STRIDES[-1]] = centre_block(maps[STRIDES[-1]])
    return [maps.get(stride) for stride in STRIDES]
