"""A run's folder: what a training run leaves behind, and what evaluation and prediction read.

run.flags          every effective setting, as a flag file
model.keras        the final model: the best epoch's weights, or the last one's without a validation split
history.csv        one row per epoch; curves.png draws it
checkpoints/       weights, optimizer, epoch and best score after each epoch (the last two)
best.weights.h5    the weights of the best epoch so far
tensorboard/       the same numbers, and overlays of the same cases after each epoch
"""

import dataclasses
import pathlib
from typing import Any

from ptxtf import config, files, flags
from ptxtf.errors import InputError

FLAGS = "run.flags"
MODEL = "model.keras"
HISTORY = "history.csv"
CURVES = "curves.png"
CHECKPOINTS = "checkpoints"
BEST = "best.weights.h5"
TENSORBOARD = "tensorboard"

_FREE = {"run_dir", "records_dir", "epochs", "cache", "overlays", "preprocess_on", "xla", "weights"}
"""Settings that may change when a run goes on: where things are, and what leaves the result as it is."""


def write_flags(run_dir: pathlib.Path, settings: tuple[Any, ...]) -> None:
    """Write run.flags; where there are checkpoints already, check that the run goes on with the same settings.

    Args:
        run_dir: the run's folder.
        settings: one instance of each class in `config.RUN`.

    Raises:
        InputError: a setting that shapes the result differs from the one that the run was started with.
    """
    path = run_dir / FLAGS
    if path.exists() and (run_dir / CHECKPOINTS).exists():
        for old, new in zip(read_flags(run_dir), settings, strict=True):
            _check_same(path, dataclasses.asdict(old), dataclasses.asdict(new), settings)
    files.write_text(path, flags.to_flagfile(*settings))


def read_flags(run_dir: pathlib.Path | str) -> list[Any]:
    """Return the settings of a run: one instance of each class in `config.RUN`.

    Raises:
        InputError: the folder holds no run.flags, or one that this version does not understand.
    """
    path = pathlib.Path(run_dir) / FLAGS
    if not path.is_file():
        raise InputError(f"{path}: expected a run folder written by ptxtf.train. Received: no such file")
    return flags.parse([f"--flagfile={path.resolve()}"], *config.RUN)[0]


def _check_same(path: pathlib.Path, old: dict[str, Any], new: dict[str, Any], settings: tuple[Any, ...]) -> None:
    scheduled = any(getattr(stage, "schedule", "constant") != "constant" for stage in settings)
    free = _FREE - {"epochs"} if scheduled else _FREE  # a schedule's shape depends on its length
    for name in sorted(set(new) - free):
        if new[name] != old[name]:
            raise InputError(
                f"{path}: expected --{name}={flags.text(old[name])}, as the run was started; give another run another "
                f"--run_dir. Received: --{name}={flags.text(new[name])}"
            )
