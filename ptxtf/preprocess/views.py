"""Test-time augmentation: several views of an image, and the mean of what a network finds in them.

    uint8 [B, H, W, 1] ─► show ─► float32 [V * B, H, W, 1] in 0..1 ─► … ─► probabilities ─► undo ─► [B, H, W, 1]

A view is made of the equalised image as training makes its own: turned, scaled and mirrored about the centre by one
affine warp, then scaled to 0..1, then brightened by a gamma exponent. What was found in it is moved back by the inverse
matrix. A pixel's mean is taken over the views that show it: one that a turned view has lost has no part in it there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ptxtf import ops
from ptxtf.config import InferenceConfig


class View(NamedTuple):
    """One way to look at an image: mirror it left to right, turn it counter-clockwise, enlarge it, gamma."""

    is_mirrored: bool = False
    rotation_degrees: float = 0.0
    scale: float = 1.0
    gamma: float = 1.0

    @property
    def is_moved(self) -> bool:
        """Whether pixels go to places between pixels."""
        return (self.rotation_degrees, self.scale) != (0.0, 1.0)


def views_of(asked: InferenceConfig) -> list[View]:
    """Return the views that are asked for: the image itself, changed in one way each, and all of them mirrored."""
    views = [
        View(),
        *(View(rotation_degrees=degrees) for degrees in asked.tta_rotations if degrees),
        *(View(scale=scale) for scale in asked.tta_scales if scale != 1),
        *(View(gamma=gamma) for gamma in asked.tta_gammas if gamma != 1),
    ]
    mirrored = [view._replace(is_mirrored=True) for view in views] if asked.tta_flip else []
    return list(dict.fromkeys([*views, *mirrored]))


def show(images: tf.Tensor, views: Sequence[View]) -> tf.Tensor:
    """Return all views of a batch.

    Args:
        images: uint8 [B, H, W, 1], equalised.
        views: of `views_of`.

    Returns:
        float32 [V * B, H, W, 1] in 0..1, the whole batch by the first view, then by the second, …
    """
    warped = iter(_warped([images] * len(views), views))
    return tf.concat([_one_view(next(warped) if view.is_moved else images, view) for view in views], axis=0)


def _one_view(images: tf.Tensor, view: View) -> tf.Tensor:
    """Return a view of images, which are moved already where it `is_moved`."""
    is_reversed = view.is_mirrored and not view.is_moved
    shown = ops.to_unit_range(tf.reverse(images, axis=[2]) if is_reversed else images)
    return ops.adjust_gamma(shown, tf.fill(tf.shape(images)[:1], view.gamma)) if view.gamma != 1 else shown


def undo(found: tf.Tensor, views: Sequence[View]) -> tf.Tensor:
    """Return the mean of what was found in the views, moved back to where it is in the image.

    Args:
        found: float32 [V * B, H, W, 1], in the order of `show`.
        views: those that were shown; one of them is not turned or scaled, so that every pixel was seen.

    Returns:
        float32 [B, H, W, 1].
    """
    each = tf.split(found, len(views))
    back = iter(_warped(each, views, inverse=True))
    shares = iter(_warped([tf.ones([1, *found.shape[1:]])] * len(views), views, inverse=True))
    total, weights = tf.constant(0.0), tf.constant(0.0)
    for one, view in zip(each, views, strict=True):
        if view.is_moved:
            total += next(back)
            weights += next(shares)  # less than 1 where the border has a part
        else:
            total += tf.reverse(one, axis=[2]) if view.is_mirrored else one
            weights += 1.0
    return total / weights


def _warped(images: Sequence[tf.Tensor], views: Sequence[View], *, inverse: bool = False) -> Sequence[tf.Tensor]:
    """Return the images of the views that are moved, each as its view has them, or moved back: by one warp for all."""
    moved = [(one, view) for one, view in zip(images, views, strict=True) if view.is_moved]
    if not moved:
        return ()
    matrices = tf.concat([_matrices(view, one, inverse=inverse) for one, view in moved], axis=0)
    return tf.split(ops.warp_affine(tf.concat([one for one, _ in moved], axis=0), matrices), len(moved))


def _matrices(view: View, images: tf.Tensor, *, inverse: bool = False) -> tf.Tensor:
    """Return the matrix that makes a view of each image, or that which undoes it: float32 [B, 2, 3]."""
    shape = tf.shape(images)[:1]
    forward = ops.affine_matrices(
        tf.constant([np.deg2rad(view.rotation_degrees)], tf.float32),
        zooms=tf.constant([view.scale]),
        flips=tf.constant([view.is_mirrored]),
        image_size=(images.shape[1], images.shape[2]),
    )
    matrix = _inverted(forward) if inverse else forward
    return tf.broadcast_to(matrix, tf.concat([shape, [2, 3]], axis=0))


def _inverted(matrices: tf.Tensor) -> tf.Tensor:
    """Return the matrices, float32 [B, 2, 3], of the opposite ways."""
    linear, offset = matrices[:, :, :2], matrices[:, :, 2]
    (a, b), (c, d) = (tf.unstack(row, axis=-1) for row in tf.unstack(linear, axis=1))
    back = tf.stack([tf.stack([d, -b], axis=-1), tf.stack([-c, a], axis=-1)], axis=1) / (a * d - b * c)[:, None, None]
    return tf.concat([back, -tf.linalg.matvec(back, offset)[..., tf.newaxis]], axis=-1)
