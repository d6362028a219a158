"""Images grouped by patient -> intervals by bootstrap, and the p-value of a paired difference.

A patient's images are no independent draws: whole patients are drawn, with all of their images.
"""

from collections.abc import Callable, Sequence

import numpy as np

_AT_ONCE = 2**24
"""Numbers of a block of resamples: 128 MiB."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""How often each image counts, float64 [R, N] -> the value of each resample, float64 [R], nan where not defined."""


class Resampler:
    """Draws patients with replacement.

    Args:
        patients: of each image.
        resamples: how often.
        seed: of the draws; equal ones give equal intervals.
    """

    def __init__(self, patients: Sequence[str], *, resamples: int, seed: int) -> None:
        names, self._group = np.unique(np.array(patients, dtype=str), return_inverse=True)
        self.patients = len(names)
        generator = np.random.Generator(np.random.PCG64(seed))
        even = np.full(self.patients, 1 / self.patients)
        self._times = generator.multinomial(self.patients, even, size=resamples)

    def interval(self, statistic: Statistic) -> tuple[float, float]:
        """Return the 95 % interval, by percentiles; nan where no resample gives a value, and of a single patient."""
        if self.patients == 1:
            return float("nan"), float("nan")
        block = max(1, _AT_ONCE // len(self._group))
        values = np.concatenate(
            [
                statistic(self._times[start : start + block, self._group].astype(np.float64))
                for start in range(0, len(self._times), block)
            ]
        )
        defined = values[~np.isnan(values)]
        if not len(defined):
            return float("nan"), float("nan")
        low, high = np.percentile(defined, [2.5, 97.5])
        return float(low), float(high)

    def patients_among(self, images: np.ndarray) -> int:
        """Return of how many patients some images, bool [N], are."""
        return len(np.unique(self._group[images]))


def paired_p_value(differences: np.ndarray, patients: Sequence[str], *, permutations: int, seed: int) -> float:
    """Return how often chance alone would make two models differ so much.

    If the models were alike, a patient's differences might as well have the other sign: they are turned at random, all
    of a patient's together (two-sided, Monte Carlo; Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585, for
    the 1 that is added).

    Args:
        differences: float [N], one model's score of each image less the other's.
        patients: of each image.
        permutations: how many are tried.
        seed: of the turns.
    """
    _, group = np.unique(np.array(patients, dtype=str), return_inverse=True)
    sums = np.bincount(group, weights=differences)
    generator = np.random.Generator(np.random.PCG64(seed))
    block = max(1, _AT_ONCE // len(sums))
    observed = abs(sums.sum())
    as_far = 0
    for start in range(0, permutations, block):
        signs = generator.integers(0, 2, size=(min(block, permutations - start), len(sums))) * 2 - 1
        as_far += int(np.count_nonzero(np.abs(signs @ sums) >= observed - 1e-9))
    return (as_far + 1) / (permutations + 1)
