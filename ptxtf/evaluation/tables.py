"""Evaluation -> tables, which the report writes as HTML or Markdown.

A cell is a text; a column of numbers is sorted by them. Every table of scores has the baselines in it.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from ptxtf.evaluation.conventions import CONVENTIONS
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.results import Evaluation
from ptxtf.evaluation.rows import Row
from ptxtf.evaluation.scores import Difference
from ptxtf.evaluation.strata import Stratum

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclasses.dataclass(frozen=True)
class Table:
    """Texts in columns.

    Attributes:
        title: of the table.
        columns: their names.
        rows: as many texts each.
        note: what must be said below.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def is_number(self, column: int) -> bool:
        """Return whether a column holds numbers and intervals, or nothing."""
        cells = [row[column].split(" ")[0] for row in self.rows]
        return all(_NUMBER.fullmatch(cell) for cell in cells if cell not in ("", "n/a"))


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
        _scores(
            "Outlines and areas",
            summary.others,
            note="Each over the images where it is defined: precision where anything is predicted, recall and area "
            "error (predicted over true area, less 1) where there is a pneumothorax, distances of outlines where both "
            "are.",
        ),
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
                number(row.age_years, 0),
                str(row.area_px),
                str(row.predicted_area_px),
                number(row.presence, 3),
                *(number(value, 4) for value in (row.dice, row.iou, row.precision, row.recall)),
                *(number(value, 1) for value in (row.hausdorff_95, row.surface_distance, row.ptx_width)),
                row.unit,
            ]
            for row in sorted(rows, key=lambda row: row.dice)
        ],
    )


def _scores(title: str, scores: Mapping[str, Score], *, note: str = "") -> Table:
    return Table(
        title=title,
        columns=["over", "images", "score", "95 % interval", "predicting nothing", "predicting all"],
        rows=[
            [
                name,
                str(score.images),
                number(score.value, 4),
                interval(score),
                number(score.all_empty, 5),
                number(score.all_full, 5),
            ]
            for name, score in scores.items()
        ],
        note=note,
    )


def _strata(strata: Sequence[Stratum]) -> Table:
    return Table(
        title="By group",
        columns=[
            *("group", "of", "images", "positive"),
            *("Dice, all", "95 % interval", "predicting nothing", "predicting all"),
            *("Dice, positives", "95 % interval"),
            *("sensitivity", "specificity"),
        ],
        rows=[
            [
                one.group,
                one.name,
                str(one.images),
                str(one.positives),
                number(one.dice.value, 4),
                interval(one.dice),
                number(one.dice.all_empty, 5),
                number(one.dice.all_full, 5),
                number(one.positive_dice.value, 4),
                interval(one.positive_dice),
                number(one.sensitivity.value, 3),
                number(one.specificity.value, 3),
            ]
            for one in strata
        ],
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


def number(value: float, digits: int) -> str:
    """Return a number as a cell has it."""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def interval(score: Score, *, scale: float = 1, digits: int = 4) -> str:
    """Return a score's interval as a cell has it, the numbers times `scale`."""
    return "n/a" if math.isnan(score.low) else f"{scale * score.low:.{digits}f} … {scale * score.high:.{digits}f}"
