"""DICOMs and a csv of masks -> a record directory: what `tools.make_tfrecords` does.

    find files ─► read headers ─► match with labels ─► balance, split, order ─► encode (processes) ─► write shards

Every choice is made before the first pixel is read and depends on ids, labels and seed alone, so the shards' bytes are
the same for any number of workers. A file that turns out bad leaves its shard one record shorter and is listed in
rejected.csv. A conversion that was stopped goes on after the last whole shard; a finished one is left as it is.
"""

import dataclasses
import hashlib
import hmac
import importlib.metadata
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

import ptxtf
from ptxtf import files
from ptxtf.config import ConvertConfig
from ptxtf.data import annotations, dicom, example, shards, source, splits
from ptxtf.data.workers import ordered_map
from ptxtf.errors import InputError

_PROGRESS = ".conversion.json"
"""What has been written so far and from what, so that the same conversion need not write it again."""

Plan = dict[str, dict[str, list[splits.Case]]]
"""Split -> shard name -> cases in the order of their records."""


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
    """How many images of each other split share a patient with the first one; empty where every image seems to be of a
    patient of its own, as in SIIM-ACR's own files: then nobody knows."""
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
    files.write_csv(directory / "rejected.csv", ["name", "reason"], map(dataclasses.astuple, rejected))
    if not any(shard.images for shard in written.values()):
        raise InputError(
            f"{config.dicom_dir}: expected images that can be used (see {directory / 'rejected.csv'}; without "
            f"positives no healthy ones are kept either, unless --balance=0). Received: none of {len(inventory.paths)}"
        )
    manifest = shards.Manifest(
        schema_version=shards.SCHEMA_VERSION,
        image_size=config.image_size,
        encoding=config.encoding,
        splits={split: tuple(written[name] for name in parts) for split, parts in plan.items()},
        flags={name: value for name, value in dataclasses.asdict(config).items() if name not in _PRIVATE},
        versions={name: importlib.metadata.version(name) for name in ("tensorflow", "pydicom", "numpy")}
        | {"ptxtf": ptxtf.__version__, "opencv": cv2.__version__},
    )
    shards.write_manifest(directory, manifest)
    patients_known = len({case.patient for case in cases}) < len(cases)
    return Conversion(
        directory=directory,
        manifest=manifest,
        overlaps=splits.shared_patients(split_cases, reference=next(iter(split_cases))) if patients_known else {},
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
    for path, header in zip(
        found, ordered_map(source.read_header, found, workers=config.workers, title="reading headers"), strict=True
    ):
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


def _plan(split_cases: Mapping[str, Sequence[splits.Case]], config: ConvertConfig) -> Plan:
    """Deal each split's cases to its shards in random order, so that every shard is a fair sample."""
    plan: Plan = {}
    for split, cases in split_cases.items():
        order = np.random.Generator(np.random.PCG64(config.seed)).permutation(len(cases))
        count = max(1, min(config.num_shards, len(cases)))
        plan[split] = {
            shards.shard_name(split, index, count): [cases[i] for i in part]
            for index, part in enumerate(np.array_split(order, count))
        }
    return plan


def _patient_key(config: ConvertConfig) -> bytes:
    """Return the key behind the hashes; without a secret they are mere pseudonyms, the same for the same labels."""
    return (config.patient_key or shards.sha256(pathlib.Path(config.annotations))).encode()


def _hash_patients(cases: Sequence[splits.Case], key: bytes) -> dict[str, str]:
    """Return image id -> HMAC-SHA256 of its patient, 16 hexadecimal digits."""
    return {case.image_id: hmac.new(key, case.patient.encode(), "sha256").hexdigest()[:16] for case in cases}


def _write_shards(
    plan: Plan, inventory: Inventory, patients: Mapping[str, str], directory: pathlib.Path, config: ConvertConfig
) -> tuple[dict[str, shards.Shard], list[Rejected]]:
    """Write every shard that an earlier run of the same conversion has not finished."""
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".*.part.*.tfrecord"):  # of a run that was killed
        leftover.unlink()
    fingerprint = _fingerprint(plan, inventory, patients, config)
    written, rejected = _resume(directory, fingerprint)
    missing = {name: cases for parts in plan.values() for name, cases in parts.items() if name not in written}
    if missing:
        (directory / shards.MANIFEST).unlink(missing_ok=True)
    jobs = [
        source.Job(inventory.paths[case.image_id], inventory.rows[case.image_id], config.image_size, config.encoding)
        for cases in missing.values()
        for case in cases
    ]
    results = ordered_map(source.encode, jobs, workers=config.workers, title="converting")
    for name, cases in missing.items():
        records = _records(cases, results, inventory, patients, rejected)
        written[name] = shards.write_shard(directory / name, records)
        _stop_if_strict(rejected, config)
        progress = {
            "fingerprint": fingerprint,
            "shards": {name: dataclasses.asdict(shard) for name, shard in written.items()},
            "rejected": [dataclasses.astuple(item) for item in rejected],
        }
        files.write_json(directory / _PROGRESS, progress)
    return written, list(dict.fromkeys(rejected))  # a shard that had to be written again found its bad files again


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


def _fingerprint(plan: Plan, inventory: Inventory, patients: Mapping[str, str], config: ConvertConfig) -> str:
    """Return a digest of everything that the shards' bytes depend on."""

    def origin(case: splits.Case) -> list[object]:
        path = inventory.paths[case.image_id]
        return [case.image_id, patients[case.image_id], inventory.rows[case.image_id], *_stamp(path)]

    content = [[name, [origin(case) for case in cases]] for parts in plan.values() for name, cases in parts.items()]
    settings = [shards.SCHEMA_VERSION, config.image_size, config.encoding]
    return hashlib.sha256(json.dumps([settings, content]).encode()).hexdigest()


def _stamp(path: pathlib.Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _resume(directory: pathlib.Path, fingerprint: str) -> tuple[dict[str, shards.Shard], list[Rejected]]:
    """Return what an earlier run of this very conversion finished; remove what another one wrote here."""
    try:
        progress = json.loads((directory / _PROGRESS).read_text(encoding="utf-8"))
        written = {name: shards.Shard(**shard) for name, shard in progress["shards"].items()}
        rejected = [Rejected(*item) for item in progress["rejected"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}, []
    if progress["fingerprint"] != fingerprint:
        for name in written:
            (directory / name).unlink(missing_ok=True)
        return {}, []
    whole = {name: shard for name, shard in written.items() if shards.is_whole(directory / name, shard)}
    return whole, rejected
