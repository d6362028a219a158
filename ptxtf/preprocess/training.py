"""A batch and its seeds -> the batches of training steps: what is moved, changed and cut at random.

Each example's numbers are drawn of its own seed alone, and image and mask share them.
"""

from collections.abc import Callable

import tensorflow as tf

from ptxtf import ops
from ptxtf.config import PreprocessConfig
from ptxtf.ops.draws import Stream, uniforms
from ptxtf.preprocess.inference import equalise
from ptxtf.preprocess.tiles import tiles_of, tiles_per_image

Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""What `for_training` returns."""


def for_training(config: PreprocessConfig, *, equalised: bool = False, xla: bool = False) -> Augment:
    """Return the function that augments a batch.

    Args:
        config: what to do.
        equalised: the images come equalised already.
        xla: return it compiled by XLA, instead of a plain function that gives the same numbers anywhere.

    Returns:
        A function of images (uint8 [B, H, W, 1], 0..255), masks (uint8 [B, H, W, 1] of {0, 1}) and seeds (int32 [B, 2])
        that returns images and masks as float32 [S, B, h, w, 1], the batches of S training steps: whole images give one
        step; patch mode gives one step per patch of the grid, so that a step sees B different radiographs. An example
        takes the grid's patches in an order of its own, or as many at random.
    """

    def augment(images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = images if equalised else equalise(config)(images)
        images, masks = _move(images, masks, seeds, config)
        # The bounds change nothing; they keep XLA from joining the factors of range and brightness, which would round
        # differently.
        images = tf.clip_by_value(ops.to_unit_range(images), 0.0, 1.0)
        images = _change_pixels(images, seeds, config)
        if config.mode == "patch":
            cut_patches = _random_patches if config.patches == "random" else _grid_patches
            images, masks = cut_patches(images, masks, seeds, config)
        return images, tf.cast(masks, tf.float32)

    compiled = tf.function(augment, jit_compile=True, autograph=False) if xla else augment

    def steps(images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, masks = compiled(images, masks, seeds)
        # Behind what is compiled: inside it, XLA would copy both batches for this axis of one.
        return (images[tf.newaxis], masks[tf.newaxis]) if config.mode == "whole" else (images, masks)

    return tf.function(steps, autograph=False) if xla else steps


def _move(
    images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor, config: PreprocessConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Move each image and its mask by the same drawn parameters: float32 images in 0..255, uint8 masks."""
    low, high = config.rotation_degrees
    if not (high or config.zoom or config.flip_probability or config.shear_degrees or config.shift):
        return tf.cast(images, tf.float32), masks
    drawn = ops.draw_affine(
        seeds,
        rotation_degrees=(low, high),
        zoom=config.zoom,
        flip_probability=config.flip_probability,
        shear_degrees=config.shear_degrees,
        shift=config.shift,
    )
    matrices = ops.affine_matrices(**drawn._asdict(), image_size=(images.shape[1], images.shape[2]))
    moved = ops.warp_affine(images, matrices, interpolation="bilinear", fill_mode=config.fill_mode)
    return moved, ops.warp_affine(masks, matrices, interpolation="nearest", fill_mode=config.fill_mode)


def _change_pixels(images: tf.Tensor, seeds: tf.Tensor, config: PreprocessConfig) -> tf.Tensor:
    """Change what of an image leaves its mask as it is: float32 [B, H, W, 1] in 0..1 -> the same."""
    if config.gamma:
        images = ops.adjust_gamma(images, ops.draw_gamma(seeds, gamma=config.gamma))
    if config.blur_px:
        sigmas_px = ops.draw_blur(seeds, sigma_px=config.blur_px)
        images = ops.blur(images, sigmas_px, largest_sigma_px=config.blur_px)
    if config.contrast:
        images = ops.adjust_contrast(images, ops.draw_contrast(seeds, contrast=config.contrast))
    if config.noise:  # before brightness: a product and then a sum would be fused by a compiler, and round once
        _, height, width, channels = images.shape
        noise = ops.draw_noise(seeds, noise=config.noise, image_shape=(height, width, channels))
        images = ops.add_noise(images, noise)
    if config.brightness:
        images = ops.adjust_brightness(images, ops.draw_brightness(seeds, brightness=config.brightness))
    images = tf.clip_by_value(images, 0.0, 1.0)
    if config.cutout:
        size = (images.shape[1], images.shape[2])
        images = ops.cut_out(images, ops.draw_cutout(seeds, image_size=size, largest_share=config.cutout))
    return images


def _grid_patches(
    images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor, config: PreprocessConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return each example's N patches of the grid in random order, images and masks [N, B, size, size, 1]."""
    count = tiles_per_image(tiles_of(config), image_size=(images.shape[1], images.shape[2]))
    order = tf.argsort(uniforms(seeds, stream=Stream.PATCH_ORDER, count=count), axis=1)  # [B, N]

    def cut_in_order(pixels: tf.Tensor) -> tf.Tensor:
        patches = tf.gather(ops.extract_patches(pixels, size=config.patch_size), order, batch_dims=1)
        return tf.transpose(patches, [1, 0, 2, 3, 4])

    return cut_in_order(images), cut_in_order(masks)


def _random_patches(
    images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor, config: PreprocessConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return as many patches as the grid has from random places, images and masks [N, B, size, size, 1]."""
    corners = ops.draw_corners(
        seeds,
        masks,
        size=config.patch_size,
        count=tiles_per_image(tiles_of(config), image_size=(images.shape[1], images.shape[2])),
        foreground_share=config.foreground_share,
    )

    def crop(pixels: tf.Tensor) -> tf.Tensor:
        return tf.transpose(ops.crop_patches(pixels, corners, size=config.patch_size), [1, 0, 2, 3, 4])

    return crop(images), crop(masks)
