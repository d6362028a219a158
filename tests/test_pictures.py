"""Pictures: what is drawn where, and that PNG bytes hold it."""

import cv2
import numpy as np
import pytest

from ptxtf import pictures


@pytest.fixture
def square():
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 1
    return mask


def near(pixel, colour):
    """Return whether a pixel of an anti-aliased line has the colour."""
    return np.abs(pixel.astype(int) - colour).max() < 30


def test_outlines_lie_on_the_edges_in_their_colours(square):
    grey = np.full((60, 80), 100, np.uint8)
    truth = pictures.overlay(grey, mask=square)
    assert near(truth[20, 40], pictures.TRUTH)
    assert tuple(truth[30, 40]) == (100, 100, 100)  # truth is not filled
    assert tuple(truth[5, 5]) == (100, 100, 100)
    predicted = pictures.overlay(grey, predicted_mask=square)
    assert near(predicted[39, 40], pictures.PREDICTED)
    expected = (0.75 * 100 + 0.25 * np.array(pictures.PREDICTED)).astype(np.uint8)
    np.testing.assert_array_equal(predicted[30, 40], expected)


def test_an_empty_mask_and_no_mask_leave_the_image(rng):
    image = rng.integers(0, 256, (40, 40), dtype=np.uint8)
    empty = np.zeros((40, 40), np.uint8)
    drawn = pictures.overlay(image, mask=empty, predicted_mask=empty)
    np.testing.assert_array_equal(drawn, np.repeat(image[..., np.newaxis], 3, axis=2))


def test_a_sheet_sets_pictures_row_by_row():
    tiles = [np.full((4, 5, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = pictures.sheet(tiles, columns=2, gap=1)
    assert sheet.shape == (9, 11, 3)
    assert (sheet[0, 0, 0], sheet[0, 6, 0], sheet[5, 0, 0], sheet[5, 6, 0], sheet[4, 0, 0]) == (10, 20, 30, 0, 0)


def test_png_holds_red_green_blue_in_this_order():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[..., 0] = 200
    decoded = cv2.imdecode(np.frombuffer(pictures.png(picture), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[0, 0], [0, 0, 200])  # OpenCV's own order is blue, green, red


def test_shrink_keeps_the_aspect_and_never_enlarges(square):
    assert pictures.shrink(square, 40).shape == (30, 40)
    assert pictures.shrink(square, 400) is square


def test_curves_are_a_picture_with_lines_in_two_panels():
    rows = [
        {"epoch": e, "loss": 1 / e, "val_loss": 1.2 / e, "val_dice": e / 9, "val_positive_dice": e / 10}
        for e in (1, 2, 3)
    ]
    picture = cv2.imdecode(np.frombuffer(pictures.curves(rows), np.uint8), cv2.IMREAD_COLOR)
    coloured = np.ptp(picture.astype(int), axis=2) > 60
    half = picture.shape[1] // 2
    assert coloured[:, :half].sum() > 300
    assert coloured[:, half:].sum() > 300


def test_curves_need_no_validation():
    assert pictures.curves([{"epoch": 1, "loss": 0.5}]).startswith(b"\x89PNG")
