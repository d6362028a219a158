"""What is known of a run -> README.md of its export, the model card: no names, ids or hashes of patients, no paths."""

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
from ptxtf.exporting import saved_model
from ptxtf.exporting.network import Network
from ptxtf.inference import choice
from ptxtf.inference.masks import Rule

NAME = "README.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a model card tells.

    Attributes:
        settings: of the run.
        used: how many images it learnt from, and was chosen by: lines.
        chosen: its rule.json; None where it has none.
        scores: what scores.json of an evaluation holds; None without one.
        rule: that the export makes masks by.
        network: that is exported.
        precision: that it computes in.
    """

    settings: RunConfig
    used: tuple[str, ...]
    chosen: choice.Choice | None
    scores: dict[str, Any] | None
    rule: Rule
    network: Network
    precision: str


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


def data_lines(run_dir: files.Name, settings: RunConfig) -> tuple[str, ...]:
    """Return what the run learnt from: counts of images and patients, and what its records, where they are, say."""
    used = rundir.read_trained_on(files.path(run_dir)) or []
    lines = []
    for kind, purpose in (("train", "learnt from"), ("val", "chosen by: epoch, threshold, smallest area")):
        images = [image for image in used if image.used == kind]
        patients = {image.patient for image in images} - {""}
        known = f" of {len(patients)} patients" if patients else ""
        lines += [f"{purpose}: {len(images)} images{known}"] if images else []
    try:
        manifest = shards.read_manifest(settings.inputs.records_dir)
        for split in filter(None, (settings.inputs.train_split, settings.inputs.val_split)):
            positives = sum(shard.positives for shard in manifest.shards(split))
            lines.append(f"records, {split}: {manifest.images(split)} images, {positives} with a pneumothorax")
    except InputError:  # they may have gone
        pass
    return tuple(lines)


def write(facts: Facts, directory: pathlib.Path) -> None:
    """Write the card of what lies in a folder, with the check sum of each of its files."""
    (directory / NAME).write_text("\n".join(_lines(facts, directory)) + "\n", encoding="utf-8")


def _lines(facts: Facts, directory: pathlib.Path) -> Iterator[str]:
    yield "# A network that finds and outlines a pneumothorax on chest radiographs"
    yield from ("", "*Research software, no medical device. Do not use it to decide about a patient.*")
    yield from ("", "## What it is", "", *(f"- {line}" for line in _network_lines(facts)))
    yield from ("", "## Data and scores", "", *(f"- {line}" for line in _data_and_score_lines(facts)))
    yield from ("", *_LIMITS.splitlines(), "", "## How to call it", "")
    signatures = (saved_model.__doc__ or "").partition("\n\n")[2]
    for name, call in _CALLS.items():
        if (directory / name).exists():
            text = call.replace("SIDE", str(facts.network.image_size)).replace("SIGNATURES", signatures)
            yield from (*text.splitlines(), "")
    yield from ("## How it was trained", "", "```", *_setting_lines(facts.settings), "```")
    yield from ("", "## Files", "", "| file | bytes | sha256 |", "|---|---|---|")
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        content = path.read_bytes()
        yield f"| {path.relative_to(directory)} | {len(content)} | {hashlib.sha256(content).hexdigest()} |"


def _network_lines(facts: Facts) -> Iterator[str]:
    model, prepared, side = facts.settings.network, facts.settings.preprocessing, facts.network.image_size
    weights = sum(int(tf.size(variable)) for variable in facts.network.variables)
    yield f"{model.decoder} over {model.backbone}, {weights:,} weights, computed in {facts.precision}"
    patches = f"in patches of {prepared.patch_size} x {prepared.patch_size}, which are stitched"
    yield f"it sees {side} x {side} pixels, {'whole' if prepared.mode == 'whole' else patches}"
    if prepared.clahe:
        rows, columns = prepared.tile_grid
        yield f"contrast is equalised first (CLAHE, {rows}x{columns} tiles, clip limit {prepared.clip_limit})"
    yield f"masks: {facts.rule}; `rule.json` holds the numbers"
    yield f"made by ptxtf {ptxtf.__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}"


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
go by `rule.json`.

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
