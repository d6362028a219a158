"""Masks and probabilities of one image -> its row: everything that is scored of it, at its original size.

Flows in: an example as `ptxtf.inference.cases` has it, the model's mask and probabilities. Flows out: `Row`,
whose fields are the columns of images.csv. What is said of many images follows from their rows alone
(`ptxtf.evaluation.scores`), so that it is the same however they were divided among processes.
"""

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ptxtf import files
from ptxtf.data import spacing
from ptxtf.errors import InputError
from ptxtf.evaluation import surface
from ptxtf.inference import measure


@dataclasses.dataclass(frozen=True)
class Row:
    """One image's scores; nan where one is not defined."""

    image_id: str
    patient: str
    positive: bool
    view_position: str
    sex: str
    age_years: float
    image_height: int
    image_width: int
    spacing_down_mm: float
    spacing_along_mm: float
    """Of the original pixels; nan where it is not known."""
    area_px: int
    """Of the true mask."""
    predicted_area_px: int
    overlap_px: int
    presence: float
    """How sure the model is of a pneumothorax, see `ptxtf.inference.masks.presence`."""
    dice: float
    """2 |X ∩ Y| / (|X| + |Y|); empty-empty counts as 1."""
    iou: float
    """|X ∩ Y| / |X ∪ Y|; empty-empty counts as 1."""
    precision: float
    """Share of the predicted pixels that are right; nan where none is predicted."""
    recall: float
    """Share of the true pixels that are found; nan in healthy images."""
    area_error: float
    """Predicted over true area, less 1: the error in volume, as far as a projection shows it; nan in healthy images."""
    unit: str
    """Of the lengths: mm, or px where the spacing is not known."""
    hausdorff_95: float
    """95 % Hausdorff distance of the outlines; nan where either mask is empty."""
    surface_distance: float
    """Average distance of the outlines; nan where either mask is empty."""
    ptx_width: float
    """Diameter of the largest disc that fits into the true mask; 0 where healthy."""
    predicted_ptx_width: float
    """The same of the predicted mask."""


NAMES = [field.name for field in dataclasses.fields(Row)]


def score(
    case: Mapping[str, Any],
    predicted_mask: np.ndarray,
    *,
    presence: float,
    spacing_factor: float = 0.0,
) -> Row:
    """Score one image.

    Args:
        case: an example as `ptxtf.inference.cases` has it, its true mask, of {0, 1}, at the original size [H, W].
        predicted_mask: the model's, of the same shape.
        presence: as `ptxtf.inference.masks.presence` gives it.
        spacing_factor: as `ptxtf.data.spacing.certain` takes it.

    Raises:
        ValueError: masks of different shapes.
    """
    mask = case["mask"]
    if mask.shape != predicted_mask.shape:
        raise ValueError(f"expected masks of one shape. Received: {mask.shape} and {predicted_mask.shape}")
    area, predicted_area = int(np.count_nonzero(mask)), int(np.count_nonzero(predicted_mask))
    overlap = int(np.count_nonzero(mask & predicted_mask))
    both = area + predicted_area
    known = spacing.certain(case["spacing_mm"], mask.shape, factor=spacing_factor)
    hausdorff_95, surface_distance = surface.distances(mask, predicted_mask, spacing=known.steps)
    return Row(
        image_id=case["image_id"],
        patient=case["patient"],
        positive=area > 0,
        view_position=case["view_position"],
        sex=case["sex"],
        age_years=float(case["age_years"]),
        image_height=mask.shape[0],
        image_width=mask.shape[1],
        spacing_down_mm=known.down_mm,
        spacing_along_mm=known.along_mm,
        area_px=area,
        predicted_area_px=predicted_area,
        overlap_px=overlap,
        presence=presence,
        dice=2 * overlap / both if both else 1.0,
        iou=overlap / (both - overlap) if both else 1.0,
        precision=overlap / predicted_area if predicted_area else math.nan,
        recall=overlap / area if area else math.nan,
        area_error=predicted_area / area - 1 if area else math.nan,
        unit=known.unit,
        hausdorff_95=hausdorff_95,
        surface_distance=surface_distance,
        ptx_width=measure.widest(mask, spacing=known.steps).diameter,
        predicted_ptx_width=measure.widest(predicted_mask, spacing=known.steps).diameter,
    )


def patients(rows: Sequence[Row]) -> list[str]:
    """Return each row's patient; an image of nobody known is a patient of its own."""
    return [row.patient or row.image_id for row in rows]


def write(path: files.Path, rows: Sequence[Row]) -> None:
    """Write images.csv."""
    files.write_csv(path, NAMES, map(dataclasses.astuple, rows))


def read(path: files.Path) -> list[Row]:
    """Read images.csv.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    kinds = {field.name: field.type for field in dataclasses.fields(Row)}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != NAMES:
                raise TypeError(f"columns {reader.fieldnames}")
            found = [Row(**{name: _value(kinds[name], text) for name, text in line.items()}) for line in reader]
        _check(found)
    except FileNotFoundError:
        raise InputError(f"{path}: expected what ptxtf.evaluate writes. Received: no such file") from None
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: expected the rows of ptxtf.evaluate's images.csv. Received: {error}") from None
    return found


def _check(rows: Sequence[Row]) -> None:
    """Raise ValueError for rows that no evaluation writes."""
    if not rows or len({row.image_id for row in rows}) < len(rows):
        raise ValueError("no rows, or an image twice")
    if not all(0 <= row.dice <= 1 for row in rows):
        raise ValueError("a Dice that is not in 0..1")


def _value(kind: Any, text: str) -> Any:
    if kind is bool:
        return {"True": True, "False": False}[text]
    return kind(text)
