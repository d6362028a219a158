"""Masks -> the words and numbers of a finding, as a radiologist wants them.

Flows in: one radiograph's mask and probabilities, the spacing of its pixels. Flows out: `Finding`s, one for each region
of the mask, which are the rows of findings.csv; and one sentence about all of them.

Lengths are no better than the spacing, which `ptxtf.data.spacing` explains; where it is assumed, they are good to about
20 %, and where it is unknown, they are in pixels. Sides are those of the image. A film is shown as if one faced the
patient, so that the image's left is the patient's right, unless somebody has mirrored it: no marker is read.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from ptxtf import files
from ptxtf.data.spacing import Spacing
from ptxtf.inference import measure

DISCLAIMER = "Research software, no medical device."
"""What stands wherever a finding is read."""

MOST_REGIONS = 1000
"""Of a radiograph, the largest; a mask of more is noise, and no finding."""

_OPPOSITE = {"left": "right", "right": "left"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What is said of one region of a radiograph's mask, or of a radiograph without; the columns of findings.csv.

    What is not known, or does not apply, is nan or "", and an empty cell.
    """

    image_id: str
    file: str
    pneumothorax: bool = False
    presence: float
    """How sure the model is that there is a pneumothorax on this radiograph, 0..1."""
    component: int = 0
    """Regions (pixels touch by side or corner) are counted from 1, the largest; 0: there is none."""
    confidence: float = math.nan
    """Mean probability of the region's pixels."""
    image_side: str = ""
    """"left" or "right" as one looks at the image: where the region's centre of gravity lies."""
    patient_side: str = ""
    """The patient's side, "right" for the image's left; the wrong one on a film that is mirrored."""
    area_px: int = 0
    area_percent: float = 0.0
    """Share of the image."""
    area_cm2: float = 0.0
    unit: str
    """Of the lengths: mm, or px where the spacing is not known."""
    width: float = math.nan
    """Between lung edge and chest wall, where that is widest: the diameter of the largest disc that fits."""
    widest_row: float = math.nan
    widest_column: float = math.nan
    """Where, in pixels: the centre of that disc."""
    apex_distance: float = math.nan
    """From the cupola of the chest down to the lung's apex; empty where the region does not reach over it."""
    size: str = ""
    """"large": more than 2 cm wide; "small"; "unknown" without a spacing."""
    hemithorax_percent: float = math.nan
    """Share of this half of the chest, lung and pneumothorax together; empty without a mask of the lungs."""
    spacing_source: str
    """"stated" in the file, "given factor", "assumed" (lengths are good to about 20 %), or "unknown"."""


COLUMNS = [field.name for field in dataclasses.fields(Finding)]


def describe(
    mask: np.ndarray,
    probabilities: np.ndarray,
    *,
    image_id: str,
    path: files.Path,
    presence: float,
    spacing: Spacing,
    lungs: np.ndarray | None = None,
) -> list[Finding]:
    """Describe a mask.

    Args:
        mask: uint8 [H, W] of {0, 1}.
        probabilities: float [H, W] in 0..1.
        image_id: SOP instance UID or file name.
        path: the file it came from.
        presence: probability that there is a pneumothorax, 0..1.
        spacing: of the pixels.
        lungs: mask of both lungs, [H, W] of {0, 1}; None: not known.

    Returns:
        The findings, one for each region (`MOST_REGIONS` at most), the largest first; of an empty mask one without a
        pneumothorax.

    Raises:
        ValueError: arrays of different shapes.
    """
    shapes = {array.shape for array in (mask, probabilities, lungs) if array is not None}
    if len(shapes) > 1:
        raise ValueError(f"expected mask, probabilities and lungs of one shape. Received: {shapes}")
    nothing = Finding(
        image_id=image_id,
        file=str(path),
        presence=round(presence, 4),
        unit=spacing.unit,
        spacing_source=spacing.source,
    )
    halves = None if lungs is None else _halves(mask, lungs)
    regions = measure.regions(mask, most=MOST_REGIONS)
    return [
        _described(
            dataclasses.replace(nothing, pneumothorax=True, component=number),
            region,
            confidence=float(probabilities[region.box][region.mask].mean(dtype=np.float64)),
            spacing=spacing,
            halves=halves,
        )
        for number, region in enumerate(regions, start=1)
    ] or [nothing]


