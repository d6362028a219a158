"""Finding the maps of each stride in somebody else's network.

Flows in: any keras.Model of one image that keeps its graph, with other models in it or without. Flows out: the maps to
tap, by stride, in a copy without models in it.
"""

from typing import Any

import keras

from ptxtf.models.backbone import STRIDES
from ptxtf.models.rebuild import is_functional, rebuild

_SIZE = 256  # px; a multiple of all strides, and large enough that no pooled 1 x 1 map looks like one of them


def check(model: object) -> None:
    """Refuse what keeps no graph to look into.

    Raises:
        ValueError: not a functional or built sequential model with one input [B, H, W, C].
    """
    if not isinstance(model, keras.Model):
        raise ValueError(  # noqa: TRY004, what any wrong backbone gives
            f"expected backbone: a name or a keras.Model. Received: backbone={model!r}"
        )
    if not (is_functional(model) or (isinstance(model, keras.Sequential) and model.built)):
        raise ValueError(
            f"backbone {model.name}: expected a functional model, or a sequential one that is built. "
            f"Received: {type(model).__name__}"
        )
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4 or model.inputs[0].shape[-1] is None:
        shapes = [tensor.shape for tensor in model.inputs]
        raise ValueError(f"backbone {model.name}: expected one input [B, H, W, C]. Received: shapes={shapes}")


def find(model: keras.Model) -> tuple[keras.KerasTensor, dict[int, keras.KerasTensor]]:
    """Find the last map of each stride, by following an image of a known size through the graph.

    A later map takes the place of an earlier one of its stride, and the model's own choice, `pyramid_outputs` (as
    KerasHub's have them), that of both. Maps of other sizes (padded for a convolution, trimmed by one) line up with
    nothing.

    Args:
        model: that `check` has passed. It is left as it is.

    Returns:
        What a copy of the model reads, and the copy's maps by stride; strides that the model lacks are missing.
    """
    own = list(getattr(model, "pyramid_outputs", {}).values())
    flat = keras.Model(model.inputs[0], [*model.outputs, *own])
    while any(_has_graph(layer) for layer in flat.layers):
        flat = keras.models.clone_model(flat, clone_function=lambda layer: layer, call_function=_call_flat)
    height, width, channels = flat.inputs[0].shape[1:]
    try:
        image = keras.Input((_SIZE, _SIZE, channels))
        maps = _maps(flat, image, chosen=len(own))
    except (ValueError, TypeError):  # a layer at the end that wants one size, as for a vector of classes
        image = keras.Input((height or _SIZE, width or _SIZE, channels))
        maps = _maps(flat, image, chosen=len(own))
    size = image.shape[1:3]
    return image, {
        stride: tensor
        for tensor in maps
        for stride in STRIDES
        if len(tensor.shape) == 4 and tuple(stride * side for side in tensor.shape[1:3]) == size
    }


def _maps(model: keras.Model, image: keras.KerasTensor, *, chosen: int) -> list[keras.KerasTensor]:
    """Return what each layer of a model's copy gives, call by call, and then the outputs chosen, the last of all."""
    maps: list[keras.KerasTensor] = []

    def note(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
        outputs = layer(*arguments, **options)
        maps.extend(keras.tree.flatten(outputs))
        return outputs

    copy = rebuild(model, inputs=image, call=note)
    return [*maps, *copy.outputs[len(copy.outputs) - chosen :]]


def _call_flat(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
    """Call a layer, or, of a model, each of its layers."""
    return layer.call(*arguments, **options) if _has_graph(layer) else layer(*arguments, **options)


def _has_graph(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.Sequential) or is_functional(layer)
