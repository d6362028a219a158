"""A run's folder: what a training run leaves behind, and what evaluation and prediction read.

In it stand

    run.flags          every effective setting, as a flag file
    model.keras        the final model: the weights of the lowest validation loss, or without validation the last; or
                       what --keep, --average and --ema make of it
    trained_on.json     the images that it has learnt from, and their patients, as the records name them
    rule.json          what makes masks of its probabilities, as chosen on the validation split
    history.csv        one row per epoch; curves.png draws it
    memory.json        the most memory that an epoch has taken, in GiB: of the first GPU, or of the process
    checkpoints/       weights, optimizer and averages after each epoch (the last two)
    epochs/            the weights of the epochs that the final model is made of, as far as they are known
    tensorboard/       the same numbers, and overlays of the same cases after each epoch
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from ptxtf import config, files, flags
from ptxtf.config import RunConfig
from ptxtf.errors import InputError

FLAGS = "run.flags"
MODEL = "model.keras"
RULE = "rule.json"
ENSEMBLE = "ensemble.flags"
TRAINED_ON = "trained_on.json"
HISTORY = "history.csv"
MEMORY = "memory.json"
CURVES = "curves.png"
CHECKPOINTS = "checkpoints"
EPOCHS = "epochs"
TENSORBOARD = "tensorboard"

_FREE = {
    "run_dir", "records_dir", "data_service", "preprocess_on", "epochs", "patience", "overlays", "steps_per_call",
    "xla", "dry_run",
}  # fmt: skip
"""Settings that may change when a run goes on: where things are, and what changes the result by rounding at most."""


def name(run_dir: files.Name) -> str:
    """Return what a run is called: its folder's name, of several all of them; 1 to 64 printable characters."""
    names = ",".join(files.path(one).resolve().name for one in str(run_dir).split(","))
    return "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in names)[:64] or "unknown"


def weights_name(epoch: int) -> str:
    """Return the name, within epochs/, of the weights after an epoch, counted from 1."""
    return f"epoch-{epoch:05d}.weights.h5"


def checkpoints(run_dir: files.Path) -> list[files.Path]:
    """Return a run's checkpoints, newest first; none before its first epoch is finished.

    A checkpoint's index is written last, so one without it is none.
    """
    found: list[files.Path] = [path.with_suffix("") for path in (run_dir / CHECKPOINTS).glob("ckpt-*.index")]
    numbers = {path: path.name.removeprefix("ckpt-") for path in found}
    return sorted((path for path in found if numbers[path].isdecimal()), key=lambda path: -int(numbers[path]))


def write_flags(run_dir: files.Path, settings: RunConfig) -> None:
    """Write run.flags."""
    files.write_text(run_dir / FLAGS, flags.to_flagfile(*settings))


def read_flags(run_dir: files.Name) -> RunConfig:
    """Return the settings of a run.

    Raises:
        InputError: the folder holds no run.flags, or one that this version does not understand.
    """
    path = files.path(run_dir) / FLAGS
    if not path.is_file():
        raise InputError(f"{path}: expected a run folder written by ptxtf.train. Received: no such file")
    try:
        stages, _ = flags.parse([f"--flagfile={path.resolve()}"], *config.RUN)
    except InputError as error:
        raise InputError(str(error) if FLAGS in str(error) else f"{path}: {error}") from None
    return RunConfig(*stages)


def note_memory(run_dir: files.Path, gib: float) -> None:
    """Write how much memory an epoch has taken, unless one before took more."""
    if gib > (read_memory(run_dir) or 0.0):
        files.write_json(run_dir / MEMORY, {"gib": round(gib, 3)})


def read_memory(run_dir: files.Path) -> float | None:
    """Return the most memory that an epoch has taken, in GiB; None where that is not known."""
    try:
        return float(json.loads((run_dir / MEMORY).read_text(encoding="utf-8"))["gib"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Used(NamedTuple):
    """An image that a run has learnt from: "train", or "val" where epochs and the rule were chosen by it."""

    image_id: str
    patient: str
    used: str


def write_trained_on(run_dir: files.Path, images: Iterable[Used]) -> None:
    """Write trained_on.json."""
    files.write_json(run_dir / TRAINED_ON, list(images))


def read_trained_on(run_dir: files.Path) -> list[Used] | None:
    """Return what trained_on.json holds; None where a run has none.

    Raises:
        InputError: it holds something else, or is not whole.
    """
    path = run_dir / TRAINED_ON
    if not path.is_file():
        return None
    try:
        return [Used(*image) for image in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: expected a list of {', '.join(Used._fields)}. Received: {error}") from None


def shared(settings: RunConfig) -> str:
    """Return the settings that all machines of a run have in common, as a flag file: all but where things are."""
    lines = flags.to_flagfile(*settings).splitlines()
    places = ("--run_dir=", "--records_dir=", "--data_service=")
    return "\n".join(line for line in lines if not line.startswith(places))


def check_same(run_dir: files.Path, new: RunConfig) -> None:
    """Check that a begun run goes on with the settings it was started with.

    Raises:
        InputError: a setting that shapes the result differs, or there is no run.flags.
    """
    old = read_flags(run_dir)
    # a schedule's shape depends on its length
    has_length = old.optimizer.schedule == "cosine" or len(old.inputs.positive_share) > 1
    free = _FREE - {"epochs"} if has_length else _FREE
    was, now = ({name: value for stage in run for name, value in vars(stage).items()} for run in (old, new))
    if "none" not in (was["cache"], now["cache"]):  # which shuffles otherwise
        free = free | {"cache"}
    for name in sorted(was.keys() - free):
        if was[name] != now[name]:
            raise InputError(
                f"{run_dir / FLAGS}: expected --{name}={flags.to_text(was[name])}, as the run was started; give "
                f"another run another --run_dir. Received: --{name}={flags.to_text(now[name])}"
            )
