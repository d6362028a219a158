"""Host batches -> model inputs: the one place that turns settings into calls of `ptxtf.ops`.

Flows in: uint8 images 0..255 and uint8 masks of {0, 1}, [B, H, W, 1]. Flows out: float32 images in 0..1 and float32
masks of {0, 1}: whole images [B, H, W, 1], or patches.

    training:   CLAHE ─► 0..1 ─► one affine warp (rotation, zoom, flip; mask too) ─► brightness ─► clip ─► cut
    inference:  CLAHE ─► 0..1 ─► cut

The functions that come out are pure and XLA-compilable; they give the same numbers eagerly, compiled, on the device or
inside tf.data. Values leave 0..1 only by brightness and are clipped here, once.
"""

from collections.abc import Callable

import tensorflow as tf

from ptxtf import ops
from ptxtf.config import PreprocessConfig
from ptxtf.ops.draws import uniforms

_STREAM = 3  # keeps the draw of the patch order apart from an example's other draws, see ops.draws


def for_training(config: PreprocessConfig) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Return the function that augments a batch.

    Returns:
        A function of images (uint8 [B, H, W, 1], 0..255), masks (uint8 [B, H, W, 1] of {0, 1}) and seeds (int32 [B, 2])
        that returns images and masks as float32 [S, B, h, w, 1], the batches of S training steps: whole images give one
        step; patch mode gives one step per patch of an image, each example's patches in an order of its own, so that a
        step sees B different radiographs and an epoch every patch once.
    """

    def augment(images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = _equalise(images, config)
        images, masks = _move(images, masks, seeds, config)
        factors = ops.draw_brightness(seeds, brightness=config.brightness)
        images = tf.clip_by_value(ops.adjust_brightness(images, factors), 0.0, 1.0)
        masks = tf.cast(masks, tf.float32)
        if config.mode == "whole":
            return images[tf.newaxis], masks[tf.newaxis]
        return _patch_steps(images, masks, seeds, config)

    return augment


def for_inference(config: PreprocessConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function that prepares a batch without augmentation.

    Returns:
        A function of images (uint8 [B, H, W, 1], 0..255) that returns float32 in 0..1: [B, H, W, 1], or in patch mode
        [B * N, size, size, 1], an image's N patches row by row.
    """

    def prepare(images: tf.Tensor) -> tf.Tensor:
        return cut(_equalise(images, config), config)

    return prepare


def cut(images: tf.Tensor, config: PreprocessConfig) -> tf.Tensor:
    """Return what the network sees of images [B, H, W, C]: themselves, or in patch mode [B * N, size, size, C]."""
    if config.mode == "whole":
        return images
    patches = ops.extract_patches(images, size=config.patch_size)
    return tf.reshape(patches, [-1, config.patch_size, config.patch_size, images.shape[-1]])


def piece_count(config: PreprocessConfig, *, image_size: tuple[int, int]) -> int:
    """Return how many pieces `cut` makes of an image of this height and width."""
    if config.mode == "whole":
        return 1
    rows, columns = (-(-length // config.patch_size) for length in image_size)
    return rows * columns


def join(outputs: tf.Tensor, config: PreprocessConfig, *, image_size: tuple[int, int]) -> tf.Tensor:
    """Undo `cut`: return [B, *image_size, C] from what the network made of the pieces."""
    if config.mode == "whole":
        return outputs
    patches = tf.reshape(outputs, [-1, piece_count(config, image_size=image_size), *outputs.shape[1:]])
    return ops.stitch_patches(patches, image_size=image_size)


def _equalise(images: tf.Tensor, config: PreprocessConfig) -> tf.Tensor:
    if config.clahe:
        rows, columns = config.tile_grid
        images = ops.clahe(images, clip_limit=config.clip_limit, tile_grid=(rows, columns))
    return ops.to_unit_range(images)


def _move(
    images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor, config: PreprocessConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotate, zoom and flip each image and its mask by the same drawn parameters."""
    low, high = config.rotation_degrees
    rotation_radians, zoom, flip = ops.draw_affine(
        seeds, rotation_degrees=(low, high), zoom=config.zoom, flip_probability=config.flip_probability
    )
    matrices = ops.affine_matrices(
        rotation_radians=rotation_radians, zoom=zoom, flip=flip, image_size=(images.shape[1], images.shape[2])
    )
    moved = ops.warp_affine(images, matrices, interpolation="bilinear")
    return moved, ops.warp_affine(masks, matrices, interpolation="nearest")


def _patch_steps(
    images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor, config: PreprocessConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images and masks as patches [N, B, size, size, 1], each example's N patches in random order."""
    both = tf.concat([images, masks], axis=-1)
    patches = ops.extract_patches(both, size=config.patch_size)  # [B, N, size, size, 2]
    count = patches.shape[1]

    order = tf.argsort(uniforms(seeds, stream=_STREAM, count=count), axis=1)  # [B, N]
    patches = tf.gather(patches, order, batch_dims=1)
    patches = tf.transpose(patches, [1, 0, 2, 3, 4])
    return patches[..., :1], patches[..., 1:]
