"""Masks and findings by hand."""

import csv
import dataclasses
import math
import pathlib

import numpy as np
import pytest

from ptxtf.data import spacing
from ptxtf.inference import findings, masks, measure


def test_the_threshold_counts_as_above():
    probabilities = np.array([[0.49, 0.5], [0.51, 0.0]], np.float32)
    np.testing.assert_array_equal(masks.decide(probabilities, masks.Rule(0.5, 0.5, 0, origin="")), [[0, 1], [1, 0]])


@pytest.mark.parametrize(("smallest", "kept"), [(3, True), (4, False)])
def test_a_mask_below_the_smallest_area_counts_as_none(smallest, kept):
    probabilities = np.zeros((5, 5), np.float32)
    probabilities[0, :3] = 0.9
    mask = masks.decide(probabilities, masks.Rule(0.5, 0.5, smallest, origin=""))
    assert mask.sum() == (3 if kept else 0)


@pytest.mark.parametrize(("smallest", "kept"), [(2, True), (3, False)])
def test_sure_pixels_decide_whether_there_is_a_mask_and_the_others_belong_to_it(smallest, kept):
    probabilities = np.array([[0.75, 0.8, 0.74], [0.3, 0.29, 0.0]], np.float32)
    mask = masks.decide(probabilities, masks.Rule(0.3, 0.75, smallest, origin=""))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]] if kept else np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (masks.Rule(0.5, 0.5, 0, origin="the default"), "threshold 0.5 (the default)"),
        (masks.Rule(0.5, 0.75, 0, origin="as given"), "threshold 0.5 (as given)"),
        (
            masks.Rule(0.2890625, 0.75, 600, origin="chosen on val"),
            "threshold 0.2890625, none below 600 px at 0.75 or more (chosen on val)",
        ),
    ],
)
def test_a_rule_in_words(rule, text):
    assert str(rule) == text


MM = spacing.Spacing(0.5, 0.2, "stated")


def described(mask, *, probabilities=None, spacing=MM, presence=0.93, lungs=None):
    return findings.describe(
        mask,
        mask * 0.8 if probabilities is None else probabilities,
        image_id="x",
        path=pathlib.Path("x.dcm"),
        presence=presence,
        spacing=spacing,
        lungs=lungs,
    )


def test_findings_by_hand():
    mask = np.zeros((100, 200), np.uint8)
    mask[0, 0] = mask[1, 1] = 1  # these touch by a corner: one region
    mask[50:70, 130:180] = 1
    probabilities = np.full(mask.shape, 0.1)
    probabilities[0, 0], probabilities[1, 1], probabilities[50:60, 130:180], probabilities[60:70] = 0.5, 0.6, 0.7, 0.9
    large, small = described(mask, probabilities=probabilities)
    assert (large.image_id, large.file, large.pneumothorax, large.presence) == ("x", "x.dcm", True, 0.93)
    assert (large.component, large.area_px, large.area_percent, large.area_cm2) == (1, 1000, 5.0, 1.0)  # 1 by 1 cm
    assert (large.image_side, large.patient_side, large.confidence) == ("right", "left", 0.8)
    assert (large.unit, large.spacing_source, large.size) == ("mm", "stated", "small")
    assert large.width == pytest.approx(10, abs=0.5)
    assert (large.widest_row, large.widest_column) == pytest.approx((59.5, 154.5), abs=1)
    assert math.isnan(large.apex_distance)
    assert math.isnan(large.hemithorax_percent)
    assert (small.component, small.area_px, small.image_side, small.patient_side) == (2, 2, "left", "right")
    assert small.confidence == 0.55


def test_nothing_found_has_no_side():
    (found,) = described(np.zeros((40, 40), np.uint8), presence=0.2)
    assert (found.pneumothorax, found.component, found.presence, found.area_px) == (False, 0, 0.2, 0)
    assert (found.image_side, found.patient_side, found.size) == ("", "", "")
    assert math.isnan(found.width)
    assert findings.disc(found, MM) is None


@pytest.mark.parametrize(
    ("columns", "side"), [((0, 10), "left"), ((95, 105), "left"), ((95, 106), "right"), ((190, 200), "right")]
)
def test_the_side_is_that_of_the_centre_of_gravity(columns, side):
    mask = np.zeros((50, 200), np.uint8)
    mask[10:20, slice(*columns)] = 1
    assert described(mask)[0].image_side == side


@pytest.mark.parametrize(("wide_mm", "size"), [(10.0, "small"), (20.0, "small"), (20.2, "large"), (60.0, "large")])
def test_more_than_two_centimetres_are_large(monkeypatch, wide_mm, size):
    monkeypatch.setattr(measure, "widest", lambda *_, **__: measure.Disc(1, 1, wide_mm + 0.04))
    assert described(np.ones((9, 9), np.uint8))[0].size == size  # as the width is written: 20.04 is 20.0


