"""Radiographs and masks -> a record directory: what `tools.make_tfrecords` does.

    inventory ─► balance, split, order ─► encode (processes) ─► write shards ─► dataset.json

Every choice is made before the first radiograph is decoded and depends on ids, labels and seed alone, so the shards'
bytes are the same for any number of workers. A file that turns out bad leaves its shard one record shorter and is
listed in rejected.csv. A conversion that was stopped goes on after the last whole shard; whole ones are left alone.
"""

import collections
import dataclasses
import hashlib
import hmac
import importlib.metadata
import itertools
import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import cv2

import ptxtf
from ptxtf import files
from ptxtf.config import ConvertConfig
from ptxtf.data import card, inventory, shards, source, splits, tfds, tfio
from ptxtf.data.inventory import Inventory, Note
from ptxtf.data.record import SCHEMA_VERSION
from ptxtf.data.splits import Overlap
from ptxtf.data.workers import Workers
from ptxtf.errors import InputError

_PROGRESS = ".conversion.json"
"""What has been written so far and from what, so that the same conversion need not write it again."""

_SHARD = re.compile(r"(train|val|test|fold\d+)-\d{5}-of-\d{5}\.tfrecord")

_LOST = "lost"
"""Kind of note of a file that ended its worker."""

_PRIVATE = {"patient_key", "workers", "output_dir", "dry_run", "strict"}
"""Settings that dataset.json does not tell: a secret, and what does not change the records."""

