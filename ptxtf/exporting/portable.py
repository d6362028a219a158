"""A run, or several -> the pure function that is exported: uint8 images of the networks' size -> probabilities.

What comes out is a plain graph: nothing in it is compiled by XLA, which a TensorFlow Serving lacks on CPUs unless
--xla_cpu_compilation_enabled says otherwise, and nothing is chosen for the processor at hand.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ptxtf import files
from ptxtf.config import InferenceConfig, Precision
from ptxtf.exporting.equalise import equalise
from ptxtf.exporting.shrink import resize
from ptxtf.inference import Predictor
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
        models = [network.model for network in (*self.networks, *([self.gate] if self.gate else []))]
        return tuple(variable.value for model in models for variable in model.variables)


def load(run_dir: files.Name, asked: InferenceConfig | None = None, *, as_trained: bool = False) -> Portable:
    """Load what training left.

    Args:
        run_dir: as `ptxtf.inference.Predictor.load` takes it.
        asked: how the networks are asked.
        as_trained: compute in the precision of training; else in float32.

    Raises:
        InputError: as `Predictor.load`.
    """
    predictor = Predictor.load(run_dir, asked, adapt=_as_it_is if as_trained else _in_float32)
    return Portable(
        networks=predictor.networks,
        gate=predictor.gate,
        image_size=predictor.image_size,
        infer=predictor.portable(),
        infer_plainly=predictor.portable(lambda config: lambda images: equalise(images, config), resize),
    )


def _as_it_is(model: keras.Model, precision: Precision) -> keras.Model:
    del precision
    return model


def _in_float32(model: keras.Model, precision: Precision) -> keras.Model:
    if precision == "float32":
        return model

    def change(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        return type(layer).from_config(config | {"dtype": "float32"})

    return rebuild(model, change)
