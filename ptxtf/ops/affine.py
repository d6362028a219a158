"""Rotation, zoom, flip, shear and shift, put together in one matrix per image.

Flows in: seeds, one per example. Flows out: matrices float32 [B, 2, 3], as `ptxtf.ops.warp` applies them.

Parameters are drawn (`draw_affine`) apart from being made into matrices (`affine_matrices`). A matrix maps output to
input pixel coordinates,

    (row, column) of the input = matrix[:, :2] @ (row, column) of the output + matrix[:, 2],

where (0, 0) is the centre of the upper left pixel.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ptxtf.ops.checks import checked_lengths
from ptxtf.ops.draws import Stream, between, uniforms


class AffineParameters(NamedTuple):
    """What `draw_affine` draws, by the names that `affine_matrices` takes it."""

    rotations_radians: tf.Tensor
    zooms: tf.Tensor
    flips: tf.Tensor
    shears_radians: tf.Tensor
    shifts: tf.Tensor


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
        `AffineParameters`: rotations_radians float32 [B], zooms float32 [B], flips bool [B], shears_radians float32 [B]
        and shifts float32 [B, 2] (down, right), as `affine_matrices` takes them.

    Raises:
        ValueError: the seeds are not int32 [B, 2], or an option is out of its range.

    Example:
        >>> drawn = draw_affine(seeds, rotation_degrees=(0, 20), zoom=0.1, flip_probability=0.5)
        >>> matrices = affine_matrices(**drawn._asdict(), image_size=(512, 512))
    """
    low, high = rotation_degrees if len(rotation_degrees) == 2 else (math.nan, math.nan)
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
    drawn = uniforms(seeds, stream=Stream.AFFINE, count=7)
    size, direction, scale, side, lean = tf.unstack(drawn[:, :5], axis=1)
    angles = between(size, math.radians(low), math.radians(high))
    angles = tf.where(direction < 0.5, angles, -angles)
    return AffineParameters(
        rotations_radians=tf.cast(angles, tf.float32),
        zooms=tf.cast(between(scale, 1.0 - zoom, 1.0 + zoom), tf.float32),
        flips=side < flip_probability,
        shears_radians=tf.cast(between(lean, -math.radians(shear_degrees), math.radians(shear_degrees)), tf.float32),
        shifts=tf.cast(between(drawn[:, 5:], -shift, shift), tf.float32),
    )


def affine_matrices(
    rotations_radians: tf.Tensor,
    *,
    zooms: tf.Tensor,
    flips: tf.Tensor,
    image_size: tuple[int, int],
    shears_radians: tf.Tensor | None = None,
    shifts: tf.Tensor | None = None,
) -> tf.Tensor:
    """Compose for each image: flip it left to right, shear it, rotate and enlarge it about its centre, and shift it.

    Args:
        rotations_radians: float32 [B], the angles; positive is counter-clockwise as the viewer sees it.
        zooms: float32 [B], factors over 0; more than 1 enlarges.
        flips: bool [B], whether to mirror left to right.
        image_size: (height, width) in pixels.
        shears_radians: float32 [B], angles between -pi/2 and pi/2 by which vertical lines lean; positive moves what is
            below the centre to the right. None: no shear.
        shifts: float32 [B, 2], the way down and to the right as shares of height and width. None: no shift.

    Returns:
        float32 [B, 2, 3], output to input coordinates, as `warp_affine` takes them.

    Raises:
        ValueError: the parameters are not of one batch and of these shapes, or image_size is not two positive integers.

    Example:
        >>> matrices = affine_matrices([0.1], zooms=[1.05], flips=[True], image_size=(512, 512))
    """
    # In float64: a compiler that fuses multiply and add then makes no difference after the rounding to float32.
    angles, zooms = tf.cast(rotations_radians, tf.float64), tf.cast(zooms, tf.float64)
    mirror = tf.cast(tf.where(tf.convert_to_tensor(flips, tf.bool), -1.0, 1.0), tf.float64)
    slope = tf.zeros_like(angles) if shears_radians is None else tf.tan(tf.cast(shears_radians, tf.float64))
    way = tf.zeros([2], tf.float64) if shifts is None else tf.cast(shifts, tf.float64)
    lengths = checked_lengths(image_size, name="image_size", axes=("height", "width"))
    _check_parameters([angles, zooms, mirror, slope], None if shifts is None else way)
    cosine, sine = tf.cos(angles) / zooms, tf.sin(angles) / zooms
    down = tf.stack([cosine, sine], axis=-1)  # [B, 2]
    right = tf.stack([-sine, cosine], axis=-1) - slope[:, tf.newaxis] * down
    linear = tf.stack([down, right * mirror[:, tf.newaxis]], axis=1)  # [B, 2, 2]
    centre = tf.constant([(length - 1) / 2 for length in lengths], tf.float64)
    offset = centre - tf.linalg.matvec(linear, centre + way * tf.constant(lengths, tf.float64))
    return tf.cast(tf.concat([linear, offset[:, :, tf.newaxis]], axis=-1), tf.float32)


def _check_parameters(parameters: Sequence[tf.Tensor], shifts: tf.Tensor | None) -> None:
    shapes = [parameter.shape for parameter in parameters]
    if any(shape.rank != 1 or not shape.is_compatible_with(shapes[0]) for shape in shapes):
        raise ValueError(
            f"expected rotations_radians, zooms, flips and shears_radians of one shape [B]. "
            f"Received: shapes={', '.join(map(str, shapes))}"
        )
    if shifts is not None and not shifts.shape.is_compatible_with([shapes[0][0], 2]):
        raise ValueError(f"expected shifts [{shapes[0][0] or 'B'}, 2]. Received: shape={shifts.shape}")
