"""What is chosen for the devices of a machine, which the tests name."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from ptxtf import devices, forward

CORES = len(os.sched_getaffinity(0))


def pretend(monkeypatch, *, gpus=(), bfloat16=False):
    """Let TensorFlow see GPUs of these compute capabilities, and the processor have bfloat16 instructions or not."""
    monkeypatch.setattr(devices, "has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: list(gpus) if kind == "GPU" else [])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu} if gpu else {}
    )


@pytest.mark.parametrize(
    ("machine", "precision"),
    [
        ({}, "float32"),
        ({"bfloat16": True}, "mixed_bfloat16"),
        ({"gpus": [(8, 0)]}, "mixed_bfloat16"),
        ({"gpus": [(9, 0), (7, 5)]}, "mixed_float16"),
        ({"gpus": [(6, 1)], "bfloat16": True}, "float32"),
        ({"gpus": [()]}, "float32"),
    ],
    ids=str,
)
def test_precision_is_what_the_device_computes_in(monkeypatch, machine, precision):
    pretend(monkeypatch, **machine)
    assert forward.choose_precision("auto") == precision
    assert forward.choose_precision("float32") == "float32"


@pytest.mark.parametrize(
    ("flags", "onednn", "avx512", "bfloat16"),
    [
        ("flags : fpu sse avx avx2 fma", "1", False, False),
        ("flags : avx2 avx512f avx512bw", "1", True, False),
        ("flags : avx512f avx512_bf16", "1", True, True),
        ("flags : avx512f avx512_bf16", "", True, True),
        ("flags : avx512f avx512_bf16", "0", True, False),
        ("Features : fp asimd bf16", "1", False, True),
    ],
)
def test_features_are_those_that_linux_lists(monkeypatch, tmp_path, flags, onednn, avx512, bfloat16):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if onednn:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    listed = tmp_path / "cpuinfo"
    listed.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(devices, "_CPUINFO", listed)
    devices._features.cache_clear()
    found = devices.has_avx512(), devices.has_bfloat16()
    devices._features.cache_clear()
    assert found == (avx512, bfloat16)


SHARE = """
import tensorflow as tf
from ptxtf import devices
print(devices.one_core_per_operation({images}), devices.one_core_per_operation({images}))
tf.constant(1) + 1
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
"""


@pytest.mark.skipif(CORES == 1, reason="one core has nothing to share")
@pytest.mark.parametrize(("images", "parts", "threads"), [(CORES, CORES, (1, CORES)), (CORES - 1, 1, (0, 0))])
def test_cores_are_shared_where_there_are_images_enough(images, parts, threads):
    done = subprocess.run(
        [sys.executable, "-c", SHARE.format(images=images)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(parts), str(parts), str(threads[0]), str(threads[1])]


def test_where_tensorflow_computes_already_nothing_changes():
    tf.constant(1) + 1
    before = tf.config.threading.get_intra_op_parallelism_threads()
    assert devices.one_core_per_operation(1000) == (1 if before == 0 else CORES)
    assert tf.config.threading.get_intra_op_parallelism_threads() == before
