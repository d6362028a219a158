"""Deflated masks against zlib's inflater."""

import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from ptxtf.data.deflate import deflate


@hypothesis.given(
    arrays.arrays(
        np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=strategies.integers(0, 1)
    )
)
def test_any_mask_comes_back(mask):
    assert zlib.decompress(deflate(mask)) == mask.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1), (1024, 1024), (3001, 2001)])
@pytest.mark.parametrize("value", [0, 1])
def test_large_and_odd_ones_too(shape, value):
    mask = np.full(shape, value, np.uint8)
    assert zlib.decompress(deflate(mask)) == mask.tobytes()


@pytest.mark.parametrize(("top", "bottom"), [(0, 1), (1023, 1024), (511, 513), (0, 1024), (300, 801)])
def test_rows_of_mask_lie_where_they_were(rng, top, bottom):
    mask = np.zeros((1024, 1000), np.uint8)
    mask[top:bottom] = rng.integers(0, 2, (bottom - top, 1000))
    assert zlib.decompress(deflate(mask)) == mask.tobytes()


def test_a_view_of_another_order_is_deflated_row_by_row(rng):
    mask = rng.integers(0, 2, (30, 50), dtype=np.uint8)
    assert zlib.decompress(deflate(mask.T)) == mask.T.tobytes()


def test_it_is_small():
    """A healthy mask of a megabyte is as small as deflating makes zeros: a thousandth."""
    assert len(deflate(np.zeros((1024, 1024), np.uint8))) < 1100
