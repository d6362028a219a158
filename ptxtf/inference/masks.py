"""Probabilities of one image -> its mask, by one rule: a gate, two thresholds and a smallest area."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rule:
    """What makes a mask of probabilities: the triplet of SIIM-ACR's winner, behind the gate of its second (Wang 2020).

    https://github.com/sneddy/pneumothorax-segmentation calls it (top_score_threshold, min_contour_area,
    bottom_score_threshold); there a pixel has to be above a threshold, here it may be on it.

    An image of which fewer than `min_area_px` pixels reach `top_threshold` (all regions together) has no mask; else its
    mask is every pixel that reaches `threshold`. This suits a score that gives 1 for a healthy image left empty and 0
    for one pixel in it, but loses truly small cases. With a smallest area of 0 it is a plain threshold. With a gate,
    an image has no mask either where a classifier's presence, the probability that there is a pneumothorax, is below.

    Raises:
        ValueError: thresholds not within 0 < threshold <= top_threshold < 1, an area below 0, a gate not in 0 to below
            1.
    """

    threshold: float
    top_threshold: float
    min_area_px: int
    """In pixels of the original image."""
    origin: str
    """Where the numbers come from, in words."""
    gate: float = 0.0
    """0: none."""

    def __post_init__(self) -> None:
        if not (0 < self.threshold <= self.top_threshold < 1 and self.min_area_px >= 0):
            raise ValueError(
                "expected 0 < threshold <= top_threshold < 1 and min_area_px of 0 or more. Received: "
                f"threshold={self.threshold}, top_threshold={self.top_threshold}, min_area_px={self.min_area_px}"
            )
        if not 0 <= self.gate < 1:
            raise ValueError(f"expected gate from 0 to below 1. Received: gate={self.gate}")

    def __str__(self) -> str:
        area = f", none below {self.min_area_px} px at {self.top_threshold} or more" if self.min_area_px else ""
        gate = f", none with presence below {self.gate}" if self.gate else ""
        return f"threshold {self.threshold}{area}{gate} ({self.origin})"


def decide(probabilities: np.ndarray, rule: Rule, *, presence: float = math.nan) -> np.ndarray:
    """Return the mask of one image.

    Args:
        probabilities: float [H, W] in 0..1, at the original size.
        rule: what decides.
        presence: what a gate goes by, 0..1; nan where nobody says, and the rule has none.

    Returns:
        uint8 [H, W] of {0, 1}.
    """
    is_shut = rule.gate > 0 and not presence >= rule.gate
    if is_shut or np.count_nonzero(probabilities >= rule.top_threshold) < rule.min_area_px:
        return np.zeros(probabilities.shape, np.uint8)
    return (probabilities >= rule.threshold).astype(np.uint8)


def presence(probabilities: np.ndarray, rule: Rule, *, presence: float = math.nan) -> float:
    """Return how sure the model is that there is a pneumothorax, 0..1.

    Where the rule has a gate, that is what the gate goes by: a classifier's probability. Else it is the highest
    threshold at which the mask has the smallest area that counts: by the rule there is one if this reaches its top
    threshold.

    Args:
        probabilities: float [H, W] in 0..1.
        rule: whose smallest area counts; 0 and 1 give the highest probability.
        presence: what a gate goes by.
    """
    if rule.gate:
        return presence
    rank = min(max(rule.min_area_px, 1), probabilities.size)
    return float(np.partition(probabilities, -rank, axis=None)[-rank])
