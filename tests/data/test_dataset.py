"""Reading records: what comes out, in which order, from memory, and with which seeds."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import ptxtf
from ptxtf.data import annotations, dataset, dicom, rle
from ptxtf.errors import InputError


def ids(batches):
    return [image_id for batch in batches for image_id in batch["image_id"].numpy()]


def test_examples_are_the_dicoms_and_their_masks(records, phantoms):
    rows = annotations.read(phantoms / "train-rle.csv")
    films = {dicom.read_header(path).image_id: path for path in dicom.find(phantoms / "dicom")}
    cases = list(ptxtf.data.examples(records, "train+val+test", full_mask=True).as_numpy_iterator())
    assert {case["image_id"].decode() for case in cases} == set(films)
    for case in cases:
        image_id = case["image_id"].decode()
        pixels = dicom.read(films[image_id]).pixels
        blocks = pixels.reshape(64, 4, 64, 4).mean(axis=(1, 3))  # the area average, by hand
        assert np.abs(case["image"][..., 0] - blocks).max() <= 0.5
        expected = np.zeros((256, 256), np.uint8)
        for row in rows[image_id]:
            expected |= rle.decode(row, shape=(256, 256))
        np.testing.assert_array_equal(case["mask"][..., 0], expected)
        assert case["positive"] == expected.any()


def test_training_order_is_a_permutation_that_changes_with_epoch_and_seed(records):
    split = dataset.Split(records, "train")
    first = ids(split.batches(1, training=True, seed=1, epoch=0))
    assert ids(split.batches(1, training=True, seed=1, epoch=0)) == first
    for seed, epoch in ((1, 1), (2, 0)):
        other = ids(split.batches(1, training=True, seed=seed, epoch=epoch))
        assert other != first
        assert sorted(other) == sorted(first)
    assert len(set(first)) == split.images


def test_an_example_keeps_its_seed_whatever_the_batch(records):
    split = dataset.Split(records, "train")

    def seeds(batch_size, epoch=0):
        batches = split.batches(batch_size, training=True, seed=7, epoch=epoch)
        return {i: tuple(s) for b in batches for i, s in zip(b["image_id"].numpy(), b["seed"].numpy(), strict=True)}

    by_one, by_three = seeds(1), seeds(3)
    assert by_three.items() <= by_one.items()
    assert len(set(by_one.values())) == split.images
    assert not set(by_one.values()) & set(seeds(1, epoch=1).values())


def test_training_drops_an_incomplete_batch_and_the_rest_fills_it_up(records):
    split = dataset.Split(records, "train")
    size = split.images - 1
    assert [len(batch["image"]) for batch in split.batches(size, training=True)] == [size]
    last = list(split.batches(size, training=False))[-1]
    assert last["image"].shape == (size, 64, 64, 1)
    assert list(last["image_id"].numpy() != b"") == [True] + [False] * (size - 1)
    assert not last["image"].numpy()[1:].any()


def test_the_second_epoch_is_read_from_memory(records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    split = dataset.Split(copy, "train")
    first = ids(split.batches(2, training=True, epoch=0))
    for shard in copy.glob("*.tfrecord"):
        shard.unlink()
    assert set(ids(split.batches(1, training=True, epoch=1))) >= set(first)


def test_epochs_follow_one_another_as_each_by_itself(records):
    split = dataset.Split(records, "train")
    count = split.images // 2
    expected = [i for epoch in (3, 4) for i in ids(split.batches(2, training=True, seed=5, epoch=epoch))]
    assert ids(split.epochs(2, seed=5, first=3).take(2 * count)) == expected


def test_epochs_without_a_full_batch_are_refused_and_do_not_hang(records):
    with pytest.raises(InputError, match=r"expected at least --batch_size=1000 images"):
        dataset.Split(records, "train").epochs(1000)


def test_images_are_prepared_once_before_they_are_kept(records):
    calls = []

    def invert(images):
        tf.py_function(lambda: calls.append(1), [], [])
        return 255 - images

    plain, split = dataset.Split(records, "val"), dataset.Split(records, "val", prepare=invert)
    for _ in range(2):
        for one, other in zip(plain.batches(2, training=False), split.batches(2, training=False), strict=True):
            real = one["image_id"].numpy() != b""
            np.testing.assert_array_equal(255 - one["image"].numpy()[real], other["image"].numpy()[real])
            np.testing.assert_array_equal(one["mask"], other["mask"])
    assert len(calls) == split.images


@pytest.mark.parametrize("size", [60, 61, 64])
def test_masks_come_out_as_stored_at_any_width(records, size):
    cases = {
        case["image_id"]: case for case in ptxtf.data.examples(records, "val", image_size=size).as_numpy_iterator()
    }
    assert any(case["mask"].any() for case in cases.values())
    for batch in dataset.Split(records, "val", image_size=size).batches(1, training=False):
        np.testing.assert_array_equal(batch["mask"][0], cases[batch["image_id"].numpy()[0]]["mask"])


def test_images_can_be_resized_when_read(records):
    stored = next(iter(dataset.Split(records, "val").batches(2, training=False)))["image"].numpy()
    batch = next(iter(dataset.Split(records, "val", image_size=32).batches(2, training=False)))
    averaged = stored.reshape(2, 32, 2, 32, 2, 1).mean(axis=(2, 4))
    assert np.abs(batch["image"].numpy() - averaged).max() <= 0.5
    full = list(ptxtf.data.examples(records, "val", full_mask=True).take(2).as_numpy_iterator())
    np.testing.assert_array_equal(batch["mask"], [case["mask"][4::8, 4::8] for case in full])


def test_a_missing_shard_is_named(records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    (copy / "val-00001-of-00002.tfrecord").unlink()
    with pytest.raises(InputError, match=r"val-00001-of-00002\.tfrecord: expected a shard .* no such file"):
        ptxtf.data.examples(copy, "val")


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_hold_at_least_one_image(records, batch_size):
    split = dataset.Split(records, "train")
    calls = (split.steps, split.epochs, lambda size: split.batches(size, training=False))
    for call in calls:
        with pytest.raises(ValueError, match=f"expected batch_size of at least 1. Received: batch_size={batch_size}"):
            call(batch_size)


def test_images_have_no_negative_size(records):
    for call in (ptxtf.data.examples, dataset.Split, lambda folder, _, **size: dataset.common_size(folder, **size)):
        with pytest.raises(ValueError, match=r"expected image_size of 0 or more\. Received: image_size=-1"):
            call(records, "val", image_size=-1)


def test_fewer_images_than_a_batch_is_an_error(records):
    with pytest.raises(InputError, match=r"expected at least --batch_size=1000 images .* Received: "):
        dataset.Split(records, "train").steps(1000)
