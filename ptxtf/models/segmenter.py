"""Segmentation models: any backbone, a decoder, and one logit per pixel.

Flows in: radiographs, float32 [B, H, W, 1 or 3] in 0..1, of any size. Flows out: logits, float32 [B, H, W, 1]; with
more heads than that of the mask, a dictionary of them.

`segmenter` puts a network together; `unet`, `unet_plus_plus`, `fpn` and `deeplab_v3plus` are it with a decoder each
(`ptxtf.models.classifier` with none).
"""

import contextlib
import functools
import numbers
import os
import typing
from collections.abc import Callable, Iterator, Sequence

import keras
from keras import layers

from ptxtf import config
from ptxtf.errors import did_you_mean
from ptxtf.models import decoders, framing
from ptxtf.models.backbone import STRIDES, level
from ptxtf.models.decoders import Decoded, Pyramid
from ptxtf.models.encoders import EncoderOptions, encoder_of, named_encoder

PRECISIONS = tuple(precision for precision in typing.get_args(config.Precision) if precision != "auto")

HEADS = ("mask", "presence", "sides")

Decoder = Callable[[Pyramid], Decoded]
"""What makes finer features of an encoder's, as in `ptxtf.models.decoders`."""


def segmenter(
    backbone: str | keras.Model,
    decoder: Decoder,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    input_scaling: str | None = None,
    output_stride: int = 32,
    heads: Sequence[str] = ("mask",),
    precision: str | None = None,
) -> keras.Model:
    """Build a segmentation model of a backbone and a decoder.

    Images of any size go in: the model pads them with zeros at the bottom and right to multiples of 32 and crops the
    logits back. It scales them itself to what the backbone was trained on. For one grey channel the first convolution's
    kernel is folded, which gives what three equal channels would give; a backbone that normalizes its input by a
    batch's statistics gets three equal channels.

    All layers are Keras' own, so that a saved model loads without ptxtf, in Keras' safe mode too.

    Args:
        backbone: a key of `BACKBONES`, or any keras.Model with maps at strides 4, 8, 16 and 32: the last layer of each
            stride is tapped, or its `pyramid_outputs` are. The model given is copied, not changed (but see weights).
        decoder: makes finer features of the encoder's.
        input_shape: (height, width, channels) of the images in pixels, None where any will do; 1 or 3 channels.
        weights: of the encoder: "imagenet"; None for random ones; a file: legacy .h5 or Keras-3 .weights.h5; or a model
            saved by ptxtf (.keras) or the folder of a training run, whose encoder is taken. A keras.Model keeps what it
            has unless a file is named, which is loaded into it.
        input_scaling: a key of `SCALINGS`; None: what the backbone expects, and 0..1 for a keras.Model. "paper" feeds
            0..1 to any backbone, as the study did.
        output_stride: of the coarsest features, in pixels: 32, or 16, for which the last stage keeps its size and looks
            further by convolutions with holes; the decoder must be one that can do with that.
        heads: what comes out: "mask", one logit per pixel; "presence", one per image, from the coarsest features;
            "sides", masks from coarser maps of the decoder, for deep supervision.
        precision: "float32", "mixed_float16" or "mixed_bfloat16"; None: Keras' global policy. Logits are float32.

    Returns:
        A keras.Model: images, float32 [B, H, W, 1 or 3] in 0..1 -> logits. With the head "mask" alone, float32
        [B, H, W, 1]; else a dictionary of "mask", "presence" float32 [B, 1], and "side1", "side2" …, finest first, each
        as "mask". Its encoder is the layer "encoder", whose outputs are named "P1" (stride 2) to "P5" (stride 32).

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the backbone is unknown, or the weights cannot be had or do not fit.

    Example:
        >>> decoder = functools.partial(ptxtf.models.decoders.fpn_decoder, filters=64)
        >>> model = segmenter("resnet34", decoder, weights=None, input_shape=(512, 512, 1))
        >>> model.output.shape
        (None, 512, 512, 1)
    """
    _check(input_shape, heads, precision, output_stride)
    with _dtype_policy(precision):
        make = named_encoder if isinstance(backbone, str) else encoder_of
        encoder = make(
            backbone, EncoderOptions(input_shape[-1], weights, precision, input_scaling, output_stride=output_stride)
        )
        images = keras.Input(input_shape, dtype="float32", name="images")
        # Padding comes first, so that the border is black (0) and not what black was scaled from.
        pyramid = encoder.model(encoder.feed(framing.pad(images, STRIDES[-1])))
        if encoder.centre:
            pyramid = {**pyramid, "P5": decoders.centre_block(pyramid["P5"])}
        outputs = _outputs(pyramid, decoder(pyramid), images, heads)
        title = backbone if isinstance(backbone, str) else backbone.name
        # under the policy too, as `compile` scales the loss of a model in float16
        return keras.Model(images, outputs if len(outputs) > 1 else outputs["mask"], name=f"segmenter_{title}")


