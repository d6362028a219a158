"""Cross-validation: a run for each fold of the records, and a table of what they reached."""

import dataclasses

import keras
import numpy as np

from ptxtf import files
from ptxtf.config import InputConfig, RunConfig
from ptxtf.data import shards
from ptxtf.errors import InputError
from ptxtf.training import checkpoints, history, loop

TABLE = "folds.csv"


def train(config: RunConfig) -> files.Path:
    """Train a run for each fold, or go on where that was stopped; return the folder of all of them.

    Fold k is what RUN_DIR/foldk validates on and is not trained on. folds.csv gets the row of history.csv that each run
    is kept by, and their mean. A dry run tries the first fold.

    Raises:
        InputError: the records have no two folds; as `loop.train`.
    """
    folder = files.path(config.training.run_dir)
    if (config.inputs.train_split, config.inputs.val_split) != (InputConfig.train_split, InputConfig.val_split):
        raise InputError(
            "expected no --train_split and --val_split with --cross_validate. "
            f"Received: train_split={config.inputs.train_split}, val_split={config.inputs.val_split}"
        )
    names = _folds(config.inputs.records_dir)
    best: list[loop.Row] = []
    for name in names:
        inputs = dataclasses.replace(
            config.inputs, train_split="+".join(other for other in names if other != name), val_split=name
        )
        training = dataclasses.replace(config.training, run_dir=str(folder / name), cross_validate=False)
        keras.backend.clear_session()  # the graphs of the fold before
        run_dir = loop.train(config._replace(inputs=inputs, training=training))
        if training.dry_run:
            return folder
        rows = history.read(run_dir)
        (epoch,) = checkpoints.chosen(rows, keep=training.keep, count=1)
        best.append(rows[epoch - 1])
    _write_table(folder, names, best)
    return folder


def _folds(records_dir: files.Name) -> list[str]:
    manifest = shards.read_manifest(records_dir)
    if len(manifest.folds()) < 2:
        raise InputError(
            f"{records_dir}: expected records made with --split=kfold. Received: splits {', '.join(manifest.splits)}"
        )
    return manifest.folds()


def _write_table(folder: files.Path, names: list[str], best: list[loop.Row]) -> None:
    columns = [name for name in best[0] if name != "seconds"]
    table = [[name, *(f"{row[column]:.6g}" for column in columns)] for name, row in zip(names, best, strict=True)]
    means = [f"{np.mean([row[column] for row in best]):.6g}" for column in columns]
    files.write_csv(folder / TABLE, ["fold", *columns], [*table, ["mean", *means]])
