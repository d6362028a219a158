"""The record schema: how one radiograph and its mask lie in a TFRecord; writing and reading side by side.

A record holds

| feature        | type        | what                                                                              |
|----------------|-------------|-----------------------------------------------------------------------------------|
| image          | bytes       | uint8 pixels, bright = dense: raw row by row, PNG, or the DICOM's own JPEG stream |
| image_size     | int64 [2]   | stored height and width in pixels                                                 |
| mask           | bytes       | bits at the original size, rows padded to bytes, deflated; empty: healthy         |
| original_size  | int64 [2]   | height and width of the DICOM in pixels                                           |
| image_id       | bytes       | SOP instance UID                                                                  |
| patient        | bytes       | keyed hash of the patient                                                         |
| spacing_mm     | float32 [2] | row and column spacing of the original pixels; nan: unknown                       |
| view_position  | bytes       | PA, AP, ... or empty                                                              |

The mask keeps the original size whatever the image's, so that scores at the original size are possible; `parse`
draws it at the image's size by nearest neighbour at pixel centres, reading only the bits it needs.
"""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Record:
    """One record before it is serialized; `image` is encoded already, `mask` by `pack_mask`."""

    image: bytes
    image_size: tuple[int, int]
    mask: bytes
    original_size: tuple[int, int]
    image_id: str
    patient: str
    spacing_mm: tuple[float, float]
    view_position: str


def pack_mask(mask: np.ndarray) -> bytes:
    """Return a uint8 [H, W] mask of {0, 1} as deflated bits; an empty mask as no bytes."""
    return zlib.compress(np.packbits(mask, axis=1).tobytes()) if mask.any() else b""


def serialize(record: Record) -> bytes:
    """Return the bytes of one TFRecord; the same record always gives the same bytes."""
    features = {
        "image": _bytes(record.image),
        "image_size": _ints(record.image_size),
        "mask": _bytes(record.mask),
        "original_size": _ints(record.original_size),
        "image_id": _bytes(record.image_id.encode()),
        "patient": _bytes(record.patient.encode()),
        "spacing_mm": tf.train.Feature(float_list=tf.train.FloatList(value=record.spacing_mm)),
        "view_position": _bytes(record.view_position.encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def parse(
    serialized: tf.Tensor, *, encoding: str, image_size: int = 0, full_mask: bool = False
) -> dict[str, tf.Tensor]:
    """Parse one record inside a graph.

    Args:
        serialized: string scalar.
        encoding: "raw", "png" or "source", as dataset.json says.
        image_size: height and width to resize to; 0 keeps the stored size.
        full_mask: give the mask at the original size instead of the image's.

    Returns:
        "image": uint8 [H, W, 1]; "mask": uint8 [H, W, 1] of {0, 1}; "image_id", "patient", "view_position": string;
        "spacing_mm": float32 [2], row and column spacing of the original pixels, nan = unknown; "original_size": int32
        [2]; "positive": bool.
    """
    features = tf.io.parse_single_example(
        serialized,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "image_size": tf.io.FixedLenFeature([2], tf.int64),
            "mask": tf.io.FixedLenFeature([], tf.string),
            "original_size": tf.io.FixedLenFeature([2], tf.int64),
            "image_id": tf.io.FixedLenFeature([], tf.string),
            "patient": tf.io.FixedLenFeature([], tf.string),
            "spacing_mm": tf.io.FixedLenFeature([2], tf.float32),
            "view_position": tf.io.FixedLenFeature([], tf.string),
        },
    )
    original_size = tf.cast(features["original_size"], tf.int32)
    stored_size = tf.cast(features["image_size"], tf.int32)
    size = tf.constant([image_size, image_size]) if image_size else stored_size
    image = _decode_image(features["image"], stored_size, encoding=encoding)
    if image_size:
        image = tf.cond(tf.reduce_all(stored_size == size), lambda: image, lambda: resize(image[tf.newaxis], size)[0])
        image = tf.ensure_shape(image, [image_size, image_size, 1])
    mask = unpack_mask(features["mask"], original_size, original_size if full_mask else size)
    if image_size and not full_mask:
        mask = tf.ensure_shape(mask, [image_size, image_size, 1])
    return {
        "image": image,
        "mask": mask,
        "image_id": features["image_id"],
        "patient": features["patient"],
        "view_position": features["view_position"],
        "spacing_mm": features["spacing_mm"],
        "original_size": original_size,
        "positive": tf.strings.length(features["mask"]) > 0,
    }


def resize(images: tf.Tensor, size: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """Resize as every radiograph is resized: area averaging where both sides shrink, else bilinear.

    Args:
        images: uint8 [B, H, W, 1].
        size: height and width in pixels.

    Returns:
        uint8 [B, *size, 1], rounded to the nearest grey level.
    """
    shrinks = tf.reduce_all(tf.shape(images)[1:3] >= size)
    resized = tf.cond(
        shrinks,
        lambda: tf.image.resize(images, size, method="area"),
        lambda: tf.image.resize(images, size, method="bilinear"),
    )
    return tf.cast(tf.round(resized), tf.uint8)


def unpack_mask(packed: tf.Tensor, original_size: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Draw a packed mask at any size, by nearest neighbour at pixel centres.

    Args:
        packed: string scalar from `pack_mask`.
        original_size: int32 [2], height and width of the packed mask.
        size: int32 [2], height and width to draw.

    Returns:
        uint8 [*size, 1] of {0, 1}.
    """

    def draw() -> tf.Tensor:
        octets = tf.io.decode_raw(tf.io.decode_compressed(packed, "ZLIB"), tf.uint8)
        octets = tf.reshape(octets, [original_size[0], -1])  # [H0, ceil(W0 / 8)]
        rows, columns = (_centres(size[axis], original_size[axis]) for axis in (0, 1))
        octets = tf.gather(tf.gather(octets, rows), columns // 8, axis=1)  # [H, W]
        shift = tf.cast(7 - columns % 8, tf.uint8)
        return tf.bitwise.bitwise_and(tf.bitwise.right_shift(octets, shift), tf.constant(1, tf.uint8))

    empty = tf.strings.length(packed) == 0
    return tf.cond(empty, lambda: tf.zeros(size, tf.uint8), draw)[..., tf.newaxis]


def _centres(size: tf.Tensor, original: tf.Tensor) -> tf.Tensor:
    """Return, for each of `size` pixels, the index of the original pixel under its centre (whole-number exact)."""
    return (2 * tf.range(size) + 1) * original // (2 * size)


def _decode_image(image: tf.Tensor, size: tf.Tensor, *, encoding: str) -> tf.Tensor:
    if encoding == "raw":
        decoded = tf.io.decode_raw(image, tf.uint8)
    elif encoding == "png":
        decoded = tf.io.decode_png(image, channels=1)
    else:  # decode_jpeg reads PNG too: "source" stores that where a DICOM holds no plain JPEG
        decoded = tf.io.decode_jpeg(image, channels=1, dct_method="INTEGER_ACCURATE")
    return tf.reshape(decoded, [size[0], size[1], 1])


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values: tuple[int, ...]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
