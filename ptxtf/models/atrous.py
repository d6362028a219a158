"""Keeping a backbone's last stage at stride 16: what halved the size there no longer does, and convolutions get holes.

Flows in: an encoder's graph. Flows out: for each layer that is to change, what changes in its config; weights stay.

As in Chen et al., Rethinking Atrous Convolution (https://arxiv.org/abs/1706.05587): at every other pixel, the even or
the odd ones as the network pads, the features are those of the original but for what its borders let in. Three kinds of
networks come close to that only: squeeze and excitation weighs by the mean of the larger map, InceptionV3's pooling at
stride 1 sees half as far, having no holes, and Xception's last pooling is one pixel off its shortcut.
"""

from typing import Any

import keras

_STRIDED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
)
_SIZE = 256
"""Height and width of the image that is followed through the graph, in pixels."""

_BORDER = 3
"""Pixels that layers may have put around a map of that image."""


def changes(model: keras.Model) -> dict[int, dict[str, Any]]:
    """Return, by the id of a layer, the entries of its config that keep everything at stride 16 or less.

    Args:
        model: of maps at strides up to 32 for images of any size.
    """
    heights = _heights(model)
    found: dict[int, dict[str, Any]] = {}
    for outer in model.layers:
        for layer in outer.layers if isinstance(outer, keras.Sequential) else [outer]:
            if not isinstance(layer, _STRIDED):
                continue
            before, after = heights[id(outer.input)], heights[id(outer.output)]
            if _is_coarse(after) and not _is_coarse(before):
                found[id(layer)] = {"strides": (1, 1), "padding": "same"}
            elif _is_coarse(before) and max(getattr(layer, "kernel_size", (1,))) > 1:
                found[id(layer)] = {"dilation_rate": tuple(2 * rate for rate in layer.dilation_rate), "padding": "same"}
    changed_inputs = {id(layer.input) for layer in model.layers if id(layer) in found}
    for layer in model.layers:  # "same" does what they were there for
        if isinstance(layer, keras.layers.ZeroPadding2D) and id(layer.output) in changed_inputs:
            found[id(layer)] = {"padding": 0}
    return found


def is_at_16(encoder: keras.Model) -> bool:
    """Return whether an encoder's coarsest features, P5, are at stride 16."""
    image = keras.KerasTensor((1, _SIZE, _SIZE, encoder.input_shape[-1]))
    return encoder.compute_output_spec(image)["P5"].shape[1] == _SIZE // 16


def _heights(model: keras.Model) -> dict[int, int]:
    """Return the height of each map, by the tensor's id."""
    tensors = {
        id(tensor): tensor
        for operation in model.operations
        for tensor in keras.tree.flatten(operation.output)
        if len(tensor.shape) == 4
    }
    image = keras.KerasTensor((1, _SIZE, _SIZE, model.input_shape[-1]))
    maps = keras.Model(model.input, list(tensors.values())).compute_output_spec(image)
    return {key: map_.shape[1] for key, map_ in zip(tensors, maps, strict=True)}


def _is_coarse(height: int) -> bool:
    return 1 < height <= _SIZE // 32 + _BORDER
