"""Sums over images -> a score with its interval.

Every mean is a ratio of two sums over images, and stays one where images count several times, as the bootstrap has it.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ptxtf.evaluation.resampling import Resampler

Ratio = tuple[np.ndarray, np.ndarray]
"""Two numbers of each image: a score is the sum of the first over the sum of the second."""
Ratios = dict[str, list[Ratio]]
"""By name, the ratios whose mean is the score."""


@dataclasses.dataclass(frozen=True)
class Score:
    """A number over images.

    Attributes:
        value: nan where no image counts.
        low: 95 % interval, by bootstrap over patients; nan of a single patient.
        high: the same.
        images: how many count.
        all_empty: what predicting nothing would score; nan where that is not defined.
        all_full: what predicting every pixel would score.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    images: int = 0
    all_empty: float = math.nan
    all_full: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "n/a"
        return f"{self.value:.4f}" + ("" if math.isnan(self.low) else f" ({self.low:.4f} … {self.high:.4f})")


def where_defined(values: Sequence[float]) -> list[Ratio]:
    """Return what averages those of the values, one of each image, that are not nan."""
    array = np.array(values)
    return [(np.nan_to_num(array), ~np.isnan(array))]


def share(of: np.ndarray, among: np.ndarray) -> list[Ratio]:
    """Return what gives the share of some images, bool [N], among others, bool [N]."""
    return [(of & among, among)]


def score(ratios: Sequence[Ratio], resampler: Resampler, *, images: int | None = None, **baselines: float) -> Score:
    """Return the mean of the ratios with its interval; `images` are by default those that the first one counts.

    Of a share of all or none every resample is the same: its interval is that of Clopper and Pearson 1934
    (https://doi.org/10.1093/biomet/26.4.404), with patients for independent draws.
    """
    found = value(ratios)
    low, high = resampler.interval(lambda times: _weighted(ratios, times))
    above, below = ratios[0]
    if above.dtype == bool and found in (0.0, 1.0):
        chance = 0.025 ** (1 / resampler.patients_among(below))
        low, high = (chance, 1.0) if found else (0.0, 1 - chance)
    return Score(found, low, high, int(np.count_nonzero(below)) if images is None else images, **baselines)


def value(ratios: Sequence[Ratio]) -> float:
    """Return the mean of the ratios."""
    return float(_weighted(ratios, np.ones((1, len(ratios[0][0]))))[0])


def _weighted(ratios: Sequence[Ratio], times: np.ndarray) -> np.ndarray:
    """Return the mean of the ratios where images count so often, float64 [R]; nan where a ratio is 0 / 0."""
    with np.errstate(invalid="ignore"):
        return np.mean([(times @ above) / (times @ below) for above, below in ratios], axis=0)
