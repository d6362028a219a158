"""A classifier of whole images that shows where it looks: an encoder and its class activation map.

Flows in: radiographs, float32 [B, H, W, 1 or 3] in 0..1, of any size. Flows out: "presence", the logit that there is a
pneumothorax, float32 [B, 1], and "mask", the map that it is the mean of, float32 [B, H, W, 1].
"""

import os

import keras

from ptxtf.models.decoders import Decoded, Pyramid
from ptxtf.models.segmenter import segmenter


def classifier(
    backbone: str | keras.Model,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    weights: str | os.PathLike[str] | None = "imagenet",
    input_scaling: str | None = None,
    precision: str | None = None,
) -> keras.Model:
    """Build a classifier over a backbone, by class activation mapping (Zhou et al. 2016, https://arxiv.org/abs/1512.04150).

    A dense layer behind the mean of the coarsest features gives the same logit as the mean of a 1 x 1 convolution of
    them; the latter, enlarged, is a mask that nobody has drawn.

    Args:
        backbone: as `segmenter` takes it, as are the other arguments.
        input_shape: (height, width, channels) of the images in pixels.
        weights: of the encoder.
        input_scaling: a key of `SCALINGS`.
        precision: dtype policy.

    Returns:
        A keras.Model: images, float32 [B, H, W, 1 or 3] in 0..1 -> a dictionary of logits, "mask" float32 [B, H, W, 1]
        and "presence" float32 [B, 1], the mean of the former.

    Raises:
        ValueError: an argument is out of range, or a keras.Model lacks a stride.
        InputError: the backbone is unknown, or the weights cannot be had or do not fit.

    Example:
        >>> model = classifier("resnet50", weights=None)
        >>> model.output["presence"].shape
        (None, 1)
    """
    return segmenter(
        backbone,
        _coarsest,
        input_shape=input_shape,
        weights=weights,
        input_scaling=input_scaling,
        heads=("mask", "presence"),
        precision=precision,
    )


def _coarsest(pyramid: Pyramid) -> Decoded:
    return Decoded(pyramid["P5"], 32, sides=[], is_activation_map=True)
