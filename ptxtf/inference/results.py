"""Files -> masks, overlays, findings.csv and submission.csv: what `ptxtf.predict` does.

Beside the files of each radiograph (`ptxtf.inference.reports`) stand

    findings.csv    a row for each region that was found, see `ptxtf.inference.findings.Finding`
    submission.csv  ImageId,EncodedPixels in SIIM's run-length form; -1: no pneumothorax
    rejected.csv    files that could not be read, each with the reason

in the order in which the files were named. The folder may be the one that is read: what was written there is not read
again. What was stopped goes on: hidden files hold what was found, until all is there.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

import tqdm

from ptxtf import devices, files, rundir
from ptxtf.config import InferenceConfig, MaskConfig, PredictConfig
from ptxtf.data import rle
from ptxtf.errors import InputError
from ptxtf.inference import findings, kept, masks, radiographs, reports
from ptxtf.inference.findings import Finding
from ptxtf.inference.kept import Image, Kept, is_begun
from ptxtf.inference.predictor import Film
from ptxtf.inference.radiographs import Radiograph
from ptxtf.inference.system import System, load

FINDINGS, SUBMISSION, REJECTED = "findings.csv", "submission.csv", "rejected.csv"
_REASONS = ("file", "reason")
"""Columns of rejected.csv."""


@dataclasses.dataclass(frozen=True)
class Results:
    """What `predict` wrote.

    Attributes:
        directory: where to.
        findings: of each radiograph, in the order of the files.
        rejected: files that could not be read, and why.
        without_dicom: radiographs of which no DICOM objects could be made, and why.
        several_frames: files that hold more pictures than the first, which was looked at, and how many.
        rule: that made the masks.
    """

    directory: files.Path
    findings: tuple[tuple[Finding, ...], ...]
    rejected: tuple[tuple[str, str], ...]
    without_dicom: tuple[tuple[str, str], ...]
    several_frames: tuple[tuple[str, int], ...]
    rule: masks.Rule


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
    system = load(config.run_dir, mask_config, asked, in_pairs=in_pairs)
    directory = files.path(config.output_dir)
    if directory.is_file():
        raise InputError(f"{directory}: expected a folder as --output_dir. Received: a file")
    directory.mkdir(parents=True, exist_ok=True)
    with files.locked(directory):
        files.sweep(directory)
        _check_own(directory)
        so_far = Kept(directory, _key(config, system), paths)
        todo = [path for path in paths if path not in so_far.images]
        images = _predict(todo, system, config, names=so_far.names())
        bar = tqdm.tqdm(total=len(paths), initial=len(so_far.images), desc="predicting", unit="image", disable=None)
        with bar, so_far:
            for path, image in images:
                so_far.add(path, image)
                bar.update()
        return _conclude(directory, so_far, system.rule)


def _check_own(directory: files.Path) -> None:
    """Check that a folder holds no files of somebody else's that results would be written over.

    Raises:
        InputError: files that are called as results are, though no prediction was written here.
    """
    if is_begun(directory):
        return
    for name, columns in ((FINDINGS, findings.COLUMNS[:3]), (REJECTED, _REASONS)):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if (directory / name).read_text(encoding="utf-8").startswith(",".join(columns)):
                return
    for pattern in (FINDINGS, SUBMISSION, REJECTED, *(f"*{ending}" for ending in radiographs.WRITTEN_ENDINGS)):
        for path in directory.glob(pattern):
            raise InputError(
                f"{path}: expected an --output_dir of a prediction, or without files that are called as results are. "
                "Received: one that no prediction wrote"
            )


def _predict(
    paths: Sequence[files.Path],
    system: System,
    config: PredictConfig,
    *,
    names: dict[str, files.Path],
) -> Iterator[tuple[files.Path, Image]]:
    """Yield what becomes of each file, its results being written; those that cannot be read come a little early.

    Args:
        paths: of the files.
        system: that makes masks.
        config: where to write, and what.
        names: of results that are there already, with the files that they are of.
    """
    rejected: list[tuple[files.Path, Image]] = []
    batch_size = min(devices.images_at_once(config.batch_size), max(1, len(paths)))
    predictor, rule = system.predictor, system.rule
    directory = files.path(config.output_dir)
    readable = _read(paths, directory, names, rejected)
    films = (Film.of(one, one.pixels, predictor.image_size) for one in readable)
    for radiograph, found in predictor.each(films, batch_size=batch_size, gate=rule.gate):
        yield from _taken(rejected)
        report = reports.examine(radiograph, found, rule, spacing_factor=config.spacing_factor)
        without_dicom = reports.write(
            directory,
            report,
            model=rundir.name(config.run_dir),
            dicom=config.dicom,
            with_identity=config.with_identity,
        )
        yield (
            radiograph.path,
            Image(
                name=radiograph.name,
                findings=report.findings,
                mask=rle.encode(report.mask),
                without_dicom=without_dicom,
                frames=radiograph.frames,
                sizes=kept.sizes(directory, radiograph.name),
            ),
        )
    yield from _taken(rejected)


def _taken(rejected: list[tuple[files.Path, Image]]) -> Iterator[tuple[files.Path, Image]]:
    while rejected:
        yield rejected.pop(0)


def _read(
    paths: Sequence[files.Path],
    directory: files.Path,
    names: dict[str, files.Path],
    rejected: list[tuple[files.Path, Image]],
) -> Iterator[Radiograph]:
    """Yield the radiographs that can be read and whose results have a place; list the other files."""
    inputs = {path.resolve(): path for path in paths}
    for path in paths:
        try:
            radiograph = radiographs.read(path)
            _check_place(radiograph, directory, names, inputs)
        except InputError as error:
            rejected.append((path, Image(rejected=str(error))))
            continue
        yield radiograph


def _check_place(
    radiograph: Radiograph, directory: files.Path, names: dict[str, files.Path], inputs: Mapping[files.Path, files.Path]
) -> None:
    """Note the name of a radiograph's results; raise InputError where another has it, or inputs are where they go."""
    path = radiograph.path
    first = names.setdefault(radiograph.name, path)
    if first != path:
        raise InputError(f"{path}: expected results of another name than those of {first}. Received: {radiograph.name}")
    for result in radiographs.results(directory, radiograph.name):
        if in_the_way := inputs.get(result.resolve()):
            raise InputError(
                f"{path}: expected results that are written over none of the files. Received: {in_the_way}"
            )


