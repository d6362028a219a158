"""Probabilities and truth -> how often what was said with a probability was so.

Flows in: probabilities in 0..1 with their truth, of single images. Flows out: `Bins`, which add up over images, and of
them a reliability diagram's points and the expected calibration error.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

BINS = 15
"""Of equal width, as in Guo et al. 2017, https://arxiv.org/abs/1706.04599."""


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """What is kept of probabilities, by bin; a probability on a border belongs to the bin above it, 1 to the last."""

    count: np.ndarray
    """int64 [BINS]: how many."""
    probability: np.ndarray
    """float64 [BINS]: their sum."""
    positive: np.ndarray
    """int64 [BINS]: how many of them were true."""


def bins(probabilities: np.ndarray, truth: np.ndarray) -> Bins:
    """Count probabilities.

    Args:
        probabilities: float, of any shape, 0..1 but for rounding.
        truth: of that shape, of {0, 1}.
    """
    flat = np.clip(probabilities.ravel(), 0, 1).astype(np.float64)
    index = np.minimum((flat * BINS).astype(np.int64), BINS - 1)
    return Bins(
        count=np.bincount(index, minlength=BINS),
        probability=np.bincount(index, weights=flat, minlength=BINS),
        positive=np.bincount(index[truth.ravel() > 0], minlength=BINS),
    )


def merge(parts: Sequence[Bins]) -> Bins:
    """Add up, in this order."""
    names = [field.name for field in dataclasses.fields(Bins)]
    return Bins(**{name: np.sum([getattr(part, name) for part in parts], axis=0) for name in names})


def error(of: Bins) -> float:
    """Return the expected calibration error: how far probability and frequency lie apart, averaged over all."""
    return float(np.abs(of.probability - of.positive).sum() / max(of.count.sum(), 1))


def points(of: Bins) -> list[tuple[float, float, int]]:
    """Return (mean probability, frequency, count) of the bins that hold any."""
    return [
        (float(total / count), float(positive / count), int(count))
        for count, total, positive in zip(of.count, of.probability, of.positive, strict=True)
        if count
    ]
