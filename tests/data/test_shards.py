"""Shard files and dataset.json, whole and broken."""

import hashlib
import json

import pytest
import tensorflow as tf

from ptxtf.data import shards
from ptxtf.errors import InputError


def manifest(**changes) -> shards.Manifest:
    part = shards.Shard(name="train-00000-of-00001.tfrecord", images=3, positives=1, bytes=9, sha256="0")
    settings = {
        "schema_version": 3,
        "image_size": 64,
        "encoding": "raw",
        "splits": {"train": (part,), "val": (part, part)},
    }
    return shards.Manifest(**settings | changes)


def test_a_shard_holds_the_records_in_order_and_counts_them(tmp_path):
    path = tmp_path / "a.tfrecord"
    shard = shards.write_shard(path, iter([(b"one", True), (b"two", False), (b"three", True)]))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == [b"one", b"two", b"three"]
    assert (shard.name, shard.images, shard.positives) == ("a.tfrecord", 3, 2)
    assert shard.bytes == path.stat().st_size
    assert shard.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_shard_is_the_very_bytes_that_tensorflow_writes(tmp_path, rng):
    records = [b"", b"a", *(rng.bytes(size) for size in (1, 255, 70_000, 300_001))]
    shard = shards.write_shard(tmp_path / "ours", [(record, False) for record in records])
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert shard.bytes == (tmp_path / "theirs").stat().st_size


def test_a_shard_that_fails_half_way_leaves_nothing(tmp_path):
    def records():
        yield b"one", False
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError, match="disk gone"):
        shards.write_shard(tmp_path / "a.tfrecord", records())
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_comes_back_as_it_was(tmp_path):
    shards.write_manifest(tmp_path, manifest())
    assert shards.read_manifest(tmp_path) == manifest()


def test_counts_add_up_over_joined_splits():
    assert manifest().images("train+val") == 9
    assert manifest().positives("val") == 2


def test_an_unknown_split_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"expected a split of train, val\. Received: split='test'"):
        manifest().images("test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dataset.json: expected a record directory made by tools.make_tfrecords. Received: no such file"),
        ("{", "dataset.json: expected JSON"),
        ('{"schema_version": 99}', "expected schema_version 3; convert again .* Received: schema_version=99"),
        ("[]", "expected schema_version 3"),
        ('{"schema_version": 3, "splits": {}}', "expected the keys of a ptxtf data set"),
        ('{"schema_version": 3}', "expected the keys of a ptxtf data set"),
    ],
)
def test_a_broken_manifest_is_one_clear_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        shards.read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_shard_names_are_those_of_tensorflow_datasets():
    assert shards.shard_name("fold0", 3, 16) == "fold0-00003-of-00016.tfrecord"


def test_json_on_disk_is_plain(tmp_path):
    path = shards.write_manifest(tmp_path, manifest())
    assert json.loads(path.read_text())["splits"]["val"][1]["images"] == 3
