"""What arguments the operations take: each check raises a ValueError that says what was expected and what came."""

import numbers
from collections.abc import Sequence

import tensorflow as tf


def check_images(images: tf.Tensor, *dtypes: tf.DType) -> None:
    """Raise ValueError unless images are [B, H, W, C] of one of the dtypes."""
    if images.dtype not in dtypes or images.shape.rank != 4:
        raise ValueError(
            f"expected {' or '.join(dtype.name for dtype in dtypes)} images [B, H, W, C]. "
            f"Received: dtype={images.dtype.name}, shape={images.shape}"
        )


def check_seeds(seeds: tf.Tensor) -> None:
    """Raise ValueError unless seeds are int32 [B, 2]."""
    if seeds.dtype != tf.int32 or seeds.shape.rank != 2 or seeds.shape[1] != 2:
        raise ValueError(f"expected int32 seeds [B, 2]. Received: dtype={seeds.dtype.name}, shape={seeds.shape}")


def check_per_image(
    values: tf.Tensor, images: tf.Tensor, *, name: str, dtype: tf.DType = tf.float32, shape: tuple[int, ...] = ()
) -> None:
    """Raise ValueError unless values are of the dtype and [B, *shape], one entry for each image."""
    expected = [images.shape[0], *shape]
    # Not by compatibility alone, which what is unknown has with anything.
    is_fit = values.shape.rank == len(expected) and values.shape[1:].as_list() == list(shape)
    if values.dtype != dtype or not is_fit or not values.shape.is_compatible_with(expected):
        wanted = ", ".join(map(str, [images.shape[0] or "B", *shape]))
        raise ValueError(
            f"expected {dtype.name} {name} [{wanted}]. Received: dtype={values.dtype.name}, shape={values.shape}"
        )


def checked_lengths(lengths: Sequence[int], *, name: str, axes: tuple[str, ...]) -> tuple[int, ...]:
    """Return lengths as Python's integers.

    Raises:
        ValueError: they are not a positive integer (Python's or NumPy's) for each of the named axes.
    """
    if len(lengths) != len(axes) or not all(isinstance(n, numbers.Integral) and n >= 1 for n in lengths):
        raise ValueError(f"expected {name} ({', '.join(axes)}), positive integers. Received: {name}={lengths}")
    return tuple(int(n) for n in lengths)


def check_fill_value(fill_value: float, images: tf.Tensor) -> None:
    """Raise ValueError unless the images' dtype, float32 or uint8, can hold fill_value."""
    if images.dtype == tf.uint8 and fill_value not in range(256):
        raise ValueError(f"expected fill_value, a whole number in 0..255 for uint8. Received: fill_value={fill_value}")
