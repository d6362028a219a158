"""Folders -> the trained networks that answer together, and how they are asked.

A folder is that of a run; of a cross-validation, whose folds all take part; or of an ensemble, whose ensemble.flags
names the others. Several with commas between are an ensemble without a folder of its own.
"""

import dataclasses
import math
from collections.abc import Sequence

from ptxtf import files, flags, rundir
from ptxtf.config import InferenceConfig, RunsConfig
from ptxtf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Member:
    """A trained network.

    Attributes:
        run_dir: the folder of its run.
        weight: its share in the mean, 0..1.
        epoch: after which of the run's epochs, counted from 1; None: its final model.
    """

    run_dir: files.Path
    weight: float
    epoch: int | None = None

    @property
    def file(self) -> files.Path:
        """What holds its weights."""
        if self.epoch is None:
            return self.run_dir / rundir.MODEL
        return self.run_dir / rundir.EPOCHS / rundir.weights_name(self.epoch)


@dataclasses.dataclass(frozen=True)
class Members:
    """Networks that answer together.

    Attributes:
        networks: at least one; their shares add up to 1.
        gate: the run that says whether there is a pneumothorax at all, if it is another one.
        asked: how they are asked.
    """

    networks: Sequence[Member]
    gate: Member | None
    asked: InferenceConfig

    @property
    def all(self) -> list[Member]:
        """The networks, and the gate."""
        return [*self.networks, *([self.gate] if self.gate else [])]


def find(run_dir: files.Name, asked: InferenceConfig | None = None) -> Members:
    """Return the networks that a user means.

    Args:
        run_dir: one folder, or a text with several and commas between.
        asked: how they are to be asked; what differs from the default goes before what an ensemble's folder says.

    Raises:
        InputError: no run there; other weights than runs; an ensemble within another; epochs that are not kept.
    """
    asked = asked or InferenceConfig()
    named = folders(run_dir)
    if len(named) == 1 and (named[0] / rundir.ENSEMBLE).is_file():
        named, asked = _read(named[0], asked)
    check_no_ensemble(named)
    shares = shares_of(len(named), asked)
    networks: list[Member] = []
    total = math.fsum(shares)
    for folder, share in zip(named, shares, strict=True):
        found = [member for run in _runs(folder) for member in _of_run(run, asked)]
        networks += [dataclasses.replace(member, weight=share / total / len(found)) for member in found]
    gate = Member(files.path(asked.gate_dir), 1.0) if asked.gate_dir else None
    return Members(networks, gate, asked)


def check_no_ensemble(named: Sequence[files.Path]) -> None:
    """Raise InputError where a folder is that of an ensemble, which cannot be a member of another."""
    for folder in named:
        if (folder / rundir.ENSEMBLE).is_file():
            raise InputError(f"{folder}: expected runs as members of an ensemble. Received: another ensemble")


def shares_of(count: int, asked: InferenceConfig) -> tuple[float, ...]:
    """Return the shares of so many runs; raise InputError where as many are not asked for."""
    shares = asked.member_weights or (1.0,) * count
    if len(shares) != count:
        raise InputError(f"expected --member_weights for {count} runs. Received: member_weights={asked.member_weights}")
    return shares


def trained_on(found: Members) -> list[rundir.Used] | None:
    """Return the images that any of the networks has learnt from; None where one does not tell.

    Raises:
        InputError: as `rundir.read_trained_on`.
    """
    runs = dict.fromkeys(member.run_dir for member in found.all)
    told = [rundir.read_trained_on(run) for run in runs]
    images: dict[rundir.Used, None] = {}
    for one in told:
        if one is None:
            return None
        images |= dict.fromkeys(one)
    return list(images)


def write(directory: files.Path, runs: RunsConfig, asked: InferenceConfig) -> None:
    """Write ensemble.flags; runs within the folder are named from there, so that it can be moved."""
    inner = [_relative(folder, directory) for folder in folders(runs.run_dir)]
    gate = _relative(files.path(asked.gate_dir), directory) if asked.gate_dir else ""
    content = flags.to_flagfile(RunsConfig(run_dir=",".join(inner)), dataclasses.replace(asked, gate_dir=gate))
    files.write_text(directory / rundir.ENSEMBLE, content)


def _relative(folder: files.Path, directory: files.Path) -> str:
    inner, outer = str(folder.resolve()), f"{directory.resolve()}/"
    return inner.removeprefix(outer)


def _absolute(name: str, directory: files.Path) -> files.Path:
    path = files.path(name)
    return path if path.is_absolute() else directory / name


def folders(run_dir: files.Name) -> list[files.Path]:
    """Return the folders that are named; a comma is part of a name where such a folder exists.

    Raises:
        InputError: an empty name.
    """
    whole = files.path(run_dir)
    if "," not in str(run_dir) or whole.is_dir():
        return [whole]
    names = str(run_dir).split(",")
    if not all(names):
        raise InputError(f"expected folders of runs with single commas between. Received: run_dir={run_dir}")
    return [files.path(name) for name in names]


def _read(folder: files.Path, asked: InferenceConfig) -> tuple[list[files.Path], InferenceConfig]:
    """Return what ensemble.flags says, but for what is asked otherwise."""
    path = folder / rundir.ENSEMBLE
    try:
        (runs, written), rest = flags.parse([f"--flagfile={path.resolve()}"], RunsConfig, InferenceConfig)
        if rest:
            raise InputError(f"expected flags only. Received: {rest[0]!r}")
        names = runs.run_dir.split(",")
        shares_of(len(names), written)
    except InputError as error:
        raise InputError(str(error) if rundir.ENSEMBLE in str(error) else f"{path}: {error}") from None
    if written.gate_dir:
        written = dataclasses.replace(written, gate_dir=str(_absolute(written.gate_dir, folder)))
    given = {name: value for name, value in vars(asked).items() if value != getattr(InferenceConfig, name)}
    return [_absolute(name, folder) for name in names], dataclasses.replace(written, **given)


def _runs(folder: files.Path) -> list[files.Path]:
    """Return the runs of a folder: itself, or those of a cross-validation."""
    if (folder / rundir.FLAGS).is_file():
        return [folder]
    inner: list[files.Path] = list(folder.glob("fold*"))
    folds = [path for path in sorted(inner, key=str) if (path / rundir.FLAGS).is_file()]
    if not folds:
        raise InputError(
            f"{folder / rundir.FLAGS}: expected a run folder written by ptxtf.train. Received: no such file"
        )
    return folds


def _of_run(run: files.Path, asked: InferenceConfig) -> list[Member]:
    """Return a run's networks, with a weight yet to be set."""
    if asked.members == "final":
        return [Member(run, 1.0)]
    epochs = [epoch for epoch in range(1, _epochs(run) + 1) if Member(run, 1.0, epoch).file.is_file()]
    if not epochs:
        raise InputError(f"{run / rundir.EPOCHS}: expected the weights of epochs for --members=epochs. Received: none")
    return [Member(run, 1.0, epoch) for epoch in epochs]


def _epochs(run: files.Path) -> int:
    return rundir.read_flags(run).training.epochs