def unet(  # noqa: PLR0913, all but one by keyword
    backbone: str | keras.Model,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    upsampling: str = "nearest",
    attention: str = "none",
    heads: Sequence[str] = ("mask",),
    input_scaling: str | None = None,
    precision: str | None = None,
) -> keras.Model:
    """Build a U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) over a backbone.

    Args:
        backbone: a key of `BACKBONES`, or any keras.Model, as `segmenter` takes it.
        input_shape: (height, width, channels) of the images in pixels, None where any will do; 1 or 3 channels.
        weights: of the encoder: "imagenet", None for random ones, or a file, as `segmenter` takes it.
        decoder_filters: channels of the five decoder blocks, coarsest first.
        upsampling: "nearest", or "transposed" convolutions.
        attention: "scse", spatial and channel squeeze and excitation in each block; or "none".
        heads: what comes out, as `segmenter` takes it.
        input_scaling: a key of `SCALINGS`, as `segmenter` takes it.
        precision: as `segmenter` takes it.

    Returns:
        A keras.Model: images, float32 [B, H, W, 1 or 3] in 0..1 -> logits, float32 [B, H, W, 1], or what its heads
        give.

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the backbone is unknown, or the weights cannot be had or do not fit.

    Example:
        >>> model = unet("resnet34", weights=None, input_shape=(512, 512, 1))
        >>> model.output.shape
        (None, 512, 512, 1)
    """
    _check_filters(decoder_filters)
    _check_choice("upsampling", upsampling, decoders.UPSAMPLINGS)
    _check_choice("attention", attention, decoders.ATTENTIONS)
    decoder = functools.partial(
        decoders.unet_decoder, filters=decoder_filters, upsampling=upsampling, attention=attention
    )
    return segmenter(
        backbone,
        decoder,
        input_shape=input_shape,
        weights=weights,
        input_scaling=input_scaling,
        heads=heads,
        precision=precision,
    )


def unet_plus_plus(
    backbone: str | keras.Model,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    heads: Sequence[str] = ("mask",),
    input_scaling: str | None = None,
    precision: str | None = None,
) -> keras.Model:
    """Build a U-Net++ (Zhou et al. 2018, https://arxiv.org/abs/1807.10165) over a backbone.

    Args:
        backbone: as `unet` takes it, as are the other arguments.
        input_shape: (height, width, channels) of the images in pixels.
        weights: of the encoder.
        decoder_filters: channels of the nodes at stride 16, 8, 4, 2, 1.
        heads: what comes out, as `segmenter` takes it.
        input_scaling: a key of `SCALINGS`, as `segmenter` takes it.
        precision: as `segmenter` takes it.

    Returns:
        A keras.Model as `unet` gives it; the sides are the nodes at stride 2.

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the backbone is unknown, or the weights cannot be had or do not fit.

    Example:
        >>> model = unet_plus_plus("efficientnetb3", weights=None, heads=("mask", "sides"))
    """
    _check_filters(decoder_filters)
    decoder = functools.partial(decoders.unet_plus_plus_decoder, filters=decoder_filters)
    return segmenter(
        backbone,
        decoder,
        input_shape=input_shape,
        weights=weights,
        input_scaling=input_scaling,
        heads=heads,
        precision=precision,
    )


