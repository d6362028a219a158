"""Oracles: numbers worked out by hand from PS3.3, pydicom's own windowing, NumPy's percentiles."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from ptxtf.data import grey
from ptxtf.errors import InputError

PLAIN_8 = grey.Rendering(bits=8)
BYTES = np.arange(256, dtype=np.uint8).reshape(16, 16)


def table(first, outputs):
    return grey.Table(first=first, outputs=np.array(outputs, np.uint16))


def window(center, width, function="LINEAR"):
    return grey.Window(center=center, width=width, function=function)


def rendered(stored, number=1, **facts):
    return grey.render(np.array(stored), grey.Rendering(**{"bits": 12, **facts}), window=number).tolist()


# --- windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "stored", "levels"),
    [
        # PS3.3 C.11.2.1.2.1: ((x - 99.5) / 10 + 0.5): black up to 94.5, white above 104.5.
        (window(100, 11), [0, 94, 95, 97, 102, 104, 105, 4095], [0, 0, 13, 64, 191, 242, 255, 255]),
        (window(100, 1), [98, 99, 100, 101], [0, 0, 255, 255]),  # a threshold at 99.5
        (window(2047.5, 4095), [0, 1, 2048, 4094, 4095], [0, 0, 128, 255, 255]),
        # C.11.2.1.3.2: ((x - 100) / 10 + 0.5): black up to 95, white above 105.
        (window(100, 10, "LINEAR_EXACT"), [95, 97, 99, 103, 105], [0, 51, 102, 204, 255]),
        (window(100, 0.5, "LINEAR_EXACT"), [99, 100, 101], [0, 128, 255]),
        # C.11.2.1.3.1: 1 / (1 + exp(-4 (x - 100) / 40)): at -1, 1, 2 it is 0.26894, 0.73106, 0.88080.
        (window(100, 40, "SIGMOID"), [90, 110, 120], [69, 186, 225]),
    ],
)
def test_windows_by_hand(view, stored, levels):
    assert rendered([stored], views=(view,)) == [levels]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.floats(-3000, 3000),
    st.floats(1, 5000),
    st.booleans(),
)
def test_windows_as_pydicom_has_them(function, center, width, is_signed):
    stored = np.arange(-2048, 2048, 3, np.int16) if is_signed else np.arange(0, 4096, 3, np.uint16)
    header = Dataset()
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = f"{center:.9g}", f"{width:.9g}", function
    header.PhotometricInterpretation, header.BitsStored = "MONOCHROME2", 12
    header.PixelRepresentation = int(is_signed)
    least, most = (-2048.0, 2047.0) if is_signed else (0.0, 4095.0)
    with np.errstate(over="ignore"):
        shares = (apply_windowing(stored.astype(np.float64), header) - least) / (most - least)
    view = window(float(header.WindowCenter), float(header.WindowWidth), function)
    levels = rendered([stored], bits=12, is_signed=is_signed, views=(view,))[0]
    assert np.abs(255 * shares - levels).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_views_are_counted_from_1(number):
    views = (table(0, [0, 500]), window(100, 11), window(200, 11))
    first = [[0, 255, 255]]
    assert (
        rendered([[0, 97, 202]], number, views=views)
        == {
            0: [[0, 122, 255]],  # percentiles 0.97 and 200.95: (97 - 0.97) / 199.98
            1: first,
            2: [[0, 64, 255]],
            3: [[0, 0, 191]],
        }[number]
    )


@pytest.mark.parametrize(("views", "number"), [((), 2), ((window(1, 2),), 2), ((window(1, 2),), 99), ((), -1)])
def test_a_view_that_is_not_there(views, number):
    message = rf"expected window 0 \(none\) to {len(views)} of those in the file\. Received: window={number}"
    with pytest.raises(InputError, match=message):
        rendered([[1]], number, views=views)
    with pytest.raises(InputError, match=message):
        grey.changes_nothing(grey.Rendering(bits=8, views=views), window=number)


@pytest.mark.parametrize(
    "view",
    [
        window(100, 0),
        window(100, 0.5),
        window(100, -9),
        window(100, 0, "LINEAR_EXACT"),
        window(100, -1, "SIGMOID"),
        window(100, 11, "CUBIC"),
        window(np.nan, 11),
        window(100, np.nan),
        window(np.inf, 11),
        window(100, np.inf),
    ],
)
def test_windows_that_the_standard_forbids_give_way_to_the_percentiles(view):
    stored = np.arange(1001).reshape(7, 143)
    assert rendered(stored, views=(view,)) == rendered(stored)
    assert grey.render(BYTES, grey.Rendering(bits=8, views=(view,))).tolist() == BYTES.tolist()


# --- the rule where nothing is said ---------------------------------------------------------------------------


def test_percentiles_by_hand():
    # Of 0, 1, ..., 1000 the percentiles 0.5 and 99.5 are 5 and 995; 203 is a fifth of the way, 797 four fifths.
    levels = np.array(rendered(np.random.default_rng(0).permutation(1001).reshape(7, 143)))
    stored = np.random.default_rng(0).permutation(1001).reshape(7, 143)
    for value, level in {0: 0, 5: 0, 203: 51, 797: 204, 995: 255, 1000: 255}.items():
        assert levels[stored == value] == level


numbers_and_counts = st.lists(st.tuples(st.integers(-500, 500), st.integers(0, 6)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(numbers_and_counts)
def test_percentiles_of_counted_values_as_numpy_has_them(pairs):
    values, counts = (np.array(column) for column in zip(*pairs, strict=True))
    expected = np.percentile(np.repeat(values, counts), [0.5, 99.5]) if counts.any() else (0, 0)
    assert grey.robust_range(values, counts) == pytest.approx(tuple(expected))
    assert grey.robust_range(values) == pytest.approx(tuple(np.percentile(values, [0.5, 99.5])))


def test_stretch_by_hand():
    levels = grey.stretch(np.array([-7, 10, 14, 15, 20, 99]), 10, 20)
    assert levels.tolist() == [0, 0, 102, 128, 255, 255]
    assert levels.dtype == np.uint8
    assert grey.stretch(np.array([4, 5, 6]), 5, 5).tolist() == [0, 0, 255]


def test_blank_image_is_black():
    assert rendered([[77, 77]]) == [[0, 0]]


def test_few_values_in_a_wide_range_are_shown_alike():
    """What is looked up by sorting, as the range of 32 bits is too wide for a table, follows the same rule."""
    stored = np.array([[0, 10**9, 2 * 10**9], [10**9, 4 * 10**9, 5]], np.uint32)
    black, white = np.percentile(stored, [0.5, 99.5])
    expected = np.rint(255 * np.clip((stored - black) / (white - black), 0, 1))
    assert rendered(stored, bits=32) == expected.tolist()


# --- modality, inversion, padding -----------------------------------------------------------------------------


def test_slope_and_intercept_come_before_the_window():
    facts = {"slope": 2.0, "intercept": -10.0, "views": (window(100, 11),)}
    assert rendered([[52, 53, 56, 4095]], **facts) == [[0, 38, 191, 255]]  # 94, 96, 102


def test_modality_table_comes_in_their_place():
    facts = {"slope": 2.0, "modality": table(2, [94, 97, 102, 4000]), "views": (window(100, 11),)}
    assert rendered([[0, 2, 3, 4, 5, 900]], **facts) == [[0, 0, 64, 191, 255, 255]]


def test_voi_tables_map_what_lies_outside_to_their_ends():
    # of 12 bits in name perhaps, but white is its own greatest value
    assert rendered([[0, 100, 101, 102, 4095]], views=(table(100, [0, 10, 40]),)) == [[0, 0, 64, 255, 255]]
    assert rendered([[-9, -2, -1, 0]], is_signed=True, views=(table(-2, [0, 10, 40]),)) == [[0, 0, 64, 255]]


def test_inversion_is_the_last_step():
    assert rendered([[94, 95, 97, 105]], is_inverted=True, views=(window(100, 11),)) == [[255, 242, 191, 0]]


@pytest.mark.parametrize("is_inverted", [False, True])
def test_padding_is_black_and_without_weight(is_inverted):
    tissue = np.random.default_rng(0).permutation(1001)
    alone = np.array(rendered([tissue], is_inverted=is_inverted))[0]
    among = np.concatenate([np.full(5000, 4095), tissue, np.full(300, 4000)])
    levels = np.array(rendered([among], is_inverted=is_inverted, padding=(4000, 4095)))[0]
    assert not levels[:5000].any()
    assert not levels[-300:].any()
    np.testing.assert_array_equal(levels[5000:-300], alone)


def test_nothing_but_padding():
    assert rendered([[9, 9]], padding=(9, 9), is_inverted=True) == [[0, 0]]


# --- 8 bits ---------------------------------------------------------------------------------------------------


def test_8_bits_stay_without_a_view():
    for stored in (BYTES, BYTES.astype(np.uint16)):
        for facts in ({}, {"slope": 2.0, "intercept": -9.0}):
            levels = grey.render(stored, grey.Rendering(bits=8, **facts))
            assert levels.dtype == np.uint8
            np.testing.assert_array_equal(levels, BYTES)
    np.testing.assert_array_equal(grey.render(BYTES, dataclasses.replace(PLAIN_8, slope=-1.0)), 255 - BYTES)


def test_a_window_holds_for_8_bits_too():
    assert rendered([[0, 94, 95, 97, 102, 255]], bits=8, views=(window(100, 11),)) == [[0, 0, 13, 64, 191, 255]]


def test_8_signed_bits_are_stretched():
    assert rendered([[-128, 127]], bits=8, is_signed=True) == [[0, 255]]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, True),
        ({"views": (window(128, 256),)}, True),
        ({"views": (window(127.5, 255, "LINEAR_EXACT"),)}, True),
        ({"views": (window(128, 255),)}, True),  # ((x - 127.5) / 254 + 0.5): never half a level off
        ({"slope": 16.0, "views": (window(2048, 4096 - 15),)}, True),  # 0..4080
        ({"views": (table(0, range(256)),)}, True),
        ({"views": (table(0, [16 * value for value in range(256)]),)}, True),
        ({"padding": (0, 0)}, True),
        ({"padding": (255, 255)}, False),
        ({"views": (window(100, 200),)}, False),
        ({"views": (table(0, range(255, -1, -1)),)}, False),
        ({"slope": -1.0}, False),
        ({"is_inverted": True}, False),
        ({"is_signed": True}, False),
        ({"bits": 12}, False),
        ({"modality": table(0, range(256))}, False),  # an optical density: its percentiles are stretched
    ],
)
def test_what_changes_nothing(facts, expected):
    rendering = grey.Rendering(**{"bits": 8, **facts})
    assert grey.changes_nothing(rendering) is expected
    if not rendering.is_signed:
        changed = grey.render(BYTES, rendering)
        assert np.array_equal(changed, BYTES) or not expected


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.floats(0, 255), st.floats(1, 600), st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]), st.booleans())
def test_what_changes_nothing_is_what_leaves_all_256_levels(center, width, function, is_inverted):
    rendering = grey.Rendering(bits=8, views=(window(center, width, function),), is_inverted=is_inverted)
    levels = grey.render(BYTES.astype(np.uint16), rendering)
    assert grey.changes_nothing(rendering) == np.array_equal(levels, BYTES)
