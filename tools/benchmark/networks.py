"""One network in a process of its own, asked line by line to train or to predict.

Flows in: settings, as JSON in the only argument; then lines, "train", "predict" or "memory". Flows out: a line for
each, seconds or bytes; and before them one with the seconds until the first training step was done, building included.

Run by its path and by any Python, as segmentation_models needs another TensorFlow than ptxtf: it imports what it is
asked for and nothing else. All train on the same random images, [batch, size, size, 1] in 0..1, by Adam and a Dice loss
joined to a cross-entropy (ptxtf: a focal one). Predictions come as NumPy arrays; ptxtf's by the twin that
`ptxtf.inference.Predictor` runs.
"""

import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def main() -> None:
    """Build what the settings say and answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print what they like
    start = time.perf_counter()
    settings = json.loads(sys.argv[1])
    train, predict = _LIBRARIES[settings["library"]](settings)
    train()
    print(time.perf_counter() - start, file=answers)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(_peak_memory(), file=answers)
            continue
        start = time.perf_counter()
        (train if line.strip() == "train" else predict)()
        print(time.perf_counter() - start, file=answers)


def _peak_memory() -> int:
    """Return the most bytes that this process has held, as proc(5) tells; getrusage counts the parent's, too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _batch(settings: dict[str, Any]) -> tuple[Any, Any]:
    import numpy as np

    size = settings["size"]
    images = np.random.default_rng(0).random((settings["batch"], size, size, 1), np.float32)
    return images, (images > 0.9).astype(np.float32)


def _ptxtf(settings: dict[str, Any]) -> tuple[Step, Step]:
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
    import tensorflow as tf

    from ptxtf import forward, preprocess
    from ptxtf.config import PreprocessConfig
    from tools.benchmark import model as benchmark
    from tools.benchmark.settings import BenchmarkConfig

    config = BenchmarkConfig(
        backbone=settings["backbone"], precision=settings["precision"], batch_size=settings["batch"]
    )
    model, functions = benchmark.build(config, preprocess.for_training(PreprocessConfig()))
    images, masks = (tf.constant(values[None]) for values in _batch(settings))
    xla = forward.use_xla("auto")

    @functools.cache  # made of what training left, as for a finished run
    def predictor() -> Callable[[], Any]:
        quick = forward.sooner(model, training=False, xla=xla, fixed=True)
        return tf.function(lambda: quick(images[0], training=False), jit_compile=xla, autograph=False)

    return lambda: float(functions.update(images, masks, tf.constant(0))), lambda: predictor()().numpy()


def _pytorch(settings: dict[str, Any]) -> tuple[Step, Step]:
    import contextlib

    import segmentation_models_pytorch as smp
    import torch

    name = settings["backbone"].replace("efficientnetb", "efficientnet-b")
    model = smp.Unet(name, encoder_weights=None, in_channels=1).to(memory_format=torch.channels_last)
    images, masks = (torch.from_numpy(values.transpose(0, 3, 1, 2).copy()) for values in _batch(settings))
    images = images.to(memory_format=torch.channels_last)
    dice, entropy = smp.losses.DiceLoss("binary"), torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def precision() -> Any:
        is_half = settings["precision"] == "mixed_bfloat16"
        return torch.autocast("cpu", dtype=torch.bfloat16) if is_half else contextlib.nullcontext()

    def train() -> float:
        model.train()
        optimizer.zero_grad()
        with precision():
            logits = model(images)
        loss = dice(logits.float(), masks) + entropy(logits.float(), masks)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict() -> Any:
        model.eval()
        with torch.inference_mode(), precision():
            return model(images).float().numpy()

    return train, predict


def _legacy(settings: dict[str, Any]) -> tuple[Step, Step]:
    os.environ |= {"SM_FRAMEWORK": "tf.keras", "TF_USE_LEGACY_KERAS": "1"}
    import segmentation_models as sm

    model = sm.Unet(settings["backbone"], input_shape=(None, None, 1), encoder_weights=None)
    model.compile("adam", sm.losses.bce_dice_loss)
    images, masks = _batch(settings)
    return lambda: model.train_on_batch(images, masks), lambda: model.predict_on_batch(images)


_LIBRARIES = {"ptxtf": _ptxtf, "segmentation_models_pytorch": _pytorch, "segmentation_models": _legacy}

if __name__ == "__main__":
    main()
