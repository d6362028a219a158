"""The same phantoms stored twice over: as ptxtf's records, and as the plain files that the peers read."""

import dataclasses
import pathlib
from typing import Literal

import numpy as np
import tensorflow as tf

from ptxtf import files
from ptxtf.data import example, record, shards
from tools.benchmark import convert, films
from tools.benchmark.settings import BenchmarkConfig

_FILMS = 320
"""Many, as an epoch of few would be mostly its beginning."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """One stored form.

    Attributes:
        encoding: "raw": pixels at the size that the network sees; "source": the radiographs' own JPEG streams.
        records: record directory.
        images: a file for each image: .npy, uint8 [H, W, 1], or .jpg.
        masks: a .npy for each mask, uint8 [H, W, 1] of {0, 1} at the size that the network sees.
    """

    encoding: Literal["raw", "source"]
    records: pathlib.Path
    images: list[str]
    masks: list[str]


def write(folder: pathlib.Path, config: BenchmarkConfig) -> list[Stored]:
    """Write both forms of the same phantoms."""
    convert.write_many_films(folder / "films", max(config.batch_size, min(config.files, _FILMS)))
    return [_write(folder, "raw", config), _write(folder, "source", config)]


def _write(folder: pathlib.Path, encoding: Literal["raw", "source"], config: BenchmarkConfig) -> Stored:
    records = folder / encoding
    films.convert_films(folder / "films", records, config, encoding=encoding, workers=config.workers)
    plain = folder / f"{encoding}-files"
    plain.mkdir()
    stored = Stored(encoding, records, [], [])
    paths = [str(files.path(records) / shard.name) for shard in shards.read_manifest(records).shards("train")]
    for number, serialized in enumerate(tf.data.TFRecordDataset(paths)):
        case = example.parse(serialized, encoding=encoding, image_size=config.image_size)
        mask = plain / f"{number:04d}_mask.npy"
        np.save(mask, case["mask"].numpy())
        image = plain / f"{number:04d}.{'npy' if encoding == 'raw' else 'jpg'}"
        if encoding == "raw":
            np.save(image, case["image"].numpy())
        else:
            image.write_bytes(_stream(serialized))
        stored.images.append(str(image))
        stored.masks.append(str(mask))
    return stored


def _stream(serialized: tf.Tensor) -> bytes:
    """Return the JPEG stream that a record holds."""
    name = record.image_feature("source")
    return tf.io.parse_single_example(serialized, {name: tf.io.FixedLenFeature([], tf.string)})[name].numpy()
