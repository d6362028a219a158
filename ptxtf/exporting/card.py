"""What is known of a run -> README.md of its export, the model card: no names, ids or hashes of patients, no paths."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

import ptxtf
from ptxtf import files, rundir
from ptxtf.config import RunConfig
from ptxtf.data import shards
from ptxtf.errors import InputError
from ptxtf.evaluation.page import DISCLAIMER
from ptxtf.exporting import saved_model
from ptxtf.exporting.portable import Portable
from ptxtf.inference import choice, members
from ptxtf.inference.masks import Rule
from ptxtf.inference.members import Member, Members
from ptxtf.inference.network import Network

NAME, TITLE = "README.md", "# A network that finds and outlines a pneumothorax on chest radiographs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a model card tells.

    Attributes:
        members: the networks, and how they are asked.
        used: how many images it learnt from, and was chosen by: lines.
        chosen: its rule.json; None where it has none.
        scores: what scores.json of an evaluation holds; None without one.
        rule: that the export makes masks by.
        network: that is exported.
        in_float32: whether it computes in float32; else as it was trained.
    """

    members: Members
    used: tuple[str, ...]
    chosen: choice.Choice | None
    scores: dict[str, Any] | None
    rule: Rule
    network: Portable
    in_float32: bool

    @property
    def runs(self) -> list[tuple[str, RunConfig]]:
        """The name of each run's folder, and its settings."""
        runs = dict.fromkeys(member.run_dir for member in self.members.all)
        return [(run.resolve().name, rundir.read_flags(run)) for run in runs]


def read_scores(directory: files.Name) -> dict[str, Any]:
    """Return what an evaluation's scores.json holds.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    path = files.path(directory) / "scores.json"
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        _ = list(_score_lines(scores))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the scores that ptxtf.evaluate writes. Received: {error!r}") from None
    return scores


def data_lines(found: Members) -> tuple[str, ...]:
    """Return what the runs learnt from: counts of images and patients, and what their records, where they are, say."""
    used = members.trained_on(found) or []
    lines = []
    for kind, purpose in (("train", "learnt from"), ("val", "chosen by: epoch, threshold, smallest area")):
        images = [image for image in used if image.used == kind]
        patients = {image.patient for image in images} - {""}
        known = f" of {len(patients)} patients" if patients else ""
        lines += [f"{purpose}: {len(images)} images{known}"] if images else []
    runs = dict.fromkeys(member.run_dir for member in found.all)
    for inputs in dict.fromkeys(rundir.read_flags(run).inputs for run in runs):
        with contextlib.suppress(InputError):  # the records may have gone
            manifest = shards.read_manifest(inputs.records_dir)
            for split in filter(None, (inputs.train_split, inputs.val_split)):
                positives = sum(shard.positives for shard in manifest.shards(split))
                lines.append(f"records, {split}: {manifest.images(split)} images, {positives} with a pneumothorax")
    return tuple(dict.fromkeys(lines))


def write(facts: Facts, directory: pathlib.Path) -> None:
    """Write the card of what lies in a folder, with the check sum of each of its files."""
    (directory / NAME).write_text("\n".join(_lines(facts, directory)) + "\n", encoding="utf-8")


def _lines(facts: Facts, directory: pathlib.Path) -> Iterator[str]:
    yield TITLE
    yield from ("", f"*{DISCLAIMER}*")
    yield from ("", "## What it is", "", *(f"- {line}" for line in _network_lines(facts)))
    yield from ("", "## Data and scores", "", *(f"- {line}" for line in _data_and_score_lines(facts)))
    yield from ("", *_LIMITS.splitlines(), "", "## How to call it", "")
    signatures = (saved_model.__doc__ or "").partition("\n\n")[2]
    for name, call in _CALLS.items():
        if (directory / name).exists():
            text = call.replace("SIDE", str(facts.network.image_size)).replace("SIGNATURES", signatures)
            yield from (*text.splitlines(), "")
    yield "## How it was trained"
    for name, settings in facts.runs:
        yield from ("", f"{name}:", "", "```", *_setting_lines(settings), "```")
    yield from ("", "## Files", "", "| file | bytes | sha256 |", "|---|---|---|")
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        content = path.read_bytes()
        yield f"| {path.relative_to(directory)} | {len(content)} | {hashlib.sha256(content).hexdigest()} |"


def _network_lines(facts: Facts) -> Iterator[str]:
    weights = sum(int(tf.size(variable)) for variable in facts.network.variables)
    precision = "float32" if facts.in_float32 else "the precision of training"
    yield f"{weights:,} weights, computed in {precision}; it sees {_square(facts.network.image_size)} pixels"
    for member, network in zip(facts.members.networks, facts.network.networks, strict=True):
        share = f", {member.weight:.0%} of the mean" if len(facts.members.networks) > 1 else ""
        yield f"{_one_line(member, network)}{share}"
    if facts.members.gate and facts.network.gate:
        yield f"presence: {_one_line(facts.members.gate, facts.network.gate)}"
    yield f"masks: {facts.rule}; `rule.json` holds the numbers"
    yield f"made by ptxtf {ptxtf.__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}"


def _one_line(member: Member, network: Network) -> str:
    """Return what one network is, and how it is asked."""
    model = rundir.read_flags(member.run_dir).network
    parts = [f"{model.decoder} over {model.backbone}", "whole images"]
    if network.tiles:
        parts[1] = f"tiles of {_square(network.tiles.size)} pixels every {network.tiles.stride}, which are stitched"
    if member.epoch is not None:
        parts.append(f"after epoch {member.epoch}")
    if network.config.clahe:
        rows, columns = network.config.tile_grid
        parts.append(
            f"contrast equalised first (CLAHE, {rows}x{columns} tiles, clip limit {network.config.clip_limit})"
        )
    if len(network.views) > 1:
        parts.append(f"the mean of {len(network.views)} views")
    return ", ".join(parts)


def _square(side: int) -> str:
    return f"{side} x {side}"


def _data_and_score_lines(facts: Facts) -> Iterator[str]:
    yield from facts.used
    if facts.chosen:
        yield f"the run's own rule: {facts.chosen} (mean over {facts.chosen.images} images, empty-empty = 1)"
    yield from _score_lines(facts.scores) if facts.scores else ["no evaluation was given"]


def _score_lines(scores: dict[str, Any]) -> Iterator[str]:
    summary, split = scores["summary"], scores["settings"]["split"]
    yield f"scored on {split}: {summary['images']} images, {summary['positives']} with a pneumothorax"
    yield "their masks: " + str(Rule(**scores["rule"]))
    for title, score in (
        ("mean Dice, all images (empty-empty = 1)", summary["dice"]["all"]),
        ("mean Dice, images with a pneumothorax", summary["dice"]["positives"]),
        *summary["presence"].items(),
    ):
        if score["value"] is not None:
            nothing = "" if score["all_empty"] is None else f"; predicting nothing: {score['all_empty']:.3f}"
            low, high = ("?" if score[end] is None else f"{score[end]:.3f}" for end in ("low", "high"))
            yield f"{title}: {score['value']:.3f} (95 % interval {low}–{high}{nothing})"


def _setting_lines(settings: RunConfig) -> Iterator[str]:
    """Yield the settings as a flag file's lines, without where things lay on somebody's disk."""
    for line in rundir.shared(settings).splitlines():
        name, is_set, value = line.partition("=")
        yield f"{name}={pathlib.PurePath(value).name}" if is_set and name == "--weights" else line


_LIMITS = """## Limits

