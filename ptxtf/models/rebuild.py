"""Rebuilding a Keras model with some of its layers changed.

Flows in: a functional keras.Model. Flows out: another one of the same graph with layers of our choice, the same
weights, and layer names that do not depend on what else was built before.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

LayerChange = Callable[[keras.Layer, dict[str, Any]], keras.Layer]


Weights = list[np.ndarray]
"""A layer's, as `get_weights` gives them."""


def rebuild(
    model: keras.Model,
    change: LayerChange | None = None,
    *,
    inputs: keras.KerasTensor | None = None,
    adapt: Callable[[keras.Layer, Weights], Weights] | None = None,
    call: Callable[..., Any] | None = None,
) -> keras.Model:
    """Build a model anew, layer by layer, and copy its weights.

    Args:
        model: functional, or sequential and built. It is left as it is.
        change: called with each layer and the config (with its new name) that it would be rebuilt from; gives the
            layer to put there, which must have the same weights. None: one of the same kind.
        inputs: what to build upon, where that is not to be like the model's own input.
        adapt: called with each layer of the model and its weights; gives those that its copy is to have. None: all have
            the same.
        call: called with each new layer and what it reads, in the graph's order; gives what it makes of it. None: what
            the layer itself gives.

    Returns:
        A keras.Model with the same name, outputs of the same structure, and the same weights (or adapted ones).
    """
    names = _stable_names(model.layers)
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def rebuild_layer(layer: keras.Layer) -> keras.Layer:
        if not isinstance(layer, keras.Layer):
            return layer  # a bare operation such as keras.ops.add: nothing to change
        config = layer.get_config()
        config["name"] = names.get(id(layer), layer.name)
        try:
            new = change(layer, config) if change else type(layer).from_config(config)
        except (TypeError, ValueError) as error:  # Lambda layers, whose code Keras does not run, and others' mistakes
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise ValueError(
                f"{model.name}'s layer {layer.name}: expected one that can be built from its config. Received: {reason}"
            ) from error
        pairs.append((layer, new))
        return pairs[-1][1]

    copy = keras.models.clone_model(
        model, input_tensors=inputs, clone_function=rebuild_layer, call_function=call, recursive=True
    )
    for old, new in pairs:
        weights = old.get_weights()
        new.set_weights(adapt(old, weights) if adapt else weights)
        finalize(new)
    return copy


def is_functional(layer: keras.Layer) -> bool:
    """Return whether a layer is a model that does what its graph says, which may branch."""
    has_graph = isinstance(layer, keras.Model) and hasattr(layer, "operations")
    return has_graph and not isinstance(layer, keras.Sequential) and type(layer).call.__module__.startswith("keras.")


def finalize(layer: keras.Layer) -> None:
    """Let a layer that derives values from its weights (keras.layers.Normalization) derive them from new ones."""
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def _stable_names(layers: Iterable[keras.Layer]) -> dict[int, str]:
    """Number anew, from none, the layers that Keras named: its counters run on from model to model.

    Returns:
        id of layer -> name, in the order of Keras' numbers: `conv2d_94`, `conv2d_95` -> `conv2d`, `conv2d_1`.
    """
    numbered: dict[str, list[tuple[int, int]]] = {}
    for layer in layers:
        stem, _, number = layer.name.rpartition("_")
        if not number.isdigit():
            stem, number = layer.name, "0"
        if stem.replace("_", "") == type(layer).__name__.lower():
            numbered.setdefault(stem, []).append((int(number), id(layer)))
    return {
        key: f"{stem}_{rank}" if rank else stem
        for stem, group in numbered.items()
        for rank, (_, key) in enumerate(sorted(group))
    }
