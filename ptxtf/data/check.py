"""A record directory -> is it whole? What `tools.check_tfrecords` does: checksums, schema, counts, a contact sheet."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from ptxtf import files, pictures
from ptxtf.data import example, shards
from ptxtf.data.dataset import examples
from ptxtf.errors import InputError

_TILE = 256


@dataclasses.dataclass(frozen=True)
class SplitCount:
    """What was counted in one split's records."""

    images: int
    positives: int
    patients: int


def check(directory: pathlib.Path | str) -> dict[str, SplitCount]:
    """Read every record and compare with dataset.json; return the counts by split.

    Raises:
        InputError: a shard is missing or its bytes have changed, a record does not parse, counts differ, an image id
            stands twice, or a mask has other values than 0 and 1.
    """
    directory = pathlib.Path(directory)
    manifest = shards.read_manifest(directory, schema_version=example.SCHEMA_VERSION)
    seen: set[bytes] = set()
    counts = {}
    for split, parts in manifest.splits.items():
        for part in parts:
            _check_bytes(directory / part.name, part)
        counts[split] = _count(directory, split, seen)
        expected = (manifest.images(split), manifest.positives(split))
        if (counts[split].images, counts[split].positives) != expected:
            raise InputError(
                f"{directory}: expected {expected} images and positives in {split}. Received: {counts[split]}"
            )
    return counts


def contact_sheet(directory: pathlib.Path | str, *, count: int = 24) -> pathlib.Path:
    """Write contact_sheet.png, the first `count` images with their masks' outlines, and return its path."""
    manifest = shards.read_manifest(directory, schema_version=example.SCHEMA_VERSION)
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


def _count(directory: pathlib.Path, split: str, seen: set[bytes]) -> SplitCount:
    images = positives = 0
    patients = set()
    try:
        for case in examples(directory, split, full_mask=True).as_numpy_iterator():
            if case["image_id"] in seen:
                raise InputError(
                    f"{directory}: expected each image id once. Received: {case['image_id'].decode()} again"
                )
            values = np.unique(case["mask"])
            if not set(values) <= {0, 1} or (1 in values) != case["positive"]:
                raise InputError(
                    f"{directory}: expected a mask of 0 and 1 in {case['image_id'].decode()}. Received: {values}"
                )
            seen.add(case["image_id"])
            patients.add(case["patient"])
            images += 1
            positives += bool(case["positive"])
    except tf.errors.OpError as error:
        raise InputError(f"{directory}: expected readable records in {split}. Received: {error.message}") from None
    return SplitCount(images, positives, len(patients))
