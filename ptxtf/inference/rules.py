"""Probabilities and true masks of a split -> the rule with the highest mean Dice, by trying all of a grid.

    one image ─► count ─► Counts ─┐
    one image ─► count ─► Counts ─┴► merge ─► mean_dice [tops, areas, bottoms] ─► best

Images are looked at once. What is kept of one, 2 KiB, is how many of its pixels reach each of 127 thresholds, k/128:
all of them, and those within the true mask. Such thresholds are exact in every floating-point format, and so is 128
times a probability: one that equals a threshold reaches it, here as in `masks.decide`, so the grid holds exactly what
that gives image by image.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

_STEPS = 128
THRESHOLDS = np.arange(1, _STEPS) / _STEPS
"""Every threshold that is tried, for either of a rule: 1/128, 2/128, … 127/128."""
HALF = _STEPS // 2 - 1
"""Where 0.5 stands among them."""

_AREAS_OF_1024 = np.array([0, 100, 200, 400, 600, 800, 1000, 1500, 2000, 2500, 3000, 4000, 6000, 8000])
"""Smallest areas that are tried, in pixels of an image of 1024²: up to 0.8 % of it. SIIM-ACR's winner had 2000
by validation, 600 by the leaderboard."""

_EXACT = 2.0**32
"""An image's Dice is rounded to a multiple of 1 / this: float64 adds two million such exactly, in any order, and rules
that decide all images alike score alike, to the last bit."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """What is kept of N images; K stands for `THRESHOLDS`."""

    predicted_px: np.ndarray
    """int64 [N, K]: pixels at or above each threshold."""
    overlap_px: np.ndarray
    """int64 [N, K]: those of them within the true mask."""
    area_px: np.ndarray
    """int64 [N]: pixels of the true mask."""
    image_px: np.ndarray
    """int64 [N]: all pixels."""
    presence: np.ndarray
    """float64 [N]: what a gate goes by; nan where nobody says."""


def count(probabilities: np.ndarray, mask: np.ndarray, *, presence: float = math.nan) -> Counts:
    """Return what is kept of one image.

    Args:
        probabilities: float [H, W] in 0..1 but for rounding, at the original size.
        mask: truth, [H, W] of {0, 1}.
        presence: probability of a pneumothorax by a gate, 0..1; nan without one.

    Raises:
        ValueError: other shapes; a probability that is 1/128 or more outside of 0..1, or nan.
    """
    if probabilities.ndim != 2 or probabilities.shape != mask.shape:
        raise ValueError(
            f"expected probabilities and mask: [H, W] of one size. Received: {probabilities.shape} and {mask.shape}"
        )
    low, high = probabilities.min(), probabilities.max()
    if not (low > -1 / _STEPS and high < 1 + 1 / _STEPS):
        raise ValueError(f"expected probabilities in 0..1. Received: {low}..{high}")
    bins = (probabilities * _STEPS).astype(np.uint8)  # times a power of two: exact
    return Counts(
        predicted_px=_reaching(bins.ravel()),
        overlap_px=_reaching(bins[mask > 0]),
        area_px=np.array([np.count_nonzero(mask)]),
        image_px=np.array([mask.size]),
        presence=np.array([presence]),
    )


def _reaching(bins: np.ndarray) -> np.ndarray:
    """Return how many pixels reach each threshold, int64 [1, K], of each pixel's k in 0..128."""
    histogram = np.bincount(bins, minlength=_STEPS + 1)
    return histogram[::-1].cumsum()[::-1][np.newaxis, 1:_STEPS]


def merge(parts: Sequence[Counts]) -> Counts:
    """Return the counts of all images of the parts, at least one, in their order."""
    names = [field.name for field in dataclasses.fields(Counts)]
    return Counts(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def areas_to_try(counts: Counts) -> np.ndarray:
    """Return the smallest areas that a grid tries, int64 [A], rising from 0, in pixels of the originals.

    They are the same shares of the split's median image, whatever its size.
    """
    scale = np.median(counts.image_px) / 1024**2
    return np.unique(np.rint(_AREAS_OF_1024 * scale).astype(np.int64))


def gates_to_try(counts: Counts) -> list[float]:
    """Return the gates that a grid tries beside none: each threshold that shuts out more images than the one before.

    One that shuts out all of them is none of these. Without a presence of every image there are none.
    """
    shut = (counts.presence < THRESHOLDS[:, np.newaxis]).sum(axis=1)
    kept = (np.diff(shut, prepend=0) > 0) & (shut < len(counts.presence))
    return THRESHOLDS[kept].tolist() if np.isfinite(counts.presence).all() else []


def mean_dice(counts: Counts, areas_px: np.ndarray, *, gate: float = 0.0) -> np.ndarray:
    """Return the mean Dice over all images (empty-empty = 1) that each rule of the grid gives.

    Args:
        counts: of at least one image.
        areas_px: int64 [A], smallest areas to try.
        gate: images whose presence is below are left empty.

    Returns:
        float64 [K, A, K]: by top threshold, smallest area and threshold, as `THRESHOLDS` and `areas_px` have them;
        exact but for the rounding of each image's Dice to 2**-32.
    """
    healthy = counts.area_px == 0
    gains = _dice(counts) - healthy[:, np.newaxis]  # over leaving the image empty
    gains[counts.presence < gate] = 0
    totals = [(counts.predicted_px >= area).T.astype(np.float64) @ gains for area in areas_px]
    return (np.stack(totals, axis=1) + np.count_nonzero(healthy)) / len(healthy)


def _dice(counts: Counts) -> np.ndarray:
    """Return each image's Dice by each plain threshold, float64 [N, K]."""
    both = counts.predicted_px + counts.area_px[:, np.newaxis]
    dice = np.where(both == 0, 1.0, 2 * counts.overlap_px / np.maximum(both, 1))
    return np.rint(dice * _EXACT) / _EXACT


def best(means: np.ndarray) -> tuple[int, int, int]:
    """Return where the highest mean Dice stands: its top threshold, smallest area and threshold, as indices of `means`.

    Of several, the one with the smallest area; of those, with the threshold nearest to 0.5; then with the top threshold
    nearest to the other; then with the lower threshold.

    Args:
        means: of `mean_dice`, for rising areas. Those with a top threshold below the other are not looked at.
    """
    index = np.arange(len(THRESHOLDS))
    is_rule = index[:, np.newaxis, np.newaxis] >= index  # [K, 1, K]
    highest = means.max(where=is_rule, initial=-1)
    found = [(top, area, bottom) for top, area, bottom in np.argwhere(is_rule & (means == highest)).tolist()]
    return min(found, key=lambda at: (at[1], abs(at[2] - HALF), at[0] - at[2], at[2]))
