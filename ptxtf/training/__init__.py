"""Batches and a model -> a trained run: losses, metrics, schedules, compiled steps, the loop, checkpoints.

| module       | what                                                                                       |
|--------------|--------------------------------------------------------------------------------------------|
| losses       | masks {0, 1} and logits -> one float32 loss per image                                      |
| metrics      | masks and probabilities -> Dice and IoU per image; totals that merge                       |
| schedules    | settings -> learning rate by step; shares of positives and phases by epoch                 |
| optimizers   | a model, settings and a learning rate -> Adam or AdamW, with another rate for the encoder  |
| averages     | a model's weights over steps or epochs -> their averages                                   |
| distribution | devices and machines -> a strategy, and each replica's part of a batch                     |
| steps        | model, loss, optimizer, strategy -> the compiled functions that the loop calls             |
| setup        | settings and a strategy -> all that the epochs of a run, or of a phase of it, need         |
| epochs       | one pass over the training split, and one over the validation split                        |
| checkpoints  | state of a run <-> files; weights of epochs; the final model                               |
| history      | one row per epoch <-> history.csv                                                          |
| watch        | what a person sees while it runs: TensorBoard events with overlays, curves.png             |
| loop         | all of it in order: `train`                                                                |
| folds        | a run for each fold of the records                                                         |
| ensemble     | networks trained and joined in one folder                                                  |
| processes    | commands, each in a process of its own                                                     |
"""

import importlib
from typing import Any

__all__ = [
    "averages",
    "checkpoints",
    "distribution",
    "ensemble",
    "epochs",
    "folds",
    "history",
    "loop",
    "losses",
    "metrics",
    "optimizers",
    "processes",
    "schedules",
    "setup",
    "steps",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"ptxtf.training.{name}")
    raise AttributeError(f"module 'ptxtf.training' has no attribute {name!r}")
