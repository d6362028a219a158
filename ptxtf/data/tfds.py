"""Manifest -> the two files by which TensorFlow Datasets opens a record directory, without ptxtf.

    tfds.builder_from_directory("tfrecords").as_dataset(split="train")

yields image uint8 [H, W, 1], mask uint8 [H, W, 1] of {0, 1} at the original size, positive, image_id, patient,
spacing_mm, view_position, sex, age_years. Written by hand, as the package is large and needed for nothing else:
features.json and dataset_info.json are the JSON forms of its FeaturesDict and of its DatasetInfo protocol buffer (TFDS
4.9).
"""

from typing import Any

from ptxtf import files
from ptxtf.data.shards import Manifest

FEATURES, INFO = NAMES = "features.json", "dataset_info.json"

_CLASSES = "tensorflow_datasets.core.features"
_PIXELS = {"dimensions": ["-1", "-1", "1"]}


def write_description(directory: files.Path, manifest: Manifest) -> None:
    """Write features.json and dataset_info.json."""
    files.write_json(directory / FEATURES, _features(manifest.encoding))
    files.write_json(directory / INFO, _info(manifest))


def _features(encoding: str) -> dict[str, Any]:
    image = _tensor(_PIXELS, "uint8", "bytes") if encoding == "raw" else _image()
    text = {"pythonClassName": f"{_CLASSES}.text_feature.Text", "text": {}}
    features = {
        "image": image,
        "mask": _tensor(_PIXELS, "uint8", "zlib"),
        "positive": _tensor({}, "bool", "none", name="scalar.Scalar"),
        "image_id": text,
        "patient": text,
        "spacing_mm": _tensor({"dimensions": ["2"]}, "float32", "none"),
        "view_position": text,
        "sex": text,
        "age_years": _tensor({}, "float32", "none", name="scalar.Scalar"),
    }
    return {
        "type": f"{_CLASSES}.features_dict.FeaturesDict",
        "content": {"features": features},
        "proto_cls": "tensorflow_datasets.FeaturesDict",
    }


def _tensor(shape: dict[str, Any], dtype: str, encoding: str, *, name: str = "tensor_feature.Tensor") -> dict[str, Any]:
    return {"pythonClassName": f"{_CLASSES}.{name}", "tensor": {"shape": shape, "dtype": dtype, "encoding": encoding}}


def _image() -> dict[str, Any]:
    return {"pythonClassName": f"{_CLASSES}.image_feature.Image", "image": {"shape": _PIXELS, "dtype": "uint8"}}


def _info(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": "ptxtf",
        "description": "Chest radiographs with pneumothorax masks; dataset.json says how they were made.",
        "version": f"{manifest.schema_version}.0.0",
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": split,
                "shardLengths": [str(part.images) for part in parts],
                "numBytes": str(sum(part.bytes for part in parts)),
                "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
            }
            for split, parts in manifest.splits.items()
        ],
    }
