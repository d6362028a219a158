"""A run -> the pure function that is exported: uint8 images of the network's size -> probabilities.

The one place of this room that knows how a run's network is put together. What comes out is a plain graph: nothing in
it is compiled by XLA, which a TensorFlow Serving lacks on CPUs unless --xla_cpu_compilation_enabled says otherwise, and
nothing is chosen for the processor at hand.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ptxtf import files, preprocess, rundir
from ptxtf.config import PreprocessConfig
from ptxtf.exporting.equalise import equalise
from ptxtf.models.rebuild import rebuild
from ptxtf.models.weights import load_model

Infer = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]
"""uint8 [B, S, S, 1] -> probabilities, float32 [B, S, S, 1], and presence, float32 [B], where the network tells it."""


class Network(NamedTuple):
    """A run's network, to be exported."""

    image_size: int
    """S: height and width that it sees, in pixels."""
    variables: tuple[tf.Variable, ...]
    infer: Infer
    infer_plainly: Infer
    """The same in operations that every converter knows, and slower: see `ptxtf.exporting.equalise`."""


def load(run_dir: files.Name, *, as_trained: bool = False) -> Network:
    """Load the final model of a run.

    Args:
        run_dir: that `ptxtf.train` wrote.
        as_trained: compute in the run's precision; else in float32.

    Raises:
        InputError: no finished run in that folder.
    """
    settings = rundir.read_flags(run_dir)
    model = load_model(files.path(run_dir) / rundir.MODEL)
    if isinstance(model.output, dict):  # heads that only training needs
        model = keras.Model(model.input, model.output["mask"])
    if not as_trained and settings.network.precision != "float32":
        model = _in_float32(model)
    return Network(
        image_size=settings.inputs.image_size,
        variables=tuple(variable.value for variable in model.variables),
        infer=_infer(model, settings.preprocessing, preprocess.equalise(settings.preprocessing)),
        infer_plainly=_infer(model, settings.preprocessing, lambda images: equalise(images, settings.preprocessing)),
    )


def _infer(model: keras.Model, config: PreprocessConfig, equalised: Callable[[tf.Tensor], tf.Tensor]) -> Infer:
    prepare = preprocess.for_inference(PreprocessConfig(clahe=False, mode=config.mode, patch_size=config.patch_size))

    def infer(images: tf.Tensor) -> tuple[tf.Tensor, None]:
        size = (images.shape[1], images.shape[2])
        logits = model(prepare(equalised(images)), training=False)
        return tf.sigmoid(preprocess.join(logits, config, image_size=size)), None

    return infer


def _in_float32(model: keras.Model) -> keras.Model:
    def change(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        return type(layer).from_config(config | {"dtype": "float32"})

    return rebuild(model, change)