Plan = dict[str, dict[str, list[splits.Case]]]
"""Split -> shard name -> cases in the order of their records."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a conversion would do.

    Attributes:
        inventory: what was found.
        splits: the cases of each split.
        overlaps: how many images of a split share a patient with training; empty where every image seems to be of a
            patient of its own, as in SIIM-ACR's own files: then nobody knows.
        left_out: healthy images that `balance` leaves out.
    """

    inventory: Inventory
    splits: Mapping[str, Sequence[splits.Case]]
    overlaps: Mapping[str, Overlap]
    left_out: int


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert` did; `rejected` is the survey's and what turned out when pixels were read."""

    directory: files.Path
    survey: Survey
    manifest: shards.Manifest
    rejected: tuple[Note, ...]


@dataclasses.dataclass
class _Progress:
    """Shards that are whole, with what is known of their records, and the files that could not be read for each."""

    written: dict[str, shards.Shard]
    facts: dict[str, list[card.Fact]]
    rejected: dict[str, list[Note]]

    @property
    def all_rejected(self) -> list[Note]:
        return list(itertools.chain.from_iterable(self.rejected.values()))


def survey(config: ConvertConfig) -> Survey:
    """Tell what `convert` would do, without decoding a radiograph or writing anything.

    Args:
        config: as for `convert`; without a folder of radiographs, every labelled one counts as there.

    Returns:
        `Survey`.

    Raises:
        InputError: as `convert`.

    Example:
        >>> config = ConvertConfig(annotations="train-rle.csv", patient_map="nih_id.csv", split="paper", dry_run=True)
        >>> survey(config).overlaps["test"]
        Overlap(images=1068, positives=534, shared_images=657, shared_positives=475)
    """
    with Workers(config.workers) as workers:
        return _survey(config, workers)


def convert(config: ConvertConfig) -> Conversion:
    """Convert radiographs and masks to a record directory.

    Args:
        config: what to convert, and how.

    Returns:
        `Conversion`.

    Raises:
        InputError: nothing to convert, an unreadable csv, a patient map of other images, or, with `strict`, the first
            thing that would be left out.

    Example:
        >>> convert(ConvertConfig(dicom_dir="dicom", annotations="train-rle.csv")).directory
        PosixPath('tfrecords')
    """
    if config.decoder == "tfio":
        tfio.load()  # if it cannot be, that is no file's fault
    directory = files.path(config.output_dir)
    with Workers(config.workers) as workers:
        found = _survey(config, workers)
        directory.mkdir(parents=True, exist_ok=True)
        with files.locked(directory):
            return _write(found, directory, config, workers)


def _write(found: Survey, directory: files.Path, config: ConvertConfig, workers: Workers) -> Conversion:
    """Write what was found: shards, then the lists of notes, then dataset.json and its like."""
    plan = _plan(found.splits, config)
    patients = _hash_patients(found.inventory.cases, _patient_key(config, found.inventory))
    progress = _write_shards(plan, found.inventory, patients, directory, config, workers)
    rejected = (*found.inventory.rejected, *progress.all_rejected)
    _write_notes(directory / "rejected.csv", rejected)
    _write_notes(directory / "noticed.csv", found.inventory.noticed)
    if not any(shard.images for shard in progress.written.values()):
        raise InputError(
            f"{config.dicom_dir or config.image_dir}: expected images that can be used (see "
            f"{directory / 'rejected.csv'}; without positives no healthy ones are kept either, unless --balance=0). "
            f"Received: none of {found.inventory.found}"
        )
    manifest = shards.Manifest(
        schema_version=SCHEMA_VERSION,
        image_size=_stored_size(config),
        encoding=config.encoding,
        splits={split: tuple(progress.written[name] for name in parts) for split, parts in plan.items()},
        card=_card(plan, progress, found, rejected),
        flags={name: value for name, value in dataclasses.asdict(config).items() if name not in _PRIVATE},
        versions=_versions(),
    )
    tfds.write_description(directory, manifest)
    shards.write_manifest(directory, manifest)
    return Conversion(directory, found, manifest, rejected)


def _versions() -> dict[str, str]:
    """Return the versions of what makes the records."""
    names = ("pydicom", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "numpy")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"ptxtf": ptxtf.__version__, "opencv": cv2.__version__, **versions}


def _survey(config: ConvertConfig, workers: Workers) -> Survey:
    found = inventory.take(config, workers)
    cases = splits.balance(found.cases, healthy_per_positive=config.balance, seed=config.seed)
    split_cases = _split(cases, config)
    overlaps: Mapping[str, Overlap] = {}
    if len({case.patient for case in cases}) < len(cases):
        reference = None if config.split == "kfold" else next(iter(split_cases))
        overlaps = splits.shared_patients(split_cases, reference=reference)
    return Survey(found, split_cases, overlaps, left_out=len(found.cases) - len(cases))


def _stored_size(config: ConvertConfig) -> int:
    """Return the height and width that every image is stored at; 0: its own."""
    return 0 if config.encoding == "source" else config.image_size


def _split(cases: Sequence[splits.Case], config: ConvertConfig) -> dict[str, list[splits.Case]]:
    if config.split == "paper":
        return splits.paper(cases, seed=config.seed)
    if config.split == "kfold":
        return splits.kfold(cases, folds=config.folds, seed=config.seed)
    fractions = dict(zip(("train", "val", "test"), config.fractions, strict=True))
    return splits.by_patient(
        cases, fractions={name: share for name, share in fractions.items() if share}, seed=config.seed
    )


def _plan(split_cases: Mapping[str, Sequence[splits.Case]], config: ConvertConfig) -> Plan:
    """Deal each split's cases to its shards in random order, so that every shard is a fair sample."""
    plan: Plan = {}
    for split, cases in split_cases.items():
        order = splits.permutation(len(cases), seed=config.seed)
        count = max(1, min(config.num_shards, len(cases)))
        plan[split] = {
            shards.shard_name(split, index, count): [cases[i] for i in order[index::count]] for index in range(count)
        }
    return plan


def _patient_key(config: ConvertConfig, found: Inventory) -> bytes:
    """Return the key behind the hashes; without a secret they are mere pseudonyms, the same for the same labels."""
    if config.patient_key:
        return config.patient_key.encode()
    if config.annotations:
        return shards.sha256(files.path(config.annotations)).encode()
    return hashlib.sha256("\n".join(sorted(found.paths)).encode()).hexdigest().encode()


def _hash_patients(cases: Sequence[splits.Case], key: bytes) -> dict[str, str]:
    """Return image id -> HMAC-SHA256 of its patient, 16 hexadecimal digits."""
    return {case.image_id: hmac.new(key, case.patient.encode(), "sha256").hexdigest()[:16] for case in cases}


def _write_shards(
    plan: Plan,
    found: Inventory,
    patients: Mapping[str, str],
    directory: files.Path,
    config: ConvertConfig,
    workers: Workers,
) -> _Progress:
    """Write every shard that an earlier run of the same conversion has not finished."""
    files.sweep(directory)
    options = source.Options(_stored_size(config), config.encoding, config.window, config.decoder)

    def job(case: splits.Case) -> source.Job:
        image_id = case.image_id
        rows, mask_path = found.rows.get(image_id, ()), found.masks.get(image_id)
        return source.Job(image_id, patients[image_id], case.positive, found.paths[image_id], rows, mask_path, options)

    jobs = {name: list(map(job, cases)) for parts in plan.values() for name, cases in parts.items()}
    fingerprint = _fingerprint(jobs)
    progress = _resume(directory, fingerprint)
    missing = {name: part for name, part in jobs.items() if name not in progress.written}
    if missing:
        _remove_others(directory, jobs)
        for name in (shards.MANIFEST, *tfds.NAMES, shards.CONTACT_SHEET):  # a half replaced data set is none
            (directory / name).unlink(missing_ok=True)
    todo = list(itertools.chain.from_iterable(missing.values()))
    results = workers.map(source.encode, todo, title="converting", lost=source.image_lost)
    for name, part in missing.items():
        _stop_if_strict(progress, config)
        progress.facts[name], progress.rejected[name] = [], []
        records = _records(part, results, facts=progress.facts[name], rejected=progress.rejected[name])
        progress.written[name] = shards.write_shard(directory / name, records)
        _keep(progress, directory, fingerprint)
    _stop_if_strict(progress, config)
    return progress


def _remove_others(directory: files.Path, names: Container[str]) -> None:
    """Remove shards of an earlier conversion, which a reader of all files would take for ours."""
    strays = [path for path in directory.glob("*.tfrecord") if _SHARD.fullmatch(path.name) and path.name not in names]
    for stray in strays:
        stray.unlink(missing_ok=True)


def _stop_if_strict(progress: _Progress, config: ConvertConfig) -> None:
    if progress.all_rejected and config.strict:
        raise InputError(f"{progress.all_rejected[0]} (--strict)")


def _records(
    jobs: Sequence[source.Job],
    results: Iterator[source.Encoded | str],
    *,
    facts: list[card.Fact],
    rejected: list[Note],
) -> Iterator[tuple[bytes, bool]]:
    """Yield one shard's records and note their `facts`; a file that could not be read goes to `rejected` instead."""
    for job in jobs:
        encoded = next(results)
        if isinstance(encoded, str):
            kind = _LOST if isinstance(encoded, source.Lost) else "unreadable"
            rejected.append(Note(str(job.path), kind, encoded))
        else:
            facts.append(encoded.fact)
            yield encoded.record, job.positive


def _card(plan: Plan, progress: _Progress, found: Survey, rejected: Sequence[Note]) -> dict[str, Any]:
    """Return what a data card needs to say of the records, beside shards, flags and versions."""
    return {
        "labels": dataclasses.asdict(found.inventory.labels) if found.inventory.labels else {},
        "files": found.inventory.found,
        "left_out": {
            **collections.Counter(note.kind for note in rejected),
            "healthy, to balance classes": found.left_out,
        },
        "splits": {
            split: card.describe([fact for name in parts for fact in progress.facts[name]])
            for split, parts in plan.items()
        },
        "shared_patients": {split: dataclasses.asdict(overlap) for split, overlap in found.overlaps.items()},
    }


def _write_notes(path: files.Path, notes: Sequence[Note]) -> None:
    files.write_csv(path, ["name", "kind", "reason"], ([note.name, note.kind, note.reason] for note in notes))


def _fingerprint(jobs: Mapping[str, Sequence[source.Job]]) -> str:
    """Return a digest of everything that the shards' bytes depend on."""

    def origin(job: source.Job) -> list[object]:
        sources = [_stamp(path) for path in (job.path, job.mask_path) if path]
        return [job.image_id, job.patient, job.positive, job.rows, sources, *dataclasses.astuple(job.options)]

    content = [[name, list(map(origin, part))] for name, part in jobs.items()]
    return hashlib.sha256(json.dumps([SCHEMA_VERSION, _versions(), content]).encode()).hexdigest()


def _stamp(path: files.Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:  # gone, or not ours to read any more, as a worker will tell
        return path.name, -1, -1
    return path.name, status.st_size, status.st_mtime_ns


def _keep(progress: _Progress, directory: files.Path, fingerprint: str) -> None:
    # what was lost may have been the system's fault: the next run tries again
    kept = [name for name in progress.written if all(note.kind != _LOST for note in progress.rejected[name])]
    content = {
        "fingerprint": fingerprint,
        "written": {name: dataclasses.asdict(progress.written[name]) for name in kept},
        "facts": {name: progress.facts[name] for name in kept},
        "rejected": {name: [dataclasses.asdict(note) for note in progress.rejected[name]] for name in kept},
    }
    # in one line, which json writes twenty times as fast as indented ones
    files.write_text(directory / _PROGRESS, json.dumps(content))


def _resume(directory: files.Path, fingerprint: str) -> _Progress:
    """Return what an earlier run of this very conversion finished; remove what another one wrote here."""
    try:
        content = json.loads((directory / _PROGRESS).read_text(encoding="utf-8"))
        written = {name: shards.Shard(**shard) for name, shard in content["written"].items()}
        facts = {name: [card.Fact(*fact) for fact in facts] for name, facts in content["facts"].items()}
        rejected = {name: [Note(**note) for note in notes] for name, notes in content["rejected"].items()}
        is_same = content["fingerprint"] == fingerprint
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return _Progress({}, {}, {})
    if not is_same:
        for name in written:
            (directory / name).unlink(missing_ok=True)
        return _Progress({}, {}, {})
    whole = {name: shard for name, shard in written.items() if shards.is_whole(directory / name, shard)}
    return _Progress(whole, {name: facts[name] for name in whole}, {name: rejected.get(name, []) for name in whole})
