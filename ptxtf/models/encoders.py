"""From a backbone to an encoder: a model that gives features at strides 2 (where it has such), 4, 8, 16 and 32.

Flows in: images as the backbone expects them, float [B, H, W, C], H and W multiples of 32. Flows out: a list
of features, finest first, each float [B, H/s, W/s, C_s].

Weights are loaded into the backbone as its constructor built it, since files name and order its layers; only then is
it cut at the taps and rebuilt with fused batch normalization.
"""

import dataclasses
import os
from typing import Any

import keras

from ptxtf.errors import InputError
from ptxtf.models.backbones import BACKBONES, STRIDES, Backbone
from ptxtf.models.layers import FusedBatchNormalization
from ptxtf.models.rebuild import rebuild
from ptxtf.models.weights import fetch, load_weights

_PROBE_SIZE = 256  # px, for models of any image size; a multiple of all strides

# Layers that begin a network, in float32 always, as bfloat16 would lose grey levels before the first convolution.
_SCALES_IMAGES = (keras.layers.Rescaling, keras.layers.Normalization)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder and how to use it.

    Args:
        model: images -> features at `strides`, finest first.
        strides: in pixels; always 4, 8, 16 and 32, and 2 unless the backbone begins with larger patches.
        scaling: a key of `ptxtf.models.layers.SCALINGS`.
        centre: whether the decoder is to convolve once more at stride 32.
    """

    model: keras.Model
    strides: tuple[int, ...]
    scaling: str
    centre: bool


def named_encoder(name: str, *, weights: str | os.PathLike[str] | None, precision: str | None) -> Encoder:
    """Build the encoder of a row of `BACKBONES`.

    Args:
        name: a key of `BACKBONES`.
        weights: "imagenet", None for random ones, or a file.
        precision: a Keras dtype policy; None: the global one. Layers that scale images are float32 always.

    Raises:
        ValueError: the name is unknown.
        InputError: the weights cannot be had or do not fit.
    """
    if name not in BACKBONES:
        raise ValueError(f"expected backbone of {', '.join(BACKBONES)}, or a keras.Model. Received: backbone={name!r}")
    row = BACKBONES[name]
    model = row.build()
    if weights is not None:
        path = _imagenet_file(name, row) if weights == "imagenet" else weights
        load_weights(model, path, by_name=row.imagenet is not None and row.imagenet.by_name)
    outputs = [model.get_layer(tap).output for tap in row.taps]
    return Encoder(_cut(model, outputs, precision), row.strides, row.scaling, row.centre)


def encoder_of(model: keras.Model, *, weights: str | os.PathLike[str] | None, precision: str | None) -> Encoder:
    """Make an encoder of any fully convolutional keras.Model, which is left as it is but for weights from a file.

    The taps are the last layers of each stride, or the model's `pyramid_outputs` where it has them (as KerasHub's do).

    Args:
        model: with one image input and a graph of layers.
        weights: a file to load first; "imagenet" and None both keep what the model has.
        precision: a Keras dtype policy for all of its layers but those that scale images, which are float32 always;
            None: as they are.

    Raises:
        ValueError: no layer's map is exactly 1/4, 1/8, 1/16 or 1/32 of the image.
        InputError: the weights do not fit.
    """
    if weights not in (None, "imagenet"):
        load_weights(model, weights)
    by_stride = _outputs_by_stride(model)
    strides = tuple(stride for stride in STRIDES if stride in by_stride)
    if not set(STRIDES[1:]) <= set(strides):
        raise ValueError(
            f"backbone {model.name}: expected layers at strides 4, 8, 16 and 32. Received: strides={strides}"
        )
    outputs = [by_stride[stride] for stride in strides]
    return Encoder(_cut(model, outputs, precision), strides, "paper", centre=False)


def _imagenet_file(name: str, row: Backbone) -> os.PathLike[str]:
    if row.imagenet is None:
        raise InputError(
            f"backbone {name}: expected weights=None (--weights=none) or a file, as it has no ImageNet weights. "
            "Received: weights='imagenet'"
        )
    return fetch(row.imagenet.url, checksum=row.imagenet.checksum)


def _cut(model: keras.Model, outputs: list[keras.KerasTensor], precision: str | None) -> keras.Model:
    """Keep what leads to the outputs, for images of any size, with fused batch normalization."""

    def change(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        if isinstance(layer, _SCALES_IMAGES):
            config["dtype"] = "float32"
        elif precision is not None:
            config["dtype"] = precision
        is_plain = type(layer) is keras.layers.BatchNormalization
        return (FusedBatchNormalization if is_plain else type(layer)).from_config(config)

    inputs = keras.Input((None, None, model.input_shape[-1]), name="scaled_images")
    return rebuild(keras.Model(model.input, outputs, name="encoder"), change, inputs=inputs)


def _outputs_by_stride(model: keras.Model) -> dict[int, keras.KerasTensor]:
    """Find the last map of each stride, by following an image of a known size through the graph."""
    pyramid = getattr(model, "pyramid_outputs", {})
    candidates = [*(layer.output for layer in model.layers), *pyramid.values()]
    outputs = [tensor for tensor in candidates if isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 4]
    height, width, channels = model.input_shape[1:]
    image = keras.KerasTensor((1, height or _PROBE_SIZE, width or _PROBE_SIZE, channels))
    maps = keras.Model(model.input, outputs).compute_output_spec(image)
    # A later map of the same stride takes the place of an earlier one, and the model's own choice that of both. Maps
    # of other sizes (padded for a convolution, trimmed by one) line up with nothing.
    return {
        stride: output
        for output, map_ in zip(outputs, maps, strict=True)
        for stride in STRIDES
        if (stride * map_.shape[1], stride * map_.shape[2]) == image.shape[1:3]
    }
