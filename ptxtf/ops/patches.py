"""Images into square patches and back.

Flows in: images [B, H, W, C] of any value range. Flows out: patches [B, N, size, size, C] of the same. And back.

Patches lie row by row on a grid that starts at the upper left corner and covers the whole image; where it reaches
beyond, the image is padded with zeros at the bottom and at the right, and stitching crops them again.

Cutting, and stitching the columns of the grid, look up pieces of rows as long as patch size and stride allow: the rows
of an image and of a patch are whole pieces of gcd(size, stride) pixels. Stitching the rows of the grid looks up whole
rows. XLA copies such pieces at memory speed, where `tf.image.extract_patches` becomes a convolution.
"""

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ptxtf.ops.checks import checked_lengths
from ptxtf.ops.grid import checked_size, covered_length, patch_count


def extract_patches(images: tf.Tensor, *, size: int, stride: int | None = None) -> tf.Tensor:
    """Cut images into patches that together cover every pixel.

    Args:
        images: [B, H, W, C] of any numeric dtype and range; H, W and C known, H and W at least size, C at least 1.
        size: height and width of a patch, in pixels.
        stride: step from one patch to the next, 1..size, in pixels; size, without overlap, if None.

    Returns:
        [B, N, size, size, C] in the images' dtype, row by row; along each axis there are
        ceil((length - size) / stride) + 1 patches, the last padded with zeros if it reaches beyond the image.

    Raises:
        ValueError: the images are not of rank 4 with known H, W and C, or size or stride does not fit.

    Example:
        >>> patches = extract_patches(images, size=128, stride=64)  # 512 x 512: [B, 49, 128, 128, C]
    """
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4 or None in images.shape[1:] or images.shape[3] == 0:
        raise ValueError(f"expected images [B, H, W, C] with known H, W and C. Received: shape={images.shape}")
    height, width, channels = images.shape[1:]
    size, stride = checked_size((height, width), size, stride)
    rows, columns = (patch_count(length, size=size, stride=stride) for length in (height, width))
    covered_height, covered_width = (covered_length(count, size=size, stride=stride) for count in (rows, columns))
    if (covered_height, covered_width) != (height, width):
        images = tf.pad(images, [[0, 0], [0, covered_height - height], [0, covered_width - width], [0, 0]])
    piece = math.gcd(size, stride)
    in_row, in_patch, in_stride = covered_width // piece, size // piece, stride // piece  # pieces
    pieces = tf.reshape(images, [-1, covered_height * in_row, piece * channels])
    image_rows = np.arange(rows)[:, np.newaxis] * stride + np.arange(size)  # [rows, size]
    row_pieces = np.arange(columns)[:, np.newaxis] * in_stride + np.arange(in_patch)  # [columns, pieces]
    indices = _int32(image_rows[:, np.newaxis, :, np.newaxis] * in_row) + _int32(row_pieces[:, np.newaxis])
    patches = tf.gather(pieces, indices, axis=1)  # [B, rows, columns, size, pieces, piece * C]
    return tf.reshape(patches, [-1, rows * columns, size, size, channels])


