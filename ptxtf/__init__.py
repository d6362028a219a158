"""ptxtf finds and outlines a pneumothorax on chest radiographs, in pure TensorFlow.

The way of the data, and the room that each step lives in:

    DICOM + csv ─► Case ─► TFRecord shard ─► Example ─► Batch ─► preprocess ─► model ─► loss, metric ─► report
    data.dicom     data.     data.record      data.      data.    preprocess    models   training        evaluation
    data.rle       splits    data.shards      example    dataset  ops
    data.annotations         data.convert                (host)   (device, XLA)

`pipeline` joins host and device for anybody's loop (`ptxtf.batches`), `training` does so under a strategy, `inference`
applies trained runs, whose folders `rundir` knows; both run networks by `forward`. `exporting` makes files of them that
need no ptxtf, `serving` a page to try them on. What a user can set is a field of
a dataclass in `config`, and `flags` makes a command-line flag of each. `devices` tells what computes and shares its
cores out, `pictures` draws, `files` writes whole or not at all, `errors` holds the exception that means "what you gave
cannot be used". The command lines are `ptxtf.train`, `ptxtf.ensemble`, `ptxtf.evaluate`, `ptxtf.compare`,
`ptxtf.predict`, `ptxtf.export` and `ptxtf.serve`, and in a checkout `tools.make_phantoms`, `tools.make_tfrecords`,
`tools.check_tfrecords` and `tools.benchmark`.

Arrays: `images` uint8 0..255 (bright = dense) until preprocessing, float32 0..1 after it; `masks` of {0, 1}; both
[B, H, W, 1]. `logits` and `probabilities` are the model's.

Names that stay: `ptxtf.batches`, `ptxtf.data.examples`, `ptxtf.data.rle`, `ptxtf.data.annotations`, `ptxtf.data.dicom`,
`ptxtf.ops`, `ptxtf.models`, `ptxtf.training.losses`, `ptxtf.training.metrics`, `ptxtf.inference.Predictor`. The others
may change. Rooms load when they are first used, so that `import ptxtf` costs nothing and fetches nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "batches",
    "config",
    "data",
    "errors",
    "evaluation",
    "inference",
    "models",
    "ops",
    "pipeline",
    "preprocess",
    "training",
]


def __getattr__(name: str) -> Any:
    if name == "batches":
        return importlib.import_module("ptxtf.pipeline").batches
    if name in __all__:
        return importlib.import_module(f"ptxtf.{name}")
    raise AttributeError(f"module 'ptxtf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
