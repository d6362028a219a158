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


def test_the_outline_of_a_finer_mask_lies_where_the_mask_does(square):
    small = pictures.overlay(np.full((60, 80), 100, np.uint8), mask=np.kron(square, np.ones((4, 4), np.uint8)))
    far = np.ones((60, 80), bool)
    far[18:42, 28:52] = False
    assert (small[far] == 100).all()
    assert (small[22:38, 32:48] == 100).all()
    is_drawn = (small != 100).any(axis=2)
    assert is_drawn[19:21, 31:49].any(axis=0).all()  # no gaps along any side
    assert is_drawn[39:41, 31:49].any(axis=0).all()
    assert is_drawn[21:39, 29:31].any(axis=1).all()
    assert is_drawn[21:39, 49:51].any(axis=1).all()


def test_half_a_pixel_shows_in_the_outline():
    fine = np.zeros((400, 400), np.uint8)
    fine[100:300, 104:300] = 1
    moved = np.roll(fine, 2, axis=1)  # half a pixel of the picture

    def left_edge(mask) -> float:
        row = pictures.overlay(np.zeros((100, 100), np.uint8), mask=mask)[50, :40].sum(axis=1)
        return np.average(np.arange(40), weights=row)

    assert left_edge(fine) == pytest.approx((104 + 0.5) / 4 - 0.5, abs=0.1)
    assert left_edge(moved) - left_edge(fine) == pytest.approx(0.5, abs=0.1)


def test_one_pixel_of_a_large_mask_can_be_seen():
    dot = np.zeros((1024, 1024), np.uint8)
    dot[500, 700] = 1
    drawn = pictures.overlay(np.zeros((256, 256), np.uint8), mask=dot).max(axis=2)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert drawn.max() > 100
    assert (abs(row - 125), abs(column - 175)) <= (1, 1)


