"""Settings -> several trained networks that answer together: what `ptxtf.ensemble` does.

    networks and classifier ─► each trained in its folder ─► ensemble.flags ─► rule.json, chosen on a split

The folder can be used like a run's: `ptxtf.inference.members` finds the networks by ensemble.flags.
"""

import dataclasses
import typing
from collections.abc import Sequence

from ptxtf import config as settings
from ptxtf import files, flags, models, rundir
from ptxtf.config import EnsembleConfig, InferenceConfig, LossConfig, ModelConfig, RunsConfig
from ptxtf.data import shards
from ptxtf.errors import InputError, did_you_mean
from ptxtf.inference import choose_rule, members
from ptxtf.inference.choice import Choice
from ptxtf.training import processes

_DECODERS = typing.get_args(typing.get_type_hints(ModelConfig)["decoder"])


@dataclasses.dataclass(frozen=True)
class Part:
    """A network to train: its folder, and the flags of ptxtf.train."""

    run_dir: files.Path
    train: Sequence[str]


def join(config: EnsembleConfig, asked: InferenceConfig, *, batch_size: int = 8) -> Choice:
    """Train what is not yet, write ensemble.flags, and choose the rule.

    Args:
        config: the networks, and where to write.
        asked: how they are asked.
        batch_size: images that are computed together while the rule is chosen.

    Raises:
        InputError: an unknown network, a recipe that cannot be read or does not go with the rest, records without the
            split; a training that failed; another process at work in the folder.
    """
    directory = files.path(config.output_dir)
    to_train = parts(config)
    for part in to_train:  # here, not after hours
        flags.parse(part.train, *settings.RUN)
    _check_the_rest(config, asked)
    if not shards.read_manifest(config.records_dir).images(config.split):
        raise InputError(f"{config.records_dir}: expected images in split {config.split!r}. Received: none")
    given = [config.run_dir] if config.run_dir else []
    networks = [str(part.run_dir) for part in to_train[: len(config.networks)]]
    runs = RunsConfig(run_dir=",".join([*given, *networks]))
    if config.classifier:
        asked = dataclasses.replace(asked, gate_dir=str(to_train[-1].run_dir))
    directory.mkdir(parents=True, exist_ok=True)
    with files.locked(directory):
        for number, part in enumerate(to_train, start=1):
            print(f"{number}/{len(to_train)} {part.run_dir.name}", flush=True)
            if not processes.run("ptxtf.train", part.train):
                raise InputError(
                    f"{part.run_dir}: expected a network that can be trained. Received: what it said above"
                )
        return _conclude(config, runs, asked, batch_size)


def _conclude(config: EnsembleConfig, runs: RunsConfig, asked: InferenceConfig, batch_size: int) -> Choice:
    """Write ensemble.flags and rule.json, both or none of them."""
    directory = files.path(config.output_dir)
    (directory / rundir.RULE).unlink(missing_ok=True)  # that of other networks
    members.write(directory, runs, asked)
    try:
        return choose_rule(directory, config.records_dir, config.split, batch_size=batch_size)
    except InputError:
        (directory / rundir.ENSEMBLE).unlink(missing_ok=True)
        raise


def _check_the_rest(config: EnsembleConfig, asked: InferenceConfig) -> None:
    """Check what does not wait for the networks that are still to be trained.

    Raises:
        InputError: runs that are not there; other weights than runs; two gates; a comma in a folder's name.
    """
    if config.classifier and asked.gate_dir:
        raise InputError(f"expected no --gate_dir with --classifier. Received: gate_dir={asked.gate_dir}")
    directory = files.path(config.output_dir)
    if (directory / rundir.FLAGS).is_file():
        raise InputError(f"{directory}: expected a folder for an ensemble. Received: that of a run")
    if (directory / rundir.RULE).is_file() and not (directory / rundir.ENSEMBLE).is_file():
        raise InputError(f"{directory / rundir.RULE}: expected a folder for an ensemble. Received: a rule of another")
    if asked.gate_dir and not rundir.read_flags(asked.gate_dir).loss.presence_weight:
        raise InputError(f"{asked.gate_dir}: expected a run with --presence_weight. Received: one of masks alone")
    there = members.folders(config.run_dir) if config.run_dir else []
    for name in map(str, [config.output_dir, *there]):
        if "," in name:  # it stands between names in ensemble.flags
            raise InputError(f"{name}: expected a folder of an ensemble without a comma in its name. Received: one")
    members.check_no_ensemble(there)
    for folder in there:
        found = members.find(folder, dataclasses.replace(asked, member_weights=(), gate_dir=""))
        for member in found.all:
            _check_not_trained_on(member.run_dir, config)
    members.shares_of(len(there) + len(config.networks), asked)


def _check_not_trained_on(run_dir: files.Path, config: EnsembleConfig) -> None:
    """Raise InputError where a run has learnt from the split that the rule is to be chosen on."""
    inputs = rundir.read_flags(run_dir).inputs
    is_same = files.path(inputs.records_dir).resolve() == files.path(config.records_dir).resolve()
    if is_same and set(inputs.train_split.split("+")) & set(config.split.split("+")):
        raise InputError(
            f"expected a --split that no run was trained on. Received: split={config.split}, of which {run_dir} has "
            f"learnt: {inputs.train_split}"
        )


def parts(config: EnsembleConfig) -> list[Part]:
    """Return the networks to train, in their order, and then the classifier.

    Raises:
        InputError: an unknown one.
    """
    gates = [f"classifier/{config.classifier}"] if config.classifier else []
    return [_part(config, name) for name in (*config.networks, *gates)]


def _part(config: EnsembleConfig, name: str) -> Part:
    """Return what trains a network, called by its decoder and backbone."""
    decoder, _, backbone = name.partition("/")
    if decoder not in _DECODERS or backbone not in models.BACKBONES:
        wrong = (decoder, _DECODERS) if decoder not in _DECODERS else (backbone, models.BACKBONES)
        raise InputError(
            f"{did_you_mean(*wrong)}expected networks as decoder/backbone: unet/resnet34. Received: {name}"
        )
    run_dir = files.path(config.output_dir) / f"{decoder}_{backbone}"
    given = {name: getattr(config, name) for name in ("epochs", "image_size", "batch_size", "weights")}
    return Part(
        run_dir,
        [
            f"--flagfile={config.recipe}",
            f"--records_dir={config.records_dir}",
            f"--run_dir={run_dir}",
            f"--seed={config.seed}",
            f"--decoder={decoder}",
            *_defaults(ModelConfig, () if decoder == "unet" else ("upsampling", "attention")),
            *_defaults(ModelConfig, () if decoder in ("unet", "unet_plus_plus") else ("decoder_filters",)),
            f"--backbone={backbone}",
            *(f"--{name}={value}" for name, value in given.items() if value),
            *(_CLASSIFIER_FLAGS if decoder == "classifier" else []),
        ],
    )


def _defaults(config: type, names: Sequence[str]) -> list[str]:
    """Return flags that take back what a recipe says of these settings."""
    return [f"--{name}={flags.to_text(getattr(config, name))}" for name in names]


_CLASSIFIER_FLAGS = [
    *_defaults(LossConfig, [field.name for field in dataclasses.fields(LossConfig)]),
    "--focal_weight=0",
    "--dice_weight=0",
    "--presence_weight=1",
    "--keep=best",
]
"""Flags by which only the presence of a pneumothorax is learnt, whatever the recipe says of masks."""
