"""TensorFlow Datasets itself opens our record directories, and yields what ptxtf yields."""

import json

import numpy as np
import pytest
import tensorflow_datasets

import ptxtf
from ptxtf.data import convert


def as_tfds_reads(directory, split):
    builder = tensorflow_datasets.builder_from_directory(str(directory))
    dataset = builder.as_dataset(split=split, decoders=None, shuffle_files=False)
    return {case["image_id"]: case for case in dataset.as_numpy_iterator()}


def as_we_read(directory, split):
    cases = ptxtf.data.examples(directory, split, full_mask=True).as_numpy_iterator()
    return {case["image_id"]: case for case in cases}


@pytest.mark.parametrize(
    ("encoding", "image_size", "tolerance"),
    [
        ("raw", 64, 0),
        ("raw", 0, 0),
        ("png", 64, 0),
        ("source", 0, 10),
    ],  # TFDS lets libjpeg be fast and coarse
)
def test_tfds_yields_image_mask_and_metadata(conversion, encoding, image_size, tolerance):
    done = convert.convert(conversion(encoding=encoding, image_size=image_size))
    for split in ("train", "val", "test"):
        theirs, ours = as_tfds_reads(done.directory, split), as_we_read(done.directory, split)
        assert theirs.keys() == ours.keys()
        assert theirs
        for image_id, case in theirs.items():
            mine = ours[image_id]
            difference = np.abs(case["image"].astype(int) - mine["image"])
            assert difference.max() <= tolerance
            np.testing.assert_array_equal(case["mask"], mine["mask"])
            np.testing.assert_array_equal(case["spacing_mm"], mine["spacing_mm"])
            assert case["age_years"] >= 16
            same = ("patient", "view_position", "positive", "sex", "age_years")
            assert [case[name] for name in same] == [mine[name] for name in same]


def test_tfds_knows_splits_and_sizes(records):
    info = tensorflow_datasets.builder_from_directory(str(records)).info
    manifest = ptxtf.data.shards.read_manifest(records)
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        name: manifest.images(name) for name in manifest.splits
    }
    assert info.splits["train"].num_bytes == sum(
        (records / part.name).stat().st_size for part in manifest.shards("train")
    )


def test_tfds_slices_across_shards(records):
    whole = list(as_tfds_reads(records, "train"))
    assert list(as_tfds_reads(records, "train[:4]")) + list(as_tfds_reads(records, "train[4:]")) == whole


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_the_description_is_the_one_that_tfds_writes(conversion, encoding):
    features = tensorflow_datasets.features
    image = (
        features.Tensor(shape=(None, None, 1), dtype=np.uint8, encoding="bytes")
        if encoding == "raw"
        else features.Image(shape=(None, None, 1))
    )
    theirs = features.FeaturesDict(
        {
            "image": image,
            "mask": features.Tensor(shape=(None, None, 1), dtype=np.uint8, encoding="zlib"),
            "positive": features.Scalar(np.bool_),
            "image_id": features.Text(),
            "patient": features.Text(),
            "spacing_mm": features.Tensor(shape=(2,), dtype=np.float32),
            "view_position": features.Text(),
            "sex": features.Text(),
            "age_years": features.Scalar(np.float32),
        }
    )
    done = convert.convert(conversion(encoding=encoding))
    assert json.loads((done.directory / "features.json").read_text()) == theirs.to_json()


def test_a_shard_that_lost_all_its_files_is_no_trouble(conversion, phantoms, tmp_path):
    """Every record of a shard may turn out unreadable; the shard stays, empty."""
    films = tmp_path / "films"
    films.mkdir()
    for number, source in enumerate(sorted((phantoms / "dicom").rglob("*.dcm"))):
        content = source.read_bytes()
        (films / source.name).write_bytes(content if number < 3 else content[:-2000])
    done = convert.convert(conversion(dicom_dir=str(films), balance=0, num_shards=24, fractions=(1.0, 0.0, 0.0)))
    assert done.manifest.images("train") == 3
    assert sum(part.images == 0 for part in done.manifest.shards("train")) == 21
    assert as_tfds_reads(done.directory, "train").keys() == as_we_read(done.directory, "train").keys()
