"""A trained network -> probabilities for radiographs of any size.

    uint8 [B, H, W, 1] ─► resize ─► logits (`ptxtf.forward`) ─► sigmoid ─► resize ─► float32 [B, H, W, 1]

Sizes that differ from the network's are resized to it and back.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from ptxtf import files, forward, rundir
from ptxtf.data import example
from ptxtf.errors import InputError
from ptxtf.models.weights import load_model


class Predictor:
    """Called with uint8 images [B, H, W, 1], 0..255, bright = dense; gives float32 probabilities of that shape.

    Images of another size than the network was trained on are resized to it as the records are, and the probabilities
    back (bilinear). Each new shape is compiled once.

    Args:
        logits: uint8 [B, image_size, image_size, 1] -> float32 logits of that shape, from `forward.logits_function`.
        image_size: height and width in pixels that the network was trained on.
        name: of it, for messages.

    Example:
        >>> probabilities = Predictor.load("runs/densenet121")(images)
    """

    def __init__(self, logits: forward.Logits, *, image_size: int, name: str = "the model") -> None:
        self.image_size = image_size
        self._name = name
        self._logits = logits

    @classmethod
    def load(cls, run_directory: files.Name, *, in_pairs: bool = False) -> "Predictor":
        """Load the final model of a run.

        Args:
            run_directory: that `ptxtf.train` wrote.
            in_pairs: divide batches in pairs, as `ptxtf.devices.one_core_per_operation` says.

        Raises:
            InputError: no finished run in that folder.
        """
        settings = rundir.read_flags(run_directory)
        path = files.path(run_directory) / rundir.MODEL
        if not path.is_file():
            raise InputError(f"{path}: expected the model of a finished run. Received: no such file")
        xla = forward.use_xla(settings.training.xla)
        trained = load_model(path)
        _check_input(trained, path, settings.inputs.image_size, is_whole=settings.preprocessing.mode == "whole")
        model = forward.for_this_device(trained, settings.network.precision)
        logits = forward.logits_function(model, settings.preprocessing, xla=xla, fixed=True, in_pairs=in_pairs)
        return cls(logits, image_size=settings.inputs.image_size, name=str(path))

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return float32 probabilities [B, H, W, 1] for uint8 images [B, H, W, 1]."""
        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint8 or images.shape.rank != 4 or images.shape[-1] != 1:
            raise ValueError(f"expected images: uint8 [B, H, W, 1]. Received: {images.dtype.name} {images.shape}")
        if not images.shape[0]:
            raise ValueError("expected images: at least one. Received: none")
        size, original = (self.image_size, self.image_size), tuple(images.shape[1:3])
        if original == size:
            return tf.sigmoid(self._logits(images))
        probabilities = tf.sigmoid(self._logits(example.resize(images, size)))
        return tf.image.resize(probabilities, original, method="bilinear")

    def one_by_one(
        self, images: Sequence[tf.Tensor], sizes: Sequence[tuple[int, int]], *, batch_size: int
    ) -> Iterator[np.ndarray]:
        """Yield the probabilities of one image after another, float32 [H, W].

        Args:
            images: uint8 [image_size, image_size, 1], up to batch_size of them. The batch is filled up, so that one
                compiled program serves all.
            sizes: height and width of each result in pixels.
            batch_size: images that are computed together.

        Raises:
            InputError: the model gives nan.
        """
        filled = [tf.convert_to_tensor(image) for image in images]  # of NumPy's arrays tf.stack makes int32
        filled += [tf.zeros_like(filled[0])] * (batch_size - len(images))
        for probabilities, size in zip(self(tf.stack(filled)), sizes, strict=False):
            if not np.isfinite(probabilities).all():
                raise InputError(f"{self._name}: expected a model that gives numbers. Received: nan")
            yield tf.image.resize(probabilities, size, method="bilinear").numpy()[..., 0]


def _check_input(model: keras.Model, path: files.Path, image_size: int, *, is_whole: bool) -> None:
    """Raise InputError unless a model takes grey images, and whole ones of this size."""
    shape = tuple(model.input_shape)
    if len(shape) != 4 or shape[3] != 1:
        raise InputError(f"{path}: expected a model for grey images, [B, H, W, 1]. Received: one for {shape}")
    if is_whole and not {shape[1], shape[2]} <= {None, image_size}:
        raise InputError(
            f"{path}: expected a model for images of {image_size} x {image_size} pixels. Received: one for {shape}"
        )
