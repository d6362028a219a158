"""Files -> masks, overlays, findings.csv and submission.csv: what `ptxtf.predict` does.

    <image id>_mask.png     uint8 {0, 255} at the file's own size
    <image id>_overlay.png  the radiograph with the mask's outline
    findings.csv            one row per file, see `ptxtf.inference.findings.Finding`
    submission.csv          ImageId,EncodedPixels in SIIM's run-length form; -1: no pneumothorax
    rejected.csv            files that could not be read, each with the reason

The folder it writes may be the one it reads: what it wrote there is not read again.
"""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm

from ptxtf import devices, files, pictures
from ptxtf.config import MaskConfig, PredictConfig
from ptxtf.data import example, rle
from ptxtf.errors import InputError
from ptxtf.inference import choice, findings, masks, radiographs
from ptxtf.inference.predictor import Film, Predictor

_LONGEST = 160


@dataclasses.dataclass(frozen=True)
class Results:
    """What `predict` wrote: the findings, the files it could not read, and the rule that made the masks."""

    directory: files.Path
    findings: tuple[findings.Finding, ...]
    rejected: tuple[tuple[files.Path, str], ...]
    rule: masks.Rule


@dataclasses.dataclass(frozen=True)
class _Film:
    path: files.Path
    image_id: str
    name: str
    pixels: np.ndarray


def predict(config: PredictConfig, mask_config: MaskConfig, names: Sequence[str], *, in_pairs: bool = False) -> Results:
    """Apply a trained run to files and folders of DICOM, PNG or JPEG.

    Args:
        config: the run, and where to write.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        names: of files and folders.
        in_pairs: as `Predictor.load` takes it.

    Raises:
        InputError: no finished run, a damaged rule.json, nothing to read, or not one file that can be read.
    """
    paths = radiographs.find(names)
    batch_size = min(devices.images_at_once(config.batch_size), len(paths))
    predictor = Predictor.load(config.run_dir, in_pairs=in_pairs)
    rule = choice.complete(mask_config, config.run_dir)
    directory = files.path(config.output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    found: list[findings.Finding] = []
    encoded: list[tuple[str, str]] = []
    rejected: list[tuple[files.Path, str]] = []
    with tqdm.tqdm(total=len(paths), desc="predicting", unit="image", disable=None) as bar:
        for group in _groups(_read(paths, rejected), batch_size):
            for film, probabilities in zip(group, _probabilities(predictor, group, batch_size), strict=True):
                mask = masks.decide(probabilities, rule)
                found.append(findings.describe(mask, probabilities, image_id=film.image_id, path=film.path))
                encoded.append((film.image_id, rle.encode(mask)))
                _write_pictures(directory, film, mask, found[-1])
            bar.update(len(group))
    files.write_csv(directory / "rejected.csv", ["file", "reason"], rejected)
    if not found:
        raise InputError(f"expected at least one readable file. Received: {rejected[0][1]}")
    columns = [field.name for field in dataclasses.fields(findings.Finding)]
    files.write_csv(directory / "findings.csv", columns, [dataclasses.astuple(finding) for finding in found])
    files.write_csv(directory / "submission.csv", ["ImageId", "EncodedPixels"], encoded)
    return Results(directory, tuple(found), tuple(rejected), rule)


def _read(paths: Sequence[files.Path], rejected: list[tuple[files.Path, str]]) -> Iterator[_Film]:
    """Yield the files that can be read; list the others."""
    seen: dict[str, files.Path] = {}  # by the name that results get
    for path in paths:
        try:
            image_id, pixels = radiographs.read(path)
        except InputError as error:
            rejected.append((path, str(error)))
            continue
        name = _file_name(image_id)
        if name in seen:
            rejected.append((path, f"{path}: expected each image id once. Received: {image_id}, as {seen[name]}"))
            continue
        seen[name] = path
        yield _Film(path, image_id, name, pixels)


def _file_name(image_id: str) -> str:
    """Return an image id as it may stand in a file name: no odd characters, and not too long."""
    name = re.sub(r"[^\w.-]", "_", image_id)
    return name if len(name.encode()) <= _LONGEST else f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _groups(films: Iterator[_Film], size: int) -> Iterator[list[_Film]]:
    """Yield up to `size` neighbours."""
    while group := list(itertools.islice(films, size)):
        yield group


def _probabilities(predictor: Predictor, group: Sequence[_Film], batch_size: int) -> Iterator[np.ndarray]:
    """Return the probabilities of one radiograph after another, float32 [H, W]."""
    size = (predictor.image_size, predictor.image_size)
    films = (Film(f, example.resize(f.pixels[np.newaxis, ..., np.newaxis], size)[0], f.pixels.shape) for f in group)
    return (found.probabilities for _, found in predictor.each(films, batch_size=batch_size))


def _write_pictures(directory: files.Path, film: _Film, mask: np.ndarray, finding: findings.Finding) -> None:
    title = f"pneumothorax {finding.probability:.2f}" if finding.pneumothorax else f"none ({finding.probability:.2f})"
    drawn = pictures.overlay(film.pixels, predicted_mask=mask, title=title)
    files.write_bytes(directory / f"{film.name}_mask.png", pictures.png(mask * 255))
    files.write_bytes(directory / f"{film.name}_overlay.png", pictures.png(drawn))
