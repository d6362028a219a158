"""A trained network -> probabilities for radiographs of any size.

uint8 [B, H, W, 1] ─► resize ─► CLAHE, 0..1, cut (XLA) ─► model ─► stitch ─► sigmoid ─► resize ─► float32 [B, H, W, 1]
"""

import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from ptxtf import models, preprocess, rundir  # noqa: F401 - models registers the layers that a saved model holds
from ptxtf.config import PreprocessConfig
from ptxtf.errors import InputError


class Predictor:
    """Called with uint8 images [B, H, W, 1], 0..255, bright = dense; gives float32 probabilities of that shape.

    Images of another size than the network was trained on are resized to it (area averaging when they shrink), and the
    probabilities back (bilinear).

    Args:
        model: gives logits [B, h, w, 1] for float32 images in 0..1.
        config: the preprocessing that the model was trained with.
        image_size: height and width in pixels that it was trained on.
        xla: compile the model by XLA; default: where that pays, see `xla_pays`.

    Example:
        >>> probabilities = Predictor.load("runs/densenet121")(images)
    """

    def __init__(
        self, model: keras.Model, config: PreprocessConfig, *, image_size: int, xla: bool | None = None
    ) -> None:
        self.image_size = image_size
        logits = logits_function(model, config, xla=xla_pays() if xla is None else xla)
        self._probabilities = tf.function(lambda images: self._resize_around(images, logits), reduce_retracing=True)

    @classmethod
    def load(cls, run_directory: pathlib.Path | str) -> "Predictor":
        """Load the final model of a run.

        Raises:
            InputError: no finished run in that folder.
        """
        inputs, config, _, _ = rundir.read_flags(run_directory)
        path = pathlib.Path(run_directory) / rundir.MODEL
        if not path.is_file():
            raise InputError(f"{path}: expected the model of a finished run. Received: no such file")
        return cls(load_model(path), config, image_size=inputs.image_size)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return float32 probabilities [B, H, W, 1] for uint8 images [B, H, W, 1]."""
        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint8 or images.shape.rank != 4 or images.shape[-1] != 1:
            raise ValueError(f"expected images: uint8 [B, H, W, 1]. Received: {images.dtype.name} {images.shape}")
        return self._probabilities(images)

    def _resize_around(self, images: tf.Tensor, logits: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        size, original = (self.image_size, self.image_size), (images.shape[1], images.shape[2])
        if original == size:
            return tf.sigmoid(logits(images))
        method = "area" if min(original) >= self.image_size else "bilinear"
        resized = tf.cast(tf.round(tf.image.resize(images, size, method=method)), tf.uint8)
        return tf.image.resize(tf.sigmoid(logits(resized)), original, method="bilinear")


def logits_function(model: keras.Model, config: PreprocessConfig, *, xla: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function uint8 images [B, H, W, 1] -> float32 logits [B, H, W, 1], cut and stitched in patch mode.

    Preprocessing is compiled by XLA in any case, the model if `xla`; H and W must be static.
    """
    prepare = tf.function(preprocess.for_inference(config), jit_compile=True, reduce_retracing=True)
    infer = tf.function(lambda pieces: model(pieces, training=False), jit_compile=xla, reduce_retracing=True)

    def logits(images: tf.Tensor) -> tf.Tensor:
        return preprocess.join(infer(prepare(images)), config, image_size=(images.shape[1], images.shape[2]))

    return logits


def xla_pays() -> bool:
    """Return whether XLA makes a model faster here: on accelerators it does, on a CPU it does not."""
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def load_model(path: pathlib.Path) -> keras.Model:
    """Load model.keras.

    Raises:
        InputError: not a Keras model, or one with layers that this version does not know.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise InputError(
            f"{path}: expected a model saved by ptxtf.train. Received: {str(error).splitlines()[0]}"
        ) from None
