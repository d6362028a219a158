"""A trained network and how it is asked -> one function from images to probabilities.

    uint8 [B, S, S, 1] ─► equalise ─► views ─► tiles ─► the network, part by part ─► logits
                                                  ─► tiles joined ─► sigmoid ─► views undone ─► float32 [B, S, S, 1]

All views and tiles of all images are one long batch for the network, which takes it in parts of one size: parts are
full whatever the images, and what a network holds while it computes does not grow with their number. (The pictures
themselves are in memory, and their logits. What `portable` gives takes them all at once.)
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ptxtf import devices, forward, preprocess
from ptxtf.config import PreprocessConfig

_SMALL_PART_PX, _LARGE_PART_PX = 2 * 256**2, 64 * 512**2
"""The most pixels of a part: of one beside others, each on one core (or it is a pair of pictures); of one at a time."""


class Outputs(NamedTuple):
    """What a network, or several, make of images.

    Attributes:
        probabilities: float32 [B, S, S, 1], of each pixel.
        presence: float32 [B], that there is a pneumothorax; None from networks without that head.
    """

    probabilities: tf.Tensor
    presence: tf.Tensor | None


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A trained network and how it is asked.

    Attributes:
        model: gives logits [B, h, w, 1], or by head, for float32 images in 0..1.
        config: the preprocessing that goes with it.
        image_size: height and width of the images that it is asked of, in pixels.
        weight: its share in the mean of several.
        tiles: that images are cut into; None: they are shown whole.
        views: at least one, of which one is not moved.
        xla: compile the network too.
    """

    model: keras.Model
    config: PreprocessConfig
    image_size: int
    weight: float = 1.0
    tiles: preprocess.Tiles | None = None
    views: Sequence[preprocess.View] = (preprocess.View(),)
    xla: bool = False

    @property
    def says_presence(self) -> bool:
        """Whether it has a logit for the whole image."""
        return "presence" in forward.heads_of(self.model)

    @property
    def heads(self) -> tuple[str, ...]:
        """Those that are asked."""
        return ("mask", "presence") if self.says_presence else ("mask",)

    @property
    def per_image(self) -> int:
        """How many pictures of an image it is shown."""
        size = (self.image_size, self.image_size)
        return len(self.views) * preprocess.tiles_per_image(self.tiles, image_size=size)


def ask(network: Network, *, in_pairs: bool) -> Callable[[tf.Tensor], Outputs]:
    """Return the function from uint8 images [B, S, S, 1] to `Outputs`, S being the network's image size.

    Args:
        network: which, and how it is asked.
        in_pairs: compute small parts at the same time, as `ptxtf.devices.one_core_per_operation` says.
    """
    logits_of = _logits_of(network, network.heads, in_pairs=in_pairs)
    prepare, finish = (
        tf.function(part, jit_compile=True, autograph=False) for part in (_prepare(network), _finish(network))
    )
    return lambda images: _outputs(network, logits_of(prepare(images)), finish)


def ask_presence(network: Network, *, in_pairs: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function from uint8 images [B, S, S, 1] to the probability of a pneumothorax, float32 [B].

    Args:
        network: one that `says_presence`; its masks are not computed.
        in_pairs: as in `ask`.
    """
    logits_of = _logits_of(network, ("presence",), in_pairs=in_pairs)
    prepare = tf.function(_prepare(network), jit_compile=True, autograph=False)
    return lambda images: _presence(network, logits_of(prepare(images)))


def portable(network: Network, equalise: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], Outputs]:
    """Return what `ask` does, in plain operations for any device, without XLA; the batch's size need not be known.

    Args:
        network: which, and how it is asked.
        equalise: uint8 images -> the same, equalised.
    """
    model = forward.with_heads(network.model, *network.heads)
    prepare, finish = _prepare(network, equalise), _finish(network)
    return lambda images: _outputs(network, model(prepare(images), training=False), finish)


def _outputs(network: Network, logits: Any, finish: Callable[[tf.Tensor], tf.Tensor]) -> Outputs:
    """Make of all pictures' logits what is said of the images."""
    if not network.says_presence:
        return Outputs(finish(logits), None)
    return Outputs(finish(logits["mask"]), _presence(network, logits["presence"]))


def _logits_of(network: Network, heads: Sequence[str], *, in_pairs: bool) -> forward.Logits:
    """Return the function from all pictures of a batch to the network's logits, which takes them part by part."""
    model = forward.with_heads(network.model, *heads)
    infer = forward.network_function(model, xla=network.xla, fixed=True)
    px = (network.tiles.size if network.tiles else network.image_size) ** 2
    if in_pairs:
        size = _even(max(2, network.per_image), max(2, _SMALL_PART_PX // px))
        return forward.in_parts(infer, size=size, at_once=devices.cores())

    def one_by_one(pictures: tf.Tensor) -> Any:
        size = _even(pictures.shape[0], _LARGE_PART_PX // px)
        return forward.in_parts(infer, size=size, at_once=1)(pictures)

    return one_by_one


def _even(count: int, most: int) -> int:
    """Return the size of parts that are as few as can be and alike, so that the last needs little filling up."""
    return math.ceil(count / math.ceil(count / max(1, most)))


def _prepare(
    network: Network, equalise: Callable[[tf.Tensor], tf.Tensor] | None = None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function from uint8 images [B, S, S, 1] to all that the network is shown, [V * B * N, h, w, 1]."""
    equalise = equalise or preprocess.equalise(network.config)
    return lambda images: preprocess.cut(preprocess.show(equalise(images), network.views), network.tiles)


def _finish(network: Network) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function from the logits of all that to the images' probabilities, float32 [B, S, S, 1]."""
    size = (network.image_size, network.image_size)

    def finish(logits: tf.Tensor) -> tf.Tensor:
        return preprocess.undo(tf.sigmoid(preprocess.join(logits, network.tiles, image_size=size)), network.views)

    return finish


def _presence(network: Network, logits: tf.Tensor) -> tf.Tensor:
    """Return the images' presence, [B], of all pictures' logits: the mean of the views, of each its surest tile."""
    each = tf.reshape(tf.sigmoid(logits), [len(network.views), -1, network.per_image // len(network.views)])
    return tf.reduce_mean(tf.reduce_max(each, axis=2), axis=0)
