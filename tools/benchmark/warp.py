"""One affine warp of images (float32, bilinear) together with their masks (uint8, nearest neighbour)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmark import films, peers, timing
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_DEGREES, _ZOOM = 20, 0.1

Run = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """Images float32 [B, H, W, 1] in 0..1, masks uint8 alike, matrices float32 [B, 2, 3] from output to input."""

    images: np.ndarray
    masks: np.ndarray
    matrices: np.ndarray

    @property
    def xy(self) -> np.ndarray:
        """The matrices for (column, row), as OpenCV and most others order them."""
        return np.ascontiguousarray(self.matrices[:, ::-1][:, :, [1, 0, 2]])


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print milliseconds per image and mask, and how many mask pixels differ from ptxtf's."""
    inputs = _draw(config)
    runs = {peer.name: peer.build(inputs) for peer in peers.present(_PEERS, report)}
    expected = _mask(runs["ptxtf, XLA"](), inputs.masks.shape)
    off = {
        name: 100 * float(np.mean(_mask(call(), inputs.masks.shape) != expected))
        for name, call in runs.items()
        if name != _KERAS  # draws angles of its own
    }
    count = len(inputs.images)
    times = timing.interleaved(
        {name: timing.clocked(call, items=count, repeat=True) for name, call in runs.items()}, turns=config.repeats
    )
    title = f"Rotation, zoom and flip of image and mask, {count} of {config.image_size}²"
    report.table(title, times, others={"mask pixels off, %": off})


def _draw(config: BenchmarkConfig) -> _Inputs:
    import tensorflow as tf

    from ptxtf import ops

    images = films.radiographs(config)[..., np.newaxis]
    spread = tf.linspace(-1.0, 1.0, config.batch_size + 2)[1:-1]
    matrices = ops.affine_matrices(
        spread * np.radians(_DEGREES),
        zooms=1 + _ZOOM * spread[::-1],
        flips=tf.range(config.batch_size) % 2 == 0,
        image_size=(config.image_size, config.image_size),
    )
    return _Inputs((images / 255).astype(np.float32), (images > 128).astype(np.uint8), matrices.numpy())


def _mask(result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return the masks of what a peer gave: (images, masks), each a batch or a list."""
    return np.asarray(result[1]).reshape(shape)


def _ptxtf(inputs: _Inputs, *, xla: bool, levels: bool = False) -> Run:
    """Return our warp; levels: of uint8 images, as in training, instead of float32."""
    import tensorflow as tf

    from ptxtf import ops

    @tf.function(jit_compile=xla, autograph=False)
    def warp(images: tf.Tensor, masks: tf.Tensor, matrices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        moved = ops.warp_affine(images, matrices)
        return moved, ops.warp_affine(masks, matrices, interpolation="nearest")

    images = np.rint(inputs.images * 255).astype(np.uint8) if levels else inputs.images
    return timing.synchronised(warp, *map(tf.constant, (images, inputs.masks, inputs.matrices)))


def _opencv(inputs: _Inputs) -> Run:
    import cv2

    cases = list(zip(inputs.images, inputs.masks, inputs.xy, strict=True))
    size = inputs.images.shape[2:0:-1]

    def warp() -> Any:
        moved = [
            (
                cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP),
                cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP),
            )
            for image, mask, matrix in cases
        ]
        return list(zip(*moved, strict=True))

    return warp


def _projective(inputs: _Inputs) -> Run:
    import tensorflow as tf

    @tf.function(autograph=False)
    def warp(images: tf.Tensor, masks: tf.Tensor, transforms: tf.Tensor) -> list[tf.Tensor]:
        return [
            tf.raw_ops.ImageProjectiveTransformV3(
                images=batch,
                transforms=transforms,
                output_shape=tf.shape(batch)[1:3],
                fill_value=0.0,
                interpolation=interpolation,
                fill_mode="CONSTANT",
            )
            for batch, interpolation in ((images, "BILINEAR"), (masks, "NEAREST"))
        ]

    transforms = np.pad(inputs.xy.reshape(-1, 6), ((0, 0), (0, 2)))
    return timing.synchronised(warp, *map(tf.constant, (inputs.images, inputs.masks, transforms)))


def _keras(inputs: _Inputs) -> Run:
    import keras
    import tensorflow as tf

    layers = [
        keras.layers.RandomRotation(_DEGREES / 360, fill_mode="constant"),
        keras.layers.RandomZoom((-_ZOOM, _ZOOM), fill_mode="constant"),
        keras.layers.RandomFlip("horizontal"),
    ]

    @tf.function(autograph=False)
    def warp(images: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        both = {"images": images, "segmentation_masks": masks}
        for layer in layers:
            both = layer(both, training=True)
        return both["images"], both["segmentation_masks"]

    return timing.synchronised(warp, tf.constant(inputs.images), tf.constant(inputs.masks))


def _kornia(inputs: _Inputs) -> Run:
    import cv2
    import torch
    from kornia.geometry import transform

    images, masks = (torch.from_numpy(batch.transpose(0, 3, 1, 2)) for batch in (inputs.images, inputs.masks))
    # it takes matrices from input to output, and floats only
    matrices = torch.from_numpy(np.stack([cv2.invertAffineTransform(matrix) for matrix in inputs.xy]))
    size = inputs.images.shape[1:3]

    def warp() -> Any:
        moved = transform.warp_affine(images, matrices, size, mode="bilinear")
        return moved, transform.warp_affine(masks.float(), matrices, size, mode="nearest")

    return warp


_KERAS = "Keras layers, own angles"
_PEERS = [
    peers.Peer("ptxtf, XLA, uint8 images", lambda inputs: _ptxtf(inputs, xla=True, levels=True)),
    peers.Peer("ptxtf, XLA", lambda inputs: _ptxtf(inputs, xla=True)),
    peers.Peer("ptxtf, graph", lambda inputs: _ptxtf(inputs, xla=False)),
    peers.Peer("OpenCV", _opencv),
    peers.Peer("ImageProjectiveTransformV3", _projective),
    peers.Peer(_KERAS, _keras),
    peers.Peer("kornia", _kornia, ("kornia", "PyTorch")),
]
