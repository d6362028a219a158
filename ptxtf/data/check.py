"""A record directory -> is it whole? And a contact sheet, so that a person sees what is in it.

    dataset.json ─► checksum of each shard ─► each record: schema, sizes, mask, ids ─► counts and tiles ─► contact sheet

What `tools.check_tfrecords` does, in one pass over the records. No image is kept but the few that the sheet shows; what
grows with the number of records are their ids.
"""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from ptxtf import files, pictures
from ptxtf.data import example, shards
from ptxtf.errors import InputError

_COLUMNS = 6
"""Tiles in a row of the sheet: as many positives, and as many healthy ones, of each split."""

_TILE = 256
_TENSORFLOW_NOISE = re.compile(r"\{\{.*?\}\}\s*|\s*\[(\[.*?\]\]|Op:\w+\])(?: name:.*)?", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class SplitCount:
    """What was counted in one split's records."""

    images: int
    positives: int
    patients: int
    shared_patients: int
    """Patients who stand in a split before this one, too."""


@dataclasses.dataclass(frozen=True, eq=False)
class Checked:
    """What `check` found in a record directory that is whole, and what `contact_sheet` draws of it."""

    directory: files.Path
    manifest: shards.Manifest
    counts: Mapping[str, SplitCount]
    tiles: Mapping[str, tuple[pictures.Tile, ...]]
    """Of each split a few positives, largest first, and a few healthy ones."""


def check(directory: files.Name) -> Checked:
    """Read every record and compare it with dataset.json.

    Args:
        directory: record directory made by tools.make_tfrecords.

    Returns:
        `Checked`.

    Raises:
        InputError: a shard is missing or its bytes have changed; a record does not parse, is of another size than
            dataset.json says, has an impossible spacing, no ids, or a mask that contradicts its class; counts differ;
            an image id stands twice. It names the shard, and the record by its number from 1.

    Example:
        >>> check("tfrecords").counts["test"]
        SplitCount(images=1068, positives=534, patients=903, shared_patients=0)
    """
    directory = files.path(directory)
    manifest = shards.read_manifest(directory)
    image_ids: set[bytes] = set()
    patients: set[bytes] = set()
    counts, tiles = {}, {}
    images = sum(map(manifest.images, manifest.splits))
    with tqdm.tqdm(total=images, desc="checking", unit="record", disable=None) as bar:
        for split, parts in manifest.splits.items():
            here: set[bytes] = set()
            positive: _Sample = {}
            healthy: _Sample = {}
            for case in itertools.chain.from_iterable(_read(directory, part, manifest, image_ids) for part in parts):
                here.add(case["patient"])
                _keep_a_few(positive if case["positive"] else healthy, case)
                bar.update()
            counts[split] = SplitCount(
                manifest.images(split), manifest.positives(split), len(here), shared_patients=len(here & patients)
            )
            tiles[split] = (*_by_area(positive), *_by_area(healthy))
            patients |= here
    return Checked(directory, manifest, counts, tiles)


def contact_sheet(checked: Checked) -> files.Path:
    """Write contact_sheet.png, a few radiographs of each split with their masks' outlines, and return its path."""
    counts, manifest = checked.counts, checked.manifest
    size = f"{manifest.image_size} × {manifest.image_size}" if manifest.image_size else "each at its own size"
    parts = sum(len(parts) for parts in manifest.splits.values())
    drawn = pictures.contact_sheet(
        _counted(sum(count.images for count in counts.values()), sum(count.positives for count in counts.values())),
        f"{checked.directory.resolve().name}  ·  {size}, {manifest.encoding}  ·  {parts} shards, all whole",
        [
            pictures.Section(
                heading=f"{split}: {_counted(count.images, count.positives)}",
                note=f"{count.patients:,} patients"
                + (f", {count.shared_patients:,} of them in a split above, too" if count.shared_patients else ""),
                tiles=checked.tiles[split],
                is_warning=count.shared_patients > 0,
            )
            for split, count in counts.items()
        ],
        columns=_COLUMNS,
        size=_TILE,
    )
    path = checked.directory / shards.CONTACT_SHEET
    files.write_bytes(path, pictures.png(drawn))
    return path


def _read(
    directory: files.Path, shard: shards.Shard, manifest: shards.Manifest, image_ids: set[bytes]
) -> Iterator[dict[str, Any]]:
    """Yield one shard's examples, image as stored and mask at its original size, each of them checked.

    Their image ids are added to `image_ids`, where none of them may stand.
    """
    path = directory / shard.name
    _check_bytes(path, shard)
    parse = functools.partial(example.parse, encoding=manifest.encoding, full_mask=True)
    records = tf.data.TFRecordDataset(str(path)).map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    images = positives = 0
    try:
        for case in records.as_numpy_iterator():
            images += 1
            positives += int(case["positive"])
            for problem in _problems(case, manifest.image_size, image_ids):
                raise InputError(f"{path}: record {images}: {problem}")
            image_ids.add(case["image_id"])
            yield case
    except tf.errors.OpError as error:
        reason = _TENSORFLOW_NOISE.sub("", error.message)
        raise InputError(f"{path}: record {images + 1}: expected one that can be read. Received: {reason}") from None
    if (images, positives) != (shard.images, shard.positives):
        expected = f"expected {shard.images} images, {shard.positives} positive"
        raise InputError(f"{path}: {expected}, as dataset.json says. Received: {images} and {positives}")


def _check_bytes(path: files.Path, shard: shards.Shard) -> None:
    if not path.is_file():
        raise InputError(f"{path}: expected a shard that dataset.json lists. Received: no such file")
    digest = shards.sha256(path)
    if digest != shard.sha256:
        raise InputError(f"{path}: expected SHA-256 {shard.sha256}. Received: {digest}")


def _problems(case: Mapping[str, Any], image_size: int, image_ids: Container[bytes]) -> Iterator[str]:
    """Yield what is wrong with an example."""
    if not case["image_id"] or not case["patient"]:
        yield f"expected an image id and a patient. Received: {case['image_id']!r}, {case['patient']!r}"
    if case["image_id"] in image_ids:
        yield f"expected each image id once. Received: {_text(case['image_id'])} again"
    stored, original = case["image"].shape[:2], tuple(case["original_size"].tolist())
    expected = (image_size, image_size) if image_size else original
    if stored != expected:
        yield f"expected an image of {expected[0]} x {expected[1]} pixels. Received: {stored[0]} x {stored[1]}"
    if case["mask"].max() > 1:
        yield f"expected a mask of 0 and 1. Received: {case['mask'].max()}"
    if case["mask"].any() != case["positive"]:
        yield f"expected a mask that is empty in healthy images only. Received: positive={case['positive']}"
    steps = case["spacing_mm"]
    if not np.isnan(steps).all() and not (np.isfinite(steps).all() and (steps > 0).all()):
        yield f"expected a spacing above 0 mm, or none. Received: spacing_mm={steps.tolist()}"


_Sample = dict[str, tuple[float, pictures.Tile]]
"""Digest of an image id -> the mask's share of the image, and the tile."""


def _keep_a_few(sample: _Sample, case: Mapping[str, Any]) -> None:
    """Add an example to the sample, or not: those with the lowest digests stay, whatever order they come in."""
    digest = hashlib.sha256(case["image_id"]).hexdigest()
    if len(sample) < _COLUMNS or digest < max(sample):
        sample[digest] = (float(case["mask"].mean()), _tile(case))
    if len(sample) > _COLUMNS:
        del sample[max(sample)]


def _by_area(sample: _Sample) -> list[pictures.Tile]:
    """Return the tiles, largest mask first, in an order that is the same for the same sample."""
    return [tile for _, (_, tile) in sorted(sample.items(), key=lambda item: (-item[1][0], item[0]))]


def _tile(case: Mapping[str, Any]) -> pictures.Tile:
    image, mask = case["image"][..., 0], case["mask"][..., 0]
    area_px, (height, width), spacing = int(mask.sum()), mask.shape, case["spacing_mm"]
    facts = [_text(case["view_position"]), f"{height} × {width}", "" if np.isnan(spacing).any() else _mm(spacing)]
    return pictures.Tile(
        picture=pictures.overlay(pictures.fit(image, mask.shape, _TILE), mask=mask),
        heading=f"pneumothorax {_percent(area_px / mask.size)}" if area_px else "healthy",
        note="  ·  ".join(fact for fact in facts if fact) + f"\n{_shortened(_text(case['image_id']))}",
        is_marked=area_px > 0,
    )


def _counted(images: int, positives: int) -> str:
    share = f" ({_percent(positives / images)})" if images else ""
    return f"{images:,} radiographs, {positives:,} with pneumothorax{share}"


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:#.2g} %"


def _mm(spacing: np.ndarray) -> str:
    return f"{spacing[0]:.3g} mm" if spacing[0] == spacing[1] else f"{spacing[0]:.3g} × {spacing[1]:.3g} mm"


def _shortened(image_id: str, length: int = 30) -> str:
    """Return the end of a long id, which tells more than its beginning."""
    return image_id if len(image_id) <= length else f"…{image_id[1 - length :].lstrip('.')}"
