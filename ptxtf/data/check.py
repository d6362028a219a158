"""A record directory -> is it whole? What `tools.check_tfrecords` does: checksums, schema, counts, a contact sheet."""

import dataclasses
import pathlib
from typing import Any

import tensorflow as tf

from ptxtf import files, pictures
from ptxtf.data import shards
from ptxtf.data.dataset import examples
from ptxtf.errors import InputError

_TILE = 256


@dataclasses.dataclass(frozen=True)
class SplitCount:
    """What was counted in one split's records."""

    images: int
    positives: int
    patients: int
    shared_patients: int
    """Patients who stand in a split before this one, too."""


def check(directory: pathlib.Path | str) -> dict[str, SplitCount]:
    """Read every record and compare with dataset.json; return the counts by split.

    Raises:
        InputError: a shard is missing or its bytes have changed, a record does not parse, counts differ, or an image id
            stands twice.
    """
    directory = pathlib.Path(directory)
    manifest = shards.read_manifest(directory)
    images: set[bytes] = set()
    patients: set[bytes] = set()
    counts = {}
    for split, parts in manifest.splits.items():
        for part in parts:
            _check_bytes(directory / part.name, part)
        found = _read(directory, split)
        ids = {case["image_id"] for case in found}
        if len(ids) < len(found) or ids & images:
            raise InputError(f"{directory}: expected each image id once. Received: one twice, in {split}")
        here = {case["patient"] for case in found}
        positives = sum(bool(case["positive"]) for case in found)
        counts[split] = SplitCount(len(found), positives, len(here), len(here & patients))
        expected = (manifest.images(split), manifest.positives(split))
        if (len(found), positives) != expected:
            raise InputError(
                f"{directory}: expected {expected} images and positives in {split}. Received: {(len(found), positives)}"
            )
        images |= ids
        patients |= here
    return counts


def contact_sheet(directory: pathlib.Path | str, *, count: int = 24) -> pathlib.Path:
    """Write contact_sheet.png, the first `count` images with their masks' outlines, and return its path."""
    manifest = shards.read_manifest(directory)
    splits = "+".join(manifest.splits)
    drawn = [
        pictures.overlay(case["image"][..., 0], mask=case["mask"][..., 0])
        for case in examples(directory, splits, image_size=_TILE).take(count).as_numpy_iterator()
    ]
    path = pathlib.Path(directory) / "contact_sheet.png"
    files.write_bytes(path, pictures.png(pictures.sheet(drawn, columns=6)))
    return path


def _check_bytes(path: pathlib.Path, shard: shards.Shard) -> None:
    if not path.is_file():
        raise InputError(f"{path}: expected a shard that dataset.json lists. Received: no such file")
    digest = shards.sha256(path)
    if digest != shard.sha256:
        raise InputError(f"{path}: expected SHA-256 {shard.sha256}. Received: {digest}")


def _read(directory: pathlib.Path, split: str) -> list[dict[str, Any]]:
    """Decode every record of a split; return ids, patients and classes."""
    found = []
    try:
        for case in examples(directory, split, full_mask=True).as_numpy_iterator():
            if case["mask"].any() != case["positive"]:
                raise InputError(f"{directory}: expected a mask in {case['image_id'].decode()}. Received: an empty one")
            found.append({name: case[name] for name in ("image_id", "patient", "positive")})
    except tf.errors.OpError as error:
        raise InputError(f"{directory}: expected readable records in {split}. Received: {error.message}") from None
    return found
