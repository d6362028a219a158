"""Files -> masks, overlays, findings.csv and submission.csv: what `ptxtf.predict` does.

Beside the files of each radiograph (`ptxtf.inference.reports`) stand

    findings.csv    a row for each region that was found, see `ptxtf.inference.findings.Finding`
    submission.csv  ImageId,EncodedPixels in SIIM's run-length form; -1: no pneumothorax
    rejected.csv    files that could not be read, each with the reason

in the order in which the files were named. The folder may be the one that is read: what was written there is not read
again. What was stopped goes on: hidden files hold what was found, until all is there.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from ptxtf import devices, files, rundir
from ptxtf.config import InferenceConfig, MaskConfig, PredictConfig
from ptxtf.data import example, rle, shards
from ptxtf.errors import InputError
from ptxtf.inference import choice, findings, masks, members, radiographs, reports
from ptxtf.inference.findings import Finding
from ptxtf.inference.predictor import Film, Predictor
from ptxtf.inference.radiographs import Radiograph

_CHUNK = 32
"""Files after which a prediction can be stopped and go on from there."""


@dataclasses.dataclass(frozen=True)
class Results:
    """What `predict` wrote.

    Attributes:
        directory: where to.
        findings: of each radiograph, in the order of the files.
        rejected: files that could not be read, and why.
        without_dicom: radiographs of which no DICOM objects could be made, and why.
        rule: that made the masks.
    """

    directory: files.Path
    findings: tuple[tuple[Finding, ...], ...]
    rejected: tuple[tuple[str, str], ...]
    without_dicom: tuple[tuple[str, str], ...]
    rule: masks.Rule


@dataclasses.dataclass(frozen=True)
class _Image:
    """What is kept of a file.

    Attributes:
        rejected: why it could not be read; "" if it could.
        name: of its results.
        findings: of the radiograph.
        mask: as run-length text.
        without_dicom: why there are no DICOM objects.
    """

    rejected: str = ""
    name: str = ""
    findings: Sequence[Finding] = ()
    mask: str = ""
    without_dicom: str = ""


def predict(
    config: PredictConfig,
    mask_config: MaskConfig,
    names: Sequence[str],
    asked: InferenceConfig | None = None,
    *,
    in_pairs: bool = False,
) -> Results:
    """Apply a trained run to files and folders of DICOM, PNG or JPEG.

    Args:
        config: the run, and where to write.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        names: of files and folders, or patterns.
        asked: how the networks are asked.
        in_pairs: as `Predictor.load` takes it.

    Raises:
        InputError: no finished run, a damaged rule.json, nothing to read, not one file that can be read, or another
            process at work in the folder.
    """
    paths = radiographs.find(names)
    predictor = Predictor.load(config.run_dir, asked, in_pairs=in_pairs)
    rule = choice.complete(mask_config, config.run_dir)
    predictor.check(rule)
    directory = files.path(config.output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    with files.locked(directory):
        files.sweep(directory)
        kept = _Kept(directory, _key(config, rule, asked), paths)
        todo = [path for path in paths if path not in kept.images]
        with tqdm.tqdm(
            total=len(paths), initial=len(kept.images), desc="predicting", unit="image", disable=None
        ) as bar:
            for path, image in _predict(todo, predictor, rule, config, names=kept.names()):
                kept.add(path, image)
                bar.update()
        return _conclude(directory, kept, rule)


def _predict(
    paths: Sequence[files.Path],
    predictor: Predictor,
    rule: masks.Rule,
    config: PredictConfig,
    *,
    names: dict[str, files.Path],
) -> Iterator[tuple[files.Path, _Image]]:
    """Yield what becomes of each file, its results being written; those that cannot be read come a little early.

    Args:
        paths: of the files.
        predictor: the networks.
        rule: that makes masks.
        config: where to write, and what.
        names: of results that are there already, with the files that they are of.
    """
    rejected: list[tuple[files.Path, _Image]] = []
    batch_size = min(devices.images_at_once(config.batch_size), max(1, len(paths)))
    films = _films(_read(paths, names, rejected), predictor.image_size)
    for radiograph, found in predictor.each(films, batch_size=batch_size, gate=rule.gate):
        yield from _taken(rejected)
        report = reports.examine(radiograph, found, rule, spacing_factor=config.spacing_factor)
        without_dicom = reports.write(
            files.path(config.output_dir),
            report,
            model=rundir.name(config.run_dir),
            dicom=config.dicom,
            with_identity=config.with_identity,
        )
        yield radiograph.path, _Image("", radiograph.name, report.findings, rle.encode(report.mask), without_dicom)
    yield from _taken(rejected)


def _taken(rejected: list[tuple[files.Path, _Image]]) -> Iterator[tuple[files.Path, _Image]]:
    while rejected:
        yield rejected.pop(0)


def _read(
    paths: Sequence[files.Path], names: dict[str, files.Path], rejected: list[tuple[files.Path, _Image]]
) -> Iterator[Radiograph]:
    """Yield the radiographs that can be read; list the other files."""
    for path in paths:
        try:
            radiograph = radiographs.read(path)
        except InputError as error:
            rejected.append((path, _Image(rejected=str(error))))
            continue
        first = names.setdefault(radiograph.name, path)
        if first != path:
            reason = f"{path}: expected each image id once. Received: {radiograph.image_id}, as {first}"
            rejected.append((path, _Image(rejected=reason)))
            continue
        yield radiograph


def _films(found: Iterator[Radiograph], size: int) -> Iterator[Film]:
    for radiograph in found:
        pixels = radiograph.pixels[np.newaxis, ..., np.newaxis]
        yield Film(radiograph, example.resize(pixels, (size, size))[0], radiograph.pixels.shape)


def _conclude(directory: files.Path, kept: "_Kept", rule: masks.Rule) -> Results:
    """Write what follows from all files, in their order."""
    images = kept.in_order()
    rejected = [(str(path), image.rejected) for path, image in images if image.rejected]
    found = [image for _, image in images if not image.rejected]
    files.write_csv(directory / "rejected.csv", ["file", "reason"], rejected)
    if not found:
        raise InputError(f"expected at least one readable file. Received: {rejected[0][1]}")
    findings.write(directory / "findings.csv", [finding for image in found for finding in image.findings])
    encoded = [(image.findings[0].image_id, image.mask) for image in found]
    files.write_csv(directory / "submission.csv", ["ImageId", "EncodedPixels"], encoded)
    kept.drop()
    return Results(
        directory=directory,
        findings=tuple(tuple(image.findings) for image in found),
        rejected=tuple(rejected),
        without_dicom=tuple((str(path), image.without_dicom) for path, image in images if image.without_dicom),
        rule=rule,
    )


def _key(config: PredictConfig, rule: masks.Rule, asked: InferenceConfig | None) -> str:
    """Return what the results of a file depend on: settings, rule and models."""
    found = members.find(config.run_dir, asked)
    shares = [member.weight for member in found.networks]
    written = [config.spacing_factor, config.dicom, config.with_identity]
    asked_for = [dataclasses.asdict(rule), dataclasses.asdict(found.asked)]
    return json.dumps([written, shares, *asked_for, *map(shards.sha256, found.files)])


class _Kept:
    """What is kept of each file while others are still to come, in hidden files of some images each.

    Args:
        directory: of the prediction.
        key: of `_key`; what was kept with another one is as good as nothing.
        paths: of the files; what is kept of others, or of files that have changed, is left out.
    """

    def __init__(self, directory: files.Path, key: str, paths: Sequence[files.Path]) -> None:
        self.images: dict[files.Path, _Image] = {}
        self._directory = directory
        self._key = key
        self._paths = paths
        self._new: list[list[Any]] = []
        self._parts = 0
        known = {str(path): path for path in paths}
        while part := self._read(self._path(self._parts)):
            self._parts += 1
            for name, stamp, image in part:
                if name in known and stamp == _stamp(known[name]):
                    self.images[known[name]] = image

    def names(self) -> dict[str, files.Path]:
        """Return the names of the results that are there, with the files that they are of."""
        return {image.name: path for path, image in self.images.items() if not image.rejected}

    def add(self, path: files.Path, image: _Image) -> None:
        """Keep one more."""
        self.images[path] = image
        self._new.append([str(path), _stamp(path), dataclasses.asdict(image)])
        if len(self._new) == _CHUNK:
            files.write_json(self._path(self._parts), {"key": self._key, "images": self._new})
            self._parts, self._new = self._parts + 1, []

    def in_order(self) -> list[tuple[files.Path, _Image]]:
        """Return all files, as they were named."""
        return [(path, self.images[path]) for path in self._paths]

    def drop(self) -> None:
        """Delete the hidden files."""
        for path in self._directory.glob(".predicted-*.json"):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> files.Path:
        return self._directory / f".predicted-{number:05d}.json"

    def _read(self, path: files.Path) -> list[tuple[str, list[int], _Image]]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["key"] != self._key:
                return []
            return [(name, stamp, _image(plain)) for name, stamp, plain in content["images"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not there, or not ours
            return []


def _image(plain: Mapping[str, Any]) -> _Image:
    return _Image(**{**plain, "findings": [Finding(**one) for one in plain["findings"]]})


def _stamp(path: files.Path) -> list[int]:
    """Return what changes when a file does: its size, and when it was written."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
