"""Image operations: pure functions on batches, for eager calls, `tf.function`, `tf.data` and XLA alike.

Values, once for all of them:

- An image batch is [B, H, W, C], with at least one image. uint8 runs from 0 to 255, uint16 (CLAHE) to 65,535; float32
  usually from 0 to 1, which `adjust_gamma` alone needs.
- No operation clips, scales or casts silently: its docstring says what comes out. `ptxtf.preprocess` decides.
- Coordinates are (row, column) in pixels, sizes (height, width), grids (rows, columns).
- Chance comes in by `seeds`, int32 [B, 2], one per example, and an example's parameters depend on its own seed alone.
  A `draw_…` function turns seeds into parameters and another applies them, so that an image and its mask share them.

- On a processor the same bits come out of every way to call them, but for `warp_affine` of float32 images (up to 1e-6
  of their range), `blur`, `adjust_contrast` and `adjust_gamma` (one pixel in 10**9 by one rounding, and further off in
  TensorFlow before 2.21), and `stitch_patches` where patches overlap (one rounding).

They take plain arguments and know no configuration, flag or file. Wrong values, dtypes and shapes raise `ValueError`
(`TypeError` where a number is no integer); what is known at run time only raises `tf.errors.InvalidArgumentError`, or
nothing under XLA, which cannot check. Modules without an operation of their own (`blend`, `checks`, `draws`, `grid`)
hold what several share.
"""

from ptxtf.ops.affine import affine_matrices, draw_affine
from ptxtf.ops.blur import blur, draw_blur
from ptxtf.ops.clahe import clahe
from ptxtf.ops.cutout import cut_out, draw_cutout
from ptxtf.ops.intensity import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    draw_brightness,
    draw_contrast,
    draw_gamma,
    to_unit_range,
)
from ptxtf.ops.noise import add_noise, draw_noise
from ptxtf.ops.patches import extract_patches, stitch_patches
from ptxtf.ops.random_patches import crop_patches, draw_corners
from ptxtf.ops.warp import warp_affine

__all__ = [
    "add_noise",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_gamma",
    "affine_matrices",
    "blur",
    "clahe",
    "crop_patches",
    "cut_out",
    "draw_affine",
    "draw_blur",
    "draw_brightness",
    "draw_contrast",
    "draw_corners",
    "draw_cutout",
    "draw_gamma",
    "draw_noise",
    "extract_patches",
    "stitch_patches",
    "to_unit_range",
    "warp_affine",
]
