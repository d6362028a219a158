"""Rotation, zoom, flip, shear and shift in one warp.

Flows in: images [B, H, W, C] of any range. Flows out: images of the same shape, dtype and value range.

Parameters are drawn (`draw_affine`), made into one matrix per image (`affine_matrices`) and applied (`warp_affine`)
apart from each other, so that an image and its mask can share them. A matrix maps output to input pixel coordinates,

    (row, column) of the input = matrix[:, :2] @ (row, column) of the output + matrix[:, 2],

where (0, 0) is the centre of the upper left pixel.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from ptxtf.ops.blend import blend
from ptxtf.ops.draws import uniforms

_STREAM = 1  # of ptxtf.ops.draws: no other drawing function has this number

_BITS = 20
"""Binary digits behind the point of a coordinate, 5e-7 of a pixel: sums of two such fractions are exact in float32."""

_BORDER = 2
"""Pixels around an image that hold the fill value: two neighbours beyond either edge are all that is ever read."""


class AffineParameters(NamedTuple):
    """What `draw_affine` draws, by the names that `affine_matrices` takes it."""

    rotation_radians: tf.Tensor
    zoom: tf.Tensor
    flip: tf.Tensor
    shear_radians: tf.Tensor
    shift: tf.Tensor


def draw_affine(
    seeds: tf.Tensor,
    *,
    rotation_degrees: tuple[float, float],
    zoom: float,
    flip_probability: float,
    shear_degrees: float = 0.0,
    shift: float = 0.0,
) -> AffineParameters:
    """Draw a rotation, a zoom, a flip, a shear and a shift for each example, from its own seed alone.

    Args:
        seeds: int32 [B, 2], one seed per example.
        rotation_degrees: range (low, high) of the angle's size, 0 <= low <= high; either direction is as likely.
        zoom: largest change of scale, 0 <= zoom < 1; the factor is uniform in 1 - zoom to 1 + zoom.
        flip_probability: share of examples to mirror left to right, 0..1.
        shear_degrees: largest angle of the shear, 0 <= shear_degrees < 90; uniform in either direction.
        shift: largest shift along either axis as a share of the image's side, at least 0; uniform in either direction.

    Returns:
        `AffineParameters`: rotation_radians float32 [B], zoom float32 [B], flip bool [B], shear_radians float32 [B] and
        shift float32 [B, 2] (down, right), as `affine_matrices` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or an option is out of its range.

    Example:
        >>> drawn = draw_affine(seeds, rotation_degrees=(0, 20), zoom=0.1, flip_probability=0.5)
        >>> matrices = affine_matrices(**drawn._asdict(), image_size=(512, 512))
    """
    low, high = rotation_degrees
    if not 0 <= low <= high < math.inf:
        raise ValueError(
            f"expected rotation_degrees (low, high), 0 <= low <= high. Received: rotation_degrees={rotation_degrees}"
        )
    if not 0 <= zoom < 1:
        raise ValueError(f"expected 0 <= zoom < 1. Received: zoom={zoom}")
    if not 0 <= flip_probability <= 1:
        raise ValueError(f"expected flip_probability in 0..1. Received: flip_probability={flip_probability}")
    if not 0 <= shear_degrees < 90:
        raise ValueError(f"expected 0 <= shear_degrees < 90. Received: shear_degrees={shear_degrees}")
    if not 0 <= shift < math.inf:
        raise ValueError(f"expected shift of at least 0. Received: shift={shift}")
    drawn = uniforms(seeds, stream=_STREAM, count=7)
    size, direction, scale, side, lean = tf.unstack(drawn[:, :5], axis=1)
    angles = math.radians(low) + math.radians(high - low) * size
    angles = tf.where(direction < 0.5, angles, -angles)
    return AffineParameters(
        rotation_radians=tf.cast(angles, tf.float32),
        zoom=tf.cast(1.0 + zoom * (2.0 * scale - 1.0), tf.float32),
        flip=side < flip_probability,
        shear_radians=tf.cast(math.radians(shear_degrees) * (2.0 * lean - 1.0), tf.float32),
        shift=tf.cast(shift * (2.0 * drawn[:, 5:] - 1.0), tf.float32),
    )


def affine_matrices(
    rotation_radians: tf.Tensor,
    *,
    zoom: tf.Tensor,
    flip: tf.Tensor,
    image_size: tuple[int, int],
    shear_radians: tf.Tensor | None = None,
    shift: tf.Tensor | None = None,
) -> tf.Tensor:
    """Compose for each image: flip it left to right, shear it, rotate and enlarge it about its centre, and shift it.

    Args:
        rotation_radians: float32 [B], the angles; positive is counter-clockwise as the viewer sees it.
        zoom: float32 [B], factors over 0; more than 1 enlarges.
        flip: bool [B], whether to mirror left to right.
        image_size: (height, width) in pixels.
        shear_radians: float32 [B], angles between -pi/2 and pi/2 by which vertical lines lean; positive moves what is
            below the centre to the right. None: no shear.
        shift: float32 [B, 2], the way down and to the right as shares of height and width. None: no shift.

    Returns:
        float32 [B, 2, 3], output to input coordinates, as `warp_affine` takes them.

    Raises:
        ValueError: the parameters are not of one batch and of these shapes, or image_size is not two positive integers.

    Example:
        >>> matrices = affine_matrices([0.1], zoom=[1.05], flip=[True], image_size=(512, 512))
    """
    # In float64: a compiler that fuses multiply and add then makes no difference after the rounding to float32.
    angles, zoom = tf.cast(rotation_radians, tf.float64), tf.cast(zoom, tf.float64)
    mirror = tf.cast(tf.where(tf.convert_to_tensor(flip, tf.bool), -1.0, 1.0), tf.float64)
    slope = tf.zeros_like(angles) if shear_radians is None else tf.tan(tf.cast(shear_radians, tf.float64))
    way = tf.zeros([2], tf.float64) if shift is None else tf.cast(shift, tf.float64)
    _check_parameters([angles, zoom, mirror, slope], None if shift is None else way, image_size)
    cosine, sine = tf.cos(angles) / zoom, tf.sin(angles) / zoom
    down = tf.stack([cosine, sine], axis=-1)  # [B, 2]
    right = tf.stack([-sine, cosine], axis=-1) - slope[:, tf.newaxis] * down
    linear = tf.stack([down, right * mirror[:, tf.newaxis]], axis=1)  # [B, 2, 2]
    centre = tf.constant([(length - 1) / 2 for length in image_size], tf.float64)
    offset = centre - tf.linalg.matvec(linear, centre + way * tf.constant(image_size, tf.float64))
    return tf.cast(tf.concat([linear, offset[:, :, tf.newaxis]], axis=-1), tf.float32)


def _check_parameters(parameters: Sequence[tf.Tensor], shift: tf.Tensor | None, image_size: tuple[int, int]) -> None:
    shapes = [parameter.shape for parameter in parameters]
    if any(shape.rank != 1 or not shape.is_compatible_with(shapes[0]) for shape in shapes):
        raise ValueError(
            f"expected rotation_radians, zoom, flip and shear_radians of one shape [B]. "
            f"Received: shapes={', '.join(map(str, shapes))}"
        )
    if shift is not None and not shift.shape.is_compatible_with([shapes[0][0], 2]):
        raise ValueError(f"expected shift [{shapes[0][0] or 'B'}, 2]. Received: shape={shift.shape}")
    if len(image_size) != 2 or not all(isinstance(length, int) and length >= 1 for length in image_size):
        raise ValueError(f"expected image_size (height, width), positive integers. Received: image_size={image_size}")


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
        matrices: float32 [B, 2, 3], output to input coordinates (see the module).
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
    options = (interpolation == "nearest", fill_mode == "reflect", fill_value)
    if images.shape[-1] == 1:
        return tf.ensure_shape(_warp_planes(images[..., 0], matrices, *options), images.shape)
    batch, height, width, channels = tf.unstack(tf.shape(images))
    planes = tf.reshape(tf.transpose(images, [0, 3, 1, 2]), [-1, height, width])  # [B * C, H, W]
    warped = _warp_planes(planes, tf.repeat(matrices, channels, axis=0), *options)
    warped = tf.transpose(tf.reshape(warped, [batch, channels, height, width]), [0, 2, 3, 1])
    return tf.ensure_shape(warped, images.shape)


def _warp_planes(
    planes: tf.Tensor, matrices: tf.Tensor, is_nearest: bool, is_reflected: bool, fill_value: float
) -> tf.Tensor:
    """Warp images of one channel: [N, H, W], [N, 2, 3] -> [N, H, W, 1]."""
    size = tf.shape(planes)[1:]
    fill = tf.cast(fill_value, planes.dtype)
    planes = tf.pad(planes, [[0, 0], [_BORDER] * 2, [_BORDER] * 2], constant_values=fill)
    dtype = planes.dtype if is_nearest else tf.float32
    is_packed = planes.dtype == tf.uint8 and not is_nearest
    planes = _pack(planes) if is_packed else planes
    read = _read_nearest if is_nearest else _read_packed if is_packed else _read_four
    limit = _fold if is_reflected else _bound

    def warp(plane_and_lines: tuple[tf.Tensor, tuple[_Lines, _Lines]]) -> tf.Tensor:
        plane, lines = plane_and_lines
        # With its channel from here on: added behind the loop, it costs a copy of the batch under XLA.
        return read(plane, _Grid(lines, size, limit))[..., tf.newaxis]

    return tf.map_fn(warp, (planes, _lines(matrices, size)), fn_output_signature=dtype)


def _check_warp_arguments(
    images: tf.Tensor, matrices: tf.Tensor, interpolation: str, fill_mode: str, fill_value: float
) -> None:
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(
            f"expected interpolation of 'bilinear' or 'nearest'. Received: interpolation={interpolation!r}"
        )
    if fill_mode not in ("constant", "reflect"):
        raise ValueError(f"expected fill_mode of 'constant' or 'reflect'. Received: fill_mode={fill_mode!r}")
    if images.shape.rank != 4 or images.dtype not in (tf.float32, tf.uint8):
        raise ValueError(
            f"expected float32 or uint8 images [B, H, W, C]. Received: dtype={images.dtype.name}, shape={images.shape}"
        )
    if matrices.dtype != tf.float32 or not matrices.shape.is_compatible_with([images.shape[0], 2, 3]):
        raise ValueError(
            f"expected float32 matrices [{images.shape[0] or 'B'}, 2, 3]. "
            f"Received: dtype={matrices.dtype.name}, shape={matrices.shape}"
        )
    if images.dtype == tf.uint8 and fill_value not in range(256):
        raise ValueError(f"expected fill_value, a whole number in 0..255 for uint8. Received: fill_value={fill_value}")


class _Lines(NamedTuple):
    """The input coordinates along one axis, in two parts that add up: one from the output row, one from the column.

    Each is a whole number, int32, and a fraction, float32, a multiple of 2**-_BITS in 0..1.
    """

    row_wholes: tf.Tensor  # [N, H]
    row_fractions: tf.Tensor
    column_wholes: tf.Tensor  # [N, W]
    column_fractions: tf.Tensor


def _lines(matrices: tf.Tensor, size: tf.Tensor) -> tuple[_Lines, _Lines]:
    """Return those of the two axes of the input."""
    rows, columns = (tf.cast(tf.range(length), tf.float64) for length in tf.unstack(size))

    def lines_of(matrix: tf.Tensor) -> tuple[_Lines, ...]:
        steps = tf.unstack(tf.cast(matrix, tf.float64))
        return tuple(_Lines(*_split(step[0] * rows + step[2]), *_split(step[1] * columns)) for step in steps)

    # A loop of its own: XLA stores what goes into a loop and comes out of it. Without, it would make the matrix anew,
    # sine, cosine and random numbers, for each row and column, and the lines anew for each pixel.
    signature = _Lines(tf.int32, tf.float32, tf.int32, tf.float32)
    return tf.map_fn(lines_of, matrices, fn_output_signature=(signature, signature))


def _split(coordinates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return whole numbers and fractions; far-away coordinates stay far and become safe to add."""
    coordinates = tf.clip_by_value(coordinates, -(2.0**29), 2.0**29)
    wholes = tf.floor(coordinates)
    fractions = tf.round((coordinates - wholes) * 2.0**_BITS) * 2.0**-_BITS
    return tf.cast(wholes, tf.int32), tf.cast(fractions, tf.float32)


