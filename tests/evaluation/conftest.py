"""What the tests of evaluation share: rows of masks that they draw."""

import math

import numpy as np
import pytest

from ptxtf.evaluation import rows


@pytest.fixture(scope="session")
def row():
    """Return a function that makes a row of masks of 20 x 20 pixels, some of them true, predicted, and both."""

    def make(image_id, *, patient="", true=0, predicted=0, both=0, presence=0.5, **changes):
        masks = np.zeros((2, 400), np.uint8)
        masks[0, :true] = 1
        masks[1, true - both : true - both + predicted] = 1
        case = {
            "image_id": image_id,
            "patient": patient,
            "view_position": "PA",
            "sex": "F",
            "age_years": math.nan,
            "spacing_mm": (math.nan, math.nan),
            "mask": masks[0].reshape(20, 20),
        }
        return rows.score(case | changes, masks[1].reshape(20, 20), presence=presence)

    return make


@pytest.fixture(scope="session")
def blob():
    """Return a function that draws three ellipses by a seed, uint8 [H, W] of {0, 1}."""

    def draw(seed, shape=(64, 80)):
        rng = np.random.default_rng(seed)
        down, along = np.mgrid[: shape[0], : shape[1]]
        mask = np.zeros(shape, bool)
        for _ in range(3):
            y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
            half_height, half_width = rng.uniform(3, 20, 2)
            mask |= ((down - y) / half_height) ** 2 + ((along - x) / half_width) ** 2 <= 1
        return mask.astype(np.uint8)

    return draw
