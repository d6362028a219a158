"""Moving images by matrices, and masks by the same ones.

Flows in: images [B, H, W, C] of any range and matrices of `ptxtf.ops.affine`, which map output to input coordinates.
Flows out: images of the same shape and value range.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ptxtf.ops.blend import blend_four, unpack_bytes
from ptxtf.ops.checks import check_fill_value, check_images, check_per_image

_BITS = 20
"""Binary digits behind the point of a coordinate, 5e-7 of a pixel: sums of two such fractions are exact in float32."""

_BORDER = 2
"""Pixels around an image that hold the fill value: two neighbours beyond either edge are all that is ever read."""


def warp_affine(
    images: tf.Tensor,
    matrices: tf.Tensor,
    *,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> tf.Tensor:
    """Read each output pixel from where its image's matrix points.

    Equals `scipy.ndimage.affine_transform` of order 1 (bilinear) or 0 (nearest). The identity and flips are exact, and
    from uint8 the very same numbers come out eagerly and compiled.

    Args:
        images: [B, H, W, C], uint8 (the faster) or float32 of any range.
        matrices: float32 [B, 2, 3], output to input coordinates (see `ptxtf.ops.affine`).
        interpolation: "bilinear" or "nearest" (halves round up).
        fill_mode: what lies beyond the border: "constant", pixels of fill_value (SciPy's "grid-constant"); or
            "reflect", the image mirrored about its outermost pixels, which are not repeated (SciPy's "mirror",
            `tf.pad`'s "REFLECT").
        fill_value: the constant, in the images' range; a whole number for uint8.

    Returns:
        [B, H, W, C] within the images' range but for fill_value: "nearest" in the images' dtype, "bilinear" always
        float32, not rounded and not scaled: 0..255 from uint8.

    Raises:
        ValueError: images or matrices have another shape or dtype, or an option is unknown or unfit for the dtype.

    Example:
        >>> moved = warp_affine(images, matrices)
        >>> moved_masks = warp_affine(masks, matrices, interpolation="nearest")
    """
    images, matrices = tf.convert_to_tensor(images), tf.convert_to_tensor(matrices)
    _check_warp_arguments(images, matrices, interpolation, fill_mode, fill_value)
    is_nearest = interpolation == "nearest"
    read = _read_nearest if is_nearest else _read_packed if images.dtype == tf.uint8 else _read_four
    dtype = images.dtype if is_nearest else tf.float32
    if images.shape[-1] == 1:
        return tf.ensure_shape(_warp_planes(images[..., 0], matrices, read, dtype, fill_mode, fill_value), images.shape)
    batch, height, width, channels = tf.unstack(tf.shape(images))
    planes = tf.reshape(tf.transpose(images, [0, 3, 1, 2]), [-1, height, width])  # [B * C, H, W]
    warped = _warp_planes(planes, tf.repeat(matrices, channels, axis=0), read, dtype, fill_mode, fill_value)
    warped = tf.transpose(tf.reshape(warped, [batch, channels, height, width]), [0, 2, 3, 1])
    return tf.ensure_shape(warped, images.shape)


def _warp_planes(
    planes: tf.Tensor, matrices: tf.Tensor, read: "_Read", dtype: tf.DType, fill_mode: str, fill_value: float
) -> tf.Tensor:
    """Warp images of one channel: [N, H, W], [N, 2, 3] -> what `read` makes of each, [N, H, W, 1] of the dtype."""
    size = tf.shape(planes)[1:]
    fill = tf.cast(fill_value, planes.dtype)
    planes = tf.pad(planes, [[0, 0], [_BORDER] * 2, [_BORDER] * 2], constant_values=fill)
    limit = _fold if fill_mode == "reflect" else _bound

    def warp(plane_and_axes: tuple[tf.Tensor, tuple[_AxisCoordinates, _AxisCoordinates]]) -> tf.Tensor:
        plane, axes = plane_and_axes
        # With its channel from here on: added behind the loop, it costs a copy of the batch under XLA.
        return read(plane, _SamplingPoints(axes, size, limit))[..., tf.newaxis]

    return tf.map_fn(warp, (planes, _coordinates(matrices, size)), fn_output_signature=dtype)


def _check_warp_arguments(
    images: tf.Tensor, matrices: tf.Tensor, interpolation: str, fill_mode: str, fill_value: float
) -> None:
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(
            f"expected interpolation of 'bilinear' or 'nearest'. Received: interpolation={interpolation!r}"
        )
    if fill_mode not in ("constant", "reflect"):
        raise ValueError(f"expected fill_mode of 'constant' or 'reflect'. Received: fill_mode={fill_mode!r}")
    check_images(images, tf.float32, tf.uint8)
    check_per_image(matrices, images, name="matrices", shape=(2, 3))
    check_fill_value(fill_value, images)


class _AxisCoordinates(NamedTuple):
    """The input coordinates along one axis, in two parts that add up: one from the output row, one from the column.

    Each is a whole number, int32, and a fraction, float32, a multiple of 2**-_BITS in 0..1.
    """

    row_wholes: tf.Tensor  # [N, H]
    row_fractions: tf.Tensor
    column_wholes: tf.Tensor  # [N, W]
    column_fractions: tf.Tensor


def _coordinates(matrices: tf.Tensor, size: tf.Tensor) -> tuple[_AxisCoordinates, _AxisCoordinates]:
    """Return those of the two axes of the input."""
    rows, columns = (tf.cast(tf.range(length), tf.float64) for length in tf.unstack(size))

    def coordinates_of(matrix: tf.Tensor) -> tuple[_AxisCoordinates, ...]:
        return tuple(
            _AxisCoordinates(*_split(per_row * rows + offset), *_split(per_column * columns))
            for per_row, per_column, offset in (tf.unstack(axis) for axis in tf.unstack(tf.cast(matrix, tf.float64)))
        )

    # A loop of its own: XLA stores what goes into a loop and comes out of it. Without, it would make the matrix anew,
    # sine, cosine and random numbers, for each row and column, and those coordinates anew for each pixel.
    signature = _AxisCoordinates(tf.int32, tf.float32, tf.int32, tf.float32)
    return tf.map_fn(coordinates_of, matrices, fn_output_signature=(signature, signature))


def _split(coordinates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return whole numbers and fractions; far-away coordinates stay far and become safe to add."""
    coordinates = tf.clip_by_value(coordinates, -(2.0**29), 2.0**29)
    wholes = tf.floor(coordinates)
    fractions = tf.round((coordinates - wholes) * 2.0**_BITS) * 2.0**-_BITS
    return tf.cast(wholes, tf.int32), tf.cast(fractions, tf.float32)


_Read = Callable[[tf.Tensor, "_SamplingPoints"], tf.Tensor]
"""An image with its border, and where to read it -> what is read there."""

_Limit = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Wholes, fractions and an axis' length -> wholes and fractions of where to read in an image with a border."""


class _SamplingPoints:
    """Where one image's output pixels lie in its input with a border of `_BORDER` pixels.

    Args:
        axes: the coordinates along the image's two axes.
        size: int32 [2], height and width without the border.
        limit: what keeps coordinates within reach of the border.
    """

    def __init__(self, axes: tuple[_AxisCoordinates, _AxisCoordinates], size: tf.Tensor, limit: _Limit) -> None:
        self._axes, self._size, self._limit = axes, size, limit

    def indices(self, *, width: tf.Tensor, nearest: bool = False) -> tf.Tensor:
        """Return int32 [H, W]: which pixel of an image, flattened, lies at the upper left (or is the nearest).

        Args:
            width: of that image, its border included.
            nearest: whether to round to the nearest pixel, halves up, instead of down.
        """

        def add_axis(indices: tf.Tensor, axis: tuple[_AxisCoordinates, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            coordinates, length, step = axis
            wholes, fractions = self._limit(*_sum(coordinates), length)
            if nearest:
                wholes += tf.cast(fractions >= 0.5, tf.int32)
            return indices + (wholes + _BORDER) * step

        # A loop over the two axes: what comes out of a loop is stored. XLA would compute it in the midst of reading
        # pixels instead, one by one, where now it goes eight at a time.
        coordinates = _AxisCoordinates(*(tf.stack(parts) for parts in zip(*self._axes, strict=True)))
        axes = (coordinates, self._size, tf.stack([width, 1]))
        return tf.foldl(add_axis, axes, initializer=tf.zeros(self._size, tf.int32))

    def weights(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the weights of the lower and of the right pixels, float32 [H, W], exact multiples of 2**-_BITS."""
        down, right = (
            self._limit(*_sum(axis), length)[1] for axis, length in zip(self._axes, tf.unstack(self._size), strict=True)
        )
        return down, right


def _sum(axis: _AxisCoordinates) -> tuple[tf.Tensor, tf.Tensor]:
    """Add up the parts of one axis, [H] and [W] -> wholes and fractions [H, W]."""
    fractions = axis.row_fractions[:, tf.newaxis] + axis.column_fractions
    has_carry = fractions >= 1.0
    wholes = axis.row_wholes[:, tf.newaxis] + axis.column_wholes + tf.cast(has_carry, tf.int32)
    return wholes, fractions - tf.cast(has_carry, tf.float32)


def _bound(wholes: tf.Tensor, fractions: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Bring far-away coordinates near, where they still read nothing but fill."""
    return tf.clip_by_value(wholes, -_BORDER, length), fractions


def _fold(wholes: tf.Tensor, fractions: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror coordinates into 0..length - 1, so that a pixel's neighbour is the next one again."""
    period = tf.maximum(2 * (length - 1), 1)
    phases = tf.math.floormod(wholes, period)
    is_back = phases >= length - 1
    wholes = tf.where(is_back, period - 1 - phases, phases)
    fractions = tf.where(is_back, 1.0 - fractions, fractions)
    return wholes, tf.where(length > 1, fractions, 0.0)


def _read_nearest(image: tf.Tensor, points: _SamplingPoints) -> tf.Tensor:
    return tf.gather(tf.reshape(image, [-1]), points.indices(width=tf.shape(image)[1], nearest=True))


def _read_four(image: tf.Tensor, points: _SamplingPoints) -> tf.Tensor:
    """Blend the four pixels around each position: float32 [H + 4, W + 4] -> [H, W].

    Not by `blend_four`, which takes no negative numbers.
    """
    width = tf.shape(image)[1]
    pixels, indices = tf.reshape(image, [-1]), points.indices(width=width)
    upper_left, upper_right, lower_left, lower_right = (
        tf.gather(pixels, indices + step) for step in (0, 1, width, width + 1)
    )
    down, right = points.weights()
    upper = upper_left * (1.0 - right) + upper_right * right
    lower = lower_left * (1.0 - right) + lower_right * right
    return upper * (1.0 - down) + lower * down


def _read_packed(image: tf.Tensor, points: _SamplingPoints) -> tf.Tensor:
    """Do the same from uint8, with one look-up for all four pixels."""
    packed = _pack(image)
    entries = tf.gather(tf.reshape(packed, [-1]), points.indices(width=tf.shape(packed)[1]))
    return blend_four(unpack_bytes(entries), *points.weights())


def _pack(image: tf.Tensor) -> tf.Tensor:
    """Put each pixel with its right, lower and lower right neighbours into the bytes of an integer, lowest first.

    uint8 [h, w] -> int32 [h - 1, w - 1].
    """
    pixels = tf.cast(image, tf.int32)
    pairs = pixels[:, :-1] + pixels[:, 1:] * 2**8
    size = tf.shape(pairs) - [1, 0]

    def add_pairs(entries: tf.Tensor, line: tf.Tensor) -> tf.Tensor:
        return entries + tf.bitwise.left_shift(tf.slice(pairs, [line, 0], size), 16 * line)

    # A loop over the upper and the lower pairs: what comes out of a loop is stored, here just before it is read, so
    # that it is near in the cache. XLA would read and pack four pixels for each position instead.
    return tf.foldl(add_pairs, tf.range(2), initializer=tf.zeros(size, tf.int32))