def fpn(
    backbone: str | keras.Model,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    pyramid_filters: int = 256,
    decoder_filters: int = 128,
    heads: Sequence[str] = ("mask",),
    input_scaling: str | None = None,
    precision: str | None = None,
) -> keras.Model:
    """Build a feature pyramid network for segmentation (Kirillov et al. 2019, https://arxiv.org/abs/1901.02446).

    Args:
        backbone: as `unet` takes it, as are the other arguments.
        input_shape: (height, width, channels) of the images in pixels.
        weights: of the encoder.
        pyramid_filters: channels of the pyramid.
        decoder_filters: channels of the segmentation branch.
        heads: what comes out, as `segmenter` takes it.
        input_scaling: a key of `SCALINGS`, as `segmenter` takes it.
        precision: as `segmenter` takes it.

    Returns:
        A keras.Model as `unet` gives it; the sides are the branches of the pyramid's levels.

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the backbone is unknown, or the weights cannot be had or do not fit.

    Example:
        >>> model = fpn("resnet50", weights=None)
    """
    _check_positive(pyramid_filters=pyramid_filters, decoder_filters=decoder_filters)
    decoder = functools.partial(decoders.fpn_decoder, pyramid_filters=pyramid_filters, filters=decoder_filters)
    return segmenter(
        backbone,
        decoder,
        input_shape=input_shape,
        weights=weights,
        input_scaling=input_scaling,
        heads=heads,
        precision=precision,
    )


def deeplab_v3plus(
    backbone: str | keras.Model,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    decoder_filters: int = 256,
    output_stride: int = 16,
    heads: Sequence[str] = ("mask",),
    input_scaling: str | None = None,
    precision: str | None = None,
) -> keras.Model:
    """Build a DeepLabv3+ (Chen et al. 2018, https://arxiv.org/abs/1802.02611) over a backbone.

    Args:
        backbone: as `unet` takes it, as are the other arguments.
        input_shape: (height, width, channels) of the images in pixels.
        weights: of the encoder.
        decoder_filters: channels of the decoder.
        output_stride: of the coarsest features, in pixels, 16 or 32.
        heads: what comes out, as `segmenter` takes it.
        input_scaling: a key of `SCALINGS`, as `segmenter` takes it.
        precision: as `segmenter` takes it.

    Returns:
        A keras.Model as `unet` gives it; the side is the map before it is joined with that at stride 4.

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the backbone is unknown, or the weights cannot be had or do not fit.

    Example:
        >>> model = deeplab_v3plus("resnet50", weights=None)
    """
    _check_positive(decoder_filters=decoder_filters)
    decoder = functools.partial(decoders.deeplab_v3plus_decoder, stride=output_stride, filters=decoder_filters)
    return segmenter(
        backbone,
        decoder,
        input_shape=input_shape,
        weights=weights,
        input_scaling=input_scaling,
        output_stride=output_stride,
        heads=heads,
        precision=precision,
    )


def freeze(model: keras.Model, *, up_to_stride: int = 32) -> None:
    """Keep the finer stages of a model's encoder as they are in training, batch statistics too; let the others train.

    To unfreeze by stages call it with 32, and later with 16, 8, 4, 2 and 0, which frees all. A model that was compiled
    has to be compiled again.

    Args:
        model: of this module. It is changed in place.
        up_to_stride: layers that lead to the encoder's features at this stride, in pixels, are frozen; 0: none.

    Raises:
        ValueError: the encoder has no such stride, or the model is not of this module.

    Example:
        >>> freeze(model, up_to_stride=8)
    """
    if up_to_stride not in (0, *STRIDES):
        choices = ", ".join(map(str, (0, *STRIDES)))
        raise ValueError(f"expected up_to_stride of {choices}. Received: up_to_stride={up_to_stride}")
    if "encoder" not in {layer.name for layer in model.layers}:
        raise ValueError(f"expected a network of ptxtf.models. Received: {model.name}, which has no layer 'encoder'")
    encoder = model.get_layer("encoder")
    if up_to_stride and level(up_to_stride) not in encoder.output:
        raise ValueError(f"expected up_to_stride of 4 or more over this encoder. Received: up_to_stride={up_to_stride}")
    encoder.trainable = True
    for layer in encoder.layers:
        layer.trainable = True
    frozen = [
        encoder.output[level(stride)]
        for stride in STRIDES
        if stride <= up_to_stride and level(stride) in encoder.output
    ]
    for layer in keras.Model(encoder.input, frozen).layers if frozen else []:
        layer.trainable = False


