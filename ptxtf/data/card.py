"""Facts about records -> what a data card needs: counts, patients, sizes, views, areas of masks.

Flows in: one `Fact` for each record. Flows out: plain dictionaries for dataset.json.
"""

import collections
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple


class Fact(NamedTuple):
    """What the data card counts of one record; `patient` is the keyed hash."""

    patient: str
    view_position: str
    height: int
    width: int
    mask_area_px: int


def describe(facts: Sequence[Fact]) -> dict[str, Any]:
    """Count what the records of one split hold.

    Example:
        >>> describe([Fact("a", "PA", 1024, 1024, 0), Fact("a", "AP", 1024, 1024, 8630)])
        {'images': 2, 'positives': 1, 'healthy': 1, 'patients': 1, 'view_positions': {'AP': 1, 'PA': 1},
         'original_sizes': {'1024x1024': 2}, 'mask_area_px': {'min': 8630, 'median': 8630, 'max': 8630}}
    """
    areas = [fact.mask_area_px for fact in facts if fact.mask_area_px]
    return {
        "images": len(facts),
        "positives": len(areas),
        "healthy": len(facts) - len(areas),
        "patients": len({fact.patient for fact in facts}),
        "view_positions": _count([fact.view_position or "unknown" for fact in facts]),
        "original_sizes": _count([f"{fact.height}x{fact.width}" for fact in facts]),
        "mask_area_px": {"min": min(areas), "median": statistics.median(areas), "max": max(areas)} if areas else {},
    }


def _count(values: Sequence[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))
