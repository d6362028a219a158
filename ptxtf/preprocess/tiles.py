"""Whole images -> patches or tiles, as a network sees them, and what it makes of them back.

Patches are what a network was trained on, side by side; tiles are any squares that it is asked of, which may overlap.
"""

import dataclasses

import tensorflow as tf

from ptxtf import ops
from ptxtf.config import InferenceConfig, PreprocessConfig
from ptxtf.ops.grid import patch_count


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Squares of a grid from the upper left corner on.

    Attributes:
        size: height and width in pixels.
        stride: step to the next one in pixels, 1..size.
    """

    size: int
    stride: int

    @property
    def window(self) -> str:
        """How they are blended."""
        return "gaussian" if self.stride < self.size else "uniform"


def tiles_of(config: PreprocessConfig, asked: InferenceConfig | None = None) -> Tiles | None:
    """Return the tiles that images are cut into: as in training, unless it is asked otherwise; None: whole images."""
    asked_size, overlap = (asked.tile_size, asked.tile_overlap) if asked else (0, 0.0)
    size = asked_size or (config.patch_size if config.mode == "patch" else 0)
    return Tiles(size, max(1, round(size * (1 - overlap)))) if size else None


def cut(images: tf.Tensor, tiles: Tiles | None) -> tf.Tensor:
    """Return what the network sees of images [B, H, W, C]: themselves, or [B * N, size, size, C], row by row."""
    if tiles is None:
        return images
    patches = ops.extract_patches(images, size=tiles.size, stride=tiles.stride)
    return tf.reshape(patches, [-1, tiles.size, tiles.size, images.shape[-1]])


def tiles_per_image(tiles: Tiles | None, *, image_size: tuple[int, int]) -> int:
    """Return how many tiles `cut` makes of an image of this height and width; 1 for whole images."""
    if tiles is None:
        return 1
    rows, columns = (patch_count(length, size=tiles.size, stride=tiles.stride) for length in image_size)
    return rows * columns


def join(outputs: tf.Tensor, tiles: Tiles | None, *, image_size: tuple[int, int]) -> tf.Tensor:
    """Undo `cut`: return [B, *image_size, C] from what the network made of the tiles, blended where they overlap."""
    if tiles is None:
        return outputs
    patches = tf.reshape(outputs, [-1, tiles_per_image(tiles, image_size=image_size), *outputs.shape[1:]])
    return ops.stitch_patches(patches, image_size=image_size, stride=tiles.stride, window=tiles.window)
