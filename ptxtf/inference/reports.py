"""A radiograph and what the networks found in it -> its mask, findings and pictures, and the files that hold them.

<name>_mask.png     uint8 {0, 255} at the file's own size
<name>_overlay.png  the radiograph with the mask's outline and, where lengths are known, a scale bar
<name>_seg.dcm      of a DICOM: the mask as a DICOM Segmentation in the radiograph's study
<name>_overlay.dcm  of a DICOM: the overlay as a DICOM Secondary Capture in the radiograph's study
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ptxtf import files, pictures
from ptxtf.data import spacing
from ptxtf.data.spacing import Spacing
from ptxtf.errors import InputError
from ptxtf.inference import findings, masks, radiographs
from ptxtf.inference.findings import Finding
from ptxtf.inference.predictor import Found
from ptxtf.inference.radiographs import Radiograph


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What is said of one radiograph.

    Attributes:
        radiograph: that it is said of.
        mask: uint8 [H, W] of {0, 1}.
        findings: at least one.
        overlay: uint8 RGB [H, W, 3].
        spacing: that lengths are measured and drawn by.
    """

    radiograph: Radiograph
    mask: np.ndarray
    findings: Sequence[Finding]
    overlay: np.ndarray
    spacing: Spacing


def examine(radiograph: Radiograph, found: Found, rule: masks.Rule, *, spacing_factor: float = 0.0) -> Report:
    """Say what was found.

    Args:
        radiograph: as it was read.
        found: by the networks, at its own size.
        rule: that makes the mask.
        spacing_factor: what the stated spacing is multiplied by, as `spacing.likely` takes it.
    """
    mask = masks.decide(found.probabilities, rule, presence=found.presence)
    measured = spacing.likely(radiograph.stated_mm, mask.shape, factor=spacing_factor)
    said = findings.describe(
        mask,
        found.probabilities,
        image_id=radiograph.image_id,
        path=radiograph.path,
        presence=masks.presence(found.probabilities, rule, presence=found.presence),
        spacing=measured,
    )
    drawn = pictures.overlay(
        radiograph.pixels,
        predicted_mask=mask,
        title=findings.sentence(said),
        disc=findings.disc(max(said, key=lambda finding: finding.width), measured),
        along_mm=measured.along_mm,
    )
    return Report(radiograph, mask, said, drawn, measured)


def write(directory: files.Path, report: Report, *, model: str, dicom: bool, with_identity: bool = False) -> str:
    """Write a report's files; DICOM objects that an earlier prediction wrote and this one does not are removed.

    Args:
        directory: the folder.
        report: of `examine`.
        model: what the networks are called, for the DICOM objects.
        dicom: write DICOM objects too, where the radiograph is a DICOM.
        with_identity: they tell who the patient is, as `ptxtf.data.dicom_results` says.

    Returns:
        Why there are no DICOM objects of a DICOM; "" where there are, or none were to be.
    """
    source, name = report.radiograph, report.radiograph.name
    files.write_bytes(directory / f"{name}{radiographs.MASK}", pictures.png(report.mask * 255))
    files.write_bytes(directory / f"{name}{radiographs.OVERLAY}", pictures.png(report.overlay))
    for ending in (radiographs.DICOM_MASK, radiographs.DICOM_OVERLAY):
        (directory / f"{name}{ending}").unlink(missing_ok=True)
    if not (dicom and source.is_dicom):
        return ""
    from ptxtf.data import dicom_results  # takes half a second

    try:
        dicom_results.write_segmentation(
            directory / f"{name}{radiographs.DICOM_MASK}",
            report.mask,
            source.path,
            model=model,
            with_identity=with_identity,
        )
        dicom_results.write_overlay(
            directory / f"{name}{radiographs.DICOM_OVERLAY}",
            report.overlay,
            source.path,
            spacing=report.spacing,
            model=model,
            with_identity=with_identity,
        )
    except InputError as error:
        return str(error)
    return ""
