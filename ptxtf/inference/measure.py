"""Masks -> their regions, and the two lengths that a radiologist takes of one: its width and the apex distance.

Flows in: masks [H, W] of {0, 1} and the spacing of pixel centres (down, along a row), in any unit of length. Flows out:
lengths in that unit, places in pixels (row, column), whose centres lie at whole numbers. What lies beyond the image
counts as outside of a mask.

Both are lengths on the film, where rays that spread make things some 5 to 20 % larger than they are in the patient.
"""

import dataclasses
import math

import cv2
import numpy as np

Steps = tuple[float, float]
"""The spacing of pixel centres: down, along a row."""

LARGE_MM = 20.0
"""A pneumothorax is large when more than 2 cm lie between lung edge and chest wall, else small. MacDuff et al. 2010
(https://doi.org/10.1136/thx.2010.136986) measure at the level of the hilum; here it is the widest place."""

_ENLARGED = 4
"""Pixels are cut into so many at most, along a side, before a disc is fitted."""
_PIXELS = 2**21
"""So many of them are looked at, about: larger regions, whose pixels are small, are cut less finely or shrunk."""
_SMOOTHING = 0.7
"""Standard deviation, in pixels, by which outlines are smoothed: they are rough by half a pixel."""
_PADDING = 2
"""Pixels around a region that smoothing spreads into."""

_LUNG = 1 / 64
"""Of the image's width: what is narrower is no lung below the air, but a notch (6 mm of a film of 38 cm)."""
_MIDDLE = 1 / 8
"""Of the image's width, to either side of its midline: there the mediastinum is (5 cm of such a film)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """A connected part of a mask (pixels touch by side or corner), cut out of its image."""

    mask: np.ndarray
    """bool [h, w]: the region's bounding box; what else of the mask lies in the box is left out."""
    top: int
    left: int
    """Where the box lies in the image."""
    image_shape: tuple[int, int]
    area_px: int
    centre: tuple[float, float]
    """Of gravity, in the image: row, column."""

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the image."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def is_on_left(self) -> bool:
        """Whether it lies left of the image's midline, as one looks at it; by its centre of gravity."""
        return self.centre[1] <= (self.image_shape[1] - 1) / 2


@dataclasses.dataclass(frozen=True)
class Disc:
    """A disc on an image: its centre in pixels, and its diameter in the unit of the spacing."""

    row: float
    column: float
    diameter: float


def regions(mask: np.ndarray, *, most: int | None = None) -> list[Region]:
    """Return the regions of a mask, [H, W] of {0, 1}, the largest first: all of them, or so many at most."""
    _, labels, boxes, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = 1 + np.lexsort((boxes[1:, cv2.CC_STAT_LEFT], boxes[1:, cv2.CC_STAT_TOP], -boxes[1:, cv2.CC_STAT_AREA]))
    found = []
    for label in order[:most].tolist():
        left, top, width, height, area_px = boxes[label].tolist()
        column, row = centres[label].tolist()
        found.append(
            Region(
                mask=labels[top : top + height, left : left + width] == label,
                top=top,
                left=left,
                image_shape=mask.shape[:2],
                area_px=area_px,
                centre=(row, column),
            )
        )
    return found


def widest(mask: np.ndarray, *, spacing: Steps = (1.0, 1.0)) -> Disc:
    """Return the largest disc that fits into a mask: where the air between lung and chest wall is widest.

    It touches lung edge and chest wall, so that its diameter is the distance of both across the rim, however the rim
    runs. Of shapes that are known it is right to within a pixel as a rule, and less than that on average; 2 pixels of
    regions that cover much of a film of 4,000, which are shrunk. What is thinner than about a pixel is a pixel wide.

    Args:
        mask: [H, W] of {0, 1}.
        spacing: of pixel centres.

    Returns:
        The disc; of diameter 0, somewhere at nan, where the mask is empty.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return Disc(math.nan, math.nan, 0.0)
    cut = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0, _PADDING)
    fine, step = _redrawn(cut, spacing)
    radii = cv2.distanceTransform(fine, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    _, radius, _, (column, row) = cv2.minMaxLoc(radii)
    if radius:
        centre = (np.array([row, column]) + 0.5) * cut.shape / fine.shape - 0.5
    else:
        centre = np.argwhere(cut)[0].astype(float)
    # discs of 2 radius - 1 and of 2 radius pixels are as far from the centre of the nearest pixel outside: the middle
    diameter = max((2 * radius - 0.5) * step, min(spacing))
    row, column = (centre - _PADDING + (rows[0], columns[0])).tolist()
    return Disc(row, column, diameter)


def _redrawn(mask: np.ndarray, spacing: Steps) -> tuple[np.ndarray, float]:
    """Draw a mask anew in square pixels, with a smooth outline. Returns it, uint8 [h, w] of {0, 1}, and their edge."""
    sizes = np.multiply(mask.shape, spacing)
    step = max(min(spacing) / _ENLARGED, math.sqrt(sizes.prod() / _PIXELS))
    height, width = (max(1, round(size / step)) for size in sizes)
    shrinks = step > min(spacing)
    grey = cv2.resize(
        mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING * min(spacing) / step)
    fine = (smooth > 127).astype(np.uint8)
    fine[[0, -1]] = fine[:, [0, -1]] = 0  # outside of the mask, even where shrinking has swallowed the padding
    return fine, step


def apex_distance(region: Region, *, spacing: Steps = (1.0, 1.0)) -> float:
    """Return how far the lung's apex has come down from the cupola of the chest: the length that ACCP sets 3 cm for.

    (Baumann et al. 2001, Chest 119:590.) It is vertical: from the region's highest point, on the parietal pleura, down
    to the level at which the lung begins. That is the first row, going down, where something at least `_LUNG` wide is
    not air, has air above, and has air at both sides; or air at one side and the mediastinum at the other, against
    which a lung leans that has come down far. So neither the arm that runs down the ribs nor the tapering end at the
    mediastinum matters. The mediastinum is not known: it is taken to begin below the region's medial end, where that
    is within `_MIDDLE` of the image's midline.

    Args:
        region: of an upright frontal film.
        spacing: of pixel centres.

    Returns:
        The distance, to within a pixel and a fraction of a mm; nan where no apex is seen below the region: it lies at
        the side or the base, or is a sliver of a mm or two, or has no lung below in the upper half of the image.
    """
    height, width = region.image_shape
    least = width * _LUNG
    if region.mask.shape[1] <= least:
        return math.nan  # as of most regions, where there are many
    air = _closed_by_mediastinum(region)[: max(0, height // 2 - region.top)]
    below = np.logical_or.accumulate(air, axis=0)
    between = np.logical_or.accumulate(air, axis=1) & np.logical_or.accumulate(air[:, ::-1], axis=1)[:, ::-1]
    lung_px = np.count_nonzero(below & between & ~air, axis=1)
    levels = np.flatnonzero(lung_px >= least)
    return float(levels[0] * spacing[0]) if levels.size else math.nan


def _closed_by_mediastinum(region: Region) -> np.ndarray:
    """Return the region, medial end to the right, and on its medial side a line where the mediastinum begins."""
    width, image_width = region.mask.shape[1], region.image_shape[1]
    air, medial_end = region.mask, region.left + width
    if not region.is_on_left:
        air, medial_end = air[:, ::-1], image_width - region.left
    if medial_end < image_width * (1 / 2 - _MIDDLE):
        return air
    return np.column_stack([air, np.logical_or.accumulate(air[:, -1])])
