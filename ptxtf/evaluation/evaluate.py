"""A trained run and a split -> scores.json, images.csv and report.html: what `ptxtf.evaluate` does."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ptxtf import files, pictures
from ptxtf.config import EvaluateConfig, MaskConfig
from ptxtf.data.dataset import readable
from ptxtf.evaluation import report, scores
from ptxtf.inference import cases, choice, masks
from ptxtf.inference.predictor import Predictor

_PICTURE_SIZE = 420


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate` wrote, the summary of `scores.summarize`, and the rule that made the masks."""

    directory: files.Path
    summary: Mapping[str, Any]
    rule: masks.Rule


def evaluate(config: EvaluateConfig, mask_config: MaskConfig, *, parts: int = 1) -> Evaluation:
    """Score a run on a split at the original size, and write the report.

    Args:
        config: the run, the split, and where to write.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        parts: of a batch that are computed at the same time, see `Predictor.load`.

    Raises:
        InputError: no finished run, no records, an unknown or empty split, a damaged rule.json.
    """
    directory = files.path(config.output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    predictor = Predictor.load(config.run_dir, parts=parts)
    rule = choice.complete(mask_config, config.run_dir)
    dataset = cases.read(config.records_dir, config.split, image_size=predictor.image_size)
    with readable(config.records_dir):
        rows = _score(predictor, dataset, config, rule)
    summary = scores.summarize(rows, resamples=config.bootstrap, seed=config.seed)
    gallery = _draw_gallery(predictor, dataset, choose_gallery(rows, config.gallery), rule)
    settings = dataclasses.asdict(config)
    content = {"summary": _plain(summary), "settings": settings, "rule": dataclasses.asdict(rule)}
    _write_rows(directory / "images.csv", rows)
    files.write_json(directory / "scores.json", content)
    files.write_text(directory / "report.html", report.page(summary, rows, gallery, settings, rule))
    return Evaluation(directory, summary, rule)


def _score(
    predictor: Predictor, dataset: tf.data.Dataset, config: EvaluateConfig, rule: masks.Rule
) -> list[scores.ImageScore]:
    return [
        scores.score(
            case["mask"],
            masks.decide(probabilities, rule),
            image_id=case["image_id"],
            patient=case["patient"],
            probability=round(float(probabilities.max()), 6),
        )
        for case, probabilities in cases.predict(predictor, dataset, batch_size=config.batch_size, title="scoring")
    ]


def choose_gallery(rows: Sequence[scores.ImageScore], count: int) -> list[tuple[scores.ImageScore, str]]:
    """Choose cases worth a look: worst, middle and best positives in equal parts, and the largest false alarms.

    Returns:
        Up to `count` (row, why it was chosen), each row once.
    """
    positives = sorted((row for row in rows if row.positive), key=lambda row: row.dice)
    alarms = sorted(
        (row for row in rows if not row.positive and row.predicted_area_px), key=lambda row: -row.predicted_area_px
    )
    part = math.ceil(count / 4)
    middle = max(0, (len(positives) - part) // 2)
    candidates = [
        *((row, "missed" if not row.predicted_area_px else "worst") for row in positives[:part]),
        *((row, "middle") for row in positives[middle : middle + part]),
        *((row, "best") for row in positives[::-1][:part]),
        *((row, "false alarm") for row in alarms[:part]),
    ]
    chosen: dict[str, tuple[scores.ImageScore, str]] = {}
    for row, why in candidates:
        chosen.setdefault(row.image_id, (row, why))
    return list(chosen.values())[:count]


def _draw_gallery(
    predictor: Predictor,
    dataset: tf.data.Dataset,
    chosen: Sequence[tuple[scores.ImageScore, str]],
    rule: masks.Rule,
) -> list[report.Figure]:
    """Predict the chosen cases once more and draw them, in the order chosen."""
    if not chosen:
        return []
    ids = tf.constant([row.image_id for row, _ in chosen])
    few = dataset.filter(lambda case: tf.reduce_any(case["image_id"] == ids))
    few = few.apply(tf.data.experimental.assert_cardinality(len(chosen)))
    drawn = {
        case["image_id"]: _draw(case, masks.decide(probabilities, rule))
        for case, probabilities in cases.predict(predictor, few, batch_size=len(chosen), title="drawing")
    }
    return [report.Figure(png=drawn[row.image_id], row=row, why=why) for row, why in chosen]


def _draw(case: cases.Case, predicted_mask: np.ndarray) -> bytes:
    """Return a PNG of the radiograph, with truth and prediction drawn at the picture's size."""
    image = pictures.enlarge(case["image"][..., 0], predicted_mask.shape)
    return pictures.png(
        pictures.shrink(pictures.overlay(image, mask=case["mask"], predicted_mask=predicted_mask), _PICTURE_SIZE)
    )


def _plain(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary as JSON can hold it: nan, which JSON lacks, becomes null."""
    return {
        name: {key: None if math.isnan(number) else number for key, number in dataclasses.asdict(value).items()}
        if isinstance(value, scores.Mean)
        else value
        for name, value in summary.items()
    }


def _write_rows(path: files.Path, rows: Sequence[scores.ImageScore]) -> None:
    files.write_csv(
        path, [field.name for field in dataclasses.fields(scores.ImageScore)], map(dataclasses.astuple, rows)
    )
