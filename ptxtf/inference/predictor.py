"""Trained networks -> probabilities for radiographs of any size.

    uint8 [B, H, W, 1] ─► resize ─► each network (`inference.network`) ─► their mean ─► resize ─► float32 [B, H, W, 1]

Sizes that differ from the networks' are resized to them and back. All networks are one compiled function; it computes
one after another, so that memory is that of the largest.
"""

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ptxtf import files, forward, preprocess
from ptxtf.config import InferenceConfig, PreprocessConfig
from ptxtf.data import example
from ptxtf.errors import InputError
from ptxtf.inference import loading, members
from ptxtf.inference.network import Network, Outputs, ask, ask_presence, portable

Resize = Callable[[tf.Tensor, int], tf.Tensor]

_WINDOW = 4
"""Batches that a gate looks at before the images that pass are asked for masks, in batches as full as they can be."""


def _resize(images: tf.Tensor, size: int, *, xla: bool = True) -> tf.Tensor:
    """Return images, uint8 [B, H, W, 1], at another height and width."""
    return tf.ensure_shape(example.resize(images, (size, size), xla=xla), [images.shape[0], size, size, 1])


def _resize_without_xla(images: tf.Tensor, size: int) -> tf.Tensor:
    return _resize(images, size, xla=False)


class Film(NamedTuple):
    """A radiograph that is to be looked at; `of` makes one of pixels of any size.

    Attributes:
        key: whatever the caller knows it by.
        image: uint8 [image_size, image_size, 1].
        size: height and width of the result in pixels.
    """

    key: Any
    image: tf.Tensor
    size: tuple[int, ...]

    @classmethod
    def of(cls, key: Any, pixels: np.ndarray, image_size: int) -> "Film":
        """Return a film of uint8 pixels [H, W], for networks that see images of image_size.

        Raises:
            ValueError: `pixels` is no such array.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
            raise ValueError(f"expected pixels: uint8 [H, W]. Received: {pixels.dtype} {pixels.shape}")
        image = example.resize(pixels[np.newaxis, ..., np.newaxis], (image_size, image_size))[0]
        return cls(key, image, pixels.shape)


class Found(NamedTuple):
    """What is found in one radiograph.

    Attributes:
        probabilities: float32 [H, W], of each pixel; 0 where the gate shut the image out.
        presence: probability of a pneumothorax, of a classifier or a presence head; nan without either.
        seconds: that it took, its share of the batch's.
    """

    probabilities: np.ndarray
    presence: float
    seconds: float


class Predictor:
    """Called with uint8 images [B, H, W, 1], 0..255, bright = dense; gives float32 probabilities of that shape.

    Images of another size than the networks were trained on are resized to it as the records are, and the probabilities
    back (bilinear). Each new shape is compiled once.

    Args:
        networks: whose weighted mean is taken.
        gate: the network that says whether there is a pneumothorax at all; None: the networks themselves, if all do.
        in_pairs: divide batches in small parts, as `ptxtf.devices.one_core_per_operation` says.
        name: of them, for messages.

    Example:
        >>> probabilities = Predictor.load("runs/densenet121")(images)
    """

    def __init__(
        self,
        networks: Sequence[Network],
        *,
        gate: Network | None = None,
        in_pairs: bool = False,
        name: str = "the model",
    ) -> None:
        self.networks = networks
        self.gate = gate
        self.image_size = max(network.image_size for network in networks)
        self.says_presence = bool(gate) or all(network.says_presence for network in networks)
        self._in_pairs = in_pairs
        self.name = name

    @functools.cached_property
    def _ask(self) -> Callable[[tf.Tensor], Outputs]:
        """uint8 [B, image_size, image_size, 1] -> what all networks find."""
        functions = [ask(network, in_pairs=self._in_pairs) for network in self.networks]
        return self._compiled(lambda images: self._mean(functions, images), *self.networks)

    @functools.cached_property
    def _ask_gate(self) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """The same images -> presence [B], by the gate; None without one."""
        gate = self.gate
        if not gate:
            return None
        function = ask_presence(gate, in_pairs=self._in_pairs)
        return self._compiled(lambda images: function(_resized(images, gate.image_size)), gate)

    def _compiled(self, function: Callable[[tf.Tensor], Any], *networks: Network) -> Callable[[tf.Tensor], Any]:
        """Return a function as one graph; of one network that XLA compiles, as one program of XLA.

        In a program several would take their memory together, and XLA cannot average areas to make images smaller.
        """
        is_program = len(networks) == 1 and networks[0].xla and networks[0].image_size == self.image_size
        return tf.function(function, jit_compile=is_program and not self._in_pairs, autograph=False)

    @classmethod
    def load(
        cls, run_directory: files.Name, asked: InferenceConfig | None = None, *, in_pairs: bool = False
    ) -> "Predictor":
        """Load what training left.

        Args:
            run_directory: that `ptxtf.train` or `ptxtf.ensemble` wrote; or several, with commas between.
            asked: how the networks are to be asked; by default as they were trained, or as the ensemble's folder says.
            in_pairs: as the class takes it.

        Raises:
            InputError: no finished run in that folder; settings that do not go with it.
        """
        return cls.of(members.find(run_directory, asked), in_pairs=in_pairs)

    @classmethod
    def of(
        cls, found: members.Members, *, in_pairs: bool = False, adapt: loading.Adapt = forward.for_this_device
    ) -> "Predictor":
        """Load networks.

        Args:
            found: which they are.
            in_pairs: as the class takes it.
            adapt: makes of a model, and the precision that it was trained in, the one that computes.

        Raises:
            InputError: a run is not finished; settings that do not go with it.
        """
        networks, gate = loading.load(found, adapt)
        return cls(networks, gate=gate, in_pairs=in_pairs, name=", ".join(str(member.file) for member in found.all))

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return float32 probabilities [B, H, W, 1] for uint8 images [B, H, W, 1]; a gate has no part in them."""
        images = tf.convert_to_tensor(images)
        shape = images.shape
        is_known = shape.rank == 4 and shape[0] is not None and all(shape[1:3])
        if images.dtype != tf.uint8 or not is_known or shape[-1] != 1:
            raise ValueError(
                f"expected images: uint8 [B, H, W, 1] of known size. Received: {images.dtype.name} {shape}"
            )
        if not shape[0]:
            raise ValueError("expected images: at least one. Received: none")
        size, original = (self.image_size, self.image_size), tuple(shape[1:3])
        if original == size:
            return self._ask(images).probabilities
        found = self._ask(example.resize(images, size)).probabilities
        return tf.image.resize(found, original, method="bilinear")

    def each(self, films: Iterable[Film], *, batch_size: int, gate: float = 0.0) -> Iterator[tuple[Any, Found]]:
        """Yield the key of one film after another with what is found in it.

        Batches are filled across films, the last with black images, so that one compiled program serves all.

        Args:
            films: radiographs, of which no more are taken at a time than a few batches.
            batch_size: images that are computed together.
            gate: films whose presence, as a classifier says it, is below are not asked for masks.

        Raises:
            InputError: a network gives nan.
            ValueError: a film's image is of another size; a batch of less than one.
        """
        if batch_size < 1:
            raise ValueError(f"expected batch_size of at least 1. Received: {batch_size}")
        classify = self._ask_gate
        for group in _groups(films, _WINDOW * batch_size if classify else batch_size):
            presence, seconds = self._presence(classify, group, batch_size)
            passing = [film for film, one in zip(group, presence, strict=True) if not one < gate]
            masks = self._masks(passing, batch_size)
            for film, one in zip(group, presence, strict=True):
                if one < gate:
                    yield film.key, Found(np.zeros(film.size, np.float32), one, seconds)
                    continue
                found = next(masks)
                said = one if classify else found.presence
                yield film.key, found._replace(presence=said, seconds=found.seconds + seconds)

    def portable(
        self,
        equalise: Callable[[PreprocessConfig], Callable[[tf.Tensor], tf.Tensor]] = preprocess.equalise,
        resize: Resize = _resize_without_xla,
    ) -> Callable[[tf.Tensor], Outputs]:
        """Return the function from uint8 images [B, S, S, 1] of `image_size` to `Outputs`, in plain operations.

        B need not be known; what it captures are the variables of the networks' models.

        Args:
            equalise: makes of settings what equalises images by them.
            resize: brings images to a network's own size.
        """
        functions = [portable(network, equalise(network.config)) for network in self.networks]
        gate = self.gate
        if not gate:
            return lambda images: self._mean(functions, images, resize)
        classify = portable(gate, equalise(gate.config))

        def outputs(images: tf.Tensor) -> Outputs:
            presence = classify(_resized(images, gate.image_size, resize)).presence
            return self._mean(functions, images, resize)._replace(presence=presence)

        return outputs

    def _mean(
        self, functions: Sequence[Callable[[tf.Tensor], Outputs]], images: tf.Tensor, resize: Resize = _resize
    ) -> Outputs:
        """Return the weighted mean of what the networks find."""
        size = (self.image_size, self.image_size)
        say_presence = self.says_presence and not self.gate
        probabilities, presence = tf.constant(0.0), tf.constant(0.0)
        for network, one in zip(self.networks, functions, strict=True):
            with tf.control_dependencies([probabilities]):  # or all would take their memory at the same time
                found = one(_resized(images, network.image_size, resize))
            masks = found.probabilities
            if network.image_size != self.image_size:
                masks = tf.image.resize(masks, size, method="bilinear")
            probabilities += network.weight * masks
            if say_presence and found.presence is not None:
                presence += network.weight * found.presence
        return Outputs(probabilities, presence if say_presence else None)

    def _presence(
        self, classify: Callable[[tf.Tensor], tf.Tensor] | None, films: Sequence[Film], batch_size: int
    ) -> tuple[list[float], float]:
        """Return what a gate says of each film, nan without one, and the seconds that it took of each."""
        if classify is None:
            return [np.nan] * len(films), 0.0
        start = time.perf_counter()
        found: list[float] = []
        for group in _groups(films, batch_size):
            found += self._checked(classify(self._stacked(group, batch_size)).numpy())[: len(group)].tolist()
        return found, (time.perf_counter() - start) / len(films)

    def _masks(self, films: Sequence[Film], batch_size: int) -> Iterator[Found]:
        """Yield what the networks find in one film after another."""
        for group in _groups(films, batch_size):
            start = time.perf_counter()
            outputs = self._ask(self._stacked(group, batch_size))
            said = outputs.presence
            presence = [np.nan] * len(group) if said is None else self._checked(said.numpy()).tolist()
            small = self._checked(outputs.probabilities.numpy())
            seconds = (time.perf_counter() - start) / len(group)
            for film, probabilities, one in zip(group, small, presence, strict=False):
                grown = tf.image.resize(probabilities, film.size, method="bilinear").numpy()[..., 0]
                yield Found(grown, one, seconds)

    def _stacked(self, films: Sequence[Film], batch_size: int) -> tf.Tensor:
        """Return the films' images as one batch, filled up with black ones: uint8 [batch_size, S, S, 1]."""
        images = [tf.convert_to_tensor(film.image) for film in films]  # of NumPy's arrays tf.stack makes int32
        shape = (self.image_size, self.image_size, 1)
        for image in images:
            if image.dtype != tf.uint8 or tuple(image.shape) != shape:
                raise ValueError(f"expected images: uint8 {shape}. Received: {image.dtype.name} {image.shape}")
        return tf.stack([*images, *[tf.zeros(shape, tf.uint8)] * (batch_size - len(images))])

    def _checked(self, numbers: np.ndarray) -> np.ndarray:
        if not np.isfinite(numbers).all():
            raise InputError(f"{self.name}: expected a model that gives numbers. Received: nan")
        return numbers


def _groups(films: Iterable[Film], size: int) -> Iterator[list[Film]]:
    """Yield up to `size` neighbours."""
    rest = iter(films)
    while group := list(itertools.islice(rest, size)):
        yield group


def _resized(images: tf.Tensor, size: int, resize: Resize = _resize) -> tf.Tensor:
    """Return square images as a network sees them, which may be of another size."""
    return images if images.shape[1] == size else resize(images, size)