def test_without_spacing_there_are_pixels_and_no_size():
    mask = np.zeros((300, 300), np.uint8)
    mask[20:120, 40:80] = 1
    (found,) = described(mask, spacing=spacing.UNKNOWN)
    assert (found.unit, found.size, found.spacing_source) == ("px", "unknown", "unknown")
    assert found.width == pytest.approx(40, abs=0.5)
    assert math.isnan(found.area_cm2)


def test_a_share_of_the_hemithorax_by_hand():
    mask, lungs = np.zeros((2, 20, 100), np.uint8)
    lungs[5:15, 10:40] = 1  # 300 pixels on the left
    lungs[5:15, 60:80] = 1
    mask[0:5, 10:30] = 1  # 100 beside them
    mask[5:10, 70:90] = 1  # half of 100 in the lung of the right, of 200 pixels
    shares = {one.image_side: one.hemithorax_percent for one in described(mask, lungs=lungs)}
    assert shares == {"left": 25.0, "right": 40.0}


def test_what_crosses_the_midline_belongs_to_its_side():
    mask, lungs = np.zeros((2, 20, 100), np.uint8)
    lungs[0:10, 0:30] = 1
    mask[0:10, 30:60] = 1  # 10 columns beyond the midline
    assert described(mask, lungs=lungs)[0].hemithorax_percent == 50.0
    assert described(mask[:, ::-1], lungs=lungs[:, ::-1])[0].hemithorax_percent == 50.0


def test_arrays_of_two_shapes_are_refused():
    mask = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="expected mask, probabilities and lungs of one shape"):
        described(mask, lungs=np.zeros((4, 5), np.uint8))


def test_noise_has_no_end_of_rows():
    mask = np.zeros((200, 200), np.uint8)
    mask[::4, ::4] = 1  # 2500 points
    mask[100, 101] = 1
    found = described(mask)
    assert len(found) == findings.MOST_REGIONS
    assert (found[0].area_px, found[1].area_px) == (2, 1)


def test_the_place_of_the_widest_disc_in_pixels():
    (found,) = described(np.ones((40, 100), np.uint8))  # 20 by 20 mm
    row, column, down, along = findings.disc(found, MM)
    assert (row, column) == pytest.approx((19.5, 49.5), abs=1)
    assert (down, along) == pytest.approx((20, 50), rel=0.03)


def finding(**facts):
    (found,) = described(np.ones((9, 9), np.uint8))
    return dataclasses.replace(found, **{"width": 23.4, "size": "large"} | facts)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ([{}], "pneumothorax on the image's left (patient's right), 2.3 cm wide, large; presence 0.93"),
        (
            [{"spacing_source": "assumed", "size": "small", "presence": 1.0}],
            (
                "pneumothorax on the image's left (patient's right), about 2.3 cm wide (pixel size assumed), small; "
                "presence 1.00"
            ),
        ),
        (
            [{"unit": "px", "size": "unknown"}],
            "pneumothorax on the image's left (patient's right), 23 pixels wide, size unknown; presence 0.93",
        ),
        (
            [{"width": 0.3, "size": "small"}],
            "pneumothorax on the image's left (patient's right), less than 1 mm wide, small; presence 0.93",
        ),
        (
            [{"width": 9.0, "size": "small"}, {"component": 2}],
            "pneumothorax on the image's left (patient's right), 2 regions, up to 2.3 cm wide, large; presence 0.93",
        ),
        (
            [{"width": 9.0}, {"image_side": "right", "patient_side": "left"}],
            (
                "pneumothorax on both sides, widest on the image's right (patient's left), 2 regions, "
                "up to 2.3 cm wide, large; presence 0.93"
            ),
        ),
    ],
)
def test_a_sentence(facts, text):
    assert findings.sentence([finding(**one) for one in facts]) == text


def test_a_sentence_of_nothing():
    empty = np.zeros((9, 9), np.uint8)
    assert findings.sentence(described(empty, presence=0.068)) == "no pneumothorax found; presence 0.07"


def test_what_is_not_known_is_an_empty_cell(tmp_path):
    mask = np.zeros((20, 20), np.uint8)
    mask[2:12, 2:6] = 1
    path = tmp_path / "findings.csv"
    findings.write(path, described(mask, spacing=spacing.UNKNOWN) + described(mask * 0))
    with path.open(newline="") as file:
        some, none = csv.DictReader(file)
    assert (some["pneumothorax"], some["area_px"], some["unit"]) == ("True", "40", "px")
    assert (some["area_cm2"], some["apex_distance"], some["hemithorax_percent"]) == ("", "", "")
    assert float(some["width"]) == pytest.approx(4, abs=0.5)
    assert (none["pneumothorax"], none["presence"], none["component"]) == ("False", "0.93", "0")
    assert {none[name] for name in ("confidence", "image_side", "width", "widest_row", "size")} == {""}