- It has learnt from what is named above and is untested elsewhere: other hospitals, devices, projections, children.
- Grey levels have to be bright = dense, as a viewing station shows a radiograph. A picture does not say how that is:
  of a DICOM file apply rescale, window and inversion before.
- Images that are not square are stretched. A small pneumothorax may vanish as an image shrinks, or fall below the
  rule's smallest area.
- The score ranks images; it is no calibrated probability.
"""

_CALLS = {
    "saved_model": """Everything is inside `saved_model`: decoding, resizing, equalising, network, masks and text.

SIGNATURES
```python
import tensorflow as tf

find = tf.saved_model.load("saved_model").signatures["serving_default"]
found = find(pictures=tf.stack([tf.io.read_file("film.png")]))
print(found["score"].numpy(), found["rle"].numpy())
```

TensorFlow Serving has nothing to compile by XLA here; its REST encodes what is called "…_bytes" by base64:

```sh
docker run -p 8501:8501 -e MODEL_NAME=ptxtf -v "$PWD/saved_model:/models/ptxtf/1" tensorflow/serving
(printf '{"instances": [{"b64": "'; base64 -w0 film.png; printf '"}]}') |
  curl -d @- http://localhost:8501/v1/models/ptxtf:predict
```
""",
    "model.onnx": """`model.onnx` takes `images`, uint8 [B, SIDE, SIDE, 1], and gives `probabilities`, float32 of that
shape; equalising is inside. Files, sizes and masks are the caller's: shrink by area averaging, enlarge bilinearly, and
go by `rule.json`. Where there is a second output, `presence`, float32 [B], a gate goes by it: below, the mask is empty.

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(probabilities,) = session.run(["probabilities"], {"images": np.zeros((1, SIDE, SIDE, 1), np.uint8)})
```
""",
    "model.tflite": """`model.tflite` does so for one image, uint8 [1, SIDE, SIDE, 1], by built-in operations alone.

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

find = Interpreter("model.tflite").get_signature_runner("serving_default")
probabilities = find(images=np.zeros((1, SIDE, SIDE, 1), np.uint8))["probabilities"]
```
""",
}
"""How each file is called, by its name."""
