"""A run -> the function that examines a file. All that this room knows of networks and masks is here."""

import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from ptxtf import pictures, rundir
from ptxtf.config import InferenceConfig, MaskConfig, ServeConfig
from ptxtf.inference import findings, radiographs, reports
from ptxtf.inference.predictor import Film, Found
from ptxtf.inference.system import System
from ptxtf.inference.system import load as load_system
from ptxtf.serving.app import Examine
from ptxtf.serving.results import Examined, file_name

_SHOWN = 2048
"""Longer side in pixels that a film is shown at, at most; downloads have the file's own size."""

_COLUMNS = ("#", "side of the image", "area", "widest", "apex", "size", "confidence")
_MOST_ROWS = 20


def load(config: ServeConfig, mask_config: MaskConfig, asked: InferenceConfig | None = None) -> Examine:
    """Load a run, and let it compute once, so that nobody waits for the compiler.

    Args:
        config: the run, and the factor of spacings.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        asked: how the networks are asked.

    Raises:
        InputError: no finished run, a damaged rule.json.
    """
    system = load_system(config.run_dir, mask_config, asked)
    size = system.predictor.image_size
    _look(system, np.zeros((size, size), np.uint8), gate=0.0)

    def examine(path: pathlib.Path) -> Examined:
        radiograph = radiographs.read(path)
        found = _look(system, radiograph.pixels, gate=system.rule.gate)
        report = reports.examine(radiograph, found, system.rule, spacing_factor=config.spacing_factor)
        said = [dataclasses.replace(finding, file=path.name) for finding in report.findings]
        film = pictures.shrink(radiograph.pixels, _SHOWN)
        return Examined(
            image_id=radiograph.image_id,
            sentence=findings.sentence(said),
            columns=_COLUMNS,
            rows=[_row(finding) for finding in said[:_MOST_ROWS] if finding.pneumothorax],
            image_png=pictures.png(film),
            layer_png=pictures.png(pictures.outline_layer(report.mask, film.shape, pictures.PREDICTED)),
            downloads=_files(report, said, model=rundir.name(config.run_dir)),
        )

    return examine


def _look(system: System, pixels: np.ndarray, *, gate: float) -> Found:
    """Return what is found in one radiograph, uint8 [H, W]."""
    film = Film.of("", pixels, system.predictor.image_size)
    ((_, found),) = system.predictor.each([film], batch_size=1, gate=gate)
    return found


def _row(finding: findings.Finding) -> tuple[str, ...]:
    def length(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.1f} {finding.unit}"

    area = f"{finding.area_percent:.2f} %" if math.isnan(finding.area_cm2) else f"{finding.area_cm2:.1f} cm²"
    return (
        str(finding.component),
        f"{finding.image_side} (patient's {finding.patient_side})",
        area,
        length(finding.width),
        length(finding.apex_distance),
        finding.size,
        f"{finding.confidence:.2f}",
    )


def _files(report: reports.Report, said: Sequence[findings.Finding], *, model: str) -> dict[str, bytes]:
    """Return what a visitor may take along, by name."""
    with tempfile.TemporaryDirectory(prefix="ptxtf-") as folder:
        directory = pathlib.Path(folder)
        reports.write(directory, report, model=model, dicom=True)
        findings.write(directory / "findings.csv", said)
        return {file_name(path.name): path.read_bytes() for path in sorted(directory.iterdir())}
