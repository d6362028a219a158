"""Widths and apex distances against geometry: shapes whose measures are known, and the curves phantoms are drawn from.

A phantom's own `width_mm` is read off its mask, pixel by pixel, and would repeat a mask's errors. Here the truth comes
from the outlines before they become pixels: polygons with corners in fractions of the film.
"""

import functools
import math

import numpy as np
import pytest
from matplotlib.path import Path

from ptxtf.data import phantom
from ptxtf.data.phantom_film import Film, component_masks, retraction
from ptxtf.inference import measure


def plane(shape, spacing=(1.0, 1.0)):
    """Return the coordinates of pixel centres: down, along."""
    return np.meshgrid(*(np.arange(side) * step for side, step in zip(shape, spacing, strict=True)), indexing="ij")


def bar(width, degrees, *, shape=(200, 200), spacing=(1.0, 1.0), length=100.0):
    y, x = plane(shape, spacing)
    y, x = y - y.mean() + 0.3, x - x.mean() + 0.4
    turn = math.radians(degrees)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return ((np.abs(along) < length / 2) & (np.abs(across) < width / 2)).astype(np.uint8)


def crescent(width, *, outer=80.0, inner=70.0, degrees=-90.0, shape=(220, 220), spacing=(1.0, 1.0)):
    """Return what an outer circle holds and an inner one does not, `width` where that is widest; and whence it is seen.

    The gap is widest in a direction, -90: upwards, from the outer circle's centre, which is about the plane's middle.
    """
    y, x = plane(shape, spacing)
    centre = y.mean() - 0.2, x.mean() + 0.3
    y, x = y - centre[0], x - centre[1]
    away = width - (outer - inner)  # of the inner circle, opposite to the gap
    down, along = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    mask = (np.hypot(y, x) < outer) & (np.hypot(y + away * down, x + away * along) >= inner)
    return mask.astype(np.uint8), centre


def drawn_error(mask, width, **options):
    return measure.widest(mask, **options).diameter - width


@pytest.mark.parametrize("degrees", [0, 12, 30, 45, 61, 90])
@pytest.mark.parametrize("width", [3.0, 7.4, 20.5, 41.0])
def test_the_width_of_a_bar_however_it_lies(width, degrees):
    assert drawn_error(bar(width, degrees), width) == pytest.approx(0, abs=1.2)  # 3 wide may be 2 or 4 pixels


@pytest.mark.parametrize("degrees", [-90, -60, -10, 130])
@pytest.mark.parametrize("width", [11.0, 16.3, 24.9, 40.2])
def test_the_widest_gap_of_a_crescent_and_where_it_is(width, degrees):
    mask, centre = crescent(width, inner=80 - width / 2, degrees=degrees)
    found = measure.widest(mask)
    assert found.diameter == pytest.approx(width, abs=0.9)
    down, along = np.subtract((found.row, found.column), centre)
    assert np.hypot(down, along) == pytest.approx(80 - width / 2, abs=1)
    turn = (math.degrees(math.atan2(down, along)) - degrees + 180) % 360 - 180
    assert abs(turn) < 30  # there the gap is 7 % less wide: half a pixel of 11


@pytest.mark.parametrize("width", [2.6, 5.0, 12.3, 33.3])
def test_the_width_of_a_ring(width):
    y, x = plane((240, 240))
    far = np.hypot(y - 119.2, x - 120.4)
    assert drawn_error((far < 100) & (far > 100 - width), width) == pytest.approx(0, abs=0.9)


def test_widths_are_not_too_large_or_too_small_on_average():
    errors = [
        drawn_error(crescent(width, degrees=degrees)[0], width)
        for width, degrees in zip(np.linspace(12, 50, 24), np.linspace(-180, 170, 24), strict=True)
    ]
    assert abs(np.mean(errors)) < 0.25
    assert np.std(errors) < 0.35


