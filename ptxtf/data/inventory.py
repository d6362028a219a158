"""Files and labels -> cases: what a conversion has to work with, found before any pixel of a DICOM is read.

Flows in: a folder of DICOMs or pictures; a csv of run-length masks or a folder of masks; perhaps a map of patients.
Flows out: `Inventory`: the cases that can be used, and a `Note` for everything that cannot, or that a person should
know. Nothing is guessed: where two files claim one id and differ, or a label is in doubt, all concerned are left out.
"""

import dataclasses
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence

from ptxtf import files
from ptxtf.config import ConvertConfig
from ptxtf.data import annotations, dicom, images, source, splits
from ptxtf.data.workers import Workers
from ptxtf.errors import InputError

_SQUARE = 0.01
"""By how much the sides of a pixel may differ before anybody is told."""


@dataclasses.dataclass(frozen=True)
class Note:
    """Something about the input: `name` is a file, an image id, or file:line; `kind` sorts notes, in a word or two."""

    name: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.name in self.reason else f"{self.name}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What was found.

    Attributes:
        cases: radiographs that can be used.
        paths: image id -> its file.
        rows: image id -> its run-length rows, where there is a csv.
        masks: image id -> its mask's file, where there is a folder of masks.
        labels: what the csv holds; None without one.
        found: number of files looked at.
        rejected: what is left out.
        noticed: what is used and still worth a look.
    """

    cases: tuple[splits.Case, ...]
    paths: Mapping[str, files.Path]
    rows: Mapping[str, tuple[str, ...]]
    masks: Mapping[str, files.Path]
    labels: annotations.Summary | None
    found: int
    rejected: tuple[Note, ...]
    noticed: tuple[Note, ...]


@dataclasses.dataclass(frozen=True)
class _Labels:
    """What is known of the images: which are positive, where their masks are, and what cannot be used."""

    positive: Mapping[str, bool]
    rows: Mapping[str, tuple[str, ...]]
    masks: Mapping[str, files.Path]
    summary: annotations.Summary | None
    doubtful: frozenset[str]
    rejected: tuple[Note, ...]


def take(config: ConvertConfig, workers: Workers) -> Inventory:
    """Match files with labels. Without a folder of radiographs every labelled image counts as there.

    Raises:
        InputError: no files, an unreadable csv or map, nothing that matches; with `strict`, the first thing rejected.
    """
    found = _find(config)
    if found:
        workers.start()
    if config.annotations:
        labels = _read_csv(config.annotations)
    else:
        labels, found = _read_masks(found, config.mask_dir, workers)
    headers, seen, rejected = _read_headers(found, workers)
    usable = {}
    for image_id, (path, header) in headers.items():
        if image_id in labels.positive:
            usable[image_id] = path, header
        else:
            rejected.append(Note(str(path), "no label", _no_label(image_id, labels, config)))
    rejected += labels.rejected
    patients = {image_id: header.patient_id for image_id, (_, header) in usable.items()}
    if config.dicom_dir or config.image_dir:
        missing = [image_id for image_id in labels.positive if image_id not in seen]
        rejected += [
            Note(image_id, "no file", "expected a file of this image id. Received: label only") for image_id in missing
        ]
    else:
        patients = dict.fromkeys(labels.positive, "")
    if rejected and config.strict:
        raise InputError(f"{rejected[0]} (--strict)")
    if not patients:
        raise InputError(
            f"{config.dicom_dir or config.image_dir}: expected files whose image id (DICOM: SOPInstanceUID) stands in "
            f"{config.annotations or config.mask_dir}. Received: {len(found)} files, none of them matches"
        )
    known = _read_map(config.patient_map, patients) if config.patient_map else annotations.PatientMap({}, ())
    cases = tuple(
        splits.Case(image_id, labels.positive[image_id], known.patients.get(image_id) or patient or image_id)
        for image_id, patient in patients.items()
    )
    return Inventory(
        cases=cases,
        paths={image_id: path for image_id, (path, _) in usable.items()},
        rows=labels.rows,
        masks=labels.masks,
        labels=labels.summary,
        found=len(found),
        rejected=tuple(rejected),
        noticed=(
            *_odd_headers(usable.values()),
            *_unmapped(known, cases),
            *_repeated(known, cases),
            *_mixed(cases, known),
        ),
    )


def _find(config: ConvertConfig) -> Sequence[files.Path]:
    folder = config.dicom_dir or config.image_dir
    if not folder:
        return []
    found = dicom.find(folder) if config.dicom_dir else images.find(folder)
    if not found:
        kind = "DICOM" if config.dicom_dir else "PNG or JPEG"
        raise InputError(f"{folder}: expected {kind} files at any depth. Received: none")
    return found


def _read_csv(path: str) -> _Labels:
    scanned = annotations.scan(path)
    return _Labels(
        positive={image_id: bool(texts) for image_id, texts in scanned.rows.items()},
        rows=scanned.rows,
        masks={},
        summary=annotations.summarize(scanned),
        doubtful=frozenset(problem.image_id for problem in scanned.problems),
        rejected=tuple(Note(f"{path}:{problem.line}", "bad label", problem.reason) for problem in scanned.problems),
    )


def _read_masks(found: Sequence[files.Path], mask_dir: str, workers: Workers) -> tuple[_Labels, Sequence[files.Path]]:
    """Return what the masks say, and the files that are images.

    Whether a mask is empty must be known before images are dealt to splits.
    """
    matched = images.match_masks(found, images.find(mask_dir))
    rejected = [Note(str(path), "bad label", reason) for path, reason in matched.rejected]
    positive = {}
    answers = workers.map(source.is_positive, list(matched.masks.values()), title="reading masks")
    for (image_id, path), answer in zip(matched.masks.items(), answers, strict=True):
        if isinstance(answer, str):
            rejected.append(Note(str(path), "bad label", answer))
        else:
            positive[image_id] = answer
    doubtful = frozenset(matched.masks.keys() - positive.keys())
    return _Labels(positive, {}, matched.masks, None, doubtful, tuple(rejected)), matched.images


def _read_headers(
    found: Sequence[files.Path], workers: Workers
) -> tuple[dict[str, tuple[files.Path, dicom.Header]], Container[str], list[Note]]:
    """Return file and header by image id, all ids, and which files cannot be read or share their id with another."""
    rejected = []
    by_id: dict[str, list[tuple[files.Path, dicom.Header]]] = {}
    headers = workers.map(source.read_header, found, title="reading headers", lost=source.header_lost)
    for path, header in zip(found, headers, strict=True):
        if isinstance(header, str):
            rejected.append(Note(str(path), "unreadable", header))
        elif reason := annotations.check_image_id(header.image_id):
            rejected.append(Note(str(path), "unusable id", reason))
        else:
            by_id.setdefault(header.image_id, []).append((path, header))
    usable = {}
    for image_id, entries in by_id.items():
        paths = [path for path, _ in entries]
        differ = not all(_same_bytes(paths[0], path) for path in paths[1:])
        if not differ:
            usable[image_id] = entries[0]
        what = "different files" if differ else "copies"
        reason = f"expected one file of image id {image_id}. Received: {what}, {' '.join(map(str, paths))}"
        rejected += [Note(str(path), "duplicate", reason) for path in (paths if differ else paths[1:])]
    return usable, by_id.keys(), rejected


def _same_bytes(one: files.Path, other: files.Path) -> bool:
    try:
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _read_map(path: str, image_ids: Collection[str]) -> annotations.PatientMap:
    known = annotations.read_map(path)
    if known.patients.keys().isdisjoint(image_ids):
        raise InputError(
            f"{path}: expected patients of the images that are to be converted. "
            f"Received: none of {len(image_ids)}, such as {min(image_ids)}"
        )
    return known


def _no_label(image_id: str, labels: _Labels, config: ConvertConfig) -> str:
    if image_id in labels.doubtful:
        return f"expected well-formed labels. Received: a bad one for {image_id}"
    what = "a row in the annotations" if config.annotations else "a mask (all black: healthy)"
    return f"expected {what}. Received: none for {image_id}"


def _odd_headers(headers: Iterable[tuple[files.Path, dicom.Header]]) -> Iterator[Note]:
    for path, header in headers:
        if header.frames > 1:
            yield Note(str(path), "several frames", f"{header.frames} frames, of which the first is taken")
        if abs(header.pixel_aspect - 1) > _SQUARE:
            yield Note(str(path), "oblong pixels", f"pixels {header.pixel_aspect:.3g} times as high as wide")


def _unmapped(known: annotations.PatientMap, cases: Iterable[splits.Case]) -> Iterator[Note]:
    for case in cases if known.patients else ():
        if case.image_id not in known.patients:
            yield Note(case.image_id, "no patient", "not in the patient map; the file's own PatientID counts, if any")


def _repeated(known: annotations.PatientMap, cases: Sequence[splits.Case]) -> Iterator[Note]:
    """Tell of images that the map calls one and the same, all the more where their labels differ."""
    positive = {case.image_id: case.positive for case in cases}
    for image_ids in known.repeated:
        here = [image_id for image_id in image_ids if image_id in positive]
        if len(here) > 1:
            differ = len({positive[image_id] for image_id in here}) > 1
            which = "labelled both with and without pneumothorax" if differ else "with the same class"
            yield Note(here[0], "same image", f"the patient map says that {' '.join(here)} are one image, {which}")


def _mixed(cases: Sequence[splits.Case], known: annotations.PatientMap) -> Iterator[Note]:
    """Tell of patients with images of both classes; without a map nobody knows patients well enough."""
    for conflict in splits.conflicts(cases) if known.patients else ():
        yield Note(
            conflict.positives[0],
            "mixed labels",
            f"images of one patient: with pneumothorax {' '.join(conflict.positives)}; "
            f"without {' '.join(conflict.healthy)}",
        )
