"""Preprocessing against OpenCV and SciPy stage by stage; equal on either side; image and mask together."""

import dataclasses
import itertools
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf

import ptxtf
from ptxtf import devices, pipeline, preprocess
from ptxtf.config import InputConfig, PreprocessConfig
from ptxtf.data import dataset, shards
from ptxtf.errors import InputError

STILL = {"rotation_degrees": (0.0, 0.0), "zoom": 0.0, "brightness": 0.0, "flip_probability": 0.0}


@pytest.fixture
def batch(rng):
    images = cv2.GaussianBlur(rng.integers(0, 256, (64, 96)).astype(np.uint8), (9, 9), 0)
    images = np.stack([images, images[::-1], 255 - images])[..., np.newaxis]
    masks = np.zeros_like(images)
    masks[0, 10:30, 20:50] = masks[2, 40:, :9] = 1
    seeds = np.array([[5, 1], [5, 2], [5, 3]], np.int32)
    return tf.constant(images), tf.constant(masks), tf.constant(seeds)


def test_without_augmentation_an_image_is_opencv_s_clahe_scaled(batch):
    images, masks, seeds = batch
    config = PreprocessConfig(clip_limit=3.0, tile_grid=(4, 6), **STILL)
    clahe = cv2.createCLAHE(3.0, (6, 4))
    expected = np.stack([clahe.apply(image) for image in images.numpy()[..., 0]]) / 255
    trained, truth = preprocess.for_training(config)(images, masks, seeds)
    np.testing.assert_allclose(trained[0, ..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(truth[0], masks)
    np.testing.assert_allclose(preprocess.for_inference(config)(images)[..., 0], expected, atol=1e-6)


def test_clahe_can_be_left_out(batch):
    images, _, _ = batch
    prepared = preprocess.for_inference(PreprocessConfig(clahe=False))(images)
    np.testing.assert_allclose(prepared, images.numpy() / 255, atol=1e-7)


def test_a_flip_mirrors_image_and_mask(batch):
    config = PreprocessConfig(clahe=False, **STILL | {"flip_probability": 1.0})
    images, masks = (part[0].numpy() for part in preprocess.for_training(config)(*batch))
    np.testing.assert_allclose(images, batch[0].numpy()[:, :, ::-1] / 255, atol=1e-5)
    np.testing.assert_array_equal(masks, batch[1].numpy()[:, :, ::-1])


def test_a_rotation_of_90_degrees_is_numpy_s_either_way_round(rng):
    square = rng.integers(0, 256, (4, 32, 32, 1)).astype(np.uint8)
    config = PreprocessConfig(clahe=False, **STILL | {"rotation_degrees": (90.0, 90.0)})
    seeds = np.array([[9, i] for i in range(4)], np.int32)
    turned = preprocess.for_training(config)(tf.constant(square), tf.constant(square % 2), tf.constant(seeds))[0][0]
    ways = set()
    for before, after in zip(square, turned.numpy(), strict=True):
        matches = [k for k in (1, 3) if np.allclose(np.rot90(before, k) / 255, after, atol=1e-4)]
        assert len(matches) == 1
        ways.update(matches)
    assert ways == {1, 3}


def test_image_and_mask_never_part(batch):
    """Of a mask that is warped as an image, the nearest pixel, which a mask shows, has at least a quarter."""
    _, masks, seeds = batch
    config = PreprocessConfig(clahe=False, brightness=0.0)
    images, truth = (values.numpy()[0] for values in preprocess.for_training(config)(masks * 255, masks, seeds))
    assert truth[0].sum() > 100
    assert images[truth == 1].min() >= 0.25 - 1e-5
    assert images[truth == 0].max() <= 0.75 + 1e-5


def test_brightness_multiplies_within_its_range_and_is_clipped_once(batch):
    config = PreprocessConfig(clahe=False, **STILL | {"brightness": 0.15})
    images = preprocess.for_training(config)(*batch)[0][0].numpy()
    before = batch[0].numpy() / 255
    factors = []
    for plain, bright in zip(before, images, strict=True):
        inner = (plain > 0.1) & (plain < 0.8)
        ratio = bright[inner] / plain[inner]
        assert np.ptp(ratio) < 1e-3
        factors.append(ratio.mean())
    assert 0.85 <= min(factors) < max(factors) <= 1.15
    assert images.max() <= 1


EVERYTHING = {
    "shear_degrees": 5.0, "shift": 0.1, "fill_mode": "reflect", "contrast": 0.2, "gamma": 0.3, "blur_px": 1.0,
    "noise": 0.05, "cutout": 0.3,
}  # fmt: skip
PATCHES = {"mode": "patch", "patch_size": 32}


@pytest.mark.parametrize("options", [{}, EVERYTHING, PATCHES, {**PATCHES, "patches": "random"}], ids=",".join)
def test_the_same_bits_eagerly_compiled_and_inside_tf_data(batch, options):
    config = PreprocessConfig(**options)
    augment = preprocess.for_training(config)
    eager = augment(*batch)
    compiled = preprocess.for_training(config, xla=True)(*batch)
    mapped = next(iter(tf.data.Dataset.from_tensors(batch).map(augment)))
    for other in (compiled, mapped):
        np.testing.assert_array_equal(eager[0], other[0])
        np.testing.assert_array_equal(eager[1], other[1])


def test_an_example_is_augmented_alike_whatever_batch_it_is_in(batch):
    augment = preprocess.for_training(PreprocessConfig(**EVERYTHING))
    together = augment(*batch)
    for i in range(3):
        alone = augment(*(part[i : i + 1] for part in batch))
        np.testing.assert_array_equal(together[0][0, i], alone[0][0, 0])
        np.testing.assert_array_equal(together[1][0, i], alone[1][0, 0])


def test_images_that_come_equalised_are_not_equalised_again(batch):
    images, masks, seeds = batch
    config = PreprocessConfig(tile_grid=(4, 6))
    whole = preprocess.for_training(config)(images, masks, seeds)
    equalised = preprocess.equalise(config)(images)
    assert np.any(equalised != images)
    rest = preprocess.for_training(config, equalised=True)(equalised, masks, seeds)
    np.testing.assert_array_equal(whole[0], rest[0])


def test_random_patches_lie_over_the_foreground_as_often_as_asked(batch):
    images, masks, seeds = batch
    config = PreprocessConfig(mode="patch", patch_size=32, patches="random", foreground_share=1.0, clahe=False, **STILL)
    patches, truths = (part.numpy() for part in preprocess.for_training(config)(images, masks, seeds))
    assert patches.shape == truths.shape == (6, 3, 32, 32, 1)
    assert truths[:, [0, 2]].any(axis=(2, 3, 4)).all()  # the second image is healthy
    windows = np.lib.stride_tricks.sliding_window_view(images.numpy()[..., 0], (32, 32), axis=(1, 2))
    mask_windows = np.lib.stride_tricks.sliding_window_view(masks.numpy()[..., 0], (32, 32), axis=(1, 2))
    for i in range(3):
        errors = np.abs(windows[i] / 255 - patches[0, i, ..., 0]).max(axis=(-2, -1))
        top, left = np.unravel_index(errors.argmin(), errors.shape)
        assert errors[top, left] < 1e-6
        np.testing.assert_array_equal(truths[0, i, ..., 0], mask_windows[i, top, left])


def test_cutout_blackens_the_image_and_leaves_the_mask(batch):
    images, masks, seeds = batch
    config = PreprocessConfig(clahe=False, cutout=1.0, **STILL)
    cut, truth = (part[0].numpy() for part in preprocess.for_training(config)(images, masks, seeds))
    np.testing.assert_array_equal(truth, masks)
    is_cut = (cut == 0) & (images.numpy() > 0)
    assert is_cut.any()
    np.testing.assert_allclose(cut[~is_cut], (images.numpy() / 255)[~is_cut], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": 1.0}, r"expected contrast from 0 to below 1\. Received: contrast=1\.0"),
        ({"gamma": -0.1}, r"expected gamma of 0 or more\. Received: gamma=-0\.1"),
        ({"cutout": 1.5}, r"expected cutout in 0\.\.1\. Received: cutout=1\.5"),
        ({"foreground_share": -1}, r"expected foreground_share in 0\.\.1"),
        ({"shear_degrees": 90}, r"expected shear_degrees from 0 to below 90"),
        ({"fill_mode": "wrap"}, r"expected fill_mode of constant, reflect\. Received: fill_mode='wrap'"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PreprocessConfig(**options)


def test_patch_steps_hold_every_patch_once(batch):
    images, masks, seeds = batch
    config = PreprocessConfig(mode="patch", patch_size=32, clahe=False, **STILL)
    patches, truths = preprocess.for_training(config)(images, masks, seeds)
    assert patches.shape == truths.shape == (6, 3, 32, 32, 1)
    orders = []
    for i in range(3):
        grid = images.numpy()[i].reshape(2, 32, 3, 32, 1).swapaxes(1, 2).reshape(6, 32, 32, 1) / 255
        order = [int(np.abs(grid - patch).sum(axis=(1, 2, 3)).argmin()) for patch in patches.numpy()[:, i]]
        assert sorted(order) == list(range(6))
        np.testing.assert_allclose(grid[order], patches[:, i], atol=1e-6)
        mask_grid = masks.numpy()[i].reshape(2, 32, 3, 32, 1).swapaxes(1, 2).reshape(6, 32, 32, 1)
        np.testing.assert_array_equal(mask_grid[order], truths[:, i])
        orders.append(tuple(order))
    assert len(set(orders)) > 1


@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
@pytest.mark.parametrize("stride", [32, 16, 12])
def test_join_undoes_cut_at_any_size(rng, size, stride):
    tiles = preprocess.Tiles(size=32, stride=stride)
    images = tf.constant(rng.random((2, *size, 1)), tf.float32)
    np.testing.assert_allclose(
        preprocess.join(preprocess.cut(images, tiles), tiles, image_size=size), images, atol=1e-6
    )


def test_batches_train_endlessly_on_augmented_images(records):
    stream = ptxtf.batches(records, "train", batch_size=4, training=True, seed=1)
    count = dataset.Split(records, "train").images // 4
    drawn = [next(stream) for _ in range(2 * count)]
    for images, masks in drawn:
        assert images.dtype == masks.dtype == tf.float32
        assert images.shape == masks.shape == (4, 64, 64, 1)
        assert 0 <= images.numpy().min() < images.numpy().max() <= 1
        assert set(np.unique(masks)) <= {0.0, 1.0}
    again = ptxtf.batches(records, "train", batch_size=4, training=True, seed=1)
    np.testing.assert_array_equal(next(again)[0], drawn[0][0])
    plain = preprocess.for_training(PreprocessConfig())  # where and when: neither the device nor the cache show
    for epoch in (0, 1):
        batch = next(iter(dataset.Split(records, "train").batches(4, training=True, seed=1, epoch=epoch)))
        expected, truth = plain(batch["image"], batch["mask"], batch["seed"])
        np.testing.assert_array_equal(drawn[epoch * count][0], expected[0])
        np.testing.assert_array_equal(drawn[epoch * count][1], truth[0])
    assert np.abs(drawn[0][0].numpy() - drawn[count][0].numpy()).max() > 0.1


def test_batches_without_training_are_one_pass_in_order(records):
    expected = list(ptxtf.data.examples(records, "val").as_numpy_iterator())
    images, masks = (
        np.concatenate([pair[side].numpy() for pair in ptxtf.batches(records, "val", batch_size=4, training=False)])
        for side in (0, 1)
    )
    assert len(images) == len(expected)
    np.testing.assert_array_equal(masks, [case["mask"] for case in expected])
    clahe = cv2.createCLAHE(2.0, (8, 8))
    for image, case in zip(images, expected, strict=True):
        np.testing.assert_allclose(image[..., 0], clahe.apply(case["image"][..., 0]) / 255, rtol=1e-6)


def test_what_batches_keep_in_memory_shows_in_nothing(records):
    count = dataset.Split(records, "train").images // 4
    streams = [
        ptxtf.batches(records, "train", batch_size=4, training=True, cache=cache)
        for cache in ("auto", "equalised", "decoded", "none")
    ]
    for pairs in zip(*(itertools.islice(stream, count + 1) for stream in streams), strict=True):
        for images, masks in pairs[1:]:
            np.testing.assert_array_equal(images, pairs[0][0])
            np.testing.assert_array_equal(masks, pairs[0][1])


UNMOVED = {"clahe": False, **STILL}


@pytest.mark.parametrize("accelerator", [True, False])
def test_batches_hold_the_share_of_positives_that_is_asked_for(records, monkeypatch, accelerator):
    monkeypatch.setattr(devices, "has_accelerator", lambda: accelerator)
    cases = ptxtf.data.examples(records, "train").as_numpy_iterator()
    assert sum(case["mask"].any() for case in cases) == 6  # at this size, too, each positive has a pixel
    for share, counts in ((None, None), (0.75, [3, 3, 3]), (np.float32(0), [0, 0, 0]), (1, [4, 4, 4])):
        stream = ptxtf.batches(records, "train", batch_size=4, training=True, positive_share=share, **UNMOVED)
        found = [int(masks.numpy().any(axis=(1, 2, 3)).sum()) for _, masks in itertools.islice(stream, 6)]
        assert found == 2 * counts if counts else sum(found[:3]) == sum(found[3:]) == 6


def test_a_training_source_goes_through_the_shares_epoch_by_epoch(records):
    inputs = InputConfig(records_dir=str(records), batch_size=4)
    source = pipeline.training_source(inputs, PreprocessConfig(**UNMOVED), positive_shares=[1.0, 0.25])
    for first, expected in ((0, [4, 4, 4, 1, 1, 1, 1, 1, 1]), (1, [1, 1, 1])):
        augmented = source.augmented(4, seed=0, first=first).take(len(expected))
        assert [int(masks.numpy().any(axis=(2, 3, 4)).sum()) for _, masks in augmented] == expected
        raw = source.epochs(4, seed=0, first=first).take(len(expected))
        assert [int(batch["mask"].numpy().any(axis=(1, 2, 3)).sum()) for batch in raw] == expected


def test_a_share_that_the_split_cannot_fill_is_an_error_at_the_call_of_batches(records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    manifest = shards.read_manifest(copy)
    train = tuple(dataclasses.replace(part, positives=0) for part in manifest.shards("train"))
    shards.write_manifest(copy, dataclasses.replace(manifest, splits={"train": train}))
    with pytest.raises(InputError, match=r"copy: split train: expected positive images for positive_share=0\.5\."):
        ptxtf.batches(copy, "train", batch_size=4, training=True, positive_share=0.5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive_share": 1.5}, r"expected positive_share in 0\.\.1, .*Received: positive_share=\(1\.5,\)"),
        ({"positive_share": "half"}, r"expected positive_share, each a number\. Received: positive_share=\('half',\)"),
        ({"batch_size": 0}, "expected batch_size above 0. Received: batch_size=0"),
        ({"image_size": -64}, "expected image_size of 0 or at least 32. Received: image_size=-64"),
        ({"cache": "all"}, "expected cache of auto, equalised, decoded, none. Received: cache='all'"),
        ({"seed": -1}, "expected seed, an integer in 0..4294967295. Received: seed=-1"),
        ({"seed": 1.5}, "expected seed, an integer in 0..4294967295. Received: seed=1.5"),
        ({"batch_size": 2.0}, "expected batch_size, an integer. Received: batch_size=2.0"),
        ({"image_size": 64.0}, "expected image_size, an integer. Received: image_size=64.0"),
        ({"split": None}, "expected train_split, a text. Received: train_split=None"),
        ({"tile_grid": (2.5, 2)}, r"expected tile_grid, each an integer. Received: tile_grid=\(2.5, 2\)"),
        ({"zoom": 1.0}, "expected zoom from 0 to below 1. Received: zoom=1.0"),
        ({"split": "tarin"}, "expected a split of train, val, test. Received: split='tarin'"),
    ],
)
def test_arguments_out_of_range_are_refused_at_the_call_of_batches(records, options, message, training):
    arguments = {"split": "train", "batch_size": 4, "training": training, **options}
    with pytest.raises(ValueError, match=message):
        ptxtf.batches(records, **arguments)


def test_numpy_numbers_are_as_good_as_python_s(records):
    options = {"mode": "patch", "patches": "random"}
    python, numpy = (
        next(
            ptxtf.batches(
                records, "train", training=True, batch_size=whole(2), seed=whole(5), patch_size=whole(32),
                tile_grid=(whole(4), whole(3)), zoom=real(0.25), **options,
            )
        )
        for whole, real in ((int, float), (np.uint8, np.float32))
    )  # fmt: skip
    np.testing.assert_array_equal(python[0], numpy[0])


@pytest.mark.parametrize("content", [b"hello", tf.train.Example().SerializeToString()])
def test_records_that_are_whole_but_no_radiographs_are_an_error_that_names_the_folder(records, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    manifest = ptxtf.data.shards.read_manifest(copy)
    for shard in manifest.shards("val"):
        with tf.io.TFRecordWriter(str(copy / shard.name)) as writer:
            for _ in range(shard.images):
                writer.write(content)
    with pytest.raises(InputError, match=r"copy: expected whole records; .* names the bad one\. Received: "):
        next(ptxtf.batches(copy, "val", batch_size=2, training=False))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.7], ids=["no record left", "cut within a record"])
def test_damaged_records_are_an_error_that_names_the_folder(records, tmp_path, training, kept):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    for shard in copy.glob("val-*"):
        shard.write_bytes(shard.read_bytes()[: int(kept * shard.stat().st_size)])
    stream = ptxtf.batches(copy, "val", batch_size=2, training=training)
    with pytest.raises(InputError, match=r"copy: expected whole records; .* names the bad one\. Received: "):
        list(itertools.islice(stream, 100))


def test_batches_of_patches_can_be_stitched_back(records):
    whole = next(ptxtf.batches(records, "val", batch_size=2, training=False, image_size=256))[0]
    patches = next(ptxtf.batches(records, "val", batch_size=2, training=False, mode="patch", image_size=256))[0]
    assert patches.shape == (2 * 4, 128, 128, 1)
    stitched = ptxtf.ops.stitch_patches(tf.reshape(patches, [2, 4, 128, 128, 1]), image_size=256)
    np.testing.assert_allclose(stitched, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "patch"}, "expected --patch_size up to the image size, 64. Received: patch_size=128"),
        ({"tile_grid": (8, 65)}, r"--tile_grid of no more tiles than an image of \(64, 64\) .*tile_grid=\(8, 65\)"),
        ({"blur_px": 15.8749999}, "expected --blur_px"),  # 15.875 as a float32
        (
            {"blur_px": 15.875},
            r"expected --blur_px that reaches, .* less than the image size, 64\. Received: blur_px=15.875",
        ),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_settings_that_need_larger_images_are_refused_at_once(records, options, message, training):
    with pytest.raises(InputError, match=message):
        ptxtf.batches(records, "train", batch_size=4, training=training, **options)
    ptxtf.batches(records, "train", batch_size=4, training=training, tile_grid=(8, 64), blur_px=15.87)
