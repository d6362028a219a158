"""What the machine computes on."""

import tensorflow as tf


def has_accelerator() -> bool:
    """Return whether TensorFlow sees a GPU or a TPU."""
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
