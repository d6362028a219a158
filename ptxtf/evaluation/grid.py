"""Settings -> the networks to train and score, each in a folder of its own, and the commands that do it.

A cell of the grid is an encoder in a mode, on a fold if there are any. It is trained by `ptxtf.train` and scored by
`ptxtf.evaluate` in processes of their own: memory is then one network's, and one that fails stops no other. Both go on
where they were stopped.
"""

import dataclasses
from collections.abc import Sequence

from ptxtf import config as settings
from ptxtf import files, flags, models, rundir
from ptxtf.config import CompareConfig
from ptxtf.data import shards
from ptxtf.errors import InputError, did_you_mean
from ptxtf.evaluation.results import SCORES, Kept
from ptxtf.training import history, loop, processes


@dataclasses.dataclass(frozen=True)
class Cell:
    """A network to train and to score.

    Attributes:
        backbone: its encoder.
        mode: "whole" or "patch".
        directory: its folder; the run is in run/, the evaluation in test/.
        split: that it is scored on.
        train: flags of ptxtf.train.
        evaluate: flags of ptxtf.evaluate.
    """

    backbone: str
    mode: str
    directory: files.Path
    split: str
    train: Sequence[str]
    evaluate: Sequence[str]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.directory.name

    @property
    def run_dir(self) -> files.Path:
        """The folder of its run."""
        return self.directory / "run"

    @property
    def test_dir(self) -> files.Path:
        """The folder of its evaluation."""
        return self.directory / "test"


def plan(config: CompareConfig) -> list[Cell]:
    """Return all cells, in the order in which they are trained.

    Raises:
        InputError: an unknown encoder, a recipe that cannot be read or does not go with the rest, records without the
            folds or the split that are asked for.
    """
    for name in config.backbones:
        if name not in models.BACKBONES:
            hint = did_you_mean(name, models.BACKBONES)
            raise InputError(f"expected --backbones of ptxtf.models.BACKBONES. {hint}Received: {name}")
    manifest = shards.read_manifest(config.records_dir)
    cells = []
    for number, splits in enumerate(_splits(config, manifest)):
        ending = f"_fold{number}" if config.folds else ""
        for backbone in config.backbones:
            for mode in config.modes:
                directory = files.path(config.output_dir) / f"{backbone}_{mode}{ending}"
                cells.append(_cell(config, backbone, mode, directory, splits))
    for cell in cells:  # here, not after hours
        _, training, *_ = flags.parse(cell.train, *settings.RUN)[0]
        if training.dry_run or training.cross_validate:
            raise InputError(f"{config.recipe}: expected no --dry_run and --cross_validate. Received: one of them")
        flags.parse(cell.evaluate, settings.EvaluateConfig)
    return cells


@dataclasses.dataclass(frozen=True)
class _Splits:
    """What a network is trained on, if not on what the recipe says, and what it is scored on."""

    train: Sequence[str]
    score: str


def _splits(config: CompareConfig, manifest: shards.Manifest) -> list[_Splits]:
    if not config.folds:
        if not manifest.images(config.split):
            raise InputError(f"{config.records_dir}: expected images in split {config.split!r}. Received: none")
        return [_Splits([], config.split)]
    names = manifest.folds()
    if len(names) < 3 or config.folds > len(names):
        raise InputError(
            f"{config.records_dir}: expected at least three folds, and as many as --folds. "
            f"Received: --folds={config.folds}, {len(names)} in the records"
        )
    recipe, *_ = flags.parse([f"--flagfile={config.recipe}", "--records_dir=-", "--run_dir=-"], *settings.RUN)[0]
    found = []
    for number in range(config.folds):
        held = names[number]
        chosen_by = names[(number + 1) % len(names)] if recipe.val_split else ""
        others = [name for name in names if name not in (held, chosen_by)]
        found.append(_Splits([f"--train_split={'+'.join(others)}", f"--val_split={chosen_by}"], held))
    return found


def _cell(config: CompareConfig, backbone: str, mode: str, directory: files.Path, splits: _Splits) -> Cell:
    given = {"epochs": config.epochs, "image_size": config.image_size, "weights": config.weights}
    shared = [f"--records_dir={config.records_dir}", f"--run_dir={directory / 'run'}", f"--seed={config.seed}"]
    return Cell(
        backbone=backbone,
        mode=mode,
        directory=directory,
        split=splits.score,
        train=[
            f"--flagfile={config.recipe}",
            *shared,
            f"--backbone={backbone}",
            f"--mode={mode}",
            *([f"--patch_size={config.patch_size}"] if mode == "patch" else []),
            *(f"--{name}={value}" for name, value in given.items() if value),
            *splits.train,
        ],
        evaluate=[
            *shared,
            f"--output_dir={directory / 'test'}",
            f"--split={splits.score}",
            f"--bootstrap={config.bootstrap}",
            f"--spacing_factor={config.spacing_factor}",
        ],
    )


def run(cell: Cell) -> bool:
    """Train and score a network, or go on where that was stopped; return whether it succeeded.

    Raises:
        InputError: the folder holds a run of other settings.
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """
    if _is_done(cell):
        return True
    (cell.test_dir / SCORES).unlink(missing_ok=True)  # which would be those of another training
    return processes.run("ptxtf.train", cell.train) and processes.run("ptxtf.evaluate", cell.evaluate)


def _is_done(cell: Cell) -> bool:
    """Return whether a cell's network was trained and scored with these very settings.

    Raises:
        InputError: it was trained with others, and cannot go on with these.
    """
    try:
        scored = Kept.read(cell.test_dir).settings
        history.read(cell.run_dir)
    except InputError:  # what is not whole is made anew
        return False
    now = loop.complete(settings.RunConfig(*flags.parse(cell.train, *settings.RUN)[0]), begun=True)
    rundir.check_same(cell.run_dir, now)
    (wanted,), _ = flags.parse(cell.evaluate, settings.EvaluateConfig)
    return rundir.read_flags(cell.run_dir) == now and scored == dataclasses.asdict(wanted)
