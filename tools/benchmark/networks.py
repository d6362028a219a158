"""One network in a process of its own, asked line by line to take a training step, or to predict.

Flows in: settings, as JSON in the only argument; then lines, "again", "memory" or "versions". Flows out: a line for
each, seconds, bytes or a JSON object; and before them one with the seconds until the first step or prediction was done,
building included.

Run by its path and by any Python, as segmentation_models needs another TensorFlow than ptxtf: it imports what it is
asked for and nothing else. All train on the same random images, [batch, size, size, 1] in 0..1, by Adam and a Dice loss
joined to a cross-entropy (ptxtf: a focal one). Predictions come as NumPy arrays; ptxtf's by the network as
`ptxtf.predict` runs it. On a GPU all run there.
"""

import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]


def main() -> None:
    """Build what the settings say and answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print what they like
    start = time.perf_counter()
    settings = json.loads(sys.argv[1])
    work = _LIBRARIES[settings["library"]](settings)
    work()
    print(time.perf_counter() - start, file=answers)
    answer = {"again": lambda: _time(work), "memory": _peak_memory, "versions": lambda: json.dumps(_versions())}
    for line in sys.stdin:
        print(answer[line.strip()](), file=answers)


def _time(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_memory() -> int:
    """Return the most bytes that this process has held, as proc(5) tells; getrusage counts the parent's, too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _versions() -> dict[str, str]:
    names = ("tensorflow", "keras", "tf_keras", "torch", "segmentation_models", "segmentation_models_pytorch")
    found = {name: getattr(sys.modules.get(name), "__version__", "") for name in names}
    return {name: version for name, version in found.items() if version}


def _batch(settings: dict[str, Any]) -> tuple[Any, Any]:
    import numpy as np

    size = settings["size"]
    images = np.random.default_rng(0).random((settings["batch"], size, size, 1), np.float32)
    return images, (images > 0.9).astype(np.float32)


def _ptxtf(settings: dict[str, Any]) -> Work:
    # in the place of this file's own folder, whose names could hide those of packages
    sys.path[0] = str(pathlib.Path(__file__).parents[2])
    import tensorflow as tf

    from ptxtf import devices, forward
    from ptxtf.training import steps
    from tools.benchmark import training
    from tools.benchmark.settings import BenchmarkConfig

    batch = settings["batch"]
    config = BenchmarkConfig(backbone=settings["backbone"], precision=settings["precision"], batch_size=batch)
    in_pairs = settings["task"] == "predict" and devices.one_core_per_operation()
    model = training.network(config)
    images, masks = (tf.constant(values[None]) for values in _batch(settings))
    if settings["task"] == "train":
        train = steps.train_function(training.learner(model, config), training.as_it_is)
        return lambda: train([(images, masks)]).numpy()
    infer = forward.network_function(model, xla=forward.use_xla("auto"), fixed=True)
    predict = tf.function(forward.in_parts(infer, size=2, at_once=devices.cores())) if in_pairs else infer
    return lambda: predict(images[0]).numpy()


def _pytorch(settings: dict[str, Any]) -> Work:
    import contextlib

    import segmentation_models_pytorch as smp
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = settings["backbone"].replace("efficientnetb", "efficientnet-b")
    model = smp.Unet(name, encoder_weights=None, in_channels=1).to(device, memory_format=torch.channels_last)
    images, masks = (torch.from_numpy(values.transpose(0, 3, 1, 2).copy()).to(device) for values in _batch(settings))
    images = images.to(memory_format=torch.channels_last)
    dice, entropy = smp.losses.DiceLoss("binary"), torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train(settings["task"] == "train")

    def precision() -> Any:
        is_half = settings["precision"] == "mixed_bfloat16"
        return torch.autocast(device, dtype=torch.bfloat16) if is_half else contextlib.nullcontext()

    def train() -> float:
        optimizer.zero_grad()
        with precision():
            logits = model(images)
        loss = dice(logits.float(), masks) + entropy(logits.float(), masks)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict() -> Any:
        with torch.inference_mode(), precision():
            return model(images).float().cpu().numpy()

    return train if settings["task"] == "train" else predict


def _legacy(settings: dict[str, Any]) -> Work:
    os.environ |= {"SM_FRAMEWORK": "tf.keras", "TF_USE_LEGACY_KERAS": "1"}
    import segmentation_models as sm

    model = sm.Unet(settings["backbone"], input_shape=(None, None, 1), encoder_weights=None)
    images, masks = _batch(settings)
    if settings["task"] == "predict":
        return lambda: model.predict_on_batch(images)
    model.compile("adam", sm.losses.bce_dice_loss)
    return lambda: model.train_on_batch(images, masks)


_LIBRARIES = {"ptxtf": _ptxtf, "segmentation_models_pytorch": _pytorch, "segmentation_models": _legacy}

if __name__ == "__main__":
    main()
