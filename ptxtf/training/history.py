"""One row per epoch <-> history.csv; the columns are those of the first row."""

import csv
import pathlib
from collections.abc import Mapping, Sequence

from ptxtf import files, rundir


def read(run_dir: pathlib.Path, *, epochs: int) -> list[dict[str, float]]:
    """Return the rows of the first `epochs` epochs; later ones belong to a pass that was not finished."""
    path = run_dir / rundir.HISTORY
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [row for row in rows if row["epoch"] <= epochs]


def write(run_dir: pathlib.Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write history.csv, whole or not at all."""
    columns = list(rows[0])
    files.write_csv(run_dir / rundir.HISTORY, columns, [[f"{row[name]:.6g}" for name in columns] for row in rows])
