"""CLAHE of a batch, and how far each peer's pixels are from OpenCV's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmark import films, memory, peers, timing
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_LIMIT, _TILES = 2.0, 8

Run = Callable[[], Any]


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print milliseconds per image, the greatest difference in grey levels, and ptxtf's memory."""
    images = films.radiographs(config)
    found = peers.present(_PEERS, report)
    runs = {peer.name: peer.build(images) for peer in found}
    expected = _levels(_opencv(images)(), images.shape)
    difference = {name: float(np.abs(_levels(call(), images.shape) - expected).max()) for name, call in runs.items()}
    times = timing.interleaved(
        {name: timing.clocked(call, items=len(images), repeat=True) for name, call in runs.items()},
        turns=config.repeats,
    )
    title = f"CLAHE, clip limit 2, 8 x 8 tiles, {len(images)} images of {config.image_size}², uint8"
    report.table(title, times, others={"grey levels off": difference})
    for dtype, used in memory.bytes_used(("uint8", "uint16"), images.shape).items():
        report.fact(f"ptxtf XLA, {dtype}: peak memory", used / images.size, "bytes/pixel", memory.WHAT)


def _levels(result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return grey levels [B, H, W] of what a peer gave: a batch or a list of images, 0..255 or 0..1."""
    levels = np.asarray(result).reshape(shape)
    if levels.dtype.kind == "f":
        levels = np.rint(levels * (255 if levels.max() <= 1.0 else 1))
    return levels.astype(np.int64)


def _ptxtf(images: np.ndarray, *, xla: bool) -> Run:
    import tensorflow as tf

    from ptxtf import ops

    return timing.synchronised(tf.function(ops.clahe, jit_compile=xla), tf.constant(images[..., np.newaxis]))


def _opencv(images: np.ndarray) -> Run:
    import cv2

    clahe = cv2.createCLAHE(_LIMIT, (_TILES, _TILES))
    return lambda: [clahe.apply(image) for image in images]


def _scikit_image(images: np.ndarray) -> Run:
    from skimage import exposure

    # its limit is a share of the tile's pixels, the others' a multiple of the mean of 256 bins
    options = {"kernel_size": images.shape[1] // _TILES, "clip_limit": _LIMIT / 256}
    return lambda: [exposure.equalize_adapthist(image, **options) for image in images]


def _kornia(images: np.ndarray) -> Run:
    import torch
    from kornia import enhance

    batch = torch.from_numpy(images[:, np.newaxis]).float() / 255
    return lambda: enhance.equalize_clahe(batch, clip_limit=_LIMIT, grid_size=(_TILES, _TILES))


def _dali(images: np.ndarray) -> Run:
    from nvidia.dali import fn, pipeline_def

    # without queues: a batch made ahead, while the others run, would cost nothing here
    @pipeline_def(
        batch_size=len(images),
        num_threads=2,
        device_id=None,
        prefetch_queue_depth=1,
        exec_async=False,
        exec_pipelined=False,
    )
    def pipeline() -> Any:
        batch = fn.external_source(source=lambda: images[..., np.newaxis], batch=True, layout="HWC")
        return fn.clahe(batch, tiles_x=_TILES, tiles_y=_TILES, clip_limit=_LIMIT)

    pipe = pipeline()
    pipe.build()

    def equalise() -> np.ndarray:
        (equalised,) = pipe.run()
        return equalised.as_array()

    return equalise


def _albumentations(images: np.ndarray) -> Run:
    import albumentations

    clahe = albumentations.CLAHE((_LIMIT, _LIMIT), (_TILES, _TILES), p=1.0)
    return lambda: [clahe(image=image)["image"] for image in images]


def _keras(images: np.ndarray) -> Run:
    import keras
    import tensorflow as tf

    layer = keras.layers.ContrastLimitedAdaptiveHistogramEqualization(
        clip_limit=_LIMIT, tile_grid_size=(_TILES, _TILES)
    )
    apply = tf.function(layer)
    # one by one: of a batch it makes gigabytes
    tensors = tf.unstack(tf.constant(images[:, np.newaxis, :, :, np.newaxis], tf.float32))
    return lambda: [timing.synchronised(apply, tensor)() for tensor in tensors]


_PEERS = [
    peers.Peer("ptxtf, XLA", lambda images: _ptxtf(images, xla=True)),
    peers.Peer("ptxtf, graph", lambda images: _ptxtf(images, xla=False)),
    peers.Peer("OpenCV", _opencv),
    peers.Peer("albumentations", _albumentations, ("albumentations",)),
    peers.Peer("DALI, CPU", _dali, ("DALI",)),
    peers.Peer("kornia", _kornia, ("kornia", "PyTorch")),
    peers.Peer("scikit-image", _scikit_image, ("scikit-image",)),
    peers.Peer("Keras layer, one by one", _keras, (peers.KERAS_CLAHE,)),
]
