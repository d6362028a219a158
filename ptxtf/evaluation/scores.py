"""Rows -> what they say together: scores with intervals, beside predicting nothing or all.

The mean Dice over all images counts a healthy image without prediction as 1, so a model that never finds anything
scores the share of healthy images: on SIIM-ACR's 12,047 that is 0.77845. Hence the baselines beside every score.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ptxtf.evaluation import conventions, presence, ratios, strata
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.resampling import Resampler, paired_p_value
from ptxtf.evaluation.rows import Row, patients


@dataclasses.dataclass(frozen=True)
class Summary:
    """What rows say together.

    Attributes:
        images: how many.
        positives: how many of them have a pneumothorax.
        patients: of how many patients they are.
        dice: by convention, see `ptxtf.evaluation.conventions`.
        iou: the same.
        others: precision, recall, area error, lengths in mm and px: each averaged over the images where it is defined.
        presence: is there a pneumothorax, by image: AUC, average precision, and by the rule sensitivity and
            specificity.
        strata: by size, view position, sex and age.
    """

    images: int
    positives: int
    patients: int
    dice: Mapping[str, Score]
    iou: Mapping[str, Score]
    others: Mapping[str, Score]
    presence: Mapping[str, Score]
    strata: Sequence[strata.Stratum]


@dataclasses.dataclass(frozen=True)
class Difference:
    """By how much one model's mean Dice is above another's on the same images: its interval, and the p-value."""

    value: float
    low: float
    high: float
    p_value: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} … {self.high:+.4f}), p = {self.p_value:.4f}"


def summarize(rows: Sequence[Row], *, resamples: int, seed: int) -> Summary:
    """Return what rows say together.

    Args:
        rows: at least one.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Example:
        >>> summarize(rows, resamples=1000, seed=0).dice["positives"].value
        0.8412
    """
    resampler = Resampler(patients(rows), resamples=resamples, seed=seed)
    return Summary(
        images=len(rows),
        positives=sum(row.positive for row in rows),
        patients=resampler.patients,
        dice=conventions.scores(rows, conventions.dice, resampler),
        iou=conventions.scores(rows, conventions.iou, resampler),
        others=conventions.scores(rows, conventions.areas, resampler) | _lengths(rows, resampler),
        presence=presence.ranking(rows, resampler) | conventions.scores(rows, conventions.finds, resampler),
        strata=strata.strata(rows, resamples=resamples, seed=seed),
    )


def compare(ours: Sequence[Row], theirs: Sequence[Row], *, resamples: int, seed: int, positives: bool) -> Difference:
    """Compare the Dice of two models on the same images.

    Args:
        ours: one model's rows.
        theirs: the other's, of the same images in any order.
        resamples: of the bootstrap, and ten times as many turns of sign for the p-value.
        seed: of either.
        positives: over images with a pneumothorax alone; else over all, empty-empty = 1.

    Raises:
        ValueError: rows of other images, or of others' masks, or none that count.
    """
    by_id = {row.image_id: row for row in theirs}
    if by_id.keys() != {row.image_id for row in ours}:
        raise ValueError(f"expected rows of the same images. Received: {len(ours)} and {len(theirs)}")
    for row in ours:
        if _truth(row) != _truth(by_id[row.image_id]):
            raise ValueError(f"expected rows with the same true masks. Received: another one of {row.image_id}")
    counted = [row for row in ours if row.positive or not positives]
    if not counted:
        raise ValueError("expected images with a pneumothorax. Received: none")
    differences = np.array([row.dice - by_id[row.image_id].dice for row in counted])
    groups = patients(counted)
    resampler = Resampler(groups, resamples=resamples, seed=seed)
    score = ratios.score([(differences, np.ones(len(counted)))], resampler)
    p_value = paired_p_value(differences, groups, permutations=10 * resamples, seed=seed)
    return Difference(score.value, score.low, score.high, p_value)


def _truth(row: Row) -> tuple[int, int, int]:
    return row.image_height, row.image_width, row.area_px


def _lengths(rows: Sequence[Row], resampler: Resampler) -> dict[str, Score]:
    """Return the mean distances of outlines, apart in mm and px; those that no image has are left out."""
    found = {
        f"{label} ({unit})": ratios.where_defined(
            [getattr(row, name) if row.unit == unit else math.nan for row in rows]
        )
        for unit in ("mm", "px")
        for label, name in (("95 % Hausdorff distance", "hausdorff_95"), ("surface distance", "surface_distance"))
    }
    return {name: ratios.score(parts, resampler) for name, parts in found.items() if parts[0][1].any()}
