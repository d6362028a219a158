"""Square patches at random places, as often as asked for at places with foreground.

Flows in: masks [B, H, W, 1], 0 or 1, and images [B, H, W, C] of any dtype and range. Flows out: patches
[B, count, size, size, C] of the same.

A small lesion fills few pixels, and patches at uniform places nearly always miss it. Where the patches lie is drawn
(`draw_corners`) apart from cutting them (`crop_patches`), so that an image and its mask share the places.
"""

import operator

import tensorflow as tf

from ptxtf.ops.checks import check_seeds
from ptxtf.ops.draws import Stream, uniforms
from ptxtf.ops.grid import checked_size


def draw_corners(seeds: tf.Tensor, masks: tf.Tensor, *, size: int, count: int, foreground_share: float) -> tf.Tensor:
    """Draw where each example's patches lie, from its own seed and mask alone.

    With probability foreground_share a patch contains a pixel chosen uniformly among all foreground pixels of its mask;
    where around that pixel it lies is uniform among the places inside the image. Otherwise, and in a mask without
    foreground, it is uniform among all places inside the image. An example's patches are independent and may overlap.

    Args:
        seeds: int32 [B, 2], one seed per example.
        masks: uint8 or float32 [B, H, W, 1], 0 or 1, 1 being foreground; H and W known, at least size.
        size: height and width of a patch, in pixels.
        count: patches per example, at least 1.
        foreground_share: probability that a patch is laid over foreground, 0..1.

    Returns:
        int32 [B, count, 2], (top, left) of the patches, 0..H - size and 0..W - size, as `crop_patches` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], the masks not uint8 or float32 [B, H, W, 1] with known H and W and
            as many as the seeds, or an option is out of its range.

    Example:
        >>> corners = draw_corners(seeds, masks, size=128, count=4, foreground_share=0.5)
        >>> patches, mask_patches = (crop_patches(batch, corners, size=128) for batch in (images, masks))
    """
    seeds, masks = tf.convert_to_tensor(seeds), tf.convert_to_tensor(masks)
    size, count = operator.index(size), operator.index(count)
    _check_draw_arguments(seeds, masks, size, count, foreground_share)
    drawn = uniforms(seeds, stream=Stream.CORNERS, count=4 * count)
    coins, pixel_shares, *place_shares = tf.unstack(tf.reshape(drawn, [-1, 4, count]), axis=1)  # four of [B, count]
    is_foreground = masks[..., 0] > 0
    in_rows = tf.reduce_sum(tf.cast(is_foreground, tf.int32), axis=2)  # [B, H]
    totals = tf.reduce_sum(in_rows, axis=1, keepdims=True)  # [B, 1]
    ranks = _whole_below(pixel_shares, totals)
    over_foreground = (coins < foreground_share) & (totals > 0)
    corners = []
    pixels = _find(ranks, is_foreground, in_rows)
    for coordinates, shares, length in zip(pixels, place_shares, masks.shape[1:3], strict=True):
        first = tf.where(over_foreground, tf.maximum(coordinates - size + 1, 0), 0)
        last = tf.where(over_foreground, tf.minimum(coordinates, length - size), length - size)
        corners.append(first + _whole_below(shares, last - first + 1))
    return tf.stack(corners, axis=2)


def crop_patches(images: tf.Tensor, corners: tf.Tensor, *, size: int) -> tf.Tensor:
    """Cut square patches out of each image.

    Args:
        images: [B, H, W, C] of any dtype and range; H and W at least size.
        corners: int32 [B, count, 2], (top, left) of the patches, 0..H - size and 0..W - size.
        size: height and width of a patch, in pixels.

    Returns:
        [B, count, size, size, C] in the images' dtype, their own pixels.

    Raises:
        ValueError: the images are not of rank 4, the corners not int32 [B, count, 2], or size does not fit the images.
        tf.errors.InvalidArgumentError: a patch reaches beyond its image, which XLA does not check.

    Example:
        >>> patches = crop_patches(images, corners, size=128)  # [B, count, 128, 128, C]
    """
    images, corners, size = tf.convert_to_tensor(images), tf.convert_to_tensor(corners), operator.index(size)
    _check_crop_arguments(images, corners, size)
    batch, height, width, channels = tf.unstack(tf.shape(images))
    are_inside = tf.reduce_all((corners >= 0) & (corners <= tf.stack([height, width]) - size))
    message = f"expected corners of patches inside the images, size={size}"
    # Before the gather, which might say something less clear first.
    with tf.control_dependencies([tf.debugging.assert_equal(are_inside, True, message)]):
        corners = tf.identity(corners)
    # Not sliced: Grappler shortens a slice of corners that were just stacked, and loses the axis it adds.
    top, left = tf.unstack(corners, axis=2)
    within = tf.range(size)
    rows, columns = top[..., tf.newaxis] + within, left[..., tf.newaxis] + within  # two of [B, count, size]
    row_starts = ((tf.range(batch) * height)[:, tf.newaxis, tf.newaxis] + rows) * width
    indices = row_starts[..., tf.newaxis] + columns[:, :, tf.newaxis]  # [B, count, size, size]
    patches = tf.gather(tf.reshape(images, [-1, channels]), indices)  # of [B * H * W, C]
    return tf.ensure_shape(patches, [*corners.shape[:2], size, size, images.shape[3]])


