"""How sure a model is of each image -> how well that tells images with a pneumothorax from healthy ones."""

from collections.abc import Callable, Sequence

import numpy as np

from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.resampling import Resampler
from ptxtf.evaluation.rows import Row


def ranking(rows: Sequence[Row], resampler: Resampler) -> dict[str, Score]:
    """Return area under the ROC curve and average precision of the rows' `presence`, as scikit-learn has them."""
    positive = np.array([row.positive for row in rows])
    presence = np.array([row.presence for row in rows])
    return {
        "AUC": _ranked(positive, presence, _auc, resampler, by_chance=0.5),
        "average precision": _ranked(
            positive, presence, _average_precision, resampler, by_chance=float(positive.mean())
        ),
    }


def _ranked(
    positive: np.ndarray, presence: np.ndarray, statistic: Callable, resampler: Resampler, *, by_chance: float
) -> Score:
    """Return a score that depends on the order of images by presence; all alike score as by chance."""
    order = np.argsort(-presence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(presence[order]) != 0, True))  # of images that are alike

    def of(times: np.ndarray) -> np.ndarray:
        sorted_times = times[:, order]
        true = np.cumsum(sorted_times * positive[order], axis=1)[:, ends]
        false = np.cumsum(sorted_times * ~positive[order], axis=1)[:, ends]
        return statistic(true, false)

    low, high = resampler.interval(of)
    value = float(of(np.ones((1, len(positive))))[0])
    return Score(value, low, high, len(positive), all_empty=by_chance, all_full=by_chance)


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


def roc(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return the points (1 - specificity, sensitivity) of the ROC curve of presence; none where a class is missing."""
    positive = np.array([row.positive for row in rows])
    if positive.all() or not positive.any():
        return []
    presence = np.array([row.presence for row in rows])
    order = np.argsort(-presence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(presence[order]) != 0, True))
    sensitivity = np.cumsum(positive[order])[ends] / positive.sum()
    alarms = np.cumsum(~positive[order])[ends] / (~positive).sum()
    return [(0.0, 0.0), *zip(alarms.tolist(), sensitivity.tolist(), strict=True)]
