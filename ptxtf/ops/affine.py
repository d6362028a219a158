"""Rotation, zoom and flip in one warp.

Flows in: images [B, H, W, C] of any range. Flows out: images of the same shape, dtype and value range.

Parameters are drawn (`draw_affine`), made into one matrix per image (`affine_matrices`) and applied (`warp_affine`)
apart from each other, so that an image and its mask can share them. A matrix maps output to input pixel coordinates,

    (row, column) of the input = matrix[:, :2] @ (row, column) of the output + matrix[:, 2],

where (0, 0) is the centre of the upper left pixel.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from ptxtf.ops.draws import uniforms

_STREAM = 1  # of ptxtf.ops.draws: no other drawing function has this number


def draw_affine(
    seeds: tf.Tensor, *, rotation_degrees: tuple[float, float], zoom: float, flip_probability: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw a rotation, a zoom and a flip for each example, from its own seed alone.

    Args:
        seeds: int32 [B, 2], one seed per example.
        rotation_degrees: range (low, high) of the angle's size, 0 <= low <= high; either direction is as likely.
        zoom: largest change of scale, 0 <= zoom < 1; the factor is uniform in 1 - zoom to 1 + zoom.
        flip_probability: share of examples to mirror left to right, 0..1.

    Returns:
        rotation_radians float32 [B], zoom float32 [B] and flip bool [B], as `affine_matrices` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or an option is out of its range.

    Example:
        >>> drawn = draw_affine(seeds, rotation_degrees=(0, 20), zoom=0.1, flip_probability=0.5)
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
    size, direction, scale, side = tf.unstack(uniforms(seeds, stream=_STREAM, count=4), axis=1)
    angles = math.radians(low) + math.radians(high - low) * size
    angles = tf.where(direction < 0.5, angles, -angles)
    factors = 1.0 + zoom * (2.0 * scale - 1.0)
    return tf.cast(angles, tf.float32), tf.cast(factors, tf.float32), side < flip_probability


def affine_matrices(
    rotation_radians: tf.Tensor, *, zoom: tf.Tensor, flip: tf.Tensor, image_size: tuple[int, int]
) -> tf.Tensor:
    """Compose for each image: flip it left to right, then rotate and enlarge it about its centre.

    Args:
        rotation_radians: float32 [B], the angles; positive is counter-clockwise as the viewer sees it.
        zoom: float32 [B], factors over 0; more than 1 enlarges.
        flip: bool [B], whether to mirror left to right.
        image_size: (height, width) in pixels.

    Returns:
        float32 [B, 2, 3], output to input coordinates, as `warp_affine` takes them.

    Raises:
        ValueError: the parameters are not three of one shape [B], or image_size is not two positive integers.

    Example:
        >>> matrices = affine_matrices([0.1], zoom=[1.05], flip=[True], image_size=(512, 512))
    """
    # In float64: a compiler that fuses multiply and add then makes no difference after the rounding to float32.
    angles, zoom = tf.cast(rotation_radians, tf.float64), tf.cast(zoom, tf.float64)
    mirror = tf.cast(tf.where(tf.convert_to_tensor(flip, tf.bool), -1.0, 1.0), tf.float64)
    shapes = [angles.shape, zoom.shape, mirror.shape]
    if any(shape.rank != 1 or not shape.is_compatible_with(shapes[0]) for shape in shapes):
        raise ValueError(
            f"expected rotation_radians, zoom and flip of one shape [B]. Received: shapes={', '.join(map(str, shapes))}"
        )
    if len(image_size) != 2 or not all(isinstance(length, int) and length >= 1 for length in image_size):
        raise ValueError(f"expected image_size (height, width), positive integers. Received: image_size={image_size}")
    cosine, sine = tf.cos(angles) / zoom, tf.sin(angles) / zoom
    linear = tf.stack(  # [B, 2, 2]
        [tf.stack([cosine, sine], axis=-1), tf.stack([-sine * mirror, cosine * mirror], axis=-1)], axis=1
    )
    centre = tf.constant([(length - 1) / 2 for length in image_size], tf.float64)
    offset = centre - tf.linalg.matvec(linear, centre)
    return tf.cast(tf.concat([linear, offset[:, :, tf.newaxis]], axis=-1), tf.float32)


def warp_affine(
    images: tf.Tensor,
    matrices: tf.Tensor,
    *,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> tf.Tensor:
    """Read each output pixel from where its image's matrix points.

    Equals `scipy.ndimage.affine_transform` of order 1 (bilinear) or 0 (nearest). The identity and flips are exact.

    Args:
        images: [B, H, W, C] of any range; float32, or uint8 where the interpolation is nearest.
        matrices: float32 [B, 2, 3], output to input coordinates (see the module).
        interpolation: "bilinear" or "nearest" (halves round up).
        fill_mode: what lies beyond the border: "constant", pixels of fill_value (SciPy's "grid-constant"); or
            "reflect", the image mirrored about its outermost pixels, which are not repeated (SciPy's "mirror",
            `tf.pad`'s "REFLECT").
        fill_value: the constant, in the images' range.

    Returns:
        [B, H, W, C] in the images' dtype and, but for fill_value, within their range.

    Raises:
        ValueError: images or matrices have another shape or dtype, or an option is unknown or unfit for the dtype.

    Example:
        >>> moved = warp_affine(images, matrices)
        >>> moved_masks = warp_affine(masks, matrices, interpolation="nearest")
    """
    images, matrices = tf.convert_to_tensor(images), tf.convert_to_tensor(matrices)
    _check_warp_arguments(images, matrices, interpolation, fill_mode, fill_value)
    height, width = tf.unstack(tf.shape(images)[1:3])
    rows, columns = _source_coordinates(matrices, height, width)
    reflect = fill_mode == "reflect"
    bound = _fold if reflect else _bound
    rows, columns = bound(rows, height), bound(columns, width)
    fill = None if reflect else tf.cast(fill_value, images.dtype)
    if interpolation == "nearest":
        return _read(images, _whole(rows + 0.5), _whole(columns + 0.5), fill)
    upper, left = _whole(rows), _whole(columns)
    row_weights, column_weights = _fraction(rows, upper), _fraction(columns, left)
    above = _mix(_read(images, upper, left, fill), _read(images, upper, left + 1, fill), column_weights)
    below = _mix(_read(images, upper + 1, left, fill), _read(images, upper + 1, left + 1, fill), column_weights)
    return _mix(above, below, row_weights)


def _check_warp_arguments(
    images: tf.Tensor, matrices: tf.Tensor, interpolation: str, fill_mode: str, fill_value: float
) -> None:
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(
            f"expected interpolation of 'bilinear' or 'nearest'. Received: interpolation={interpolation!r}"
        )
    if fill_mode not in ("constant", "reflect"):
        raise ValueError(f"expected fill_mode of 'constant' or 'reflect'. Received: fill_mode={fill_mode!r}")
    dtypes: Sequence[tf.DType] = (tf.float32, tf.uint8) if interpolation == "nearest" else (tf.float32,)
    if images.shape.rank != 4 or images.dtype not in dtypes:
        raise ValueError(
            f"expected {' or '.join(d.name for d in dtypes)} images [B, H, W, C] for {interpolation} interpolation. "
            f"Received: dtype={images.dtype.name}, shape={images.shape}"
        )
    if matrices.dtype != tf.float32 or not matrices.shape.is_compatible_with([images.shape[0], 2, 3]):
        raise ValueError(
            f"expected float32 matrices [{images.shape[0] or 'B'}, 2, 3]. "
            f"Received: dtype={matrices.dtype.name}, shape={matrices.shape}"
        )
    if images.dtype == tf.uint8 and fill_value not in range(256):
        raise ValueError(f"expected fill_value, a whole number in 0..255 for uint8. Received: fill_value={fill_value}")


def _source_coordinates(matrices: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the input row and column of each output pixel, two float64 [B, H, W]."""
    # In float32 a coordinate of 500 is off by 3e-5, and so is a pixel at a sharp edge. float64 takes no longer here.
    rows = tf.cast(tf.range(height), tf.float64)[:, tf.newaxis]  # [H, 1]
    columns = tf.cast(tf.range(width), tf.float64)  # [W]
    m = tf.cast(matrices, tf.float64)[:, :, :, tf.newaxis, tf.newaxis]  # [B, 2, 3, 1, 1]
    return (
        m[:, 0, 0] * rows + m[:, 0, 1] * columns + m[:, 0, 2],
        m[:, 1, 0] * rows + m[:, 1, 1] * columns + m[:, 1, 2],
    )


def _bound(coordinates: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Bring far-away coordinates near, where they still read nothing but fill, to be safe in int32."""
    return tf.clip_by_value(coordinates, -2.0, tf.cast(length + 1, tf.float64))


def _fold(coordinates: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Mirror coordinates into 0..length - 1."""
    period = tf.cast(tf.maximum(2 * (length - 1), 1), tf.float64)
    phase = coordinates - period * tf.floor(coordinates / period)
    return tf.minimum(tf.minimum(phase, period - phase), tf.cast(length - 1, tf.float64))


def _whole(coordinates: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.floor(coordinates), tf.int32)


def _fraction(coordinates: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    """Return the weight of the further pixel, float32 [B, H, W, 1]."""
    return tf.cast(coordinates - tf.cast(whole, tf.float64), tf.float32)[..., tf.newaxis]


def _mix(first: tf.Tensor, second: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return first * (1.0 - weights) + second * weights


def _read(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, fill: tf.Tensor | None) -> tf.Tensor:
    """Gather pixels [B, H, W, C] at int32 [B, H, W]; those beyond the border are fill or, without one, the nearest."""
    batch, height, width, channels = tf.unstack(tf.shape(images))
    nearest_rows, nearest_columns = tf.clip_by_value(rows, 0, height - 1), tf.clip_by_value(columns, 0, width - 1)
    image_starts = (tf.range(batch) * height * width)[:, tf.newaxis, tf.newaxis]
    pixels = tf.reshape(images, [-1, channels])  # [B, H, W, C] -> [B * H * W, C]
    values = tf.gather(pixels, image_starts + nearest_rows * width + nearest_columns)
    if fill is not None:
        inside = (rows == nearest_rows) & (columns == nearest_columns)
        values = tf.where(inside[..., tf.newaxis], values, fill)
    return tf.ensure_shape(values, images.shape)
