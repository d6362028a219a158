"""Contrast-limited adaptive histogram equalisation (CLAHE).

Flows in: uint8 or uint16 images [B, H, W, 1]. Flows out: the same, equalised over the whole range of the dtype.

Every pixel equals OpenCV's on every path: eager, `tf.function`, `tf.data` and XLA. The stages, for one image:

    pixels -> mirrored to whole tiles -> histograms -> clipped histograms -> look-up tables -> blended pixels

The work runs image by image, and within one by strips, the rows of the tile grid: one loop makes the tables, a second
blends the pixels. What a strip needs fits in the cache, and the border between the loops makes XLA store the tables;
fused, it would compute an entry anew for each pixel.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from ptxtf.ops.blend import blend_four, unpack_bytes
from ptxtf.ops.checks import checked_lengths

_BLOCK = 16
"""Bins that one matrix product sums up, see `_running_sums`."""

_MOST_TABLES = 2**15
"""Tables of 65,536 levels whose entries an int32 can number."""


def clahe(images: tf.Tensor, *, clip_limit: float = 2.0, tile_grid: tuple[int, int] = (8, 8)) -> tf.Tensor:
    """Equalise the contrast of each neighbourhood, with a limit on how far noise is amplified.

    Every tile has a look-up table from its own histogram, in which no bin may exceed `clip_limit` times the mean bin;
    the surplus is spread over all bins. A pixel blends the tables of the four tiles around it. Where the grid does not
    divide the image, the histograms see it mirrored at the right and at the bottom.

    Args:
        images: uint8 [B, H, W, 1], 0..255, or uint16, 0..65535. B, H and W may be unknown while a graph is traced.
        clip_limit: largest bin as a multiple of the mean bin (but at least one pixel); 0 or less sets no limit.
        tile_grid: number of tiles (rows, columns), at most one per pixel; OpenCV's `tileGridSize` is (columns, rows).

    Returns:
        [B, H, W, 1] in the images' dtype, each image equal to
        `cv2.createCLAHE(clip_limit, (columns, rows)).apply(image)` (but for limits of 2**31 pixels and more, which
        overflow in OpenCV and here limit nothing).

    Raises:
        ValueError: the images are not uint8 or uint16 [B, H, W, 1] with pixels, the limit is not finite, or the grid
            is not two integers from 1 to the image's height and width; for uint16 images, (rows + 2) * (columns + 2)
            is over 32,768.
        tf.errors.InvalidArgumentError: the grid is larger than an image whose size was not known in tracing, which
            XLA does not check.

    Example:
        >>> equalised = ptxtf.ops.clahe(images, clip_limit=2.0, tile_grid=(8, 8))

    Source: K. Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV (1994), in OpenCV's
    variant: its mirroring, its way to spread the surplus, its float32 arithmetic and rounding.
    """
    images = tf.convert_to_tensor(images)
    rows, columns = checked_lengths(tile_grid, name="tile_grid", axes=("rows", "columns"))
    _check_arguments(images, clip_limit, (rows, columns))
    tiling = _tiling_of(images, (rows, columns))
    equalised = tf.map_fn(
        lambda image: _equalise(image[..., 0], clip_limit, tiling)[..., tf.newaxis],
        images,
        fn_output_signature=images.dtype,
    )
    return tf.ensure_shape(equalised, images.shape)


class _Tiling(NamedTuple):
    """How one image is cut into tiles; the sizes are int32 scalar tensors, so that they may depend on the input."""

    rows: int
    columns: int
    levels: int
    image_height: tf.Tensor
    image_width: tf.Tensor
    tile_height: tf.Tensor
    tile_width: tf.Tensor
    is_exact: bool  # known while tracing that the tiles cover the image without mirroring

    @property
    def tile_area(self) -> tf.Tensor:
        return self.tile_height * self.tile_width


def _equalise(pixels: tf.Tensor, clip_limit: float, tiling: _Tiling) -> tf.Tensor:
    """Equalise one image, [H, W] -> the same."""
    strips = _strips(pixels, tiling)
    tables = tf.map_fn(
        lambda strip: _lookup_tables(_clip(_histograms(strip, tiling), clip_limit, tiling), tiling, pixels.dtype),
        strips,
        fn_output_signature=pixels.dtype,
    )
    return _join_strips(_blend(strips, tables, tiling), tiling)


def _check_arguments(images: tf.Tensor, clip_limit: float, tile_grid: tuple[int, int]) -> None:
    shape = images.shape
    if images.dtype not in (tf.uint8, tf.uint16) or shape.rank != 4 or shape[3] != 1 or 0 in shape[:3]:
        raise ValueError(
            f"expected uint8 or uint16 images [B, H, W, 1] with pixels. "
            f"Received: dtype={images.dtype.name}, shape={shape}"
        )
    if not math.isfinite(clip_limit):
        raise ValueError(f"expected a finite clip_limit. Received: clip_limit={clip_limit}")
    if images.dtype == tf.uint16 and (tile_grid[0] + 2) * (tile_grid[1] + 2) > _MOST_TABLES:
        raise ValueError(
            f"expected tile_grid of at most {_MOST_TABLES} tiles, its border included, for uint16. "
            f"Received: tile_grid={tile_grid}"
        )
    for tiles, length, name in zip(tile_grid, shape[1:3], ("rows", "columns"), strict=True):
        if length is not None and tiles > length:
            raise ValueError(
                f"expected tile_grid of at most {length} {name}, one per pixel. Received: tile_grid={tile_grid}"
            )


def _tiling_of(images: tf.Tensor, tile_grid: tuple[int, int]) -> _Tiling:
    rows, columns = tile_grid
    size = tf.shape(images)[1:3]
    static_height, static_width = images.shape[1:3]
    is_static = static_height is not None and static_width is not None
    if not is_static:
        message = f"expected images of at least {rows} x {columns} pixels, one for each of tile_grid={tile_grid}"
        with tf.control_dependencies([tf.debugging.assert_greater_equal(size, [rows, columns], message)]):
            size = tf.identity(size)
    height, width = tf.unstack(size)
    # As soon as one side needs padding OpenCV pads both, and a side that needs none by as many pixels as it has tiles.
    grow = tf.cast((height % rows != 0) | (width % columns != 0), tf.int32)
    return _Tiling(
        rows=rows,
        columns=columns,
        levels=images.dtype.max + 1,
        image_height=height,
        image_width=width,
        tile_height=height // rows + grow,
        tile_width=width // columns + grow,
        is_exact=is_static and static_height % rows == 0 and static_width % columns == 0,
    )


def _strips(pixels: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Extend [H, W] to whole tiles by mirroring about the last row and column: -> [rows, tile_height, width]."""
    height, width = tiling.rows * tiling.tile_height, tiling.columns * tiling.tile_width
    if not tiling.is_exact:
        pixels = tf.gather(pixels, _mirrored_indices(tiling.image_height, height), axis=0)
        pixels = tf.gather(pixels, _mirrored_indices(tiling.image_width, width), axis=1)
    return tf.reshape(pixels, [tiling.rows, tiling.tile_height, width])


