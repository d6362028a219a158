"""Images as they are, equalised and scaled: what validation and prediction begin with."""

from collections.abc import Callable

import tensorflow as tf

from ptxtf import ops
from ptxtf.config import PreprocessConfig
from ptxtf.preprocess.tiles import cut, tiles_of


def equalise(config: PreprocessConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function that equalises images, uint8 [B, H, W, 1] -> the same; it is the same in each epoch."""
    rows, columns = config.tile_grid

    def apply(images: tf.Tensor) -> tf.Tensor:
        return ops.clahe(images, clip_limit=config.clip_limit, tile_grid=(rows, columns)) if config.clahe else images

    return apply


def for_inference(config: PreprocessConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function that prepares a batch without augmentation.

    Returns:
        A function of images (uint8 [B, H, W, 1], 0..255) that returns float32 in 0..1: [B, H, W, 1], or in patch mode
        [B * N, size, size, 1], an image's N patches row by row.
    """

    def prepare(images: tf.Tensor) -> tf.Tensor:
        return cut(ops.to_unit_range(equalise(config)(images)), tiles_of(config))

    return prepare
