"""CLAHE in few and plain operations, which every converter knows: no loops, no scatter, no bits, no float64.

Flows in: uint8 images [B, H, W, 1], H and W static. Flows out: the same, equal to `ptxtf.ops.clahe` and so to OpenCV's
on every pixel. What depends on the size alone is computed by NumPy while a graph is traced. The rest is float32, in
which all numbers but the blended ones are whole and exact.

    pixels -> mirrored to whole tiles -> histograms -> clipped -> look-up tables -> blended pixels
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ptxtf.config import PreprocessConfig

_LEVELS = 256
_DIGIT = 16
"""A grey level is two digits of this base."""


class _Axis(NamedTuple):
    """How tiles lie along an axis."""

    tiles: int
    tile_px: int
    mirrored: np.ndarray
    """int32 [tiles * tile_px]: which pixel stands at each place of the whole tiles."""
    cells: np.ndarray
    """int32 [tiles * tile_px]: which of the tiles + 1 spaces around the tiles' centres a pixel is in."""
    weights: np.ndarray
    """float32 [tiles * tile_px]: share of the second of the space's two tiles."""


def equalise(images: tf.Tensor, config: PreprocessConfig) -> tf.Tensor:
    """Equalise images as `ptxtf.preprocess.equalise` does.

    Args:
        images: uint8 [B, H, W, 1]; B may be unknown.
        config: of the run.

    Returns:
        uint8 [B, H, W, 1].
    """
    if not config.clahe:
        return images
    height, width = images.shape[1:3]
    padded = any(length % tiles for length, tiles in zip((height, width), config.tile_grid, strict=True))
    down, along = (
        _axis(length, tiles, padded=padded) for length, tiles in zip((height, width), config.tile_grid, strict=True)
    )
    pixels = tf.cast(images[..., 0], tf.float32)
    if padded:
        pixels = tf.gather(tf.gather(pixels, down.mirrored, axis=1), along.mirrored, axis=2)
    tile_area = down.tile_px * along.tile_px
    tables = _lookup_tables(_clip(_histograms(pixels, down, along), config.clip_limit, tile_area), tile_area)
    blended = _blend(pixels, tables, down, along)
    return tf.cast(blended[:, :height, :width, tf.newaxis], tf.uint8)


def _axis(length: int, tiles: int, *, padded: bool) -> _Axis:
    tile_px = length // tiles + padded  # OpenCV pads both sides or none
    period = max(2 * (length - 1), 1)
    phase = np.arange(tiles * tile_px) % period
    # each float32 operation rounded by itself, as in `ptxtf.ops.clahe`
    steps = np.arange(tiles * tile_px) * np.float64(np.float32(1) / np.float32(tile_px))
    positions = steps.astype(np.float32) - np.float32(0.5)
    nearer = np.floor(positions)
    return _Axis(
        tiles=tiles,
        tile_px=tile_px,
        mirrored=np.minimum(phase, period - phase).astype(np.int32),
        cells=nearer.astype(np.int32) + 1,
        weights=positions - nearer,
    )


def _histograms(pixels: tf.Tensor, down: _Axis, along: _Axis) -> tf.Tensor:
    """Count the grey levels of each tile: float32 [B, H, W] -> [B, rows, columns, levels].

    A pixel's two digits are marked in a row of 16 each. The sum of the rows' products over a tile, one product of
    matrices, is the tile's histogram by digits.
    """
    tiled = tf.reshape(pixels, [-1, down.tiles, down.tile_px, along.tiles, along.tile_px])
    tiled = tf.reshape(
        tf.transpose(tiled, [0, 1, 3, 2, 4]), [-1, down.tiles * along.tiles, down.tile_px * along.tile_px]
    )
    high = tf.floor(tiled * (1 / _DIGIT))
    digits = tf.range(_DIGIT, dtype=tf.float32)
    marks = [tf.cast(tf.equal(part[..., tf.newaxis], digits), tf.float32) for part in (high, tiled - high * _DIGIT)]
    counts = tf.matmul(tf.transpose(marks[0], [0, 1, 3, 2]), marks[1])  # [B, tiles, 16, 16]
    return tf.reshape(counts, [-1, down.tiles, along.tiles, _LEVELS])


def _clip(histograms: tf.Tensor, clip_limit: float, tile_area: int) -> tf.Tensor:
    """Cut bins off at the limit and spread what was cut, as OpenCV does: [B, rows, columns, levels] -> the same."""
    if clip_limit <= 0:
        return histograms
    limit = int(min(max(clip_limit * tile_area / _LEVELS, 1.0), tile_area))
    kept = tf.minimum(histograms, float(limit))
    surplus = tile_area - tf.reduce_sum(kept, axis=-1, keepdims=True)
    to_every_bin = tf.floor(surplus * (1 / _LEVELS))
    residual = surplus - to_every_bin * _LEVELS
    step = tf.floor(_LEVELS / tf.maximum(residual, 1.0))
    bins = tf.range(_LEVELS, dtype=tf.float32)
    steps = tf.floor((bins + 0.5) / step)
    gets_one = tf.logical_and(tf.equal(steps * step, bins), steps < residual)
    return kept + to_every_bin + tf.cast(gets_one, tf.float32)


def _lookup_tables(histograms: tf.Tensor, tile_area: int) -> tf.Tensor:
    """Scale the running sums to grey levels: float32 [B, rows, columns, levels] -> the same, whole numbers 0..255."""
    scale = np.float32(_LEVELS - 1) / np.float32(tile_area)
    return tf.round(tf.cumsum(histograms, axis=-1) * scale)


def _blend(pixels: tf.Tensor, tables: tf.Tensor, down: _Axis, along: _Axis) -> tf.Tensor:
    """Mix for each pixel what the four tables around it say: float32 [B, H, W] -> the same, whole numbers 0..255."""
    batch, count = tf.shape(pixels)[0], down.tiles * along.tiles * _LEVELS
    starts = tf.cast(pixels, tf.int32) + tf.reshape(tf.range(batch) * count, [-1, 1, 1])
    entries = tf.reshape(tables, [-1])

    def look_up(row_step: int, column_step: int) -> tf.Tensor:
        rows = np.clip(down.cells - 1 + row_step, 0, down.tiles - 1)
        columns = np.clip(along.cells - 1 + column_step, 0, along.tiles - 1)
        offsets = (rows[:, np.newaxis] * along.tiles + columns) * _LEVELS
        return tf.gather(entries, starts + offsets.astype(np.int32))

    right, lower = along.weights, down.weights[:, np.newaxis]
    above, below = (_mix(look_up(step, 0), look_up(step, 1), right) for step in (0, 1))
    return tf.round(_mix(above, below, lower))


def _mix(first: tf.Tensor, second: tf.Tensor, weights: np.ndarray) -> tf.Tensor:
    # abs changes nothing; it keeps compilers from fusing multiply and add, which would round once instead of twice
    return tf.abs(first * (np.float32(1) - weights)) + tf.abs(second * weights)
