"""Overlapping patches, blended by a Gaussian: cut, pass an identity for a network, stitch; and cutting alone."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tools.benchmark import films, peers, timing
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_WINDOW_BATCHES = (1, 4, 16, 64)
"""Patches per call of the network that MONAI may use; 4 is what its documentation shows."""

Run = Callable[[], Any]


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print milliseconds per image, of one image and of a batch."""
    images = (films.radiographs(config)[..., np.newaxis] / 255).astype(np.float32)
    patch = config.image_size // 4
    what = f"{patch}² patches of {config.image_size}²"
    found = peers.present(_STITCHING, report)
    for count in sorted({1, config.batch_size}):
        batch = images[:count]
        title = f"{what}, half overlap, Gaussian, identity network, {count} image{'s' * (count > 1)}"
        _compare(title, found, batch, config, report)
    _compare(f"{what}, cutting alone, {len(images)} images", _CUTTING, images, config, report)


def _compare(
    title: str, competitors: Sequence[peers.Peer], images: np.ndarray, config: BenchmarkConfig, report: Report
) -> None:
    runs: dict[str, Run] = {}
    for peer in competitors:
        runs.update(peer.build(images))
    clocked = {name: timing.clocked(call, items=len(images), repeat=True) for name, call in runs.items()}
    report.table(title, timing.interleaved(clocked, turns=config.repeats))


def _stitching(images: np.ndarray) -> dict[str, Run]:
    import tensorflow as tf

    from ptxtf import ops

    length = images.shape[1]
    size, stride = length // 4, length // 8

    def cut(images: tf.Tensor) -> tf.Tensor:
        return ops.extract_patches(images, size=size, stride=stride)

    def stitch(patches: tf.Tensor) -> tf.Tensor:
        return ops.stitch_patches(patches, image_size=length, stride=stride, window="gaussian")

    tensor = tf.constant(images)
    at_once = tf.function(lambda images: stitch(cut(images)), jit_compile=True, autograph=False)
    cut_alone, stitch_alone = (tf.function(function, jit_compile=True, autograph=False) for function in (cut, stitch))
    return {
        "ptxtf, XLA, one function": timing.synchronised(at_once, tensor),
        # as with a real network between the two, which needs the patches themselves
        "ptxtf, XLA, cut, then stitch": timing.synchronised(lambda images: stitch_alone(cut_alone(images)), tensor),
    }


def _monai(images: np.ndarray) -> dict[str, Run]:
    import torch
    from monai import inferers

    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    size = images.shape[1] // 4

    def stitch(count: int) -> Run:
        def call() -> torch.Tensor:
            with torch.inference_mode():
                return inferers.sliding_window_inference(
                    batch, (size, size), count, lambda patches: patches, overlap=0.5, mode="gaussian"
                )

        return call

    return monai_runs(stitch)


def monai_runs(of_batch: Callable[[int], Run]) -> dict[str, Run]:
    """Return MONAI's sliding window by its documentation's number of patches per call, and by the quickest of some."""
    calls = {count: of_batch(count) for count in _WINDOW_BATCHES}
    best = min(calls, key=lambda count: _least_seconds(calls[count]))
    tried = ", ".join(map(str, _WINDOW_BATCHES))
    return {"MONAI, sw_batch_size 4": calls[4], f"MONAI, {best} (best of {tried})": calls[best]}


def _least_seconds(function: Run) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return min(seconds() for _ in range(3))


def _cutting(images: np.ndarray) -> dict[str, Run]:
    import tensorflow as tf

    from ptxtf import ops

    size = images.shape[1] // 4
    window = [1, size, size, 1]
    ours = tf.function(lambda images: ops.extract_patches(images, size=size), jit_compile=True, autograph=False)
    theirs = tf.function(
        lambda images: tf.image.extract_patches(images, window, window, [1, 1, 1, 1], "VALID"), autograph=False
    )
    tensor = tf.constant(images)
    return {
        "ptxtf, XLA": timing.synchronised(ours, tensor),
        "tf.image.extract_patches": timing.synchronised(theirs, tensor),
    }


_STITCHING = [peers.Peer("ptxtf", _stitching), peers.Peer("MONAI", _monai, ("MONAI", "PyTorch"))]
_CUTTING = [peers.Peer("cutting", _cutting)]
