"""Rows -> what they say by group: size, view position, sex, age."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from ptxtf.evaluation import conventions
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.resampling import Resampler
from ptxtf.evaluation.rows import Row, patients
from ptxtf.inference.measure import LARGE_MM

LARGE_SHARE = 8630 / 1024**2
"""Share of the image from which a mask counts as large: the median of SIIM-ACR's."""
_AGES = (0, 18, 40, 60, 80)


@dataclasses.dataclass(frozen=True)
class Stratum:
    """Images that have something in common.

    Attributes:
        group: what they are grouped by.
        name: what these have in common.
        images: how many.
        positives: how many of them have a pneumothorax.
        dice: over all of them, empty-empty = 1.
        positive_dice: over those with a pneumothorax.
        sensitivity: share of these that are found.
        specificity: share of the healthy ones that are left empty.
    """

    group: str
    name: str
    images: int
    positives: int
    dice: Score
    positive_dice: Score
    sensitivity: Score
    specificity: Score


def strata(rows: Sequence[Row], *, resamples: int, seed: int) -> list[Stratum]:
    """Return what rows say by group; without the groups of which nothing is known."""
    found = []
    for group, (name_of, names) in _GROUPS.items():
        grouped: dict[str, list[Row]] = {}
        for row in rows:
            if name := name_of(row):
                grouped.setdefault(name, []).append(row)
        if grouped.keys() - {"unknown"}:
            known = [name for name in names if name in grouped]
            others = sorted(grouped.keys() - set(names) - {"unknown"})
            unknown = ["unknown"] if "unknown" in grouped else []
            found += [_stratum(group, name, grouped[name], resamples, seed) for name in [*known, *others, *unknown]]
    return found


def _stratum(group: str, name: str, rows: Sequence[Row], resamples: int, seed: int) -> Stratum:
    resampler = Resampler(patients(rows), resamples=resamples, seed=seed)
    dice = conventions.scores(rows, conventions.dice, resampler)
    found = conventions.scores(rows, conventions.finds, resampler)
    return Stratum(
        group=group,
        name=name,
        images=len(rows),
        positives=sum(row.positive for row in rows),
        dice=dice["all"],
        positive_dice=dice["positives"],
        sensitivity=found["sensitivity"],
        specificity=found["specificity"],
    )


def by_area(row: Row) -> str:
    """Return "small" or "large" by the share of the image that the true mask takes; "" for a healthy one."""
    share = row.area_px / (row.image_height * row.image_width)
    return "" if not row.positive else "large" if share >= LARGE_SHARE else "small"


def _by_width(row: Row) -> str:
    if not row.positive:
        return ""
    return "unknown" if row.unit != "mm" else "more than 2 cm" if row.ptx_width > LARGE_MM else "2 cm or less"


def _age_band(age_years: float) -> str:
    if math.isnan(age_years):
        return "unknown"
    first = max(limit for limit in _AGES if limit <= age_years)
    following = [limit for limit in _AGES if limit > first]
    return f"{first} to {following[0] - 1}" if following else f"{first} and more"


_GROUPS: dict[str, tuple[Callable[[Row], str], list[str]]] = {
    "area of the mask": (by_area, ["small", "large"]),
    "width of the pneumothorax": (_by_width, ["2 cm or less", "more than 2 cm"]),
    "view position": (lambda row: row.view_position or "unknown", ["PA", "AP"]),
    "sex": (lambda row: row.sex or "unknown", ["F", "M", "O"]),
    "age in years": (lambda row: _age_band(row.age_years), [_age_band(limit) for limit in _AGES]),
}
"""What images are grouped by: a row's name within the group, "" where it has none; and the names in their order."""
