"""A run -> a folder of files that need no ptxtf: what `ptxtf.export` does.

saved_model/    pictures to masks, for TensorFlow: see `ptxtf.exporting.saved_model`
model.onnx      an image of the network's size to its probabilities
model.tflite    the same
rule.json       what makes masks of probabilities
README.md       the model card, with each file's check sum
"""

import dataclasses
import pathlib

from ptxtf import files, rundir
from ptxtf.config import ExportConfig, InferenceConfig, MaskConfig
from ptxtf.errors import InputError
from ptxtf.exporting import card, convert, folder, portable, saved_model
from ptxtf.inference import choice, masks
from ptxtf.inference.system import load

_FILES = {"savedmodel": "saved_model", "onnx": "model.onnx", "tflite": "model.tflite"}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `export` wrote: the folder, its files or folders with their sizes in bytes, and the rule inside."""

    directory: files.Path
    sizes: dict[str, int]
    rule: masks.Rule


def export(config: ExportConfig, mask_config: MaskConfig, asked: InferenceConfig | None = None) -> Exported:
    """Write a run as files that need no ptxtf, all of them or none.

    Args:
        config: the run, where to write, and what.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        asked: how the networks are asked.

    Raises:
        InputError: no finished run, a damaged rule.json or scores.json, a converter that is not installed, or an output
            folder that holds something else.
    """
    convert.check_converters(config.formats)
    adapt = portable.adapt(as_trained=config.precision == "trained")
    system = load(config.run_dir, mask_config, asked, adapt=adapt)
    trained, rule = portable.of(system.predictor), system.rule
    if "tflite" in config.formats and any(view.is_moved for network in trained.networks for view in network.views):
        raise InputError(
            "expected no --tta_rotations and --tta_scales with --formats=tflite, which has no operations for them. "
            "Received: some"
        )
    facts = card.Facts(
        members=system.members,
        used=card.data_lines(system.members),
        chosen=choice.read(config.run_dir),
        scores=card.read_scores(config.evaluation) if config.evaluation else None,
        rule=rule,
        network=trained,
        in_float32=config.precision == "float32",
    )
    numbers = saved_model.numbers(trained, rule)
    entries = {*_FILES.values(), rundir.RULE, card.NAME}
    with folder.whole(config.output_dir, entries=entries, last=card.NAME, title=card.TITLE) as directory:
        if "savedmodel" in config.formats:
            saved_model.save(trained, rule, directory / _FILES["savedmodel"])
        if "onnx" in config.formats:
            convert.save_onnx(trained, directory / _FILES["onnx"], metadata={"rule": numbers})
        if "tflite" in config.formats:
            convert.save_tflite(trained, directory / _FILES["tflite"])
        files.write_json(directory / rundir.RULE, numbers)
        card.write(facts, directory)
        names = [_FILES[kind] for kind in config.formats]
        sizes = {name: _size(directory / name) for name in names}
    return Exported(files.path(config.output_dir), sizes, rule)


def _size(path: pathlib.Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
