"""A small network asked of tiles that overlap, blended by a Gaussian: all of prediction, beside MONAI's sliding window.

Both have the same weights, and their results are compared before they are timed. The network is two convolutions,
which both leave to oneDNN or cuDNN; how much of the time is theirs, rather than cutting, batching and blending, depends
on the channels between. Ours takes uint8 and gives probabilities; MONAI's gets float32 images ready for the network.
"""

import numpy as np

from tools.benchmark import films, peers, timing
from tools.benchmark.patches import Run, monai_runs
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_CHANNELS = (1, 8, 64)
"""Between the two convolutions: nearly nothing to compute, a little, and what a decoder's last block has."""


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print milliseconds per image."""
    images = films.radiographs(config)[..., np.newaxis]
    tile = config.image_size // 4
    found = peers.present([peers.Peer("ptxtf", _ptxtf), peers.Peer("MONAI", _monai, ("MONAI", "PyTorch"))], report)
    for channels in _CHANNELS:
        weights = _weights(channels)
        runs: dict[str, Run] = {}
        for peer in found:
            runs.update(peer.build(images, weights))
        results = [np.asarray(call()) for call in runs.values()]
        for name, result in zip(runs, results, strict=True):
            error = float(np.abs(result - results[0]).max())
            if error > 1e-5:
                raise AssertionError(f"{name}: expected the probabilities of ptxtf to 1e-5. Received: {error}")
        title = (
            f"{tile}² tiles of {config.image_size}², half overlap, Gaussian, {channels} channels, {len(images)} images"
        )
        clocked = {name: timing.clocked(call, items=len(images), repeat=True) for name, call in runs.items()}
        report.table(title, timing.interleaved(clocked, turns=config.repeats))


def _weights(channels: int) -> list[np.ndarray]:
    """Return kernels [3, 3, in, out] of two convolutions without bias."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 1, channels), (3, 3, channels, 1))]


def _ptxtf(images: np.ndarray, weights: list[np.ndarray]) -> dict[str, Run]:
    import keras
    import tensorflow as tf

    from ptxtf import devices, preprocess
    from ptxtf.config import PreprocessConfig
    from ptxtf.inference import Predictor
    from ptxtf.inference.network import Network

    size = images.shape[1]
    inputs = keras.Input((None, None, 1))
    hidden = keras.layers.Conv2D(weights[0].shape[3], 3, padding="same", use_bias=False, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same", use_bias=False)(hidden))
    model.set_weights(weights)
    network = Network(
        model, PreprocessConfig(clahe=False), size, tiles=preprocess.Tiles(size // 4, size // 8), xla=False
    )
    predictor = Predictor([network], in_pairs=not devices.has_accelerator())
    tensor = tf.constant(images)
    return {"ptxtf": lambda: predictor(tensor).numpy()}


def _monai(images: np.ndarray, weights: list[np.ndarray]) -> dict[str, Run]:
    import torch
    from monai import inferers

    batch = torch.from_numpy((images / 255).astype(np.float32).transpose(0, 3, 1, 2).copy())
    first, second = (torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()) for kernel in weights)
    size = images.shape[1] // 4
    # MONAI's own Gaussian has a floor of 0.001; with the same weights the results can be compared
    bell = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size / 8)) ** 2)
    weight_map = torch.from_numpy(np.outer(bell, bell).astype(np.float32))

    def network(tiles: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(torch.nn.functional.conv2d(tiles, first, padding=1))
        return torch.nn.functional.conv2d(hidden, second, padding=1)

    def predict(count: int) -> Run:
        def call() -> np.ndarray:
            with torch.inference_mode():
                logits = inferers.sliding_window_inference(
                    batch, (size, size), count, network, overlap=0.5, roi_weight_map=weight_map
                )
                return torch.sigmoid(logits).numpy().transpose(0, 2, 3, 1)

        return call

    return monai_runs(predict)
