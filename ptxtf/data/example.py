"""One TFRecord -> tensors, inside a graph. What it holds, and how it is written, stands in `ptxtf.data.record`.

The mask keeps the original size whatever the image's, so that scores at the original size are possible; `parse` draws
it at the image's size by nearest neighbour at pixel centres.
"""

import tensorflow as tf

from ptxtf.data import record


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
        "image": uint8 [H, W, 1]; "mask": uint8 [H, W, 1] of {0, 1}; "image_id", "patient", "view_position", "sex":
        string; "age_years": float32, nan = unknown; "spacing_mm": float32 [2], row and column spacing of the original
        pixels, nan = unknown; "original_size": int32 [2]; "positive": bool.
    """
    features = tf.io.parse_single_example(
        serialized,
        {
            record.image_feature(encoding): tf.io.FixedLenFeature([], tf.string),
            "image/shape": tf.io.FixedLenFeature([3], tf.int64),
            "mask/value": tf.io.FixedLenFeature([], tf.string),
            "mask/shape": tf.io.FixedLenFeature([3], tf.int64),
            "positive": tf.io.FixedLenFeature([], tf.int64),
            "image_id": tf.io.FixedLenFeature([], tf.string),
            "patient": tf.io.FixedLenFeature([], tf.string),
            "spacing_mm": tf.io.FixedLenFeature([2], tf.float32),
            "view_position": tf.io.FixedLenFeature([], tf.string),
            "sex": tf.io.FixedLenFeature([], tf.string),
            "age_years": tf.io.FixedLenFeature([], tf.float32),
        },
    )
    original_size = tf.cast(features["mask/shape"][:2], tf.int32)
    stored_size = tf.cast(features["image/shape"][:2], tf.int32)
    positive = features["positive"] > 0
    size = tf.constant([image_size, image_size]) if image_size else stored_size
    image = _decode_image(features[record.image_feature(encoding)], stored_size, encoding=encoding)
    if image_size:
        image = tf.cond(tf.reduce_all(stored_size == size), lambda: image, lambda: resize(image[tf.newaxis], size)[0])
        image = tf.ensure_shape(image, [image_size, image_size, 1])
    if full_mask:
        mask = draw_mask(features["mask/value"], original_size, original_size)
    else:
        mask = tf.cond(  # most masks are empty, and need no inflating
            positive,
            lambda: draw_mask(features["mask/value"], original_size, size),
            lambda: tf.zeros([size[0], size[1], 1], tf.uint8),
        )
        mask = tf.ensure_shape(mask, [image_size or None, image_size or None, 1])
    return {
        "image": image,
        "mask": mask,
        "image_id": features["image_id"],
        "patient": features["patient"],
        "view_position": features["view_position"],
        "sex": features["sex"],
        "age_years": features["age_years"],
        "spacing_mm": features["spacing_mm"],
        "original_size": original_size,
        "positive": positive,
    }


def is_positive(serialized: tf.Tensor) -> tf.Tensor:
    """Return whether a record (string scalar) has any mask pixel, a bool scalar, and decode nothing for it."""
    features = tf.io.parse_single_example(serialized, {"positive": tf.io.FixedLenFeature([], tf.int64)})
    return features["positive"] > 0


def names(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return image ids and patients of records (string [N]), string [N] each, and decode nothing for it."""
    features = tf.io.parse_example(
        serialized, {name: tf.io.FixedLenFeature([], tf.string) for name in ("image_id", "patient")}
    )
    return features["image_id"], features["patient"]


def resize(images: tf.Tensor, size: tf.Tensor | tuple[int, int], *, xla: bool = True) -> tf.Tensor:
    """Resize as every radiograph is resized: area averaging where both sides shrink, else bilinear.

    Args:
        images: uint8 [B, H, W, 1].
        size: height and width in pixels.
        xla: halve by a function that XLA compiles, which gives the same in a third of the time.

    Returns:
        uint8 [B, *size, 1], rounded to the nearest grey level.
    """
    size = tf.convert_to_tensor(size)
    original = tf.shape(images)[1:3]

    def interpolate(method: str) -> tf.Tensor:
        return tf.cast(tf.round(tf.image.resize(images, size, method=method)), tf.uint8)

    ways = [(tf.reduce_all(original == 2 * size), lambda: _halve(images))] if xla else []
    ways.append((tf.reduce_all(original >= size), lambda: interpolate("area")))
    return tf.case(ways, default=lambda: interpolate("bilinear"))


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _halve(images: tf.Tensor) -> tf.Tensor:
    """Average blocks of 2 x 2 pixels, as area averaging does, in a third of its time (SIIM-ACR: 1024² to 512²)."""
    height, width = tf.unstack(tf.shape(images)[1:3] // 2 * 2)
    pixels = tf.cast(images[:, :height, :width], tf.float32)  # traced for odd sides, too, though never run for them
    blocks = [pixels[:, down::2, right::2] for down in (0, 1) for right in (0, 1)]
    return tf.cast(tf.round(tf.add_n(blocks) * 0.25), tf.uint8)


def draw_mask(deflated: tf.Tensor, original_size: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Draw a stored mask at any size, by nearest neighbour at pixel centres.

    Args:
        deflated: string scalar, uint8 pixels of {0, 1} row by row, deflated.
        original_size: int32 [2], height and width of the stored mask.
        size: int32 [2], height and width to draw.

    Returns:
        uint8 [*size, 1] of {0, 1}.
    """
    pixels = tf.io.decode_raw(tf.io.decode_compressed(deflated, "ZLIB"), tf.uint8)
    rows, columns = (_centres(size[axis], original_size[axis]) for axis in (0, 1))
    mask = tf.gather(tf.reshape(pixels, original_size), rows)  # [h, W]
    return tf.gather(mask, columns, axis=1)[..., tf.newaxis]


def _centres(size: tf.Tensor, original: tf.Tensor) -> tf.Tensor:
    """Return, for each of `size` pixels, the index of the original pixel under its centre (whole-number exact)."""
    return (2 * tf.range(size) + 1) * original // (2 * size)


def _decode_image(image: tf.Tensor, size: tf.Tensor, *, encoding: str) -> tf.Tensor:
    if encoding == "raw":
        return tf.reshape(tf.io.decode_raw(image, tf.uint8), [size[0], size[1], 1])
    if encoding == "png":
        decoded = tf.io.decode_png(image, channels=1)
    else:  # decode_jpeg reads PNG too: "source" stores that where a DICOM holds no plain JPEG
        decoded = tf.io.decode_jpeg(image, channels=1, dct_method="INTEGER_ACCURATE")
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(decoded)[:2], size, "image/shape is another")]):
        return tf.ensure_shape(decoded, [None, None, 1])
