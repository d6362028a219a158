"""Disk -> host batches: DICOM files and label tables become records, records become batches.

| module        | from                      | to                                                       |
|---------------|---------------------------|----------------------------------------------------------|
| dicom         | one DICOM file            | `Radiograph`: uint8 pixels, bright = dense               |
| dicom_*       | its bytes                 | the elements that are wanted, and what they say          |
| dicom_results | a mask or a picture       | a DICOM object in the radiograph's study                 |
| tfio          | one frame of it           | stored values, by tensorflow-io (`--decoder=tfio`)       |
| grey          | stored values             | grey levels as a viewing station shows them              |
| spacing       | what a file says of it    | the spacing for lengths, and how far to trust it         |
| images        | one PNG or JPEG file      | uint8 pixels, or a mask of {0, 1} (jpeg, png: its bytes) |
| rle           | SIIM run-length text      | uint8 mask of {0, 1}, and back                           |
| annotations   | csv                       | {image id: run-length rows}; {image id: patient}         |
| inventory     | folders and csv           | cases that can be used, and notes of what cannot         |
| splits        | cases                     | named splits: by patient, k-fold, the study's own        |
| source        | one file and its label    | one record, in a worker process                          |
| record        | encoded image and mask    | a record's bytes (deflate: those of the mask)            |
| shards        | records                   | shard files and dataset.json                             |
| example       | a record's bytes          | tensors, in a graph                                      |
| card, tfds    | facts, dataset.json       | what a data card and TensorFlow Datasets need            |
| convert       | folders and csv           | a record directory: all of the above in order            |
| workers       | a function and items      | results in order, by worker processes                    |
| check         | a record directory        | its counts, or what is wrong with it; a contact sheet    |
| dataset       | a record directory        | tf.data of examples and batches (uint8, on the host)     |
| served        | its parts                 | the same batches, made by `python -m ptxtf.data.service` |
| phantom       | a seed                    | synthetic radiographs (with phantom_anatomy, _film, …)   |

Modules load when first used: nothing here needs TensorFlow, pydicom or OpenCV until it is asked for.
"""

import importlib
from typing import Any

__all__ = [
    "annotations",
    "check",
    "convert",
    "dataset",
    "dicom",
    "example",
    "examples",
    "images",
    "inventory",
    "phantom",
    "record",
    "rle",
    "shards",
    "spacing",
    "splits",
    "tfio",
]


def __getattr__(name: str) -> Any:
    if name == "examples":
        return importlib.import_module("ptxtf.data.dataset").examples
    if name in __all__:
        return importlib.import_module(f"ptxtf.data.{name}")
    raise AttributeError(f"module 'ptxtf.data' has no attribute {name!r}")
