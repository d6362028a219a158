"""Contrast-limited adaptive histogram equalisation (CLAHE).

Flows in: uint8 images [B, H, W, 1], 0..255. Flows out: the same, equalised.

Every pixel equals OpenCV's on every path: eager, `tf.function`, `tf.data` and XLA. The stages, for one image:

    pixels -> mirrored to whole tiles -> histograms -> clipped histograms -> look-up tables -> blended pixels

The work runs image by image in two `tf.map_fn` loops, first the tables and then the pixels. One image's arrays fit in
the cache, and the border between the loops makes XLA store the tables; fused, it computes an entry anew per pixel.
"""

import math
from typing import NamedTuple

import tensorflow as tf

_LEVELS = 256


def clahe(images: tf.Tensor, *, clip_limit: float = 2.0, tile_grid: tuple[int, int] = (8, 8)) -> tf.Tensor:
    """Equalise the contrast of each neighbourhood, with a limit on how far noise is amplified.

    Every tile has a look-up table from its own histogram, in which no bin may exceed `clip_limit` times the mean bin;
    the surplus is spread over all bins. A pixel blends the tables of the four tiles around it. Where the grid does not
    divide the image, the histograms see it mirrored at the right and at the bottom.

    Args:
        images: uint8 [B, H, W, 1], 0..255. B, H and W may be unknown while a graph is traced.
        clip_limit: largest bin as a multiple of the mean bin (but at least one pixel); 0 or less sets no limit.
        tile_grid: number of tiles as (rows, columns); OpenCV's `tileGridSize` is (columns, rows).

    Returns:
        uint8 [B, H, W, 1], each image equal to `cv2.createCLAHE(clip_limit, (columns, rows)).apply(image)`.

    Raises:
        ValueError: the images are not uint8 [B, H, W, 1] with pixels, the limit is not finite, or the grid is not
            two integers of at least 1.

    Example:
        >>> equalised = ptxtf.ops.clahe(images, clip_limit=2.0, tile_grid=(8, 8))

    Source: K. Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV (1994), in OpenCV's
    variant: its mirroring, its way to spread the surplus, its float32 arithmetic and rounding.
    """
    images = tf.convert_to_tensor(images)
    _check_arguments(images, clip_limit, tile_grid)
    tiling = _tile(images, tile_grid)
    row_cells, row_weights = _blend_positions(tiling.image_height, tiling.tile_height)
    column_cells, column_weights = _blend_positions(tiling.image_width, tiling.tile_width)
    # [H, 1] + [W] -> [H, W]: where in the packed tables the 256 entries for this pixel start
    table_starts = (row_cells[:, tf.newaxis] * (tiling.columns + 1) + column_cells) * _LEVELS

    def tables_of(pixels: tf.Tensor) -> tf.Tensor:
        histograms = _clip(_histograms(_mirror(pixels, tiling), tiling), clip_limit, tiling)
        return _pack_neighbours(_lookup_tables(histograms, tiling), tiling)

    def blend(pixels_and_tables: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        pixels, tables = pixels_and_tables
        neighbours = tf.gather(tables, table_starts + tf.cast(pixels, tf.int32))
        return _interpolate(neighbours, row_weights[:, tf.newaxis], column_weights)

    pixels = images[..., 0]
    tables = tf.map_fn(tables_of, pixels, fn_output_signature=tf.int32)
    equalised = tf.map_fn(blend, (pixels, tables), fn_output_signature=tf.uint8)
    return tf.ensure_shape(equalised[..., tf.newaxis], images.shape)


class _Tiling(NamedTuple):
    """How one image is cut into tiles; the sizes are int32 scalar tensors, so that they may depend on the input."""

    rows: int
    columns: int
    image_height: tf.Tensor
    image_width: tf.Tensor
    tile_height: tf.Tensor
    tile_width: tf.Tensor
    is_exact: bool  # known while tracing that the tiles cover the image without mirroring

    @property
    def tile_area(self) -> tf.Tensor:
        return self.tile_height * self.tile_width


def _check_arguments(images: tf.Tensor, clip_limit: float, tile_grid: tuple[int, int]) -> None:
    shape = images.shape
    if images.dtype != tf.uint8 or shape.rank != 4 or shape[3] != 1 or 0 in shape[:3]:
        raise ValueError(
            f"expected uint8 images [B, H, W, 1] with pixels. Received: dtype={images.dtype.name}, shape={shape}"
        )
    if not math.isfinite(clip_limit):
        raise ValueError(f"expected a finite clip_limit. Received: clip_limit={clip_limit}")
    if len(tile_grid) != 2 or not all(isinstance(n, int) and n >= 1 for n in tile_grid):
        raise ValueError(
            f"expected tile_grid (rows, columns), two integers of at least 1. Received: tile_grid={tile_grid}"
        )


def _tile(images: tf.Tensor, tile_grid: tuple[int, int]) -> _Tiling:
    rows, columns = tile_grid
    height, width = tf.unstack(tf.shape(images)[1:3])
    # As soon as one side needs padding OpenCV pads both, and a side that needs none by as many pixels as it has tiles.
    grow = tf.cast((height % rows != 0) | (width % columns != 0), tf.int32)
    static_height, static_width = images.shape[1:3]
    is_static = static_height is not None and static_width is not None
    return _Tiling(
        rows=rows,
        columns=columns,
        image_height=height,
        image_width=width,
        tile_height=height // rows + grow,
        tile_width=width // columns + grow,
        is_exact=is_static and static_height % rows == 0 and static_width % columns == 0,
    )


def _mirror(pixels: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Extend [H, W] to whole tiles by mirroring about the last row and column."""
    if tiling.is_exact:
        return pixels
    rows = _mirrored_indices(tiling.image_height, tiling.rows * tiling.tile_height)
    columns = _mirrored_indices(tiling.image_width, tiling.columns * tiling.tile_width)
    return tf.gather(tf.gather(pixels, rows, axis=0), columns, axis=1)


def _mirrored_indices(length: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
    """Return int32 [extended], for a length of 4: 0 1 2 3 2 1 0 1 2 and so on."""
    period = tf.maximum(2 * (length - 1), 1)
    phase = tf.range(extended) % period
    return tf.minimum(phase, period - phase)


def _histograms(pixels: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Count each tile's grey levels: whole tiles [H, W] -> int32 [tiles, 256]."""
    tile_rows = tf.range(tiling.rows * tiling.tile_height) // tiling.tile_height
    tile_columns = tf.range(tiling.columns * tiling.tile_width) // tiling.tile_width
    tiles = tile_rows[:, tf.newaxis] * tiling.columns + tile_columns  # [H, 1] + [W] -> [H, W]
    bins = tiles * _LEVELS + tf.cast(pixels, tf.int32)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, tiling.rows * tiling.columns * _LEVELS)
    return tf.reshape(counts, [-1, _LEVELS])  # [tiles * 256] -> [tiles, 256]


def _clip(histograms: tf.Tensor, clip_limit: float, tiling: _Tiling) -> tf.Tensor:
    """Cut bins off at the limit and spread what was cut, int32 [tiles, 256] -> the same, with the same sums."""
    if clip_limit <= 0:
        return histograms
    area = tf.cast(tiling.tile_area, tf.float64)
    limit = tf.clip_by_value(clip_limit * area / _LEVELS, 1.0, area)
    kept = tf.minimum(histograms, tf.cast(limit, tf.int32))
    surplus = tiling.tile_area - tf.reduce_sum(kept, axis=-1, keepdims=True)  # [tiles, 1]
    to_every_bin, residual = surplus // _LEVELS, surplus % _LEVELS
    # The residual goes, one pixel each, to the first bin and then to every step-th one until it is used up.
    step = _LEVELS // tf.maximum(residual, 1)
    bins = tf.range(_LEVELS)
    steps = bins // step  # [256] // [tiles, 1] -> [tiles, 256]
    gets_one = (steps * step == bins) & (steps < residual)
    return kept + to_every_bin + tf.cast(gets_one, tf.int32)


def _lookup_tables(histograms: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Scale the cumulative histograms to 0..255: int32 [tiles, 256] -> the same shape."""
    scale = 255.0 / tf.cast(tiling.tile_area, tf.float32)
    # Each row of the cumulative sums ends in the tile's area, so the product needs no clipping at 255.
    return tf.cast(tf.round(tf.cast(tf.cumsum(histograms, axis=-1), tf.float32) * scale), tf.int32)


def _pack_neighbours(tables: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Put the entries of four neighbouring tables in the four bytes of one integer, so that one gather fetches them.

    Tile centres cut the image into (rows + 1) x (columns + 1) cells, the outermost with fewer neighbours, repeated.
    int32 [tiles, 256] -> int32 [cells * 256]; bytes from the lowest: upper left, upper right, lower left, lower right.
    """
    tables = tf.reshape(tables, [tiling.rows, tiling.columns, _LEVELS])  # [tiles, 256] -> [rows, columns, 256]
    tables = tf.pad(tables, [[1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    upper = tables[:-1, :-1] + tables[:-1, 1:] * 2**8
    lower = tables[1:, :-1] + tables[1:, 1:] * 2**8
    packed = tf.bitwise.bitwise_or(upper, tf.bitwise.left_shift(lower, 16))
    return tf.reshape(packed, [-1])  # [rows + 1, columns + 1, 256] -> [cells * 256]


def _blend_positions(length: tf.Tensor, tile_length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return for each row (or column) its cell, int32 [length], and the weight of the cell's further tile, float32."""
    per_pixel = 1.0 / tf.cast(tile_length, tf.float32)
    # float32(i * per_pixel) - 0.5, each rounded: by way of float64, where the product is exact, lest XLA fuses the two.
    steps = tf.cast(tf.range(length), tf.float64) * tf.cast(per_pixel, tf.float64)
    positions = tf.cast(steps, tf.float32) - 0.5
    nearer = tf.floor(positions)
    return tf.cast(nearer, tf.int32) + 1, positions - nearer


def _interpolate(neighbours: tf.Tensor, row_weights: tf.Tensor, column_weights: tf.Tensor) -> tf.Tensor:
    """Blend the four table entries of each pixel: int32 [H, W], float32 [H, 1], float32 [W] -> uint8 [H, W]."""
    upper_left, upper_right, lower_left, lower_right = (
        tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(neighbours, shift), 255), tf.float32)
        for shift in (0, 8, 16, 24)
    )
    upper = _mix(upper_left, upper_right, column_weights)
    lower = _mix(lower_left, lower_right, column_weights)
    return tf.cast(tf.round(_mix(upper, lower, row_weights)), tf.uint8)


def _mix(first: tf.Tensor, second: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    # No factor is negative: abs only keeps a compiler from fusing multiply and add, which rounds once instead of twice
    # and would move 1 pixel in 4,000 by a grey level.
    return tf.abs(first * (1.0 - weight)) + tf.abs(second * weight)
