"""Which spacing is believed, and what is said of it."""

import math

import pytest

from ptxtf.data import spacing

SIIM = (0.143, 0.139)  # 1024 of these are 146 mm


@pytest.mark.parametrize(
    ("stated", "shape", "factor", "expected"),
    [
        ((0.2, 0.3), (2000, 1500), 0, (0.2, 0.3, "stated")),
        ((0.8, 0.2), (2000, 1500), 0, (0.8, 0.2, "stated")),
        (SIIM, (1024, 1024), 0, (0.3575, 0.3475, "assumed")),
        (SIIM, (1024, 1023), 0, (0.143, 0.139, "stated")),  # a child's
        ((0.36, 0.36), (1024, 1024), 0, (0.36, 0.36, "stated")),  # a film of 37 cm
        (SIIM, (1024, 1024), 1, (0.143, 0.139, "given factor")),
        (SIIM, (1024, 1024), 2, (0.286, 0.278, "given factor")),
    ],
)
def test_the_spacing_of_a_finding(stated, shape, factor, expected):
    found = spacing.likely(stated, shape, factor=factor)
    assert (found.down_mm, found.along_mm) == pytest.approx(expected[:2])
    assert (found.source, found.unit) == (expected[2], "mm")
    assert found.steps == (found.down_mm, found.along_mm)


@pytest.mark.parametrize("stated", [None, (math.nan, math.nan), (0.0, 0.2), (0.2, -1.0), (0.2, math.inf), (0.1, 10.0)])
@pytest.mark.parametrize("factor", [0, 2.5])
def test_an_impossible_spacing_is_unknown(stated, factor):
    for found in (spacing.likely, spacing.certain):
        assert found(stated, (1024, 1024), factor=factor) is spacing.UNKNOWN
    assert (spacing.UNKNOWN.unit, spacing.UNKNOWN.steps) == ("px", (1.0, 1.0))


@pytest.mark.parametrize(
    ("stated", "factor", "expected"),
    [
        ((0.2, 0.3), 0, (0.2, 0.3)),
        ((0.143, 0.143), 0, None),  # as in SIIM-ACR: a film of 146 mm
        ((0.2, 0.19), 0, None),  # 195 mm along a row
        ((0.143, 0.143), 1, (0.143, 0.143)),
        ((0.143, 0.143), 2.5, (0.3575, 0.3575)),
    ],
)
def test_no_score_is_computed_with_a_spacing_that_no_chest_fits_on(stated, factor, expected):
    found = spacing.certain(stated, (1024, 1024), factor=factor)
    assert found.unit == ("mm" if expected else "px")
    assert found.steps == pytest.approx(expected or (1.0, 1.0))


def test_a_narrow_film_of_another_size_is_not_scored_in_millimetres_either():
    assert spacing.certain((0.1, 0.1), (1900, 2500)) is spacing.UNKNOWN
    assert spacing.likely((0.1, 0.1), (1900, 2500)).source == "stated"
