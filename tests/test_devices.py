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


ONEDNN = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"}  # as all commands set it
ALIKE = """
import numpy as np
import tensorflow as tf
from ptxtf import devices, forward, models, preprocess
from ptxtf.config import InferenceConfig, PreprocessConfig
from ptxtf.inference.network import Network, ask

assert devices.one_core_per_operation()
network = models.unet("tiny", weights=None, decoder_filters=(16,) * 5)
images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 1)).astype(np.uint8)
patches = {"mode": "patch", "patch_size": 32}
views = {"tta_flip": True, "tta_rotations": (5.0,), "tta_scales": (0.9,), "tta_gammas": (1.2,)}
for options, asked in (({}, {}), (patches, {}), (patches, {"tile_overlap": 0.5}), ({}, views)):
    config, asked = PreprocessConfig(**options), InferenceConfig(**asked)
    tiles = preprocess.tiles_of(config, asked)
    found = tf.function(ask(Network(network, config, 64, 1.0, tiles, preprocess.views_of(asked)), in_pairs=True))
    together = found(images).probabilities.numpy()
    if not asked.tta_flip and not asked.tile_overlap:
        plain = tf.sigmoid(forward.logits_function(network, config, xla=False)(images))
        np.testing.assert_allclose(plain, together, atol=1e-5)
    for size in (1, 2, 3):
        parts = [found(images[start : start + size]).probabilities for start in range(0, 5, size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
"""


def test_an_image_is_the_same_to_the_last_bit_whatever_the_batch():
    done = subprocess.run([sys.executable, "-c", ALIKE], capture_output=True, text=True, check=False, env=ONEDNN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", str(CORES)]


def test_where_tensorflow_computes_already_nothing_changes():
    tf.constant(1) + 1
    before = tf.config.threading.get_intra_op_parallelism_threads()
    assert devices.one_core_per_operation()
    assert tf.config.threading.get_intra_op_parallelism_threads() == before


def test_as_many_images_at_once_as_suit_the_device(monkeypatch):
    assert devices.images_at_once(3) == 3
    assert devices.images_at_once(0) == min(2 * CORES, 32)
    monkeypatch.setattr(devices, "has_accelerator", lambda: True)
    assert devices.images_at_once(0) == 8
