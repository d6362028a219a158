"""A run, or several -> the pure function that is exported: uint8 images of the networks' size -> probabilities.

What comes out is a plain graph: nothing in it is compiled by XLA, which a TensorFlow Serving lacks on CPUs unless
--xla_cpu_compilation_enabled says otherwise, and nothing is chosen for the processor at hand.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ptxtf.config import Precision
from ptxtf.exporting.equalise import equalise
from ptxtf.exporting.shrink import resize
from ptxtf.inference import Predictor
from ptxtf.inference.loading import Adapt
from ptxtf.inference.network import Network, Outputs
from ptxtf.models.rebuild import rebuild

Infer = Callable[[tf.Tensor], Outputs]
"""uint8 [B, S, S, 1] -> probabilities, float32 [B, S, S, 1], and presence, float32 [B], where the networks tell it."""


class Portable(NamedTuple):
    """Trained networks, to be exported."""

    networks: Sequence[Network]
    gate: Network | None
    image_size: int
    """S: height and width of the images, in pixels."""
    infer: Infer
    infer_plainly: Infer
    """The same in operations that every converter knows, and slower: see `ptxtf.exporting.equalise` and `shrink`."""

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """What the functions need."""
        networks = [*self.networks, *([self.gate] if self.gate else [])]
        return tuple(variable.value for network in networks for variable in network.model.variables)


def of(predictor: Predictor) -> Portable:
    """Return what is exported of networks, which compute as `adapt` lets them."""
    return Portable(
        networks=predictor.networks,
        gate=predictor.gate,
        image_size=predictor.image_size,
        infer=predictor.portable(),
        infer_plainly=predictor.portable(lambda config: lambda images: equalise(images, config), resize),
    )


def adapt(*, as_trained: bool) -> Adapt:
    """Return what makes of a trained model the one that is exported: as it was trained, or in float32."""
    return _as_it_is if as_trained else _in_float32


def _as_it_is(model: keras.Model, precision: Precision) -> keras.Model:
    del precision
    return model


def _in_float32(model: keras.Model, precision: Precision) -> keras.Model:
    if precision == "float32":
        return model

    def change(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        return type(layer).from_config(config | {"dtype": "float32"})

    return rebuild(model, change)