def scale_bar(drawn):
    """Return the longest run of white in the lower right corner: rows and columns, each first and last."""
    white = (drawn == 255).all(axis=2)
    rows = np.flatnonzero(white.sum(axis=1) == white.sum(axis=1).max())
    columns = np.flatnonzero(white[rows[0]])
    return rows[0], rows[-1], columns[0], columns[-1]


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize(
    ("size", "along_mm", "length_mm"),
    [
        (128, 3.0, 50),
        (256, 1.5, 50),
        (1024, 0.36, 50),
        (4000, 0.1, 50),
        (1024, 0.143, 20),
        (512, 0.01, 1),
        (512, 5, 500),
    ],
)
def test_a_scale_bar_is_as_long_as_it_says(size, along_mm, length_mm, grey):
    plain = np.full((size // 2, size), grey, np.uint8)
    drawn = pictures.overlay(plain, along_mm=along_mm)
    changed = np.argwhere((drawn != grey).any(axis=2) | (drawn == 255).all(axis=2) & (grey != 255))
    assert changed.min(axis=0)[0] > 0.6 * size // 2
    assert changed.min(axis=0)[1] > size // 2
    corner = drawn[changed.min(axis=0)[0] :, changed.min(axis=0)[1] :]  # black below it, whatever the film
    top, bottom, left, right = scale_bar(corner)
    assert right - left + 1 == round(length_mm / along_mm)
    assert bottom > top
    assert (corner[top - 1, left : right + 1] == 0).all()
    assert (corner[top : bottom + 1, left - 1] == 0).all()
    assert (corner[:, : left - 1] > 100).any()  # its length in letters
    assert not corner[:, right + 1 :].any()


@pytest.mark.parametrize("along_mm", [None, float("nan"), 0.0])
def test_without_spacing_there_is_no_scale_bar(along_mm):
    grey = np.full((60, 80), 100, np.uint8)
    assert (pictures.overlay(grey, along_mm=along_mm) == 100).all()


def test_the_length_of_a_bar_is_what_its_letters_say(monkeypatch):
    said = []
    monkeypatch.setattr(cv2, "putText", lambda _, text, *__: said.append(text))
    for along_mm in (0.36, 0.143, 0.01, 0.002, 2.0):
        pictures.overlay(np.zeros((100, 1024), np.uint8), along_mm=along_mm)
    assert said == ["5 cm", "2 cm", "2 mm", "0.5 mm", "50 cm"]


def test_a_disc_is_ringed_where_it_is():
    drawn = pictures.overlay(np.zeros((200, 300), np.uint8), disc=(80.0, 150.5, 30.0, 60.25))[..., 0]
    rows, columns = np.nonzero(drawn > 100)
    assert (rows.min(), rows.max()) == pytest.approx((50, 110), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((90.25, 210.75), abs=1)
    assert drawn[80, 150] == 0


@pytest.mark.parametrize("size", [128, 300, 1024])
def test_a_long_title_stays_in_the_picture(size):
    words = "pneumothorax on the image's left (patient's right), about 2.3 cm wide, large; presence 0.93"
    drawn, other = (pictures.overlay(np.full((size, size), grey, np.uint8), title=words) for grey in (90, 200))
    box = (drawn == other).all(axis=2)
    height, width = box.any(axis=1).sum(), box.any(axis=0).sum()
    assert box[:height, :width].all()  # a plain box of letters on black, in the corner
    assert width <= size
    assert height < size / 2
    ink = drawn[:height, :width, 0] > 60
    assert ink.mean() > 0.04
    assert not ink[:, -2:].any()  # nothing is cut off


def test_fit_takes_the_aspect_of_the_original():
    grey = np.full((64, 64), 90, np.uint8)
    assert pictures.fit(grey, (1024, 512), 256).shape == (256, 128)
    assert pictures.fit(grey, (30, 40, 1), 32).shape == (24, 32)
    assert (pictures.fit(grey, (1, 4000), 40) == 90).all()


def test_a_contact_sheet_shows_its_tiles_untouched_in_their_places(rng):
    tiles = [pictures.Tile(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8), "a", "b\nc") for _ in range(3)]
    other = [pictures.Tile(rng.integers(0, 256, (20, 40, 3), dtype=np.uint8), "a", is_marked=True)]
    sections = [pictures.Section("one", "note", tiles), pictures.Section("two", "", other, is_warning=True)]
    sheet = pictures.contact_sheet("title", "note", sections, columns=2, size=40)
    places = []
    for tile in [*tiles, *other]:
        _, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(sheet, tile.picture, cv2.TM_SQDIFF))
        height, width = tile.picture.shape[:2]
        np.testing.assert_array_equal(sheet[y : y + height, x : x + width], tile.picture)
        places.append((x, y))
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = places
    assert y0 == y1 < y2 < y3
    assert x0 == x2 < x1
    assert x1 - x0 > 40
    assert x3 == x0 - 5  # each is centred in a box of 40


def ink(sheet) -> set[str]:
    """Return in which colours something is written or drawn, of the two that mean something."""
    colours = {"truth": pictures.TRUTH, "warning": pictures.PREDICTED}
    return {name for name, colour in colours.items() if (np.abs(sheet.astype(int) - colour).max(axis=2) < 25).any()}


@pytest.mark.parametrize(("is_marked", "is_warning"), [(False, False), (True, False), (False, True)])
def test_colours_of_a_contact_sheet_mean_something(is_marked, is_warning):
    tile = pictures.Tile(np.zeros((60, 60, 3), np.uint8), "MMMM", "note", is_marked=is_marked)
    section = pictures.Section("heading", "12 patients", [tile], is_warning=is_warning)
    sheet = pictures.contact_sheet("title", "note", [section], columns=3, size=60)
    assert ink(sheet) == ({"truth"} if is_marked else set()) | ({"warning"} if is_warning else set())


def test_names_with_signs_of_mathematics_are_written_as_they_are():
    section = pictures.Section(r"$\nosuchsign$", "", [])
    assert pictures.contact_sheet("a", "b", [section], columns=1, size=8).shape[2] == 3


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


@pytest.mark.parametrize(("shape", "size", "expected"), [((1, 5000), 100, (1, 100)), ((60000, 3), 2048, (2048, 1))])
def test_thin_pictures_keep_a_pixel_when_they_shrink(shape, size, expected):
    assert pictures.shrink(np.zeros(shape, np.uint8), size).shape == expected
