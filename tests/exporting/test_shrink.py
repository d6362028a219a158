"""Resizing by matrices against what the records are resized by."""

import numpy as np
import pytest
import tensorflow as tf

from ptxtf.data import example
from ptxtf.exporting import shrink


@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (33, 47), (100, 32), (32, 32), (20, 40), (8, 8)])
def test_grey_levels_are_those_of_the_records(rng, shape):
    images = tf.constant(rng.integers(0, 256, (2, *shape, 1)).astype(np.uint8))
    found, expected = shrink.resize(images, 32).numpy(), example.resize(images, (32, 32)).numpy()
    assert found.dtype == np.uint8
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= 1  # where a mean is halfway between two levels, but for rounding
    assert (apart > 0).mean() < 1e-3
