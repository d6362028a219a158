"""Probabilities of one image -> its mask, by one rule: two thresholds and a smallest area."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rule:
    """What makes a mask of probabilities: the triplet of SIIM-ACR's winner.

    https://github.com/sneddy/pneumothorax-segmentation calls it (top_score_threshold, min_contour_area,
    bottom_score_threshold); there a pixel has to be above a threshold, here it may be on it.

    An image of which fewer than `min_area_px` pixels reach `top_threshold` (all regions together) has no mask; else its
    mask is every pixel that reaches `threshold`. This suits a score that gives 1 for a healthy image left empty and 0
    for one pixel in it, but loses truly small cases. With a smallest area of 0 it is a plain threshold.

    Raises:
        ValueError: thresholds not within 0 < threshold <= top_threshold < 1, or an area below 0.
    """

    threshold: float
    top_threshold: float
    min_area_px: int
    """In pixels of the original image."""
    origin: str
    """Where the numbers come from, in words."""

    def __post_init__(self) -> None:
        if not (0 < self.threshold <= self.top_threshold < 1 and self.min_area_px >= 0):
            raise ValueError(
                "expected 0 < threshold <= top_threshold < 1 and min_area_px of 0 or more. Received: "
                f"threshold={self.threshold}, top_threshold={self.top_threshold}, min_area_px={self.min_area_px}"
            )

    def __str__(self) -> str:
        area = f", none below {self.min_area_px} px at {self.top_threshold} or more" if self.min_area_px else ""
        return f"threshold {self.threshold}{area} ({self.origin})"


def decide(probabilities: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the mask of one image.

    Args:
        probabilities: float [H, W] in 0..1, at the original size.
        rule: what decides.

    Returns:
        uint8 [H, W] of {0, 1}.
    """
    if np.count_nonzero(probabilities >= rule.top_threshold) < rule.min_area_px:
        return np.zeros(probabilities.shape, np.uint8)
    return (probabilities >= rule.threshold).astype(np.uint8)
