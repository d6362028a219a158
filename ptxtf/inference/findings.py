"""Masks -> the words and numbers of a finding.

Areas are in pixels and as a share of the image. Nothing is given in millimetres here: a SIIM file's PixelSpacing is
that of the larger original it was shrunk from, so a length computed from it would be wrong by a factor that the file
does not tell.
"""

import dataclasses

import cv2
import numpy as np

from ptxtf import files


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is said of one radiograph; the fields are the columns of findings.csv."""

    image_id: str
    file: str
    pneumothorax: bool
    probability: float
    """Highest pixel probability."""
    area_px: int
    area_percent: float
    """Share of the image."""
    regions: int
    """Separate regions (pixels touch by side or corner)."""
    image_side: str
    """Where most of the mask lies, "left" or "right" as one looks at the image; "" without a pneumothorax."""


def describe(mask: np.ndarray, probabilities: np.ndarray, *, image_id: str, path: files.Path) -> Finding:
    """Describe a mask.

    Args:
        mask: uint8 [H, W] of {0, 1}.
        probabilities: float [H, W] in 0..1.
        image_id: SOP instance UID or file name.
        path: the file it came from.
    """
    area = int(mask.sum())
    on_left = int(mask[:, : mask.shape[1] // 2].sum())
    return Finding(
        image_id=image_id,
        file=str(path),
        pneumothorax=area > 0,
        probability=round(float(probabilities.max()), 4),
        area_px=area,
        area_percent=round(100 * area / mask.size, 3),
        regions=cv2.connectedComponents(mask, connectivity=8)[0] - 1,
        image_side="" if not area else "left" if 2 * on_left >= area else "right",
    )
