"""Two masks of one image -> how far apart their outlines are.

Flows in: masks [H, W] of {0, 1} and the spacing of pixel centres (down, along a row), in any unit of length. Flows out:
lengths in that unit. An outline is the pixels of a mask that have a neighbour outside of it, above, below, to the left
or right; what lies beyond the image counts as outside.
"""

import numpy as np
from scipy import ndimage

Spacing = tuple[float, float]


def distances(mask: np.ndarray, predicted_mask: np.ndarray, *, spacing: Spacing = (1.0, 1.0)) -> tuple[float, float]:
    """Return the 95 % Hausdorff distance and the average surface distance of two masks.

    From each pixel of either outline it is so far to the nearest one of the other. The first is the larger of the two
    outlines' 95th percentiles, the second the mean over the pixels of both (symmetric), as MONAI's
    `compute_hausdorff_distance(percentile=95)` and `compute_average_surface_distance(symmetric=True)` have them.

    Args:
        mask: truth, [H, W] of {0, 1}.
        predicted_mask: the model's, of the same shape.
        spacing: of pixel centres.

    Returns:
        Both, in the unit of the spacing; nan where either mask is empty.

    Example:
        >>> distances(mask, predicted_mask, spacing=(0.143, 0.143))
        (11.3, 2.7)
    """
    if not mask.any() or not predicted_mask.any():
        return float("nan"), float("nan")
    mask, predicted_mask = _cut_to(mask | predicted_mask, mask, predicted_mask)
    outlines = _outline(mask), _outline(predicted_mask)
    there, back = (ndimage.distance_transform_edt(~to, sampling=spacing)[of] for of, to in (outlines, outlines[::-1]))
    return float(max(np.percentile(there, 95), np.percentile(back, 95))), float(np.concatenate([there, back]).mean())


def _cut_to(region: np.ndarray, *masks: np.ndarray) -> list[np.ndarray]:
    """Return what of the masks lies in the bounding box of a region, as bool."""
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    return [mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0 for mask in masks]


def _outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)
