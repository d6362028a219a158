"""What the machine computes on, and how its cores are used."""

import contextlib
import functools
import os
import pathlib

import tensorflow as tf

_CPUINFO = pathlib.Path("/proc/cpuinfo")


def has_accelerator() -> bool:
    """Return whether TensorFlow sees a GPU or a TPU."""
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def has_avx512() -> bool:
    """Return whether the processor has the vector instructions that oneDNN is quickest by."""
    return "avx512f" in _features()


def has_onednn() -> bool:
    """Return whether TensorFlow computes by oneDNN on the processor: by itself it does with AVX-512 only."""
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1" if has_avx512() else "0") != "0"


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16 by itself; a training step in it may take minutes otherwise."""
    # TensorFlow without oneDNN knows no such instructions
    return has_onednn() and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(_features())


def one_core_per_operation() -> bool:
    """Keep each operation to one core, as is best for a batch of images that are computed side by side.

    Cores that share an operation wait for one another, and many operations are too small to be shared. They also divide
    its sums by what else is in the batch, so that an image's numbers depend on that in the last bits. This holds for
    the whole process, and TensorFlow takes it only before it computes for the first time.

    Returns:
        Whether a batch is to be divided in pairs, which are computed at the same time, see `forward.in_parts`:
        true unless there is an accelerator.
    """
    if any(tf.config.get_visible_devices(kind) for kind in ("GPU", "TPU")):
        return False
    with contextlib.suppress(RuntimeError):  # it has been at work already
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores())
    return True


def images_at_once(batch_size: int) -> int:
    """Return how many images are to be computed together: so many, or for 0 as many as suit the device."""
    if batch_size:
        return batch_size
    return 8 if has_accelerator() else min(2 * cores(), 32)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _features() -> frozenset[str]:
    """Return the processor's features as Linux names them; none elsewhere."""
    return frozenset(_CPUINFO.read_text().split()) if _CPUINFO.exists() else frozenset()
