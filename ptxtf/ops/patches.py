"""Images into square patches and back.

Flows in: images [B, H, W, C] of any value range. Flows out: patches [B, N, size, size, C] of the same. And back.

Patches lie row by row on a grid that starts at the upper left corner and covers the whole image; where it reaches
beyond, the image is padded with zeros at the bottom and at the right, and stitching crops them again.

Both directions take one axis after the other by the same steps. Along an axis an image is blocks one stride long and a
patch is a few neighbouring blocks, so that an overlapping grid is a few shifted copies of one that does not overlap.
"""

import functools
import operator

import numpy as np
import tensorflow as tf


def extract_patches(images: tf.Tensor, *, size: int, stride: int | None = None) -> tf.Tensor:
    """Cut images into patches that together cover every pixel.

    Args:
        images: [B, H, W, C] of any numeric dtype and range; H and W known, at least size.
        size: height and width of a patch, in pixels.
        stride: step from one patch to the next, 1..size, in pixels; size, without overlap, if None.

    Returns:
        [B, N, size, size, C] in the images' dtype, row by row; along each axis there are
        ceil((length - size) / stride) + 1 patches, the last padded with zeros if it reaches beyond the image.

    Raises:
        ValueError: the images are not of rank 4 with known H and W, or size or stride does not fit.

    Example:
        >>> patches = extract_patches(images, size=128, stride=64)  # 512 x 512: [B, 49, 128, 128, C]
    """
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise ValueError(f"expected images [B, H, W, C] with known H, W and C. Received: shape={images.shape}")
    height, width, channels = images.shape[1:]
    stride = _check_grid((height, width), size, stride)
    rows, columns = _patch_count(height, size, stride), _patch_count(width, size, stride)
    bands = _cut(tf.reshape(images, [-1, height, width * channels]), size=size, stride=stride)
    # Columns: [B, rows, size, W * C] -> [B * rows * size, W, C] -> [B * rows * size, columns, size, C]
    pieces = _cut(tf.reshape(bands, [-1, width, channels]), size=size, stride=stride)
    pieces = tf.reshape(pieces, [-1, rows, size, columns, size, channels])
    patches = tf.transpose(pieces, [0, 1, 3, 2, 4, 5])  # [B, rows, columns, size, size, C]
    return tf.reshape(patches, [-1, rows * columns, size, size, channels])


def stitch_patches(
    patches: tf.Tensor, *, image_size: int | tuple[int, int], stride: int | None = None, window: str = "uniform"
) -> tf.Tensor:
    """Put patches back together; where they overlap, a pixel is their weighted mean. Inverts `extract_patches`.

    Args:
        patches: [B, N, size, size, C] as `extract_patches` orders them; float32 where they overlap, else of any dtype.
        image_size: height and width of the image in pixels, or one number for both.
        stride: the one the patches were cut with; size if None.
        window: weight of a pixel within its patch: "uniform", all the same; or "gaussian", falling from the patch's
            centre with sigma = size / 8, which hides seams.

    Returns:
        [B, H, W, C] in the patches' dtype and within their range.

    Raises:
        ValueError: the patches are not of rank 5, square and as many as the grid has, or an option does not fit.

    Example:
        >>> probabilities = stitch_patches(patches, image_size=512, stride=64, window="gaussian")
    """
    patches = tf.convert_to_tensor(patches)
    if patches.shape.rank != 5 or None in patches.shape[2:] or patches.shape[2] != patches.shape[3]:
        raise ValueError(f"expected patches [B, N, size, size, C] with known sizes. Received: shape={patches.shape}")
    if window not in ("uniform", "gaussian"):
        raise ValueError(f"expected window of 'uniform' or 'gaussian'. Received: window={window!r}")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    size, channels = patches.shape[3:]
    stride = _check_grid((height, width), size, stride)
    rows, columns = _patch_count(height, size, stride), _patch_count(width, size, stride)
    if patches.shape[1] not in (None, rows * columns):
        raise ValueError(
            f"expected {rows} x {columns} = {rows * columns} patches for image_size={(height, width)}, size={size} and "
            f"stride={stride}. Received: shape={patches.shape}"
        )
    if stride < size and patches.dtype != tf.float32:
        raise ValueError(f"expected float32 patches where they overlap. Received: dtype={patches.dtype.name}")
    pieces = tf.reshape(patches, [-1, rows, columns, size, size, channels])
    pieces = tf.transpose(pieces, [0, 1, 3, 2, 4, 5])  # [B, rows, size, columns, size, C]
    join = functools.partial(_join, stride=stride, window=window)
    bands = join(tf.reshape(pieces, [-1, columns, size, channels]), length=width)  # [B * rows * size, W, C]
    images = join(tf.reshape(bands, [-1, rows, size, width * channels]), length=height)  # [B, H, W * C]
    return tf.reshape(images, [-1, height, width, channels])


