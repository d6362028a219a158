"""One record there and back; masks against slicing in NumPy; pictures against OpenCV."""

import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.data import example, record


def written(image: bytes, size, drawn, *, encoding="raw", **changes) -> bytes:
    settings = {
        "image": image,
        "image_size": size,
        "mask": zlib.compress(drawn.tobytes()),
        "original_size": drawn.shape,
        "positive": bool(drawn.any()),
        "image_id": "2.25.1",
        "patient": "abc",
        "spacing_mm": (0.2, float("nan")),
        "view_position": "PA",
        "sex": "M",
        "age_years": 0.5,
    }
    return record.serialize(record.Record(**settings | changes), encoding=encoding)


def test_a_raw_record_comes_back_as_it_was(rng):
    image = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    mask = rng.integers(0, 2, (41, 61), dtype=np.uint8)
    case = example.parse(written(image.tobytes(), (20, 30), mask), encoding="raw", full_mask=True)
    np.testing.assert_array_equal(case["image"][..., 0], image)
    np.testing.assert_array_equal(case["mask"][..., 0], mask)
    assert case["image_id"].numpy() == b"2.25.1"
    assert case["patient"].numpy() == b"abc"
    assert case["view_position"].numpy() == b"PA"
    assert (case["sex"].numpy(), case["age_years"].numpy()) == (b"M", 0.5)
    np.testing.assert_array_equal(case["spacing_mm"], np.float32([0.2, np.nan]))
    np.testing.assert_array_equal(case["original_size"], [41, 61])
    assert case["positive"]


@pytest.mark.parametrize(("encoding", "suffix"), [("png", ".png"), ("source", ".png"), ("source", ".jpg")])
def test_pictures_are_decoded_as_opencv_does(encoding, suffix):
    ramp = np.add.outer(np.arange(24), 3 * np.arange(32)).astype(np.uint8)
    encoded = cv2.imencode(suffix, ramp)[1]
    serialized = written(encoded.tobytes(), (24, 32), np.zeros((24, 32), np.uint8), encoding=encoding)
    case = example.parse(serialized, encoding=encoding)
    np.testing.assert_array_equal(case["image"][..., 0], cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_mask_shrinks_by_taking_the_pixel_under_each_centre(rng, factor):
    mask = rng.integers(0, 2, (32, 48), dtype=np.uint8)
    shape = tf.constant([32 // factor, 48 // factor])
    drawn = example.draw_mask(zlib.compress(mask.tobytes()), tf.constant(mask.shape), shape)
    np.testing.assert_array_equal(drawn[..., 0], mask[factor // 2 :: factor, factor // 2 :: factor])


def test_a_mask_of_odd_sizes_equals_the_rule_written_out(rng):
    mask = rng.integers(0, 2, (37, 53), dtype=np.uint8)
    drawn = example.draw_mask(zlib.compress(mask.tobytes()), tf.constant([37, 53]), tf.constant([11, 90]))
    expected = [[mask[int((i + 0.5) * 37 / 11), int((j + 0.5) * 53 / 90)] for j in range(90)] for i in range(11)]
    np.testing.assert_array_equal(drawn[..., 0], expected)


def test_a_healthy_record_has_an_empty_mask_and_nobody_inflates_it():
    serialized = written(bytes(16), (4, 4), np.zeros((1024, 1024), np.uint8), mask=b"not deflated")
    case = example.parse(serialized, encoding="raw")
    assert case["mask"].shape == (4, 4, 1)
    assert not case["mask"].numpy().any()
    assert not case["positive"]


def test_resizing_averages_areas():
    image = np.kron(np.array([[10, 20], [30, 41]], np.uint8), np.ones((2, 2), np.uint8))
    image[0, 0] = 13  # (13 + 3 * 10) / 4 = 10.75 rounds to 11
    case = example.parse(written(image.tobytes(), (4, 4), np.zeros((8, 8), np.uint8)), encoding="raw", image_size=2)
    np.testing.assert_array_equal(case["image"][..., 0], [[11, 20], [30, 41]])


@pytest.mark.parametrize("size", [(8, 12), (9, 13), (301, 257)])
def test_resizing_is_the_same_in_a_graph_that_knows_the_size(rng, size):
    images = rng.integers(0, 256, (1, *size, 1)).astype(np.uint8)
    traced = tf.function(lambda batch: example.resize(batch, (4, 6)))
    spec = tf.TensorSpec(images.shape, tf.uint8)
    np.testing.assert_array_equal(traced.get_concrete_function(spec)(images), example.resize(images, (4, 6)))
    area = tf.round(tf.image.resize(images, (4, 6), method="area"))
    np.testing.assert_array_equal(example.resize(images, (4, 6)), area)


def test_parsing_works_inside_tf_data_and_gives_static_shapes(rng):
    mask = rng.integers(0, 2, (64, 64), dtype=np.uint8)
    serialized = written(bytes(32 * 32), (32, 32), mask)
    dataset = tf.data.Dataset.from_tensors(serialized).map(lambda s: example.parse(s, encoding="raw", image_size=32))
    assert dataset.element_spec["image"].shape == (32, 32, 1)
    case = next(iter(dataset))
    np.testing.assert_array_equal(case["mask"], example.parse(serialized, encoding="raw", image_size=32)["mask"])


def test_a_picture_of_another_size_than_the_record_says_is_an_error():
    encoded = cv2.imencode(".png", np.zeros((24, 32), np.uint8))[1].tobytes()
    serialized = written(encoded, (32, 24), np.zeros((24, 32), np.uint8), encoding="png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/shape is another"):
        list(tf.data.Dataset.from_tensors(serialized).map(lambda s: example.parse(s, encoding="png")))


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (65, 64), (50, 20), (20, 50), (31, 31), (1, 1), (320, 96)])
def test_resizing_without_xla_gives_the_same_grey_levels(rng, shape):
    batch = tf.constant(rng.integers(0, 256, (2, *shape, 1)).astype(np.uint8))
    resize = tf.function(lambda images: example.resize(images, (32, 32), xla=False), autograph=False)
    np.testing.assert_array_equal(resize(batch), example.resize(batch, (32, 32)))
