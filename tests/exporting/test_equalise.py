"""CLAHE in plain operations against OpenCV, on every pixel."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.config import PreprocessConfig
from ptxtf.exporting.equalise import equalise


@pytest.mark.parametrize(
    ("shape", "tile_grid", "clip_limit"),
    [
        ((64, 64), (8, 8), 2.0),
        ((65, 65), (8, 8), 2.0),
        ((97, 97), (3, 5), 3.5),
        ((40, 64), (5, 8), 1.0),
        ((64, 64), (4, 6), 2.0),
        ((64, 64), (8, 8), 40.0),
        ((64, 64), (4, 4), 0.0),
        ((128, 128), (1, 1), 0.01),
        ((10, 9), (8, 8), 2.0),
    ],
)
def test_every_pixel_is_opencv_s(rng, shape, tile_grid, clip_limit):
    noise = rng.integers(0, 256, shape).astype(np.uint8)
    images = np.stack([noise, cv2.GaussianBlur(noise, (9, 9), 0), noise // 64 * 85, np.full(shape, 7, np.uint8)])
    config = PreprocessConfig(tile_grid=tile_grid, clip_limit=clip_limit)
    found = tf.function(lambda batch: equalise(batch, config), autograph=False)(tf.constant(images[..., np.newaxis]))
    clahe = cv2.createCLAHE(clip_limit, tile_grid[::-1])
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found[..., 0], [clahe.apply(image) for image in images])


def test_where_a_run_does_not_equalise_nothing_changes(rng):
    images = rng.integers(0, 256, (2, 16, 16, 1)).astype(np.uint8)
    np.testing.assert_array_equal(equalise(tf.constant(images), PreprocessConfig(clahe=False)), images)