_Limit = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Wholes, fractions and an axis' length -> wholes and fractions of where to read in an image with a border."""


class _Grid:
    """Where one image's output pixels lie in its input with a border of `_BORDER` pixels.

    Args:
        lines: those of the image, along its two axes.
        size: int32 [2], height and width without the border.
        limit: what keeps coordinates within reach of the border.
    """

    def __init__(self, lines: tuple[_Lines, _Lines], size: tf.Tensor, limit: _Limit) -> None:
        self._lines, self._size, self._limit = lines, size, limit

    def indices(self, *, width: tf.Tensor, nearest: bool = False) -> tf.Tensor:
        """Return int32 [H, W]: which pixel of an image, flattened, lies at the upper left (or is the nearest).

        Args:
            width: of that image, its border included.
            nearest: whether to round to the nearest pixel, halves up, instead of down.
        """

        def add_axis(indices: tf.Tensor, axis: tuple[_Lines, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            lines, length, step = axis
            wholes, fractions = self._limit(*_sum(lines), length)
            if nearest:
                wholes += tf.cast(fractions >= 0.5, tf.int32)
            return indices + (wholes + _BORDER) * step

        # A loop over the two axes: what comes out of a loop is stored. XLA would compute it in the midst of reading
        # pixels instead, one by one, where now it goes eight at a time.
        lines = _Lines(*(tf.stack(parts) for parts in zip(*self._lines, strict=True)))
        axes = (lines, self._size, tf.stack([width, 1]))
        return tf.foldl(add_axis, axes, initializer=tf.zeros(self._size, tf.int32))

    def weights(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the weights of the lower and of the right pixels, float32 [H, W], exact multiples of 2**-_BITS."""
        down, right = (self._limit(*_sum(lines), self._size[axis])[1] for axis, lines in enumerate(self._lines))
        return down, right


def _sum(lines: _Lines) -> tuple[tf.Tensor, tf.Tensor]:
    """Add up the parts of one axis, [H] and [W] -> wholes and fractions [H, W]."""
    fractions = lines.row_fractions[:, tf.newaxis] + lines.column_fractions
    has_carry = fractions >= 1.0
    wholes = lines.row_wholes[:, tf.newaxis] + lines.column_wholes + tf.cast(has_carry, tf.int32)
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


def _read_nearest(image: tf.Tensor, grid: _Grid) -> tf.Tensor:
    return tf.gather(tf.reshape(image, [-1]), grid.indices(width=tf.shape(image)[1], nearest=True))


def _read_four(image: tf.Tensor, grid: _Grid) -> tf.Tensor:
    """Blend the four pixels around each position: float32 [H + 4, W + 4] -> [H, W]."""
    width = tf.shape(image)[1]
    pixels, indices = tf.reshape(image, [-1]), grid.indices(width=width)
    upper_left, upper_right, lower_left, lower_right = (
        tf.gather(pixels, indices + step) for step in (0, 1, width, width + 1)
    )
    down, right = grid.weights()
    upper = upper_left * (1.0 - right) + upper_right * right
    lower = lower_left * (1.0 - right) + lower_right * right
    return upper * (1.0 - down) + lower * down


def _read_packed(packed: tf.Tensor, grid: _Grid) -> tf.Tensor:
    """Do the same from what `_pack` made, where one look-up gets all four pixels."""
    entries = tf.gather(tf.reshape(packed, [-1]), grid.indices(width=tf.shape(packed)[1]))
    upper_left, upper_right, lower_left, lower_right = (
        tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(entries, shift), 255), tf.float32)
        for shift in (0, 8, 16, 24)
    )
    down, right = grid.weights()
    return blend(blend(upper_left, upper_right, right), blend(lower_left, lower_right, right), down)


def _pack(images: tf.Tensor) -> tf.Tensor:
    """Put each pixel with its right, lower and lower right neighbours into the bytes of an integer.

    uint8 [N, h, w] -> int32 [N, h - 1, w - 1].
    """
    pixels = tf.cast(images, tf.int32)
    pairs = pixels[:, :, :-1] + pixels[:, :, 1:] * 2**8
    return tf.bitwise.bitwise_or(pairs[:, :-1], tf.bitwise.left_shift(pairs[:, 1:], 16))
