"""From a backbone to an encoder: a model that gives features at strides 2 (where it has such), 4, 8, 16 and 32.

Flows in: what `Encoder.feed` makes of images in 0..1 padded to multiples of 32. Flows out: features by name, "P1" at
stride 2 to "P5" at stride 32, each float [B, H/s, W/s, C].

Weights are loaded into the backbone as its constructor built it, since files name and order its layers; only then is
it cut at the taps and rebuilt: with fused batch normalization, for grey images with a folded first convolution, and
with holes in the last stage's convolutions where that is to stay at stride 16.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras

from ptxtf.errors import InputError, did_you_mean
from ptxtf.models import atrous, framing, taps
from ptxtf.models.backbone import STRIDES, Backbone, level
from ptxtf.models.backbones import BACKBONES
from ptxtf.models.download import fetch
from ptxtf.models.layers import faster_class
from ptxtf.models.rebuild import Weights, rebuild
from ptxtf.models.stem import POINTWISE, fold
from ptxtf.models.weights import is_saved_model, load_encoder, load_weights


@dataclasses.dataclass(frozen=True)
class EncoderOptions:
    """How an encoder is to be.

    Attributes:
        channels: of the images, 1 or 3.
        weights: "imagenet", None for random ones, or a file or folder as `ptxtf.models.segmenter` takes it.
        precision: a Keras dtype policy; None: the global one, and a keras.Model's layers as they are.
        input_scaling: a key of `ptxtf.models.framing.SCALINGS`; None: what the backbone was trained on, and 0..1 for a
            keras.Model.
        output_stride: of P5, 16 or 32.
    """

    channels: int = 1
    weights: str | os.PathLike[str] | None = None
    precision: str | None = None
    input_scaling: str | None = None
    output_stride: int = 32

    @property
    def from_model(self) -> bool:
        """Whether the weights are those of another model's encoder, which the encoder takes once it is cut."""
        return is_saved_model(self.weights)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder and how to use it.

    Attributes:
        model: images -> {"P1": ..., "P5": ...}; P1 is missing where the backbone begins with larger patches.
        feed: images in 0..1, float32 [B, H, W, 1 or 3] -> what the model takes, from a nested model named "scale".
        centre: whether `decoders.centre_block` is to follow P5.
    """

    model: keras.Model
    feed: Callable[[keras.KerasTensor], keras.KerasTensor]
    centre: bool


def named_encoder(name: str, options: EncoderOptions) -> Encoder:
    """Build the encoder of a row of `BACKBONES`.

    Raises:
        ValueError: the scaling is unknown.
        InputError: the name is unknown, or the weights cannot be had or do not fit.
    """
    if name not in BACKBONES:
        raise InputError(
            f"{did_you_mean(name, BACKBONES)}expected backbone of {', '.join(BACKBONES)}, or a keras.Model. "
            f"Received: backbone={name!r}"
        )
    row = BACKBONES[name]
    model = row.build()
    if options.weights is not None and not options.from_model:
        path = _imagenet_file(name, row) if options.weights == "imagenet" else options.weights
        load_weights(model, path, by_name=row.imagenet is not None and row.imagenet.by_name)
    pyramid = {level(stride): model.get_layer(tap).output for stride, tap in zip(row.strides, row.taps, strict=True)}
    return _cut(model, pyramid, options, scaling=row.scaling, centre=row.centre)


def encoder_of(model: keras.Model, options: EncoderOptions) -> Encoder:
    """Make an encoder of any fully convolutional keras.Model, which is left as it is but for weights from a file.

    The taps are the last layers of each stride, see `ptxtf.models.taps`. The weights "imagenet" and None both keep what
    the model has.

    Raises:
        ValueError: it is no model of one image, or no layer's map is exactly 1/4, 1/8, 1/16 or 1/32 of the image.
        InputError: the weights do not fit.
    """
    taps.check(model)
    if options.weights not in (None, "imagenet") and not options.from_model:
        load_weights(model, options.weights)
    inputs, by_stride = taps.find(model)
    strides = tuple(stride for stride in STRIDES if stride in by_stride)
    if not set(STRIDES[1:]) <= set(strides):
        raise ValueError(
            f"backbone {model.name}: expected layers at strides 4, 8, 16 and 32. Received: strides={strides}"
        )
    pyramid = {level(stride): by_stride[stride] for stride in strides}
    return _cut(keras.Model(inputs, pyramid, name=model.name), pyramid, options, scaling="paper", centre=False)


def _imagenet_file(name: str, row: Backbone) -> os.PathLike[str]:
    if row.imagenet is None:
        raise InputError(
            f"backbone {name}: expected weights=None (--weights=none) or a file, as it has no ImageNet weights. "
            "Received: weights='imagenet'"
        )
    return fetch(row.imagenet.url, checksum=row.imagenet.checksum)


def _cut(
    model: keras.Model,
    pyramid: Mapping[str, keras.KerasTensor],
    options: EncoderOptions,
    *,
    scaling: str,
    centre: bool,
) -> Encoder:
    """Keep what leads to the pyramid, for images of any size, and say how to feed it."""
    scaling = options.input_scaling or scaling
    channels = model.input_shape[-1]
    if channels not in (options.channels, 3):
        choices = "1 or 3" if options.channels == 1 else "3"
        raise ValueError(f"backbone {model.name}: expected images of {choices} channels. Received: channels={channels}")
    row = framing.scaling_named(scaling, channels=channels)
    trunk = keras.Model(model.input, pyramid)
    stem = fold(trunk, row) if (options.channels, channels) == (1, 3) else None
    changes = atrous.changes(trunk) if options.output_stride == 16 else {}

    def change(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        config.update(changes.get(id(layer), {}))
        if isinstance(layer, POINTWISE):
            config["dtype"] = "float32"  # bfloat16 would lose grey levels before the first convolution
        elif options.precision is not None:
            config["dtype"] = options.precision
        return faster_class(layer).from_config(config)

    def adapt(layer: keras.Layer, weights: Weights) -> Weights:
        return [stem.kernel, *weights[1:]] if stem and layer is stem.convolution else weights

    feed: Callable[[keras.KerasTensor], keras.KerasTensor]
    if stem:
        channels = stem.kernel.shape[2]
        feed = functools.partial(framing.scale_grey, shift=stem.shift, with_ones=stem.with_ones)
    else:
        feed = functools.partial(framing.scale, scaling=scaling, channels=channels)
    inputs = keras.Input((None, None, channels), name="scaled_images")
    whole = keras.Model(stem.tensor if stem else model.input, pyramid, name="encoder")
    encoder = rebuild(whole, change, inputs=inputs, adapt=adapt)
    if options.output_stride == 16 and not atrous.is_at_16(encoder):
        raise ValueError(
            f"backbone {model.name}: expected strides of plain layers, to be taken away for output_stride=16. "
            "Received: others"
        )
    if options.weights is not None and options.from_model:
        load_encoder(encoder, options.weights, feed=feed)
    return Encoder(encoder, feed, centre)
