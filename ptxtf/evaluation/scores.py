"""One row per image, and what follows from the rows: means with intervals, beside the all-empty baseline.

Flows in: masks uint8 [H, W] of {0, 1} at the original size. Flows out: `ImageScore` rows; then a plain dict of numbers.

The mean Dice that Kaggle and the study report counts a healthy image without prediction as 1, so a model that never
finds anything scores the share of healthy images. That baseline always stands beside it, and so does the mean over
positives.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageScore:
    """One image's scores; the fields are the columns of images.csv."""

    image_id: str
    patient: str
    positive: bool
    area_px: int
    predicted_area_px: int
    probability: float
    """Highest pixel probability."""
    dice: float
    """Empty-empty counts as 1."""
    iou: float
    """Empty-empty counts as 1."""


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over images and its 95 % interval, by bootstrap over patients."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "n/a" if math.isnan(self.value) else f"{self.value:.4f} ({self.low:.4f} … {self.high:.4f})"


def score(
    mask: np.ndarray, predicted_mask: np.ndarray, *, image_id: str, patient: str, probability: float
) -> ImageScore:
    """Score one image.

    Args:
        mask: truth, [H, W] of {0, 1}.
        predicted_mask: the model's, of the same shape.
        image_id: SOP instance UID.
        patient: group of the bootstrap.
        probability: highest pixel probability.

    Raises:
        ValueError: masks of different shapes.
    """
    if mask.shape != predicted_mask.shape:
        raise ValueError(f"expected masks of one shape. Received: {mask.shape} and {predicted_mask.shape}")
    overlap = int(np.count_nonzero(mask & predicted_mask))
    area, predicted_area = int(np.count_nonzero(mask)), int(np.count_nonzero(predicted_mask))
    both = area + predicted_area
    return ImageScore(
        image_id=image_id,
        patient=patient,
        positive=area > 0,
        area_px=area,
        predicted_area_px=predicted_area,
        probability=probability,
        dice=2 * overlap / both if both else 1.0,
        iou=overlap / (both - overlap) if both else 1.0,
    )


def summarize(rows: Sequence[ImageScore], *, resamples: int, seed: int) -> dict[str, Mean | int | float]:
    """Return every mean over the rows.

    Args:
        rows: at least one.
        resamples: bootstrap resamples; patients are drawn with replacement, each with all of its images.
        seed: of the bootstrap.

    Returns:
        "images", "positives": counts; "all_empty_dice": what predicting nothing would score; "dice", "iou": over all
        images, empty-empty = 1; "positive_dice", "positive_iou"; "sensitivity", "specificity": share of positives with
        any predicted pixel, share of healthy images without. Means of no image are nan.
    """
    positive = np.array([row.positive for row in rows])
    found = np.array([row.predicted_area_px > 0 for row in rows])
    values = {
        "dice": (np.array([row.dice for row in rows]), np.ones_like(positive)),
        "iou": (np.array([row.iou for row in rows]), np.ones_like(positive)),
        "positive_dice": (np.array([row.dice for row in rows]), positive),
        "positive_iou": (np.array([row.iou for row in rows]), positive),
        "sensitivity": (found, positive),
        "specificity": (~found, ~positive),
    }
    draws = _draw_patients([row.patient or row.image_id for row in rows], resamples=resamples, seed=seed)
    summary: dict[str, Mean | int | float] = {
        "images": len(rows),
        "positives": int(positive.sum()),
        "all_empty_dice": float(np.mean(~positive)),
    }
    return summary | {name: _mean(value, counted, draws) for name, (value, counted) in values.items()}


def _draw_patients(patients: Sequence[str], *, resamples: int, seed: int) -> np.ndarray:
    """Return how often each image stands in each resample of patients, float64 [resamples, images]."""
    names, group = np.unique(np.array(patients), return_inverse=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return times[:, group].astype(np.float64)


def _mean(values: np.ndarray, counted: np.ndarray, draws: np.ndarray) -> Mean:
    """Return the mean of `values` where `counted`, with the percentile interval over the resamples."""
    if not counted.any():
        return Mean(float("nan"), float("nan"), float("nan"))
    weights = draws * counted
    totals = weights.sum(axis=1)
    drawn = totals > 0  # a resample may hold none of the images that count
    means = (weights @ values.astype(np.float64))[drawn] / totals[drawn]
    low, high = np.percentile(means, [2.5, 97.5]) if drawn.any() else (math.nan, math.nan)
    return Mean(float(values[counted].mean()), float(low), float(high))
