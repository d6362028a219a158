"""Batches and a model -> a trained run: losses, metrics, schedules, compiled steps, the loop, checkpoints.

| module      | what                                                                                        |
|-------------|---------------------------------------------------------------------------------------------|
| losses      | masks {0, 1} and logits -> one float32 loss per image                                       |
| metrics     | masks and predicted masks {0, 1} -> Dice and IoU per image; totals that merge               |
| schedules   | settings -> learning rate by step                                                           |
| optimizers  | a model and a learning rate -> Adam, with another rate for the encoder                      |
| steps       | model, loss, optimizer, strategy -> the compiled functions that the loop calls              |
| checkpoints | state of a run <-> files; the best weights; the final model                                 |
| history     | one row per epoch <-> history.csv                                                           |
| watch       | what a person sees while it runs: TensorBoard events with overlays, curves.png               |
| loop        | all of it in order: `train`                                                                 |
"""

import importlib
from typing import Any

__all__ = ["checkpoints", "history", "loop", "losses", "metrics", "optimizers", "schedules", "steps", "watch"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"ptxtf.training.{name}")
    raise AttributeError(f"module 'ptxtf.training' has no attribute {name!r}")
