"""The check notices each kind of damage, and counts as counted by hand."""

import json

import numpy as np
import pytest

from ptxtf.data import annotations, example, shards
from ptxtf.data.check import check, contact_sheet
from ptxtf.errors import InputError


def record(image_id, *, patient="p", positive=False) -> tuple[bytes, bool]:
    mask = np.full((8, 8), positive, np.uint8)
    content = example.Record(
        image=bytes(64),
        image_size=(8, 8),
        mask=example.pack_mask(mask),
        original_size=(8, 8),
        image_id=image_id,
        patient=patient,
        spacing_mm=(1.0, 1.0),
        view_position="PA",
    )
    return example.serialize(content), positive


def write(directory, **records):
    splits = {
        name: (shards.write_shard(directory / shards.shard_name(name, 0, 1), rows),) for name, rows in records.items()
    }
    shards.write_manifest(directory, shards.Manifest(shards.SCHEMA_VERSION, 8, "raw", splits))


def test_counts_are_those_of_the_labels(records, phantoms):
    rows = annotations.read(phantoms / "train-rle.csv")
    counts = check(records)
    assert sum(count.images for count in counts.values()) == len(rows)
    assert sum(count.positives for count in counts.values()) == sum(bool(row) for row in rows.values())
    assert sum(count.patients for count in counts.values()) == len(
        set(annotations.read_patient_map(phantoms / "patient-map.csv").values())
    )


def test_patients_in_two_splits_are_counted(tmp_path):
    write(
        tmp_path,
        train=[record("a", patient="1"), record("b", patient="2")],
        test=[record("c", patient="2", positive=True), record("d", patient="3")],
    )
    counts = check(tmp_path)
    assert (counts["train"].shared_patients, counts["test"].shared_patients) == (0, 1)
    assert (counts["test"].images, counts["test"].positives, counts["test"].patients) == (2, 1, 2)


def test_an_image_that_stands_twice_is_noticed(tmp_path):
    write(tmp_path, train=[record("a")], test=[record("a")])
    with pytest.raises(InputError, match="expected each image id once"):
        check(tmp_path)


def test_a_wrong_count_is_noticed(tmp_path):
    write(tmp_path, train=[record("a"), record("b", positive=True)])
    content = json.loads((tmp_path / "dataset.json").read_text())
    content["splits"]["train"][0]["positives"] = 2
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"expected \(2, 2\) images and positives in train. Received: \(2, 1\)"):
        check(tmp_path)


def test_a_record_that_does_not_parse_is_noticed(tmp_path):
    write(tmp_path, train=[(b"no record", False)])
    with pytest.raises(InputError, match=r"expected readable records in train\. Received: ") as caught:
        check(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_contact_sheet_is_a_picture(records):
    path = contact_sheet(records, count=5)
    assert path.read_bytes().startswith(b"\x89PNG")