def stitch_patches(
    patches: tf.Tensor, *, image_size: int | tuple[int, int], stride: int | None = None, window: str = "uniform"
) -> tf.Tensor:
    """Put patches back together; where they overlap, a pixel is their weighted mean. Inverts `extract_patches`.

    Args:
        patches: [B, N, size, size, C] as `extract_patches` orders them, C at least 1; float32 where they overlap
            (several, and stride < size), else of any dtype.
        image_size: height and width of the image in pixels, or one number for both.
        stride: the one the patches were cut with; size if None.
        window: weight of a pixel within its patch: "uniform", all the same; or "gaussian", falling from the patch's
            centre with sigma = size / 8, which hides seams.

    Returns:
        [B, H, W, C] in the patches' dtype and within their range.

    Raises:
        ValueError: the patches are not of rank 5, square and as many as the grid has, or an option does not fit.
        tf.errors.InvalidArgumentError: their number, not known in tracing, is another than the grid's.

    Example:
        >>> probabilities = stitch_patches(patches, image_size=512, stride=64, window="gaussian")
    """
    patches = tf.convert_to_tensor(patches)
    if patches.shape.rank != 5 or {None, 0} & set(patches.shape[2:]) or patches.shape[2] != patches.shape[3]:
        raise ValueError(f"expected patches [B, N, size, size, C] with known sizes. Received: shape={patches.shape}")
    if window not in ("uniform", "gaussian"):
        raise ValueError(f"expected window of 'uniform' or 'gaussian'. Received: window={window!r}")
    height, width = _height_and_width(image_size)
    size, channels = patches.shape[3:]
    size, stride = checked_size((height, width), size, stride)
    rows, columns = (patch_count(length, size=size, stride=stride) for length in (height, width))
    if patches.shape[1] not in (None, rows * columns):
        raise ValueError(
            f"expected {rows} x {columns} = {rows * columns} patches for image_size={(height, width)}, size={size} and "
            f"stride={stride}. Received: shape={patches.shape}"
        )
    if stride < size and rows * columns > 1 and patches.dtype != tf.float32:
        raise ValueError(f"expected float32 patches where they overlap. Received: dtype={patches.dtype.name}")
    bands = _join_columns(patches, rows=rows, columns=columns, stride=stride, window=window)
    images = _join_rows(bands, rows=rows, size=size, stride=stride, window=window)
    images = tf.reshape(images, [-1, images.shape[1], images.shape[2] // channels, channels])
    return images[:, :height, :width]


def _height_and_width(image_size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (image_size, image_size) if isinstance(image_size, (int, np.integer)) else image_size
    height, width = checked_lengths(sides, name="image_size", axes=("height", "width"))
    return height, width


def _int32(indices: np.ndarray) -> tf.Tensor:
    """Return a constant; sums of small ones are left to the graph, which would hold the whole of a large one."""
    return tf.constant(indices, tf.int32)


def _join_columns(patches: tf.Tensor, *, rows: int, columns: int, stride: int, window: str) -> tf.Tensor:
    """Blend the patches of each row of the grid into a band, W wide as the grid covers it.

    [B, N, size, size, C] -> [B, rows * size, W * C].
    """
    size, channels = patches.shape[3:]
    piece = math.gcd(size, stride)
    in_patch = size // piece  # pieces in a row of a patch
    # With another number of patches than the grid has, known at run time only, images would be mixed.
    message = f"expected {rows * columns} patches of each image"
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(patches)[1], rows * columns, message)]):
        batch = tf.shape(patches)[0]
    pieces = tf.reshape(patches, [batch, rows * columns * size * in_patch, piece * channels])
    first_pieces = (np.arange(rows)[:, np.newaxis] * columns * size + np.arange(size)) * in_patch  # [rows, size]
    bands = []
    for patch, offset, weights in _coverings(columns, size, stride, window):
        along_row = (patch * size * in_patch + offset // piece)[::piece]  # [W / piece]
        indices = _int32(first_pieces.reshape(-1, 1)) + _int32(along_row)
        in_pieces = np.repeat(weights.reshape(-1, piece), channels, axis=1)  # [W / piece, piece * C]
        bands.append(_weighted(tf.gather(pieces, indices, axis=1), in_pieces))
    return tf.reshape(tf.add_n(bands), [-1, rows * size, covered_length(columns, size=size, stride=stride) * channels])


def _join_rows(bands: tf.Tensor, *, rows: int, size: int, stride: int, window: str) -> tf.Tensor:
    """Blend bands into images, H high as the grid covers it: [B, rows * size, W * C] -> [B, H, W * C]."""
    return tf.add_n(
        [
            _weighted(tf.gather(bands, _int32(patch * size + offset), axis=1), weights[:, np.newaxis])
            for patch, offset, weights in _coverings(rows, size, stride, window)
        ]
    )


def _weighted(values: tf.Tensor, weights: np.ndarray) -> tf.Tensor:
    return values if np.all(weights == 1) else values * weights


def _coverings(count: int, size: int, stride: int, window: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield layers, in each of which every pixel along an axis has one patch that covers it; together they have all.

    Of 2 patches of size 4 at stride 2, pixels 0 to 5 have patches 0 0 1 1 1 1 in the first layer and 0 0 0 0 1 1 in the
    second. Where a pixel has fewer patches than others, one comes again with a share of 0: so what is not a number in a
    patch stays within the patch.

    Yields:
        For each layer three arrays as long as the covered pixels: number of the patch, the pixel's offset in it, and
        the patch's share of the pixel, float32. A pixel's shares sum to 1 over the layers.
    """
    window_weights = _window(size, window)
    pixels = np.arange(covered_length(count, size=size, stride=stride))
    most = min(count, -(-size // stride))
    patches = np.minimum(pixels // stride, count - 1) - np.arange(most)[:, np.newaxis]  # [most, pixels]
    offsets = pixels - patches * stride
    covers = (patches >= 0) & (offsets < size)
    one_that_covers = np.take_along_axis(patches, covers.argmax(axis=0)[np.newaxis], axis=0)
    patches = np.where(covers, patches, one_that_covers)
    offsets = pixels - patches * stride
    weights = np.where(covers, window_weights[offsets], 0)
    yield from zip(patches, offsets, (weights / weights.sum(axis=0)).astype(np.float32), strict=True)


def _window(size: int, window: str) -> np.ndarray:
    """Return float64 [size], what a pixel weighs along an axis of its patch.

    Windows and their sums are products of one factor per axis: blending columns and then rows is the weighted mean.
    """
    if window == "uniform":
        return np.ones(size)
    offsets = np.arange(size) - (size - 1) / 2
    return np.exp(-0.5 * (offsets / (size / 8)) ** 2)
