"""Evaluation -> tables, which the report writes as HTML or Markdown.

A cell is a text; a column of numbers is sorted by them. Every table of scores has the baselines in it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from ptxtf.evaluation.conventions import CONVENTIONS
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.results import Evaluation
from ptxtf.evaluation.rows import Row
from ptxtf.evaluation.scores import Difference
from ptxtf.evaluation.strata import Stratum


@dataclasses.dataclass(frozen=True)
class Table:
    """Texts in columns.

    Attributes:
        title: of the table.
        columns: their names.
        rows: as many texts each.
        texts: how many columns, from the left, are no numbers.
        note: what must be said below.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""


def of(evaluation: Evaluation) -> list[Table]:
    """Return the tables of an evaluation, but for that of single images."""
    summary = evaluation.summary
    found = [
        _scores("Dice", {CONVENTIONS[name]: score for name, score in summary.dice.items()}),
        _scores("IoU", {CONVENTIONS[name]: score for name, score in summary.iou.items()}),
        _scores(
            "Is there a pneumothorax?",
            summary.presence,
            note="AUC and average precision by how sure the model is of an image; sensitivity and specificity by the "
            "rule for masks.",
        ),
        _others(summary.others),
        _strata(summary.strata),
    ]
    return [*([_differences(evaluation.difference)] if evaluation.difference else []), *found]


def of_images(rows: Sequence[Row]) -> Table:
    """Return the table of single images, worst Dice first."""
    return Table(
        title="All images",
        columns=[
            *("image", "pneumothorax", "view", "sex"),
            *("age", "area (px)", "predicted (px)", "sure", "Dice", "IoU", "precision", "recall"),
            *("Hausdorff 95 %", "surface distance", "width", "unit"),
        ],
        rows=[
            [
                row.image_id,
                "yes" if row.positive else "no",
                row.view_position,
                row.sex,
                _number(row.age_years, 0),
                str(row.area_px),
                str(row.predicted_area_px),
                _number(row.presence, 3),
                *(_number(value, 4) for value in (row.dice, row.iou, row.precision, row.recall)),
                *(_number(value, 1) for value in (row.hausdorff_95, row.surface_distance, row.ptx_width)),
                row.unit,
            ]
            for row in sorted(rows, key=lambda row: row.dice)
        ],
        texts=4,
    )


def _scores(title: str, scores: Mapping[str, Score], *, note: str = "") -> Table:
    return Table(
        title=title,
        columns=["over", "images", "score", "95 % interval", "predicting nothing", "predicting all"],
        rows=[
            [
                name,
                str(score.images),
                _number(score.value, 4),
                _interval(score),
                _number(score.all_empty, 5),
                _number(score.all_full, 5),
            ]
            for name, score in scores.items()
        ],
        note=note,
    )


def _others(scores: Mapping[str, Score]) -> Table:
    return Table(
        title="Outlines and areas",
        columns=["mean of", "images", "value", "95 % interval"],
        rows=[[name, str(score.images), _number(score.value, 4), _interval(score)] for name, score in scores.items()],
        note="Each over the images where it is defined: precision where anything is predicted, recall and area error "
        "(predicted over true area, less 1) where there is a pneumothorax, distances of outlines where both are. "
        "Predicting nothing has a recall of 0, an area error of -1 and no distances; predicting all a recall of 1.",
    )


def _strata(strata: Sequence[Stratum]) -> Table:
    return Table(
        title="By group",
        columns=[
            *("group", "of", "images", "positive"),
            *("Dice, all", "95 % interval", "predicting nothing", "Dice, positives", "95 % interval "),
            *("sensitivity", "specificity"),
        ],
        rows=[
            [
                one.group,
                one.name,
                str(one.images),
                str(one.positives),
                _number(one.dice.value, 4),
                _interval(one.dice),
                _number(one.dice.all_empty, 5),
                _number(one.positive_dice.value, 4),
                _interval(one.positive_dice),
                _number(one.sensitivity.value, 3),
                _number(one.specificity.value, 3),
            ]
            for one in strata
        ],
        texts=2,
        note="A mask is large from 0.82 % of the image, the median of SIIM-ACR's. Width: of the largest disc that fits "
        "into the true mask.",
    )


def _differences(differences: Mapping[str, Difference]) -> Table:
    return Table(
        title="Difference in Dice to the other evaluation",
        columns=["over", "this less the other", "95 % interval", "p"],
        rows=[
            [
                CONVENTIONS[name],
                f"{one.value:+.4f}",
                f"{one.low:+.4f} … {one.high:+.4f}",
                f"{one.p_value:.4f}",
            ]
            for name, one in differences.items()
        ],
        note="Paired by image; interval by bootstrap, p by turning signs, both by patient.",
    )


def _number(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def _interval(score: Score) -> str:
    return "n/a" if math.isnan(score.low) else f"{score.low:.4f} … {score.high:.4f}"
