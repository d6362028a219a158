"""Reading records: what comes out, in which order, from memory, and with which seeds."""

import collections
import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

import ptxtf
from ptxtf.data import annotations, dataset, dicom, example, rle, shards
from ptxtf.errors import InputError


def ids(batches):
    return [image_id for batch in batches for image_id in batch["image_id"].numpy()]


def drawn(batches):
    """Return (image id, seed) of each image, in order."""
    return [
        (image_id, tuple(seed))
        for batch in batches
        for image_id, seed in zip(batch["image_id"].numpy(), batch["seed"].numpy().tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def positives(records):
    """Return the ids of the positive images in train: 6 of 12."""
    cases = ptxtf.data.examples(records, "train").as_numpy_iterator()
    found = {case["image_id"] for case in cases if case["positive"]}
    assert len(found) == 6
    return found


@pytest.fixture
def of_one_class(records, tmp_path):
    """Return a function that writes the records of train anew: the positive, or the healthy ones only."""

    def make(positive):
        manifest = shards.read_manifest(records)
        parts = []
        for part in manifest.shards("train"):
            serialized = tf.data.TFRecordDataset(str(records / part.name)).as_numpy_iterator()
            kept = [(one, positive) for one in serialized if example.is_positive(one) == positive]
            parts.append(shards.write_shard(tmp_path / part.name, kept))
        shards.write_manifest(tmp_path, dataclasses.replace(manifest, splits={"train": tuple(parts)}))
        return tmp_path

    return make


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


@pytest.mark.parametrize("cache", [True, False])
def test_order_and_seeds_without_a_share_stay_for_good(records, cache):
    batches = list(dataset.Split(records, "train", cache=cache).epochs(4, seed=11, first=2).take(4))
    assert batches[0]["seed"].numpy().tolist() == [
        [2059828707, 217645090],
        [2059828707, 2020270868],
        [2059828707, 404974639],
        [2059828707, 1474151910],
    ]
    assert batches[3]["seed"].numpy().tolist() == [
        [1014058594, 217645090],
        [1014058594, 2043111533],
        [1014058594, 1736928825],
        [1014058594, 1474151910],
    ]


# Of the first n images round(n * share) are positive: 0.8 of 4, 8, 12 is 3.2, 6.4, 9.6; 0.4: 1.6, 3.2, 4.8.
COUNTS = {0.8: [3, 3, 4], 0.4: [2, 1, 2], 0.75: [3, 3, 3], 0.1: [0, 1, 0], 0.0: [0, 0, 0], 1.0: [4, 4, 4]}


@pytest.mark.parametrize("cache", [True, False])
def test_batches_hold_the_epoch_s_share_of_positives(records, positives, cache):
    split = dataset.Split(records, "train", cache=cache)
    epochs = split.epochs(4, positive_shares=list(COUNTS)).take(3 * len(COUNTS) + 3)
    counts = [sum(image_id in positives for image_id in batch["image_id"].numpy()) for batch in epochs]
    expected = [count for share in COUNTS for count in COUNTS[share]]
    assert counts == expected + COUNTS[1.0]  # the last share stays


def test_positives_are_spread_evenly_over_an_epoch(records, positives):
    batches = dataset.Split(records, "train").batches(1, training=True, positive_shares=[0.4])
    # round(n * 0.4) = 0 1 1 2 2 2 3 3 4 4 4 5
    assert [image_id in positives for image_id in ids(batches)] == [
        False, True, False, True, False, False, True, False, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("share", COUNTS)
def test_the_images_of_a_class_are_used_equally_often(records, positives, share):
    split = dataset.Split(records, "train")
    uses = collections.Counter(ids(split.batches(4, training=True, seed=3, positive_shares=[share])))
    healthy = set(ids(split.batches(1, training=False))) - positives
    for members, count in ((positives, sum(COUNTS[share])), (healthy, 12 - sum(COUNTS[share]))):
        assert {uses[image_id] for image_id in members} <= {count // 6, -(-count // 6)}
        assert sum(uses[image_id] for image_id in members) == count


def test_images_come_in_another_order_when_gone_through_again(records):
    split = dataset.Split(records, "train")
    epochs = [ids(split.batches(1, training=True, epoch=epoch, positive_shares=[1.0])) for epoch in (0, 1)]
    orders = {tuple(order) for epoch in epochs for order in (epoch[:6], epoch[6:])}
    assert len(orders) == 4
    assert len({frozenset(order) for order in orders}) == 1


def test_an_image_has_another_seed_each_time_and_at_first_the_usual_one(records):
    split = dataset.Split(records, "train")
    usual = dict(drawn(split.batches(1, training=True, seed=7, epoch=2)))
    pairs = drawn(split.batches(3, training=True, seed=7, epoch=2, positive_shares=[1.0]))
    assert len(set(pairs)) == 12
    assert dict(reversed(pairs)).items() <= usual.items()
    assert all(usual[image_id] != seed for image_id, seed in pairs[6:])


def test_both_classes_are_shuffled_independently(records, positives):
    split = dataset.Split(records, "train")
    stored = ids(split.batches(1, training=False))
    mixed = ids(split.batches(1, training=True, positive_shares=[0.5]))  # one of each by turns
    orders = []
    for turn, members in ((0, positives), (1, set(stored) - positives)):
        places = [one for one in stored if one in members]
        orders.append([places.index(one) for one in mixed[turn::2]])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(6))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("cache", [True, False])
def test_epochs_with_a_share_do_not_depend_on_where_they_begin_nor_on_the_cache(records, cache):
    shares = [0.8, 0.6, 0.3]
    whole = drawn(dataset.Split(records, "train").epochs(4, seed=5, positive_shares=shares).take(15))
    split = dataset.Split(records, "train", cache=cache)
    assert len(set(whole)) == 5 * 12
    for epoch in (0, 1, 4):
        begun = split.epochs(4, seed=5, first=epoch, positive_shares=shares).take(6)
        assert drawn(begun)[: 12 * (5 - epoch)] == whole[12 * epoch :][:24]
        alone = split.batches(4, training=True, seed=5, epoch=epoch, positive_shares=shares)
        assert drawn(alone) == whole[12 * epoch :][:12]


def test_epochs_with_a_share_hold_the_same_pixels(records):
    cases = {case["image_id"]: case for case in ptxtf.data.examples(records, "train").as_numpy_iterator()}
    for batch in dataset.Split(records, "train").batches(4, training=True, positive_shares=[0.8]):
        for i, image_id in enumerate(batch["image_id"].numpy()):
            np.testing.assert_array_equal(batch["image"][i], cases[image_id]["image"])
            np.testing.assert_array_equal(batch["mask"][i], cases[image_id]["mask"])


def test_either_class_is_read_once_and_kept_even_if_one_image_of_it_was_drawn(records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    calls = []

    def count(images):
        tf.py_function(lambda: calls.append(1), [], [])
        return images

    split = dataset.Split(copy, "train", prepare=count)
    shares = [0.9, 0.1]  # 0.9 of 12 is 10.8: 11, and 1 healthy one
    assert len(ids(split.batches(4, training=True, epoch=0, positive_shares=shares))) == 12
    for shard in copy.glob("*.tfrecord"):
        shard.unlink()
    assert len(ids(split.batches(4, training=True, epoch=1, positive_shares=shares))) == 12
    assert len(calls) == 12


def test_every_image_comes_sooner_or_later_from_a_window_on_the_disk(records, positives, monkeypatch):
    monkeypatch.setattr(dataset, "_SHUFFLE_UNCACHED", 1)
    split = dataset.Split(records, "train", cache=False)
    seen = set(ids(split.epochs(12, positive_shares=[0.1]).take(30)))  # one positive image in each epoch
    assert seen >= positives


@pytest.mark.parametrize(("held", "needed", "enough"), [("positive", "healthy", 1.0), ("healthy", "positive", 0.0)])
def test_a_share_needs_images_of_the_class(of_one_class, held, needed, enough):
    split = dataset.Split(of_one_class(held == "positive"), "train")
    message = rf"split train: expected {needed} images for positive_share=0\.25\. Received: none among 6"
    with pytest.raises(InputError, match=message):
        split.epochs(3, positive_shares=[enough, 0.25])
    with pytest.raises(InputError, match=message):
        split.batches(3, training=True, positive_shares=[enough, 0.25])
    once = ids(split.batches(3, training=True, positive_shares=[enough]))
    assert len(set(once)) == len(once) == 6


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_shares_lie_between_none_and_all(records, share):
    with pytest.raises(ValueError, match=f"expected positive_shares in 0..1. Received: {share}"):
        dataset.Split(records, "train").epochs(4, positive_shares=[0.5, share])


@pytest.mark.parametrize("cache", [True, False])
def test_fewer_positives_than_dataset_json_counts_are_an_error(records, tmp_path, cache):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    manifest = shards.read_manifest(copy)
    train = tuple(dataclasses.replace(part, positives=part.images) for part in manifest.shards("train"))
    shards.write_manifest(copy, dataclasses.replace(manifest, splits={"train": train}))
    batches = dataset.Split(copy, "train", cache=cache).epochs(4, positive_shares=[1.0])
    with pytest.raises(InputError, match=r"copy: expected whole records; .* Received: "), dataset.readable(copy):
        list(batches.take(3))