@pytest.mark.parametrize("spacing", [(0.5, 1.0), (1.0, 0.4), (0.2, 0.3)])
@pytest.mark.parametrize("degrees", [-90, -35, 20])
def test_the_width_across_pixels_that_are_no_squares(spacing, degrees):
    shape = tuple(math.ceil(220 / step) for step in spacing)
    mask, centre = crescent(22.0, inner=69.0, degrees=degrees, shape=shape, spacing=spacing)
    found = measure.widest(mask, spacing=spacing)
    assert found.diameter == pytest.approx(22, abs=max(spacing))
    assert np.hypot(*(np.multiply((found.row, found.column), spacing) - centre)) == pytest.approx(69, abs=max(spacing))


def test_a_width_scales_with_its_pixels():
    mask, _ = crescent(30.0)
    one, other = measure.widest(mask), measure.widest(mask, spacing=(0.143, 0.143))
    assert other.diameter == pytest.approx(0.143 * one.diameter)
    assert (other.row, other.column) == pytest.approx((one.row, one.column))


def test_the_disc_lies_in_the_mask():
    mask, _ = crescent(27.0, degrees=-50)
    found = measure.widest(mask)
    y, x = plane(mask.shape)
    inside = np.hypot(y - found.row, x - found.column) < found.diameter / 2 - 0.7
    assert mask[inside].all()
    assert np.hypot(*np.subtract(np.nonzero(mask == 0), [[found.row], [found.column]])).min() < found.diameter / 2 + 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 2), (5, 30), (30, 11), (40, 40)])
def test_the_width_of_a_rectangle(height, width):
    mask = np.zeros((44, 46), np.uint8)
    mask[2 : 2 + height, 3 : 3 + width] = 1
    assert drawn_error(mask, min(height, width)) == pytest.approx(0, abs=1)
    assert drawn_error(mask, 0.2 * min(height, width), spacing=(0.2, 0.2)) == pytest.approx(0, abs=0.2)


def test_the_width_of_what_touches_the_border_ends_there():
    found = measure.widest(np.ones((21, 50), np.uint8))
    assert found.diameter == pytest.approx(21, abs=0.5)
    assert found.row == pytest.approx(10, abs=0.5)


def test_the_width_of_a_line_or_a_point_is_a_pixel():
    mask = np.zeros((30, 30), np.uint8)
    mask[17, 11] = 1
    assert measure.widest(mask, spacing=(0.3, 0.2)) == measure.Disc(17, 11, 0.2)
    np.fill_diagonal(mask, 1)
    assert measure.widest(mask).diameter == 1


def test_an_empty_mask_has_no_width():
    found = measure.widest(np.zeros((8, 8), np.uint8))
    assert found.diameter == 0
    assert math.isnan(found.row)


def test_a_region_that_is_shrunk_is_still_wide_enough():
    mask, _ = crescent(300.0, outer=1900.0, inner=1700.0, shape=(4000, 4000))
    assert measure.widest(mask).diameter == pytest.approx(300, abs=4)  # half a millimetre on such a film


@pytest.mark.parametrize("side", [50, 1000])
def test_absurd_pixels_take_no_memory(side):
    found = measure.widest(np.ones((side, side), np.uint8), spacing=(1e-4, 10.0))
    assert found.diameter == pytest.approx(1e-4 * side, rel=1)


def test_regions_touch_by_a_corner_and_come_by_size():
    mask = np.zeros((10, 20), np.uint8)
    mask[0, 0] = mask[1, 1] = 1
    mask[5:8, 16:19] = 1
    mask[6, 17] = 0  # a hole is no region
    large, small = measure.regions(mask)
    assert (large.area_px, large.top, large.left, large.image_shape) == (8, 5, 16, (10, 20))
    assert large.centre == (6, 17)
    assert (large.is_on_left, small.is_on_left) == (False, True)
    np.testing.assert_array_equal(small.mask, [[1, 0], [0, 1]])
    np.testing.assert_array_equal(mask[large.box], large.mask)


def test_a_region_holds_nothing_of_its_neighbours():
    mask = np.zeros((9, 9), np.uint8)
    mask[0] = mask[:, 0] = 1
    mask[4:6, 4:6] = 1
    ring, block = measure.regions(mask)
    assert (ring.area_px, int(ring.mask.sum()), block.area_px) == (17, 17, 4)


