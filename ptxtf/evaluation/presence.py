"""How sure a model is of each image -> how well that tells images with a pneumothorax from healthy ones."""

from collections.abc import Callable, Sequence

import numpy as np

from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.resampling import Resampler
from ptxtf.evaluation.rows import Row


def ranking(rows: Sequence[Row], resampler: Resampler) -> dict[str, Score]:
    """Return area under the ROC curve and average precision of the rows' `presence`, as scikit-learn has them."""
    count = _counting(rows)

    def score(statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], by_chance: float) -> Score:
        low, high = resampler.interval(lambda times: statistic(*count(times)))
        value = float(statistic(*count(np.ones((1, len(rows)))))[0])
        return Score(value, low, high, len(rows), all_empty=by_chance, all_full=by_chance)

    share = sum(row.positive for row in rows) / len(rows)
    return {"AUC": score(_auc, 0.5), "average precision": score(_average_precision, share)}


def auc(rows: Sequence[Row]) -> float:
    """Return the area under the ROC curve of the rows' `presence`; nan where a class is missing."""
    return float(_auc(*_counting(rows)(np.ones((1, len(rows)))))[0])


def roc(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return the points (1 - specificity, sensitivity) of the ROC curve of presence; none where a class is missing."""
    true, false = (counts[0] for counts in _counting(rows)(np.ones((1, len(rows)))))
    if not true[-1] or not false[-1]:
        return []
    return [(0.0, 0.0), *zip((false / false[-1]).tolist(), (true / true[-1]).tolist(), strict=True)]


def _counting(rows: Sequence[Row]) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the function from how often each image counts, [R, N], to true and false positives [R, T].

    They are those down to each of the T values that `presence` has, from the highest: images that are alike are found
    together.
    """
    positive = np.array([row.positive for row in rows])
    presence = np.array([row.presence for row in rows])
    order = np.argsort(-presence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(presence[order]) != 0, True))

    def count(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        in_order = times[:, order]
        true, false = (np.cumsum(in_order * kind[order], axis=1)[:, ends] for kind in (positive, ~positive))
        return true, false

    return count


def _auc(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve, float64 [R], of true and false positives down to each threshold [R, T]."""
    with np.errstate(invalid="ignore"):
        rise, run = (
            np.concatenate([np.zeros((len(counts), 1)), counts / counts[:, -1:]], axis=1) for counts in (true, false)
        )
    return np.sum(np.diff(run, axis=1) * (rise[:, 1:] + rise[:, :-1]) / 2, axis=1)


def _average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return the precision at each threshold, weighted by what it adds to the recall, float64 [R]."""
    with np.errstate(invalid="ignore"):
        recall = np.concatenate([np.zeros((len(true), 1)), true / true[:, -1:]], axis=1)
        precision = np.nan_to_num(true / (true + false))
    return np.sum(np.diff(recall, axis=1) * precision, axis=1)
