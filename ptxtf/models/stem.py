"""Folding an encoder's first convolution for grey images: one input channel in the place of three equal ones.

Flows in: an encoder for RGB images and the scaling of its channels. Flows out: what a rebuilt encoder needs to give the
same features from one channel.

With x a grey image in 0..1, channel c of what the convolution sees is f_c * x + o_c, so that

    sum over c of K_c * (f_c * x + o_c) = (sum of f_c K_c) * x + (sum of o_c K_c) * 1,

where * is the convolution, which sees zeros beyond the border in either form. The second term is one of a channel of
ones; where o_c / f_c is the same for all channels, a shift of x does instead.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

from ptxtf.models.framing import Scaling
from ptxtf.models.rebuild import rebuild

POINTWISE = (keras.layers.Rescaling, keras.layers.Normalization)
"""What a backbone may do to its input by itself: each channel linearly, whatever the neighbours."""

_LEVELS = 255.0
"""What `framing.scale_grey` multiplies images in 0..1 by."""


@dataclasses.dataclass(frozen=True)
class GreyStem:
    """How to feed an encoder with grey images.

    Attributes:
        tensor: of the encoder's graph, where grey images go in instead.
        convolution: its layer whose kernel is to be replaced.
        kernel: float32 [h, w, 1 or 2, filters].
        shift: added to 255 times an image in 0..1.
        with_ones: whether a channel of ones is the second.
    """

    tensor: keras.KerasTensor
    convolution: keras.layers.Conv2D
    kernel: np.ndarray
    shift: float
    with_ones: bool


def fold(model: keras.Model, scaling: Scaling) -> GreyStem | None:
    """Fold the first convolution's kernel.

    Args:
        model: an encoder for three channels, with its weights.
        scaling: of images in 0..1 to its input.

    Returns:
        None where something else comes before a convolution, as a batch normalization, whose statistics depend on the
        images: then the encoder needs three channels.
    """
    tensor, layer = model.input, _only_consumer(model, model.input)
    factors, offsets = (np.array(values[:: -1 if scaling.reverse_channels else 1]) for values in scaling[:2])
    while isinstance(layer, POINTWISE):
        # whatever precision and size it was built in
        exact = rebuild(keras.Model(layer.input, layer.output), _in_float32, inputs=keras.Input((None, None, 3)))
        at_zero, at_one = (
            np.reshape(exact(values.reshape(1, 1, 1, -1)), -1) for values in (offsets, offsets + factors)
        )
        factors, offsets = at_one - at_zero, at_zero
        tensor, layer = layer.output, _only_consumer(model, layer.output)
    convolution = layer
    while isinstance(convolution, keras.layers.ZeroPadding2D):
        convolution = _only_consumer(model, convolution.output)
    if not isinstance(convolution, keras.layers.Conv2D) or convolution.kernel.shape[2] != 3:
        return None
    kernel = np.asarray(convolution.kernel.value)
    folded = [np.tensordot(kernel, values, axes=(2, 0)) for values in (factors / _LEVELS, offsets)]  # [h, w, filters]
    shifts = _LEVELS * offsets / factors
    is_shift = np.allclose(shifts, shifts[0], rtol=1e-6, atol=1e-6)
    stacked = np.stack(folded[:1] if is_shift else folded, axis=2).astype(np.float32)
    return GreyStem(tensor, convolution, stacked, float(shifts[0]) if is_shift else 0.0, with_ones=not is_shift)


def _in_float32(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
    return type(layer).from_config({**config, "dtype": "float32"})


def _only_consumer(model: keras.Model, tensor: keras.KerasTensor) -> Any:
    """Return the one layer or operation of the model that a tensor goes into; None where there are several."""
    consumers = [
        operation
        for operation in model.operations
        if not isinstance(operation, keras.layers.InputLayer)
        and any(tensor is one for one in keras.tree.flatten(operation.input))
    ]
    return consumers[0] if len(consumers) == 1 else None
