"""A trained run and a split -> its scores, rows, masks and report: what `ptxtf.evaluate` does.

    examples ─► Predictor ─► masks ─► a row, bins and a run-length mask of each image ─► merged ─► summary ─► report

Each image is scored by itself, and all that follows is made of those results in the split's order: it is the same
however images were batched or divided among processes.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from ptxtf import devices, files
from ptxtf.config import EvaluateConfig, MaskConfig
from ptxtf.data import rle
from ptxtf.data.dataset import readable
from ptxtf.errors import InputError
from ptxtf.evaluation import calibration, gallery, notes, report, scores
from ptxtf.evaluation import rows as image_rows
from ptxtf.evaluation.results import IMAGES, PREDICTIONS, SCORES, Evaluation, Kept
from ptxtf.inference import cases, choice, masks
from ptxtf.inference.predictor import Predictor

_PART = "part-{}-of-{}.json"


@dataclasses.dataclass(frozen=True)
class _Scored:
    """What is kept of one image: its row, its pixels' calibration, its mask as run-length text, and its time."""

    row: image_rows.Row
    bins: calibration.Bins
    mask: str
    seconds: float
    """Of prediction, its share of the batch's."""


def evaluate(config: EvaluateConfig, mask_config: MaskConfig, *, in_pairs: bool = False) -> Evaluation | None:
    """Score a run on a split at the original size, and write the report.

    Args:
        config: the run, the split, and where to write.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        in_pairs: as `Predictor.load` takes it.

    Returns:
        What was found; None where `config.part` asked for a part of the images, and others are still to come.

    Raises:
        InputError: no finished run, no records, an unknown or empty split, a damaged rule.json; a model that takes
            other images; parts that were scored with other settings; another evaluation of other images.
    """
    directory = files.path(config.output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    other = Kept.read(files.path(config.against)) if config.against else None
    predictor = Predictor.load(config.run_dir, in_pairs=in_pairs)
    rule = choice.complete(mask_config, config.run_dir)
    dataset = cases.read(config.records_dir, config.split, image_size=predictor.image_size)
    number, count = _part(config)
    own = dataset.shard(count, number - 1).apply(
        tf.data.experimental.assert_cardinality(len(range(number - 1, int(dataset.cardinality()), count)))
    )
    with readable(config.records_dir):
        scored = list(_score(predictor, own, config, rule))
    if count > 1:
        key = _key(config, rule)
        _write_part(directory / _PART.format(number, count), scored, key)
        found = _read_parts(directory, count, key)
        if found is None:
            return None
        scored = found
    return _conclude(directory, scored, dataset, config, rule, other)


def _conclude(
    directory: files.Path,
    scored: Sequence[_Scored],
    dataset: tf.data.Dataset,
    config: EvaluateConfig,
    rule: masks.Rule,
    other: Kept | None,
) -> Evaluation:
    """Write what follows from all images."""
    rows = [one.row for one in scored]
    encoded = {one.row.image_id: one.mask for one in scored}
    found = Evaluation(
        directory=directory,
        rows=rows,
        summary=scores.summarize(rows, resamples=config.bootstrap, seed=config.seed),
        pixels=calibration.merge([one.bins for one in scored]),
        presence=calibration.bins(np.array([row.presence for row in rows]), np.array([row.positive for row in rows])),
        rule=rule,
        notes=notes.of(rows, config, rule),
        seconds_per_image=float(np.median([one.seconds for one in scored])),
        difference=other.differences(rows, config) if other else {},
        settings=config,
    )
    chosen = gallery.choose(rows, config.gallery)
    with readable(config.records_dir):
        figures = gallery.draw(dataset, chosen, encoded, other.masks if other else {})
    image_rows.write(directory / IMAGES, rows)
    files.write_csv(directory / PREDICTIONS, ["ImageId", "EncodedPixels"], encoded.items())
    files.write_text(directory / "report.md", report.markdown(found))
    files.write_text(directory / "report.html", report.page(found, figures))
    files.write_json(directory / SCORES, found.as_json())
    return found


def _score(
    predictor: Predictor, dataset: tf.data.Dataset, config: EvaluateConfig, rule: masks.Rule
) -> Iterator[_Scored]:
    batch_size = devices.images_at_once(config.batch_size)
    for case, probabilities, seconds in cases.predict(predictor, dataset, batch_size=batch_size, title="scoring"):
        predicted_mask = masks.decide(probabilities, rule)
        presence = image_rows.presence(probabilities, min_area_px=rule.min_area_px)
        yield _Scored(
            row=image_rows.score(case, predicted_mask, presence=presence, spacing_factor=config.spacing_factor),
            bins=calibration.bins(probabilities, case["mask"]),
            mask=rle.encode(predicted_mask),
            seconds=seconds,
        )


def _part(config: EvaluateConfig) -> tuple[int, int]:
    """Return which part of how many is to be scored, counted from 1."""
    number, _, count = (config.part or "1/1").partition("/")
    return int(number), int(count)


def _key(config: EvaluateConfig, rule: masks.Rule) -> str:
    """Return what all parts of an evaluation have in common."""
    shared = ("run_dir", "records_dir", "split", "spacing_factor")
    return json.dumps([{name: getattr(config, name) for name in shared}, dataclasses.asdict(rule)])


def _write_part(path: files.Path, scored: Sequence[_Scored], key: str) -> None:
    bins = [[values.tolist() for values in vars(one.bins).values()] for one in scored]
    images = [
        [dataclasses.asdict(one.row), kept, one.mask, one.seconds] for one, kept in zip(scored, bins, strict=True)
    ]
    files.write_json(path, {"key": key, "images": images})


def _read_parts(directory: files.Path, count: int, key: str) -> list[_Scored] | None:
    """Return what all parts hold, in the split's order; None where some are missing.

    Raises:
        InputError: one was scored with other settings, or is damaged.
    """
    parts = []
    for number in range(1, count + 1):
        path = directory / _PART.format(number, count)
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["key"] != key:
                raise InputError(
                    f"{path}: expected a part that was scored with the same settings; delete what is of another "
                    f"evaluation. Received: {content['key']}"
                )
            parts.append(
                [
                    _Scored(image_rows.Row(**row), calibration.Bins(*map(np.array, bins)), mask, seconds)
                    for row, bins, mask, seconds in content["images"]
                ]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected a part of an evaluation. Received: {error}") from None
    longest = max(map(len, parts))
    return [part[index] for index in range(longest) for part in parts if index < len(part)]
