"""Probabilities of one image -> its mask: threshold, then the rule for small areas."""

import numpy as np

from ptxtf.config import MaskConfig


def decide(probabilities: np.ndarray, config: MaskConfig) -> np.ndarray:
    """Return the mask of one image.

    Args:
        probabilities: float [H, W] in 0..1, at the original size.
        config: threshold and smallest area; a mask below that area (all regions together) counts as none, which suits a
            score that gives 1 for a healthy image left empty and 0 for one pixel in it, but loses truly small cases.

    Returns:
        uint8 [H, W] of {0, 1}.
    """
    mask = (probabilities >= config.threshold).astype(np.uint8)
    return mask if mask.sum() >= config.min_area_px else np.zeros_like(mask)