def _described(
    finding: Finding,
    region: measure.Region,
    *,
    confidence: float,
    spacing: Spacing,
    halves: dict[str, int] | None,
) -> Finding:
    """Return a finding with all that is said of its region."""
    side = "left" if region.is_on_left else "right"
    disc = measure.widest(region.mask, spacing=spacing.steps)
    width = round(disc.diameter, 1)
    height_px, width_px = region.image_shape
    return dataclasses.replace(
        finding,
        confidence=round(confidence, 4),
        image_side=side,
        patient_side=_OPPOSITE[side],
        area_px=region.area_px,
        area_percent=round(100 * region.area_px / (height_px * width_px), 3),
        area_cm2=round(region.area_px * spacing.down_mm * spacing.along_mm / 100, 2),
        width=width,
        widest_row=round(region.top + disc.row, 1),
        widest_column=round(region.left + disc.column, 1),
        apex_distance=round(measure.apex_distance(region, spacing=spacing.steps), 1),
        # by the number that is written, so that no row contradicts itself
        size="unknown" if spacing.unit == "px" else "large" if width > measure.LARGE_MM else "small",
        hemithorax_percent=math.nan if halves is None else round(_percent_of_half(region, halves[side]), 1),
    )


def _halves(mask: np.ndarray, lungs: np.ndarray) -> dict[str, int]:
    """Return the pixels of lung or pneumothorax left and right of the image's midline."""
    chest = (mask > 0) | (lungs > 0)
    middle = (chest.shape[1] + 1) // 2
    return {"left": int(np.count_nonzero(chest[:, :middle])), "right": int(np.count_nonzero(chest[:, middle:]))}


def _percent_of_half(region: measure.Region, half_px: int) -> float:
    """Return the share of a region in its half of the chest, to which what of it lies beyond the midline belongs."""
    middle = max(0, (region.image_shape[1] + 1) // 2 - region.left)
    beyond = region.mask[:, middle:] if region.is_on_left else region.mask[:, :middle]
    return 100 * region.area_px / (half_px + np.count_nonzero(beyond))


def disc(finding: Finding, spacing: Spacing) -> tuple[float, float, float, float] | None:
    """Return where a finding is widest, as `ptxtf.pictures.overlay` takes it; None without a pneumothorax."""
    if not finding.pneumothorax:
        return None
    down, along = (finding.width / 2 / step for step in spacing.steps)
    return finding.widest_row, finding.widest_column, down, along


def sentence(findings: Sequence[Finding]) -> str:
    """Say in one line of ASCII what was found on a radiograph: for titles, pages and terminals.

    Example:
        >>> sentence(findings)
        "pneumothorax on the image's left (patient's right), 2.3 cm wide, large; presence 0.93"
    """
    widest = max(findings, key=lambda finding: finding.width)
    presence = f"presence {widest.presence:.2f}"
    if not widest.pneumothorax:
        return f"no pneumothorax found; {presence}"
    side = f"the image's {widest.image_side} (patient's {widest.patient_side})"
    if len({finding.image_side for finding in findings}) > 1:
        where = f"on both sides, widest on {side}"
    else:
        where = f"on {side}"
    if len(findings) > 1:
        return f"pneumothorax {where}, {len(findings)} regions, up to {_width_in_words(widest)}; {presence}"
    return f"pneumothorax {where}, {_width_in_words(widest)}; {presence}"


def _width_in_words(finding: Finding) -> str:
    if finding.unit == "px":
        return f"{finding.width:.0f} pixels wide, size unknown"
    length = f"{finding.width / 10:.1f} cm" if finding.width >= 1 else "less than 1 mm"
    if finding.spacing_source == "assumed":
        return f"about {length} wide (pixel size assumed), {finding.size}"
    return f"{length} wide, {finding.size}"


def write(path: files.Path, findings: Iterable[Finding]) -> None:
    """Write findings.csv, whole or not at all."""
    files.write_csv(path, COLUMNS, map(_cells, findings))


def _cells(finding: Finding) -> list[object]:
    values = dataclasses.astuple(finding)
    return ["" if isinstance(value, float) and math.isnan(value) else value for value in values]