def _join_strips(strips: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Undo `_strips`: [rows, tile_height, width] -> [H, W]."""
    pixels = tf.reshape(strips, [tiling.rows * tiling.tile_height, tiling.columns * tiling.tile_width])
    return pixels if tiling.is_exact else pixels[: tiling.image_height, : tiling.image_width]


def _mirrored_indices(length: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
    """Return int32 [extended], for a length of 4: 0 1 2 3 2 1 0 1 2 and so on."""
    period = tf.maximum(2 * (length - 1), 1)
    phase = tf.range(extended) % period
    return tf.minimum(phase, period - phase)


def _histograms(strip: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Count the grey levels of a strip's tiles: [tile_height, width] -> int32 [columns, levels]."""
    pixels = tf.reshape(tf.cast(strip, tf.int32), [tiling.tile_height, tiling.columns, tiling.tile_width])
    bins = pixels + tf.range(tiling.columns)[:, tf.newaxis] * tiling.levels
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, tiling.columns * tiling.levels)
    return tf.reshape(counts, [tiling.columns, tiling.levels])


def _clip(histograms: tf.Tensor, clip_limit: float, tiling: _Tiling) -> tf.Tensor:
    """Cut bins off at the limit and spread what was cut, int32 [columns, levels] -> the same, with the same sums."""
    if clip_limit <= 0:
        return histograms
    area = tf.cast(tiling.tile_area, tf.float64)
    limit = tf.clip_by_value(clip_limit * area / tiling.levels, 1.0, area)
    kept = tf.minimum(histograms, tf.cast(limit, tf.int32))
    surplus = tiling.tile_area - tf.reduce_sum(kept, axis=-1, keepdims=True)  # [columns, 1]
    to_every_bin, residual = surplus // tiling.levels, surplus % tiling.levels
    # The residual goes, one pixel each, to the first bin and then to every step-th one until it is used up.
    step = tiling.levels // tf.maximum(residual, 1)
    bins = tf.range(tiling.levels)
    # [levels] / [columns, 1], rounded down: faster in float32 than division of integers, and exact, as half a bin more
    # keeps clear of whole numbers even where a device divides by approximation.
    steps = tf.cast(tf.floor((tf.cast(bins, tf.float32) + 0.5) / tf.cast(step, tf.float32)), tf.int32)
    gets_one = (steps * step == bins) & (steps < residual)
    return kept + to_every_bin + tf.cast(gets_one, tf.int32)


def _lookup_tables(histograms: tf.Tensor, tiling: _Tiling, dtype: tf.DType) -> tf.Tensor:
    """Scale the cumulative histograms to the dtype's range: int32 [columns, levels] -> the same of dtype."""
    scale = float(tiling.levels - 1) / tf.cast(tiling.tile_area, tf.float32)
    # The sums end in the tile's area, so the product needs no clipping.
    sums = tf.cast(_running_sums(tf.cast(histograms, tf.float64)), tf.float32)
    return tf.cast(tf.round(sums * scale), dtype)


