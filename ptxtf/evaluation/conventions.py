"""Pixels of each image -> Dice and IoU under every convention that people mix up.

| convention  | Dice or IoU of                                                                                      |
|-------------|-----------------------------------------------------------------------------------------------------|
| all         | each image, empty-empty = 1, averaged: Kaggle's and the study's                                     |
| positives   | each image with a pneumothorax, averaged                                                            |
| non-empty   | each image in which truth or prediction is not empty, averaged (so a false alarm counts, as 0)      |
| pooled      | all pixels of all images together                                                                   |
| class mean  | the same of foreground and of background, averaged                                                  |

All follow from the pixels, and so do the scores of predicting nothing or all, which stand beside each.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ptxtf.evaluation import ratios
from ptxtf.evaluation.ratios import Ratio, Ratios, Score
from ptxtf.evaluation.resampling import Resampler
from ptxtf.evaluation.rows import Row

CONVENTIONS = {
    "all": "all images, empty-empty = 1 (Kaggle, the study)",
    "positives": "images with pneumothorax",
    "non-empty": "images where truth or prediction is not empty",
    "pooled": "all pixels together",
    "class mean": "all pixels together, mean of foreground and background",
}
_POOLED = ("pooled", "class mean")
"""Those for which an image has no score of its own."""


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Pixels of each image, float64 [N]: true ones, predicted ones, both, and all."""

    true: np.ndarray
    predicted: np.ndarray
    both: np.ndarray
    all: np.ndarray


def scores(rows: Sequence[Row], of: Callable[[Pixels], Ratios], resampler: Resampler) -> dict[str, Score]:
    """Return what `dice`, `iou`, `finds` or `areas` says of rows, beside what it says of predicting nothing and all."""
    nothing, everything = (of(_pixels(rows, predicted=value)) for value in (0.0, 1.0))
    return {
        name: ratios.score(
            parts,
            resampler,
            images=len(rows) if name in _POOLED else None,
            all_empty=ratios.value(nothing[name]),
            all_full=ratios.value(everything[name]),
        )
        for name, parts in of(_pixels(rows, predicted=None)).items()
    }


def _pixels(rows: Sequence[Row], *, predicted: float | None) -> Pixels:
    """Return the pixels of rows, as they were predicted or, with 0.0 or 1.0, as if none or all had been."""
    true, found, both = (
        np.array([getattr(row, name) for row in rows], np.float64)
        for name in ("area_px", "predicted_area_px", "overlap_px")
    )
    everything = np.array([row.image_height * row.image_width for row in rows], np.float64)
    if predicted is None:
        return Pixels(true, found, both, everything)
    return Pixels(true, everything * predicted, true * predicted, everything)


def _by_convention(image_scores: np.ndarray, pixels: Pixels, classes: list[Ratio]) -> Ratios:
    ones = np.ones(len(image_scores))
    positive, any_pixel = pixels.true > 0, pixels.true + pixels.predicted > 0
    return {
        "all": [(image_scores, ones)],
        "positives": [(image_scores * positive, positive)],
        "non-empty": [(image_scores * any_pixel, any_pixel)],
        "pooled": classes[:1],
        "class mean": classes,
    }


def dice(pixels: Pixels) -> Ratios:
    """Return what gives Dice, 2 |X ∩ Y| / (|X| + |Y|), by convention."""
    total = pixels.true + pixels.predicted
    both_background = pixels.all - total + pixels.both
    each = np.where(total > 0, 2 * pixels.both / np.maximum(total, 1), 1.0)
    return _by_convention(each, pixels, [(2 * pixels.both, total), (2 * both_background, 2 * pixels.all - total)])


def iou(pixels: Pixels) -> Ratios:
    """Return what gives IoU, |X ∩ Y| / |X ∪ Y|, by convention."""
    union = pixels.true + pixels.predicted - pixels.both
    each = np.where(union > 0, pixels.both / np.maximum(union, 1), 1.0)
    return _by_convention(each, pixels, [(pixels.both, union), (pixels.all - union, pixels.all - pixels.both)])


def finds(pixels: Pixels) -> Ratios:
    """Return what gives the share of images with a pneumothorax that are found, and of healthy ones left empty."""
    is_predicted, is_true = pixels.predicted > 0, pixels.true > 0
    return {
        "sensitivity": ratios.share(is_predicted, is_true),
        "specificity": ratios.share(~is_predicted, ~is_true),
    }


def areas(pixels: Pixels) -> Ratios:
    """Return what averages precision, recall and the error in area, each over the images where it is defined."""
    is_predicted, is_true = pixels.predicted > 0, pixels.true > 0
    error = np.where(is_true, pixels.predicted / np.maximum(pixels.true, 1) - 1, 0.0)
    return {
        "precision": [(pixels.both / np.maximum(pixels.predicted, 1), is_predicted)],
        "recall": [(pixels.both / np.maximum(pixels.true, 1), is_true)],
        "area error": [(error, is_true)],
        "absolute area error": [(np.abs(error), is_true)],
    }
