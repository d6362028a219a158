"""A small network asked of tiles that overlap, blended by a Gaussian: all of prediction, beside MONAI's sliding window.

Both have the same weights, and their results are compared before they are timed. The smallest network has one weight:
what is timed is cutting, batching and blending, and XLA compiles all of ours, as it does for a run with --xla=on and on
accelerators. The others are two convolutions, which both leave to oneDNN or cuDNN, ours in pairs as ptxtf.predict does
on a processor; the more channels between, the more of the time is theirs. Ours takes uint8 and gives probabilities;
MONAI's gets float32 images ready for the network.
"""

import numpy as np

from tools.benchmark import films, peers, timing
from tools.benchmark.patches import Run, monai_runs
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_KERNELS = {
    "one weight": [(1, 1, 1, 1)],
    "1 channel": [(3, 3, 1, 1), (3, 3, 1, 1)],
    "2 channels": [(3, 3, 1, 2), (3, 3, 2, 1)],
    "8 channels": [(3, 3, 1, 8), (3, 3, 8, 1)],
    "64 channels": [(3, 3, 1, 64), (3, 3, 64, 1)],
}
"""Of the networks' convolutions, [height, width, in, out]; 64 channels are what a decoder's last block may have."""


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print milliseconds per image."""
    images = films.radiographs(config)[..., np.newaxis]
    tile = config.image_size // 4
    found = peers.present([peers.Peer("ptxtf", _ptxtf), peers.Peer("MONAI", _monai, ("MONAI", "PyTorch"))], report)
    for network, shapes in _KERNELS.items():
        rng = np.random.default_rng(0)
        kernels = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        runs: dict[str, Run] = {}
        for peer in found:
            runs.update(peer.build(images, kernels))
        results = [np.asarray(call()) for call in runs.values()]
        for name, result in zip(runs, results, strict=True):
            error = float(np.abs(result - results[0]).max())
            if error > 1e-5:
                raise AssertionError(f"{name}: expected the probabilities of ptxtf to 1e-5. Received: {error}")
        title = f"{tile}² tiles of {config.image_size}², half overlap, Gaussian, {network}, {len(images)} images"
        clocked = {name: timing.clocked(call, items=len(images), repeat=True) for name, call in runs.items()}
        report.table(title, timing.interleaved(clocked, turns=config.repeats))


def _ptxtf(images: np.ndarray, kernels: list[np.ndarray]) -> dict[str, Run]:
    import keras
    import tensorflow as tf

    from ptxtf import forward, preprocess
    from ptxtf.config import PreprocessConfig
    from ptxtf.inference import Predictor
    from ptxtf.inference.network import Network

    inputs = x = keras.Input((None, None, 1))
    for number, kernel in enumerate(kernels):
        x = keras.layers.ReLU()(x) if number else x
        x = keras.layers.Conv2D(kernel.shape[3], kernel.shape[0], padding="same", use_bias=False)(x)
    model = keras.Model(inputs, x)
    model.set_weights(kernels)
    size = images.shape[1]
    tiles = preprocess.Tiles(size // 4, size // 8)
    xla = forward.use_xla("auto") or len(kernels) == 1
    network = Network(model, PreprocessConfig(clahe=False), size, tiles=tiles, xla=xla)
    predictor = Predictor([network], in_pairs=not xla)
    tensor = tf.constant(images)
    return {"ptxtf": lambda: predictor(tensor).numpy()}


def _monai(images: np.ndarray, kernels: list[np.ndarray]) -> dict[str, Run]:
    import torch
    from monai import inferers

    batch = torch.from_numpy((images / 255).astype(np.float32).transpose(0, 3, 1, 2).copy())
    weights = [torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()) for kernel in kernels]
    size = images.shape[1] // 4
    # MONAI's own Gaussian has a floor of 0.001; with the same weights the results can be compared
    bell = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size / 8)) ** 2)
    weight_map = torch.from_numpy(np.outer(bell, bell).astype(np.float32))

    def network(tiles: torch.Tensor) -> torch.Tensor:
        x = tiles
        for number, weight in enumerate(weights):
            x = torch.relu(x) if number else x
            x = torch.nn.functional.conv2d(x, weight, padding="same")
        return x

    def predict(count: int) -> Run:
        def call() -> np.ndarray:
            with torch.inference_mode():
                logits = inferers.sliding_window_inference(
                    batch, (size, size), count, network, overlap=0.5, roi_weight_map=weight_map
                )
                return torch.sigmoid(logits).numpy().transpose(0, 2, 3, 1)

        return call

    return monai_runs(predict)
