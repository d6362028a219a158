"""One row per epoch <-> history.csv; the columns are those of the first row."""

import csv
import math
from collections.abc import Mapping, Sequence

from ptxtf import files, rundir
from ptxtf.errors import InputError

_OF_VALIDATION = ("val_loss", "val_dice", "val_positive_dice")
_COLUMNS = ("epoch", "loss", *_OF_VALIDATION, "seconds")


def read(run_dir: files.Path, *, epochs: int | None = None) -> list[dict[str, float]]:
    """Return the rows of the first `epochs` epochs, as later ones belong to a pass that was not finished; None: all.

    Raises:
        InputError: the file lacks rows, has other columns than ours, or holds other things than numbers.
    """
    path = run_dir / rundir.HISTORY
    if epochs == 0:
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        found = [row for row in rows if epochs is None or row["epoch"] <= epochs]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"{path}: expected a table of numbers with one row per epoch. Received: {error}") from None
    if found and found[0].keys() not in ({*_COLUMNS}, {*_COLUMNS} - {*_OF_VALIDATION}):
        raise InputError(
            f"{path}: expected the columns {', '.join(_COLUMNS)}, or without those of validation. "
            f"Received: {', '.join(found[0])}"
        )
    if epochs is not None and len(found) != epochs:
        raise InputError(f"{path}: expected a row for each of {epochs} finished epochs. Received: {len(found)}")
    return found


def rounded(row: Mapping[str, float]) -> dict[str, float]:
    """Return a row as `read` gives it after `write`, so that a run that goes on decides as one that was not stopped."""
    return {name: float(f"{value:.6g}") for name, value in row.items()}


def val_losses(rows: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the validation losses of all epochs, infinity for nan; none without validation."""
    return [_or_infinity(row["val_loss"]) for row in rows if "val_loss" in row]


def missed_dice(rows: Sequence[Mapping[str, float]]) -> list[float]:
    """Return by how much each epoch's Dice over positives misses 1, infinity for nan; none without validation."""
    return [_or_infinity(1 - row["val_positive_dice"]) for row in rows if "val_positive_dice" in row]


def _or_infinity(value: float) -> float:
    return math.inf if math.isnan(value) else value


def write(run_dir: files.Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write history.csv, whole or not at all."""
    columns = list(rows[0])
    files.write_csv(run_dir / rundir.HISTORY, columns, [[f"{row[name]:.6g}" for name in columns] for row in rows])
