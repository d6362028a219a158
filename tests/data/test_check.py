"""The check counts as counted by hand and notices each kind of damage; the contact sheet shows what it says."""

import dataclasses
import json
import re
import zlib

import cv2
import numpy as np
import pytest

from ptxtf import pictures
from ptxtf.data import annotations, shards
from ptxtf.data import record as schema
from ptxtf.data.check import check, contact_sheet
from ptxtf.errors import InputError


def record(image_id, *, area_px=0, size=8, original_size=(8, 8), encoding="raw", image=None, **changes):
    """Return one record and whether it is positive; its mask's first `area_px` pixels are set."""
    mask = np.zeros(original_size, np.uint8)
    mask.flat[:area_px] = 1
    content = schema.Record(
        image=bytes(size * size) if image is None else image,
        image_size=(size, size),
        mask=zlib.compress(mask.tobytes()),
        original_size=original_size,
        positive=area_px > 0,
        image_id=image_id,
        patient="p",
        spacing_mm=(1.0, 1.0),
        view_position="PA",
        sex="F",
        age_years=29.0,
    )
    content = dataclasses.replace(content, **changes)
    return schema.serialize(content, encoding=encoding), content.positive


def write(directory, *, image_size=8, encoding="raw", **records):
    splits = {
        name: (shards.write_shard(directory / shards.shard_name(name, 0, 1), rows),) for name, rows in records.items()
    }
    shards.write_manifest(directory, shards.Manifest(shards.SCHEMA_VERSION, image_size, encoding, splits))


def test_counts_are_those_of_the_labels(records, phantoms):
    rows = annotations.read(phantoms / "train-rle.csv")
    counts = check(records).counts
    assert sum(count.images for count in counts.values()) == len(rows)
    assert sum(count.positives for count in counts.values()) == sum(bool(row) for row in rows.values())
    assert sum(count.patients for count in counts.values()) == len(
        set(annotations.read_map(phantoms / "patient-map.csv").patients.values())
    )


def test_patients_in_two_splits_are_counted(tmp_path):
    write(
        tmp_path,
        train=[record("a", patient="1"), record("b", patient="2")],
        val=[record("e", patient="4")],
        test=[record("c", patient="2", area_px=3), record("d", patient="3"), record("f", patient="4")],
    )
    counts = check(tmp_path).counts
    assert [count.shared_patients for count in counts.values()] == [0, 0, 2]
    assert (counts["test"].images, counts["test"].positives, counts["test"].patients) == (3, 1, 3)


def test_an_image_that_stands_twice_is_noticed(tmp_path):
    write(tmp_path, train=[record("a")], test=[record("a")])
    with pytest.raises(InputError, match=r"test-\S+: record 1: expected each image id once\. Received: a again"):
        check(tmp_path)


def change_manifest(directory, **changes):
    content = json.loads((directory / "dataset.json").read_text())
    content["splits"]["train"][0].update(changes)
    (directory / "dataset.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positives": 2}, "expected 2 images, 2 positive, as dataset.json says. Received: 2 and 1"),
        ({"images": 3}, "expected 3 images, 1 positive, as dataset.json says. Received: 2 and 1"),
        ({"images": 1}, "expected 1 images, 1 positive, as dataset.json says. Received: 2 and 1"),
        ({"sha256": "0" * 64}, f"expected SHA-256 {'0' * 64}. Received: "),
        ({"name": "train-00001-of-00002.tfrecord"}, "expected a shard that dataset.json lists. Received: no such file"),
    ],
)
def test_a_shard_other_than_dataset_json_says_is_noticed(changes, message, tmp_path):
    write(tmp_path, train=[record("a"), record("b", area_px=5)])
    change_manifest(tmp_path, **changes)
    with pytest.raises(InputError, match=re.escape(message)):
        check(tmp_path)


def test_records_cut_off_are_noticed_even_if_the_checksum_is_right(tmp_path):
    write(tmp_path, train=[record("a"), record("b")])
    path = tmp_path / "train-00000-of-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-5])
    change_manifest(tmp_path, sha256=shards.sha256(path))
    with pytest.raises(InputError, match=r"tfrecord: record 2: expected one that can be read\. Received: truncated"):
        check(tmp_path)


PNG_OF_9 = cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes()
HALF_DEFLATED = zlib.compress(np.random.default_rng(0).bytes(64))[:40]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((b"no record", False), "expected one that can be read. Received: "),
        (record("b", image=bytes(63)), "expected one that can be read. Received: "),
        (record("b", area_px=3, mask=HALF_DEFLATED), "expected one that can be read. Received: "),
        (record("b", size=9), "expected an image of 8 x 8 pixels. Received: 9 x 9"),
        (
            record("b", area_px=3, positive=True, mask=zlib.compress(bytes(64))),
            "healthy images only. Received: positive=True",
        ),
        (record("b", mask=zlib.compress(bytes([1] * 64))), "healthy images only. Received: positive=False"),
        (record("b", area_px=3, mask=zlib.compress(bytes([255] * 64))), "expected a mask of 0 and 1. Received: 255"),
        (record("b", spacing_mm=(1.0, 0.0)), "expected a spacing above 0 mm, or none. Received: spacing_mm=[1.0, 0.0]"),
        (record("b", spacing_mm=(-1.0, 1.0)), "expected a spacing above 0 mm"),
        (record("b", spacing_mm=(float("nan"), 1.0)), "expected a spacing above 0 mm"),
        (record("b", spacing_mm=(float("inf"), 1.0)), "expected a spacing above 0 mm"),
        (record(""), "expected an image id and a patient. Received: b'', b'p'"),
        (record("b", patient=""), "expected an image id and a patient. Received: b'b', b''"),
    ],
)
def test_a_bad_record_is_named(bad, message, tmp_path):
    write(tmp_path, train=[record("a"), bad])
    with pytest.raises(InputError) as caught:
        check(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'train-00000-of-00001.tfrecord'}: record 2: expected ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "{{" not in str(caught.value)