def _check_draw_arguments(seeds: tf.Tensor, masks: tf.Tensor, size: int, count: int, foreground_share: float) -> None:
    check_seeds(seeds)
    shape = masks.shape
    if masks.dtype not in (tf.uint8, tf.float32) or shape.rank != 4 or None in shape[1:3] or shape[3] != 1:
        raise ValueError(
            f"expected uint8 or float32 masks [B, H, W, 1] with known H and W. "
            f"Received: dtype={masks.dtype.name}, shape={shape}"
        )
    if not shape[:1].is_compatible_with(seeds.shape[:1]):
        raise ValueError(f"expected a mask for each of {seeds.shape[0]} seeds. Received: shape={shape}")
    checked_size(tuple(shape[1:3]), size, None)
    if count < 1:
        raise ValueError(f"expected count of at least 1. Received: count={count}")
    if not 0 <= foreground_share <= 1:
        raise ValueError(f"expected foreground_share in 0..1. Received: foreground_share={foreground_share}")


def _check_crop_arguments(images: tf.Tensor, corners: tf.Tensor, size: int) -> None:
    if images.shape.rank != 4:
        raise ValueError(f"expected images [B, H, W, C]. Received: shape={images.shape}")
    if size < 1 or any(length is not None and length < size for length in images.shape[1:3]):
        raise ValueError(f"expected size from 1 to the images' sides, {images.shape[1:3]}. Received: size={size}")
    shape = corners.shape
    if corners.dtype != tf.int32 or shape.rank != 3 or not shape.is_compatible_with([images.shape[0], None, 2]):
        raise ValueError(
            f"expected int32 corners [{images.shape[0] or 'B'}, count, 2]. "
            f"Received: dtype={corners.dtype.name}, shape={shape}"
        )


def _whole_below(shares: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
    """Turn float64 shares, uniform in [0, 1), into whole numbers, uniform in 0..limits - 1 (0 where a limit is 0)."""
    return tf.cast(tf.floor(shares * tf.cast(limits, tf.float64)), tf.int32)


def _find(ranks: tf.Tensor, is_foreground: tf.Tensor, in_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return row and column of foreground pixels by their ranks, counted from 0 row by row, each int32 [B, count].

    First the row, in which the running count of all rows passes the rank, then the column in the same way: a running
    count of all pixels is not needed. Where there is no foreground the result is some pixel.

    Args:
        ranks: int32 [B, count], less than the number of foreground pixels.
        is_foreground: bool [B, H, W].
        in_rows: int32 [B, H], the foreground pixels of each row.
    """
    through_row = tf.cumsum(in_rows, axis=1)
    rows = _count_passed(through_row[:, tf.newaxis], ranks)
    before_row = tf.gather(through_row - in_rows, rows, batch_dims=1)
    lines = tf.gather(is_foreground, rows, batch_dims=1)  # [B, count, W]
    columns = _count_passed(tf.cumsum(tf.cast(lines, tf.int32), axis=2), ranks - before_row)
    return rows, columns


def _count_passed(running: tf.Tensor, ranks: tf.Tensor) -> tf.Tensor:
    """Count how many places along the last axis a rank lies beyond: [B, count or 1, L], [B, count] -> [B, count]."""
    passed = tf.reduce_sum(tf.cast(running <= ranks[..., tf.newaxis], tf.int32), axis=2)
    return tf.minimum(passed, tf.shape(running)[2] - 1)  # without foreground all are passed