def _conclude(directory: files.Path, so_far: Kept, rule: masks.Rule) -> Results:
    """Write what follows from all files, in their order."""
    images = so_far.in_order()
    rejected = [(str(path), image.rejected) for path, image in images if image.rejected]
    found = [image for _, image in images if not image.rejected]
    files.write_csv(directory / REJECTED, _REASONS, rejected)
    if not found:
        so_far.drop()
        raise InputError(f"expected at least one readable file. Received: {rejected[0][1]}")
    findings.write(directory / FINDINGS, [finding for image in found for finding in image.findings])
    encoded = [(image.findings[0].image_id, image.mask) for image in found]
    files.write_csv(directory / SUBMISSION, ["ImageId", "EncodedPixels"], encoded)
    so_far.drop()
    return Results(
        directory=directory,
        findings=tuple(tuple(image.findings) for image in found),
        rejected=tuple(rejected),
        without_dicom=tuple((str(path), image.without_dicom) for path, image in images if image.without_dicom),
        several_frames=tuple((str(path), image.frames) for path, image in images if image.frames > 1),
        rule=rule,
    )


def _key(config: PredictConfig, system: System) -> str:
    """Return what the results of a file depend on."""
    written = [config.spacing_factor, config.dicom, config.with_identity, rundir.name(config.run_dir)]
    return json.dumps([written, system.key()])