def apex(mask, **options):
    return measure.apex_distance(measure.regions(mask)[0], **options)


def beside(mask, *, column, side):
    """Return a film four times as wide as high, with a mask whose middle lies at a column."""
    film = np.zeros((mask.shape[0] * 2, 600), np.uint8)
    left = column - mask.shape[1] // 2
    film[: mask.shape[0], left : left + mask.shape[1]] = mask
    return film if side == "left" else film[:, ::-1]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [11.0, 17.0, 35.0, 60.0])
def test_the_apex_below_a_crescent(width, side):
    mask, _ = crescent(width)
    film = beside(mask, column=150, side=side)
    assert apex(film) == pytest.approx(width, abs=1.5)  # a dome of 70 pixels is 9 wide 0.15 below its top
    assert apex(film, spacing=(0.3, 99.0)) == pytest.approx(0.3 * width, abs=0.45)


@pytest.mark.parametrize("beyond", [15, 30, 50])
def test_the_apex_below_a_rim_that_ends_beyond_it(beyond):
    mask, _ = crescent(20.0, degrees=-110)  # widest at the ribs' side; the lung's top is 0.2 lower than there
    down = 10 * math.sin(math.radians(110))
    mask[:, 110 + beyond :] = 0
    assert apex(beside(mask, column=150, side="left")) == pytest.approx(80 - 70 + down, abs=1.5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_rim_at_the_ribs_has_no_apex(side):
    mask, _ = crescent(20.0, degrees=-180)
    mask[:, 90:] = 0
    assert math.isnan(apex(beside(mask, column=150, side=side)))
    mask[:, 60:] = 0  # cut off steeply
    assert math.isnan(apex(beside(mask, column=150, side=side)))


def test_air_above_the_diaphragm_has_no_apex():
    mask, _ = crescent(20.0)
    film = beside(mask, column=150, side="left")
    assert math.isnan(apex(np.roll(film, film.shape[0] // 2, axis=0)))


def test_a_ragged_end_is_no_apex():
    film = np.zeros((400, 400), np.uint8)
    film[60:180, 40:70] = 1
    film[150:180, 42:70:6] = 0
    assert math.isnan(apex(film))


def leaning(*, medial_end):
    """Return air above a lung that leans on the mediastinum: a cap of 40 rows, and an arm down the ribs."""
    film = np.zeros((400, 400), np.uint8)
    film[50:90, 40:medial_end] = 1
    film[90:220, 40:60] = 1
    return film


def test_the_apex_of_a_lung_that_leans_on_the_mediastinum():
    assert apex(leaning(medial_end=180)) == 40
    assert apex(leaning(medial_end=180)[:, ::-1]) == 40
    assert math.isnan(apex(leaning(medial_end=140)))  # ends where no mediastinum is


def test_a_lung_with_air_all_round_has_its_apex_where_it_begins():
    film = np.zeros((400, 400), np.uint8)
    film[50:300, 40:180] = 1
    film[130:220, 90:140] = 0
    assert apex(film) == 80
    film[50:130, 90:140] = 0  # open above
    assert math.isnan(apex(film))


# --- Phantoms, whose outlines are known before they are drawn ------------------------------------------------------


@functools.lru_cache
def subject(seed):
    drawn = phantom._Subject.drawn(seed, positive=True)
    return drawn.anatomy, drawn.spaces[0]


@functools.lru_cache
def outlines_mm(seed):
    """Return the closed curves around the air of a phantom, in mm of its film: chest wall, lung, heart, mediastinum."""
    anatomy, space = subject(seed)
    side = anatomy.sides[space.side]
    curves = (side.wall, side.shrunken(retraction(side, [space])), anatomy.heart, anatomy.mediastinum)
    return [anatomy.to_film(curve) * anatomy.film_mm for curve in curves]


def in_air(seed, points):
    wall, *others = (Path(curve).contains_points(points) for curve in outlines_mm(seed))
    return wall & ~np.any(others, axis=0)


def to_outlines(seed, points):
    """Return how far points are from the nearest side of the polygons."""
    starts = np.concatenate(outlines_mm(seed))
    sides = np.concatenate([np.roll(curve, -1, axis=0) - curve for curve in outlines_mm(seed)])
    lengths = np.maximum((sides**2).sum(axis=1), 1e-12)
    nearest = []
    for part in np.array_split(points, max(1, len(points) // 500)):
        away = part[:, None] - starts
        foot = np.clip((away * sides).sum(axis=2) / lengths, 0, 1)[..., None]
        nearest.append(np.sqrt(((away - foot * sides) ** 2).sum(axis=2)).min(axis=1))
    return np.concatenate(nearest)


def grid(low, high, step):
    return np.stack(np.meshgrid(*map(lambda a, b: np.arange(a, b, step), low, high)), axis=-1).reshape(-1, 2)


@functools.lru_cache
def true_width_mm(seed):
    """Return the diameter of the largest disc in the air: a search for the point that is farthest from all outlines.

    Whoever leaves the air crosses an outline, so that the nearest of them bounds the disc. A point of the first search
    lies within 1.42 mm of the best one, and so does its distance.
    """
    wall = outlines_mm(seed)[0]
    points = grid(wall.min(axis=0), wall.max(axis=0), 2.0)
    points = points[in_air(seed, points)]
    far = to_outlines(seed, points)
    around = grid((-1, -1), (1.01, 1.01), 0.2)
    fine = np.concatenate([point + around for point in points[far > far.max() - 1.42]])
    return 2 * to_outlines(seed, fine[in_air(seed, fine)]).max()


@functools.lru_cache
def true_apex_mm(seed):
    """Return the height between the top of the chest wall and that of the lung, where neither is behind the middle."""
    wall, lung, *middle = outlines_mm(seed)

    def top(curve):
        dense = np.concatenate([curve + (np.roll(curve, -1, axis=0) - curve) * part for part in np.arange(0, 1, 0.1)])
        return dense[~np.any([Path(one).contains_points(dense) for one in middle], axis=0), 1].min()

    return top(lung) - top(wall)


def film_of(seed, size):
    anatomy, space = subject(seed)
    (mask,) = component_masks(Film(anatomy, size), [space])
    return mask, (anatomy.film_mm / size, anatomy.film_mm / size)


SEEDS = [1, 2, 4, 11, 17, 24, 32, 37, 44, 54]  # widths of 7 to 60 mm, PA and AP, both sides


@pytest.mark.parametrize("size", [512, 1024, 2048])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_width_of_a_phantom_is_that_of_its_outlines(seed, size):
    mask, spacing = film_of(seed, size)
    assert measure.widest(mask, spacing=spacing).diameter == pytest.approx(true_width_mm(seed), abs=512 / size)


@pytest.mark.parametrize("size", [512, 1024, 2048])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_apex_distance_of_a_phantom_is_that_of_its_outlines(seed, size):
    mask, spacing = film_of(seed, size)
    assert apex(mask, spacing=spacing) == pytest.approx(true_apex_mm(seed), abs=1.0 if size < 2048 else 0.6)


def test_the_phantoms_tell_something():
    widths, apexes = ([true(seed) for seed in SEEDS] for true in (true_width_mm, true_apex_mm))
    assert min(widths) < 10
    assert max(widths) > 45
    assert min(apexes) < 10
    assert max(apexes) > 33


def test_spaces_below_the_apex_of_phantoms_have_none():
    checked = 0
    for seed in range(20):
        drawn = phantom._Subject.drawn(seed, positive=True)
        for space in drawn.spaces[1:]:
            side = drawn.anatomy.sides[space.side]
            top = side.stations[side.wall[:, 1].argmin()]
            if abs(space.station - top) > space.reach:  # the lung touches the wall there
                masks = component_masks(Film(drawn.anatomy, 512), [space])
                assert all(math.isnan(apex(mask)) for mask in masks)
                checked += len(masks)
    assert checked > 8