def _check_grid(image_size: tuple[int, int], size: int, stride: int | None) -> int:
    """Return the stride once it and the size fit the image."""
    if not 1 <= size <= min(image_size):
        raise ValueError(f"expected size in 1..{min(image_size)}, the image's shorter side. Received: size={size}")
    stride = size if stride is None else stride
    if not 1 <= stride <= size:
        raise ValueError(f"expected stride in 1..{size}, the size, to leave no gaps. Received: stride={stride}")
    return stride


def _patch_count(length: int, size: int, stride: int) -> int:
    return -(-(length - size) // stride) + 1


def _cut(lines: tf.Tensor, *, size: int, stride: int) -> tf.Tensor:
    """Cut along the middle axis: [B, length, C] -> [B, count, size, C]."""
    _, length, channels = lines.shape
    count, blocks_per_patch = _patch_count(length, size, stride), -(-size // stride)
    block_count = count + blocks_per_patch - 1
    lines = tf.pad(lines, [[0, 0], [0, block_count * stride - length], [0, 0]])
    blocks = tf.reshape(lines, [-1, block_count, stride, channels])  # [B, length, C] -> [B, blocks, stride, C]
    shifted = [blocks[:, first : first + count] for first in range(blocks_per_patch)]
    return tf.concat(shifted, axis=2)[:, :, :size]  # the last block of a patch may reach beyond it


def _join(pieces: tf.Tensor, *, length: int, stride: int, window: str) -> tf.Tensor:
    """Undo `_cut`: [B, count, size, C] -> [B, length, C]."""
    _, count, size, channels = pieces.shape
    if stride < size:
        pieces *= _blend_weights(count, size, stride, window)[:, :, np.newaxis]  # [count, size, 1]
    blocks_per_patch = -(-size // stride)
    # Whole blocks: [B, count, size, C] -> [B, count, blocks_per_patch, stride, C]
    pieces = tf.pad(pieces, [[0, 0], [0, 0], [0, blocks_per_patch * stride - size], [0, 0]])
    blocks = tf.reshape(pieces, [-1, count, blocks_per_patch, stride, channels])
    shifted = [
        tf.pad(blocks[:, :, first], [[0, 0], [first, blocks_per_patch - 1 - first], [0, 0], [0, 0]])
        for first in range(blocks_per_patch)
    ]
    lines = tf.reshape(functools.reduce(operator.add, shifted), [-1, (count + blocks_per_patch - 1) * stride, channels])
    return lines[:, :length]


def _blend_weights(count: int, size: int, stride: int, window: str) -> np.ndarray:
    """Return float32 [count, size], a pixel's weight in each patch along an axis; what falls on one pixel sums to 1.

    Windows and their sums are products of one factor per axis: blending rows and then columns is the weighted mean.
    """
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.ones(size) if window == "uniform" else np.exp(-0.5 * (offsets / (size / 8)) ** 2)
    pixels = np.arange(count)[:, np.newaxis] * stride + np.arange(size)  # [count, size]
    totals = np.bincount(pixels.ravel(), np.tile(weights, count))
    return (weights / totals[pixels]).astype(np.float32)