def _check(
    input_shape: tuple[int | None, int | None, int], heads: Sequence[str], precision: str | None, output_stride: int
) -> None:
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) == 3 and input_shape[-1] in (1, 3)
    if not is_shape or not all(size is None or _is_count(size) for size in input_shape[:2]):
        raise ValueError(f"expected input_shape (height, width, 1 or 3). Received: input_shape={input_shape}")
    if not isinstance(heads, Sequence) or "mask" not in heads or not all(head in HEADS for head in heads):
        raise ValueError(f"expected heads of {', '.join(HEADS)}, mask among them. Received: heads={heads}")
    if precision is not None:
        _check_choice("precision", precision, PRECISIONS)
    if output_stride not in (16, 32):
        raise ValueError(f"expected output_stride of 16 or 32. Received: output_stride={output_stride}")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(
            f"{did_you_mean(value, choices)}expected {name} of {', '.join(choices)}. Received: {name}={value!r}"
        )


def _check_filters(decoder_filters: Sequence[int]) -> None:
    count = len(STRIDES)
    is_sequence = isinstance(decoder_filters, Sequence) and len(decoder_filters) == count
    if not is_sequence or not all(map(_is_count, decoder_filters)):
        raise ValueError(f"expected {count} decoder_filters of at least 1. Received: decoder_filters={decoder_filters}")


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if not _is_count(number):
            raise ValueError(f"expected {name} of at least 1. Received: {name}={number}")


def _is_count(number: object) -> bool:
    return isinstance(number, numbers.Integral) and int(number) >= 1


@contextlib.contextmanager
def _dtype_policy(precision: str | None) -> Iterator[None]:
    """Build layers under a dtype policy and put the global one back, whatever happens."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision or before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _outputs(
    pyramid: Pyramid, decoded: Decoded, images: keras.KerasTensor, heads: Sequence[str]
) -> dict[str, keras.KerasTensor]:
    """Put the heads on."""
    outputs = {"mask": _mask_logits(decoded.features, decoded.stride, images, name="logits")}
    if "presence" in heads:
        mean_of = layers.GlobalAveragePooling2D(dtype="float32", name="presence_mean")
        if decoded.is_activation_map:
            outputs["presence"] = mean_of(outputs["mask"])
        else:
            outputs["presence"] = layers.Dense(1, dtype="float32", name="presence")(mean_of(pyramid["P5"]))
    if "sides" in heads:
        for number, (stride, features) in enumerate(decoded.sides, start=1):
            outputs[f"side{number}"] = _mask_logits(features, stride, images, name=f"side{number}_logits")
    return outputs


def _mask_logits(
    features: keras.KerasTensor, stride: int, images: keras.KerasTensor, *, name: str
) -> keras.KerasTensor:
    """Turn features into one logit per pixel, in float32 under any precision policy, of the images' size."""
    size = 3 if stride == 1 else 1
    logits = layers.Conv2D(1, size, padding="same", dtype="float32", name=name)(features)
    if stride > 1:
        logits = layers.UpSampling2D(stride, interpolation="bilinear", dtype="float32", name=f"{name}_up")(logits)
    return framing.crop(logits, images, name=f"{name}_crop")