def test_an_unknown_spacing_is_no_fault(tmp_path):
    write(tmp_path, train=[record("a", spacing_mm=(float("nan"), float("nan")))])
    assert check(tmp_path).counts["train"].images == 1


def test_images_of_their_own_sizes_must_have_them(tmp_path):
    good = record("a", size=9, original_size=(9, 9), image=PNG_OF_9, encoding="png")
    write(tmp_path, image_size=0, encoding="png", train=[good])
    assert check(tmp_path).counts["train"].images == 1
    bad = record("a", size=9, original_size=(8, 9), image=PNG_OF_9, encoding="png")
    write(tmp_path, image_size=0, encoding="png", train=[bad])
    with pytest.raises(InputError, match=r"record 1: expected an image of 8 x 9 pixels\. Received: 9 x 9"):
        check(tmp_path)


def test_a_few_of_each_class_and_split_are_shown_whatever_their_order(tmp_path):
    positives = [record(f"p{area}", area_px=area) for area in range(1, 11)]
    healthy = [record(f"h{number}") for number in range(9)]
    write(tmp_path, train=[*positives, *healthy], test=[record("x")])
    tiles = check(tmp_path).tiles
    assert [tile.heading for tile in tiles["test"]] == ["healthy"]
    assert [tile.is_marked for tile in tiles["train"]] == [True] * 6 + [False] * 6
    shares = [float(re.fullmatch(r"pneumothorax ([\d.]+) %", tile.heading)[1]) for tile in tiles["train"][:6]]
    assert shares == sorted(shares, reverse=True)
    for tile in tiles["train"][:6]:  # "p7" has 7 of 64 pixels
        area = int(tile.note.rpartition("p")[2])
        assert tile.heading == f"pneumothorax {f'{100 * area / 64:.1f}' if area < 7 else round(100 * area / 64)} %"
    write(tmp_path, train=[*healthy[::-1], *positives[::-1]], test=[record("x")])
    assert [tile.note for tile in check(tmp_path).tiles["train"]] == [tile.note for tile in tiles["train"]]


def test_a_tile_says_what_is_known(tmp_path):
    long = "1.2.826.0.1.3680043.8.498.10000000000.20000.3000000000.400000"
    known = record(long, original_size=(16, 12), size=8, spacing_mm=(0.143, 0.168), view_position="AP")
    unknown = record("b", spacing_mm=(float("nan"), float("nan")), view_position="")
    write(tmp_path, train=[known], test=[unknown])
    tiles = check(tmp_path).tiles
    assert tiles["test"][0].note == "8 × 8\nb"
    first, second = tiles["train"][0].note.split("\n")
    assert first == "AP  ·  16 × 12  ·  0.143 × 0.168 mm"
    assert second.startswith("…")
    assert long.endswith(second[1:])
    assert tiles["train"][0].picture.shape == (256, 192, 3)  # the original's aspect, not the stored square's


def test_the_contact_sheet_shows_the_outlines(records, monkeypatch):
    drawn = {}
    monkeypatch.setattr(pictures, "contact_sheet", lambda *args, **given: drawn.update(args=args, given=given) or BLACK)
    checked = check(records)
    path = contact_sheet(checked)
    assert path == records / "contact_sheet.png"
    title, note, sections = drawn["args"]
    assert title == "24 radiographs, 12 with pneumothorax (50 %)"
    assert "64 × 64, raw" in note
    assert [section.heading.partition(":")[0] for section in sections] == ["train", "val", "test"]
    assert not any(section.is_warning for section in sections)
    for section in sections:
        for tile in section.tiles:
            is_blue = np.abs(tile.picture.astype(int) - pictures.TRUTH).max(axis=2) < 40
            assert is_blue.any() == tile.is_marked


BLACK = np.zeros((4, 4, 3), np.uint8)


def test_the_contact_sheet_is_a_picture_of_all_tiles(records):
    picture = cv2.imdecode(np.frombuffer(contact_sheet(check(records)).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] > 6 * 256
    assert picture.shape[0] > 3 * 2 * 256  # three splits, two rows each


def test_a_split_without_images_has_no_tiles(tmp_path):
    write(tmp_path, train=[record("a")], val=[])
    checked = check(tmp_path)
    assert checked.tiles["val"] == ()
    assert contact_sheet(checked).is_file()
