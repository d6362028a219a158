"""A record directory on disk: shard names, whole-or-not-at-all writing, and dataset.json.

    train-00000-of-00008.tfrecord … test-00007-of-00008.tfrecord, dataset.json, rejected.csv, noticed.csv

dataset.json (`Manifest`) says what the shards hold; a reader trusts nothing else.
"""

import dataclasses
import hashlib
import json
import re
import struct
from collections.abc import Iterable
from typing import Any

import google_crc32c

from ptxtf import files
from ptxtf.data.record import SCHEMA_VERSION
from ptxtf.errors import InputError

MANIFEST = "dataset.json"
CONTACT_SHEET = "contact_sheet.png"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard file: its name, number of records and positives, its size and the SHA-256 of its bytes."""

    name: str
    images: int
    positives: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What dataset.json holds.

    Attributes:
        schema_version: of the records.
        image_size: stored height and width in pixels; 0: each image has its own.
        encoding: "raw", "png" or "source".
        splits: the shards of each split.
        card: counts of labels, files, classes, patients, views, sizes, areas; what was left out and why.
        flags: the settings that made the records.
        versions: of the packages that made them.
    """

    schema_version: int
    image_size: int
    encoding: str
    splits: dict[str, tuple[Shard, ...]]
    card: dict[str, Any] = dataclasses.field(default_factory=dict)
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split, or of several: "fold1+fold2"."""
        names = split.split("+")
        if "" in names:
            raise InputError(f"expected a split, or several joined by +. Received: split={split!r}")
        if len(set(names)) < len(names):
            raise InputError(f"expected each split once. Received: split={split!r}")
        for name in names:
            if name not in self.splits:
                raise InputError(f"expected a split of {', '.join(self.splits)}. Received: split={name!r}")
        return tuple(shard for name in names for shard in self.splits[name])

    def folds(self) -> list[str]:
        """Return the splits fold0, fold1, … in their order; none where records were not made with --split=kfold."""
        found = (name for name in self.splits if re.fullmatch(r"fold\d+", name))
        return sorted(found, key=lambda name: int(name.removeprefix("fold")))

    def images(self, split: str) -> int:
        """Return the number of images in a split."""
        return sum(shard.images for shard in self.shards(split))

    def positives(self, split: str) -> int:
        """Return the number of images with a pneumothorax in a split."""
        return sum(shard.positives for shard in self.shards(split))


def shard_name(split: str, index: int, count: int) -> str:
    """Return the file name of shard `index` of `count`, as TensorFlow Datasets writes it."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(path: files.Path, records: Iterable[tuple[bytes, bool]]) -> Shard:
    """Write records to `path`, whole or not at all, and return what the manifest says of them.

    Args:
        path: the shard's final place.
        records: (serialized record, whether it is positive), in order.
    """
    images = positives = size = 0
    digest = hashlib.sha256()
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        for serialized, positive in records:
            for part in _frame(serialized):
                file.write(part)
                digest.update(part)
                size += len(part)
            images += 1
            positives += positive
    return Shard(name=path.name, images=images, positives=positives, bytes=size, sha256=digest.hexdigest())


def _frame(record: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what a TFRecord file holds of a record: its length, itself, and the checksum behind each.

    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
    """
    length = struct.pack("<Q", len(record))
    return length + _masked_checksum(length), record, _masked_checksum(record)


def _masked_checksum(content: bytes) -> bytes:
    """Return CRC-32C turned by 15 bits and added to, as a checksum of what holds checksums would tell little."""
    checksum = google_crc32c.value(content)
    turned = checksum >> 15 | checksum << 17
    return struct.pack("<I", (turned + 0xA282EAD8) & 0xFFFFFFFF)


def read_manifest(directory: files.Name) -> Manifest:
    """Read dataset.json.

    Raises:
        InputError: no such file, not readable as one, or of another schema version.
    """
    path = files.path(directory) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected a record directory made by tools.make_tfrecords. Received: no such file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected JSON. Received: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: expected schema_version {SCHEMA_VERSION}; convert again with this ptxtf. "
            f"Received: schema_version={version!r}"
        )
    try:
        splits = {name: tuple(Shard(**shard) for shard in shards) for name, shards in content.pop("splits").items()}
        manifest = Manifest(splits=splits, **content)
        _check_types(manifest)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected the keys of a ptxtf data set. Received: {error}") from None
    return manifest


def _check_types(manifest: Manifest) -> None:
    """Raise TypeError for values that no conversion writes."""
    parts = [part for parts in manifest.splits.values() for part in parts]
    numbers = [manifest.image_size, *(part.images for part in parts), *(part.positives for part in parts)]
    if not manifest.splits or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise TypeError("splits without whole numbers of images")
    if manifest.encoding not in ("raw", "png", "source") or any("/" in part.name for part in parts):
        raise TypeError("another encoding, or shards in another folder")


def write_manifest(directory: files.Name, manifest: Manifest) -> files.Path:
    """Write dataset.json and return its path."""
    path = files.path(directory) / MANIFEST
    files.write_json(path, dataclasses.asdict(manifest))
    return path


def is_whole(path: files.Path, shard: Shard) -> bool:
    """Return whether the shard's file is there with the very bytes that were written."""
    return path.is_file() and sha256(path) == shard.sha256


def sha256(path: files.Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
