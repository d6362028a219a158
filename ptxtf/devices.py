"""What the machine computes on."""

import functools
import pathlib

import tensorflow as tf


def has_accelerator() -> bool:
    """Return whether TensorFlow sees a GPU or a TPU."""
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def has_avx512() -> bool:
    """Return whether the processor has the vector instructions that oneDNN is quickest by."""
    return "avx512f" in _features()


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16 by itself; otherwise a training step may take minutes."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(_features())


@functools.cache
def _features() -> frozenset[str]:
    """Return the processor's features as Linux names them; none elsewhere."""
    file = pathlib.Path("/proc/cpuinfo")
    return frozenset(file.read_text().split()) if file.exists() else frozenset()