def _running_sums(values: tf.Tensor) -> tf.Tensor:
    """Sum up float64 along the last axis, whose length is a power of `_BLOCK`; exact for whole numbers.

    Block by block by a triangular matrix, then the blocks' totals in the same way: faster than `tf.cumsum` under XLA.
    Not in float32, whose matrix products many a GPU rounds to 11 bits.
    """
    length = values.shape[-1]
    upper = tf.linalg.band_part(tf.ones([_BLOCK, _BLOCK], tf.float64), 0, -1)
    sums = tf.matmul(tf.reshape(values, [-1, _BLOCK]), upper)
    if length > _BLOCK:
        totals = tf.reshape(sums[:, -1], [-1, length // _BLOCK])
        before = tf.reshape(_running_sums(totals) - totals, [-1, 1])
        sums += before
    return tf.reshape(sums, tf.shape(values))


def _blend(strips: tf.Tensor, tables: tf.Tensor, tiling: _Tiling) -> tf.Tensor:
    """Blend for each pixel the tables around it: [rows, tile_height, width], [rows, columns, levels] -> strips."""
    look_up = (_PackedTables if strips.dtype == tf.uint8 else _PlainTables)(tables, tiling)
    row_cells, row_weights = _positions(tiling.rows, tiling.tile_height)
    column_cells, column_weights = _positions(tiling.columns, tiling.tile_width)
    by_strip = [tiling.rows, tiling.tile_height, 1]
    row_starts = tf.reshape(row_cells * look_up.row_pitch, by_strip)
    column_starts = column_cells * tiling.levels

    def blend_strip(strip_and_rows: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        strip, row_starts, row_weights = strip_and_rows
        neighbours = look_up(row_starts + column_starts + tf.cast(strip, tf.int32))
        return tf.cast(tf.round(blend_four(neighbours, row_weights, column_weights)), strip.dtype)

    return tf.map_fn(
        blend_strip, (strips, row_starts, tf.reshape(row_weights, by_strip)), fn_output_signature=strips.dtype
    )


class _PlainTables:
    """Tables [rows, columns, levels] behind one another, the outermost repeated around the others.

    Called with where the entries of the upper left of four neighbouring tables stand, int32 [h, w], it returns those of
    all four: upper left, upper right, lower left, lower right.
    """

    def __init__(self, tables: tf.Tensor, tiling: _Tiling) -> None:
        self.row_pitch = (tiling.columns + 2) * tiling.levels
        self._steps = [0, tiling.levels, self.row_pitch, self.row_pitch + tiling.levels]
        self._tables = tf.reshape(_repeat_border(tables), [-1])

    def __call__(self, starts: tf.Tensor) -> list[tf.Tensor]:
        return [tf.gather(self._tables, starts + step) for step in self._steps]


class _PackedTables:
    """The same for uint8, where one look-up gets four entries at once, the bytes of one integer."""

    def __init__(self, tables: tf.Tensor, tiling: _Tiling) -> None:
        self.row_pitch = (tiling.columns + 1) * tiling.levels
        entries = tf.cast(_repeat_border(tables), tf.int32)
        pairs = entries[:, :-1] + entries[:, 1:] * 2**8
        packed = tf.bitwise.bitwise_or(pairs[:-1], tf.bitwise.left_shift(pairs[1:], 16))
        count = (tiling.rows + 1) * self.row_pitch
        # To a power of two: a mask then tells the compiler that no index lies outside, and it need not check each.
        length = 1 << (count - 1).bit_length()
        self._mask = length - 1
        self._packed = tf.pad(tf.reshape(packed, [-1]), [[0, length - count]])

    def __call__(self, starts: tf.Tensor) -> list[tf.Tensor]:
        return unpack_bytes(tf.gather(self._packed, tf.bitwise.bitwise_and(starts, self._mask)))


def _repeat_border(tables: tf.Tensor) -> tf.Tensor:
    """Repeat the outermost tables around the others: [rows, columns, levels] -> [rows + 2, columns + 2, levels]."""
    tables = tf.concat([tables[:1], tables, tables[-1:]], axis=0)
    return tf.concat([tables[:, :1], tables, tables[:, -1:]], axis=1)


def _positions(tiles: int, tile_length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where the rows (or columns) of whole tiles lie, by float32 arithmetic.

    The centres of n tiles part an axis into n + 1 cells: the cells, int32 [n * tile_length], and the weights of the
    second of a cell's two tiles, float32 of the same shape.
    """
    per_pixel = 1.0 / tf.cast(tile_length, tf.float32)
    # float32(i * per_pixel) - 0.5, each rounded: by way of float64, where the product is exact, lest XLA fuses the two.
    steps = tf.cast(tf.range(tiles * tile_length), tf.float64) * tf.cast(per_pixel, tf.float64)
    positions = tf.cast(steps, tf.float32) - 0.5
    nearer = tf.floor(positions)
    return tf.cast(nearer, tf.int32) + 1, positions - nearer
