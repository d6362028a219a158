"""What a row of the table of backbones says.

Plain data: `ptxtf.models.applications` makes rows by families, `ptxtf.models.backbones` lists them, and
`ptxtf.models.encoders` makes encoders of them.
"""

import dataclasses
from collections.abc import Callable

import keras

STRIDES = (2, 4, 8, 16, 32)


def level(stride: int) -> str:
    """Return the name of a stride's features: "P1" for 2 to "P5" for 32."""
    return f"P{stride.bit_length() - 1}"


@dataclasses.dataclass(frozen=True)
class ImageNetWeights:
    """A published weight file without the classifier.

    Args:
        url: of the file.
        checksum: MD5 or SHA-256, hexadecimal, whichever its publisher gives; None: it gives none.
        by_name: match layers by name; else by order, see `ptxtf.models.weights`.
    """

    url: str
    checksum: str | None
    by_name: bool = False


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Args:
        description: for people.
        build: builds the network without classifier and with random weights for RGB images of any size.
        taps: names of the layers whose outputs are taken at `strides`, finest first: five, or four for a network that
            begins with patches of 4x4 pixels and so has no map at stride 2.
        scaling: a key of `ptxtf.models.framing.SCALINGS`, what the network expects of images in 0..1.
        imagenet: where its ImageNet weights are; None: there are none.
        centre: put two convolutions behind stride 32, for networks that end in a pooling layer.
    """

    description: str
    build: Callable[[], keras.Model]
    taps: tuple[str, ...]
    scaling: str
    imagenet: ImageNetWeights | None = None
    centre: bool = False

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the taps in pixels: as many of 2, 4, 8, 16 and 32 as there are taps, from the coarsest."""
        return STRIDES[-len(self.taps) :]
