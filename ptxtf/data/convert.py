"""DICOMs and a csv of masks -> a record directory: what `tools.make_tfrecords` does.

    find files ─► read headers ─► match with labels ─► balance, split, order ─► encode (processes) ─► write shards

Every choice is made before the first pixel is read and depends on ids, labels and seed alone, so the shards' bytes are
the same for any number of workers. A file that turns out bad leaves its shard one record shorter and is listed in
rejected.csv. A conversion that was stopped goes on after the last whole shard.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import hmac
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tqdm

from ptxtf import files
from ptxtf.config import ConvertConfig
from ptxtf.data import annotations, dicom, example, shards, source, splits
from ptxtf.errors import InputError

_PROGRESS = ".conversion.json"
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Something the conversion left out: `name` is a file, an image id, or file:line."""

    name: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.name in self.reason else f"{self.name}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What was found before any pixel is read: usable cases, where their files and label rows are, and what is bad."""

    cases: tuple[splits.Case, ...]
    paths: Mapping[str, pathlib.Path]
    rows: Mapping[str, tuple[str, ...]]
    rejected: tuple[Rejected, ...]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert` did."""

    directory: pathlib.Path
    manifest: shards.Manifest
    overlaps: Mapping[str, splits.Overlap]
    """How many images of each other split share a patient with the first one."""
    rejected: tuple[Rejected, ...]
    left_out: int
    """Healthy images that `balance` left out."""


def convert(config: ConvertConfig) -> Conversion:
    """Convert a folder of DICOMs and a csv of run-length masks to a record directory.

    Raises:
        InputError: nothing to convert, an unreadable csv, or, with `strict`, the first bad file or row.
    """
    directory = pathlib.Path(config.output_dir)
    inventory = take_inventory(config)
    cases = splits.balance(inventory.cases, healthy_per_positive=config.balance, seed=config.seed)
    split_cases = _split(cases, config)
    plan = _plan(split_cases, config)
    patients = _hash_patients(cases, _patient_key(config))
    written, unreadable = _write_shards(plan, inventory, patients, directory, config)
    rejected = (*inventory.rejected, *unreadable)
    manifest = shards.Manifest(
        schema_version=example.SCHEMA_VERSION,
        image_size=config.image_size,
        encoding=config.encoding,
        splits={name: tuple(written[shard] for shard in names) for name, names in _by_split(plan).items()},
        flags={name: value for name, value in dataclasses.asdict(config).items() if name not in _PRIVATE},
        versions={name: importlib.metadata.version(name) for name in ("ptxtf", "pydicom", "numpy")},
    )
    files.write_csv(directory / "rejected.csv", ["name", "reason"], map(dataclasses.astuple, rejected))
    shards.write_manifest(directory, manifest)
    (directory / _PROGRESS).unlink(missing_ok=True)
    return Conversion(
        directory=directory,
        manifest=manifest,
        overlaps=splits.shared_patients(split_cases, reference=next(iter(split_cases))),
        rejected=rejected,
        left_out=len(inventory.cases) - len(cases),
    )


_PRIVATE = {"patient_key", "workers", "output_dir"}
"""Settings that dataset.json does not tell: a secret, and what does not change the records."""


def take_inventory(config: ConvertConfig) -> Inventory:
    """Match files with labels; everything that does not fit is in `rejected`."""
    labels = annotations.scan(config.annotations)
    patient_of = annotations.read_patient_map(config.patient_map) if config.patient_map else {}
    found = dicom.find(config.dicom_dir)
    if not found:
        raise InputError(f"{config.dicom_dir}: expected DICOM files at any depth. Received: none")
    rejected = [Rejected(f"{config.annotations}:{problem.line}", problem.reason) for problem in labels.problems]
    bad_ids = {problem.image_id for problem in labels.problems}
    paths: dict[str, pathlib.Path] = {}
    cases = []
    for path, header in zip(found, _map(source.read_header, found, config.workers, "reading headers"), strict=True):
        reason = header if isinstance(header, str) else _refuse(header, labels.rows, bad_ids, paths)
        if isinstance(header, str) or reason:
            rejected.append(Rejected(str(path), reason))
            continue
        paths[header.image_id] = path
        patient = patient_of.get(header.image_id) or header.patient_id or header.image_id
        cases.append(splits.Case(header.image_id, positive=bool(labels.rows[header.image_id]), patient=patient))
    rejected.extend(
        Rejected(image_id, "expected a DICOM with this SOPInstanceUID. Received: label rows only")
        for image_id in labels.rows
        if image_id not in paths
    )
    _stop_if_strict(rejected, config)
    if not cases:
        raise InputError(
            f"{config.dicom_dir}: expected DICOMs whose SOPInstanceUID stands in {config.annotations}. "
            f"Received: {len(found)} files, none of them matches"
        )
    return Inventory(tuple(cases), paths, labels.rows, tuple(rejected))


def _refuse(header: dicom.Header, rows: Mapping[str, Any], bad_ids: set[str], paths: Mapping[str, pathlib.Path]) -> str:
    """Return why a readable file cannot be used, or nothing."""
    if header.image_id in paths:
        return (
            f"expected each SOPInstanceUID once. Received: {header.image_id} again, first in {paths[header.image_id]}"
        )
    if header.image_id in bad_ids:
        return f"expected well-formed label rows. Received: a bad row for {header.image_id}"
    if header.image_id not in rows:
        return f"expected a row in the annotations. Received: none for {header.image_id}"
    return ""


def _stop_if_strict(rejected: Sequence[Rejected], config: ConvertConfig) -> None:
    if rejected and config.strict:
        raise InputError(f"{rejected[0]} (--strict)")


def _split(cases: Sequence[splits.Case], config: ConvertConfig) -> dict[str, list[splits.Case]]:
    if config.split == "paper":
        return splits.paper(cases, seed=config.seed)
    if config.split == "kfold":
        return splits.kfold(cases, folds=config.folds, seed=config.seed)
    fractions = dict(zip(("train", "val", "test"), config.fractions, strict=True))
    return splits.by_patient(
        cases, fractions={name: share for name, share in fractions.items() if share}, seed=config.seed
    )


def _plan(split_cases: Mapping[str, Sequence[splits.Case]], config: ConvertConfig) -> dict[str, list[splits.Case]]:
    """Return shard name -> cases, each split in a random order so that every shard is a fair sample."""
    plan = {}
    for name, cases in split_cases.items():
        order = np.random.Generator(np.random.PCG64(config.seed)).permutation(len(cases))
        count = max(1, min(config.num_shards, len(cases)))
        for index, part in enumerate(np.array_split(order, count)):
            plan[shards.shard_name(name, index, count)] = [cases[i] for i in part]
    return plan


def _by_split(shard_names: Iterable[str]) -> dict[str, list[str]]:
    names = collections.defaultdict(list)
    for shard in shard_names:
        names[shard.rsplit("-", 3)[0]].append(shard)
    return dict(names)


def _patient_key(config: ConvertConfig) -> bytes:
    """Return the secret behind the hashes; without one given, the labels themselves are the secret."""
    return (config.patient_key or _digest_file(pathlib.Path(config.annotations))).encode()


def _digest_file(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash_patients(cases: Sequence[splits.Case], key: bytes) -> dict[str, str]:
    """Return image id -> HMAC-SHA256 of its patient, 16 hexadecimal digits."""
    return {case.image_id: hmac.new(key, case.patient.encode(), "sha256").hexdigest()[:16] for case in cases}


def _write_shards(
    plan: Mapping[str, Sequence[splits.Case]],
    inventory: Inventory,
    patients: Mapping[str, str],
    directory: pathlib.Path,
    config: ConvertConfig,
) -> tuple[dict[str, shards.Shard], list[Rejected]]:
    """Write every shard that an earlier, stopped run of the same conversion has not finished."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / shards.MANIFEST).unlink(missing_ok=True)
    fingerprint = _fingerprint(plan, inventory, patients, config)
    written, rejected = _resume(directory, fingerprint)
    jobs = [
        source.Job(inventory.paths[case.image_id], inventory.rows[case.image_id], config.image_size, config.encoding)
        for name, cases in plan.items()
        if name not in written
        for case in cases
    ]
    results = _map(source.encode, jobs, config.workers, "converting")
    for name, cases in plan.items():
        if name in written:
            continue
        records = _records(cases, results, inventory, patients, rejected)
        written[name] = shards.write_shard(directory / name, records)
        _stop_if_strict(rejected, config)
        progress = {
            "fingerprint": fingerprint,
            "shards": {name: dataclasses.asdict(shard) for name, shard in written.items()},
            "rejected": [dataclasses.astuple(item) for item in rejected],
        }
        files.write_json(directory / _PROGRESS, progress)
    return written, rejected


def _records(
    cases: Sequence[splits.Case],
    results: Iterator[source.Encoded | str],
    inventory: Inventory,
    patients: Mapping[str, str],
    rejected: list[Rejected],
) -> Iterator[tuple[bytes, bool]]:
    """Yield one shard's records; a case that could not be read goes to `rejected` instead."""
    for case in cases:
        encoded = next(results)
        if isinstance(encoded, str):
            rejected.append(Rejected(str(inventory.paths[case.image_id]), encoded))
            continue
        record = example.Record(
            image=encoded.image,
            image_size=encoded.image_size,
            mask=b"" if encoded.mask is None else example.pack_mask(encoded.mask),
            original_size=encoded.original_size,
            image_id=case.image_id,
            patient=patients[case.image_id],
            spacing_mm=encoded.spacing_mm,
            view_position=encoded.view_position,
        )
        yield example.serialize(record), case.positive


def _fingerprint(
    plan: Mapping[str, Sequence[splits.Case]],
    inventory: Inventory,
    patients: Mapping[str, str],
    config: ConvertConfig,
) -> str:
    """Return a digest of everything that the shards' bytes depend on."""
    content = [
        [
            name,
            [
                [
                    case.image_id,
                    patients[case.image_id],
                    inventory.rows[case.image_id],
                    *_stamp(inventory.paths[case.image_id]),
                ]
                for case in cases
            ],
        ]
        for name, cases in plan.items()
    ]
    settings = [example.SCHEMA_VERSION, config.image_size, config.encoding]
    return hashlib.sha256(json.dumps([settings, content]).encode()).hexdigest()


def _stamp(path: pathlib.Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _resume(directory: pathlib.Path, fingerprint: str) -> tuple[dict[str, shards.Shard], list[Rejected]]:
    """Return what an earlier run of this very conversion finished; otherwise clear the folder of old shards."""
    try:
        progress = json.loads((directory / _PROGRESS).read_text())
    except (OSError, ValueError):
        progress = {}
    if progress.get("fingerprint") != fingerprint:
        for old in directory.glob("*-?????-of-?????.tfrecord"):
            old.unlink()
        return {}, []
    written = {name: shards.Shard(**shard) for name, shard in progress["shards"].items()}
    return written, [Rejected(*item) for item in progress["rejected"]]


def _map(function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int, title: str) -> Iterator[_Result]:
    """Yield `function` of each item in order, computed by processes that run a little ahead of the reader."""
    bar = tqdm.tqdm(total=len(items), desc=title, unit="file", disable=None)
    workers = min(workers or os.cpu_count() or 1, len(items))
    with bar:
        if workers <= 1:
            for item in items:
                yield function(item)
                bar.update()
            return
        context = multiprocessing.get_context("spawn")  # a forked TensorFlow may hang
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as executor:
            pending: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
            try:
                for item in items:
                    pending.append(executor.submit(function, item))
                    if len(pending) > 8 * workers:
                        yield pending.popleft().result()
                        bar.update()
                while pending:
                    yield pending.popleft().result()
                    bar.update()
            finally:
                executor.shutdown(cancel_futures=True)
