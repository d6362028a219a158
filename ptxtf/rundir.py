"""A run's folder: what a training run leaves behind, and what evaluation and prediction read.

In it stand

    run.flags          every effective setting, as a flag file
    model.keras        the final model: the weights of the lowest validation loss, or without validation the last
    history.csv        one row per epoch; curves.png draws it
    checkpoints/       weights, optimizer, epoch and lowest loss after each epoch (the last two)
    best.weights.h5    the weights of the lowest validation loss so far
    tensorboard/       the same numbers, and overlays of the same cases after each epoch
"""

from typing import NamedTuple

from ptxtf import config, files, flags
from ptxtf.config import InputConfig, ModelConfig, PreprocessConfig, TrainConfig
from ptxtf.errors import InputError

FLAGS = "run.flags"
MODEL = "model.keras"
HISTORY = "history.csv"
CURVES = "curves.png"
CHECKPOINTS = "checkpoints"
BEST = "best.weights.h5"
TENSORBOARD = "tensorboard"

_FREE = {"run_dir", "epochs", "overlays", "preprocess_on", "xla"}
"""Settings that may change when a run goes on: where things are, and what changes the result by rounding at most."""


class Settings(NamedTuple):
    """Everything that a run was started with."""

    inputs: InputConfig
    preprocessing: PreprocessConfig
    network: ModelConfig
    training: TrainConfig


def newest_checkpoint(run_dir: files.Path) -> files.Path | None:
    """Return the newest whole checkpoint of a run; None before its first epoch is finished.

    A checkpoint's index is written last, so it is whole once that is there.
    """
    found: list[files.Path] = [path.with_suffix("") for path in (run_dir / CHECKPOINTS).glob("ckpt-*.index")]
    return max(found, key=lambda path: int(path.name.removeprefix("ckpt-")), default=None)


def write_flags(run_dir: files.Path, settings: Settings) -> None:
    """Write run.flags."""
    files.write_text(run_dir / FLAGS, flags.to_flagfile(*settings))


def read_flags(run_dir: files.Name) -> Settings:
    """Return the settings of a run.

    Raises:
        InputError: the folder holds no run.flags, or one that this version does not understand.
    """
    path = files.path(run_dir) / FLAGS
    if not path.is_file():
        raise InputError(f"{path}: expected a run folder written by ptxtf.train. Received: no such file")
    stages, _ = flags.parse([f"--flagfile={path.resolve()}"], *config.RUN)
    return Settings(*stages)


def check_same(run_dir: files.Path, new: Settings) -> None:
    """Check that a begun run goes on with the settings it was started with.

    Raises:
        InputError: a setting that shapes the result differs, or there is no run.flags.
    """
    old = read_flags(run_dir)
    # a schedule's shape depends on its length
    free = _FREE if old.training.schedule == "constant" else _FREE - {"epochs"}
    was, now = ({name: value for stage in run for name, value in vars(stage).items()} for run in (old, new))
    if "none" not in (was["cache"], now["cache"]):  # which shuffles otherwise
        free = free | {"cache"}
    for name in sorted(was.keys() - free):
        if was[name] != now[name]:
            raise InputError(
                f"{run_dir / FLAGS}: expected --{name}={flags.to_text(was[name])}, as the run was started; give "
                f"another run another --run_dir. Received: --{name}={flags.to_text(now[name])}"
            )
