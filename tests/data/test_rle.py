import re

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest

from ptxtf.data import rle
from ptxtf.errors import InputError

PROPERTY = hypothesis.settings(deadline=None, max_examples=60, derandomize=True)


def masks():
    return arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1))


def slow_decode(text, height, width):
    """The form's definition, pixel by pixel."""
    mask = np.zeros((height, width), np.uint8)
    numbers = [int(word) for word in text.split()]
    pixel = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        pixel += gap
        for _ in range(length):
            mask[pixel % height, pixel // height] = 1
            pixel += 1
    return mask


# Written out by hand: down the columns, gaps since the end of the run before.
BY_HAND = [
    ("0 1", [[1, 0, 0], [0, 0, 0]]),
    ("1 1", [[0, 0, 0], [1, 0, 0]]),
    ("2 1", [[0, 1, 0], [0, 0, 0]]),
    ("5 1", [[0, 0, 0], [0, 0, 1]]),
    ("0 6", [[1, 1, 1], [1, 1, 1]]),
    ("1 2 1 1", [[0, 1, 1], [1, 0, 0]]),
    ("0 1 1 1 1 1", [[1, 1, 1], [0, 0, 0]]),
    ("2 2", [[0, 1, 0], [0, 1, 0]]),
    ("3 2", [[0, 0, 1], [0, 1, 0]]),
]


@pytest.mark.parametrize(("text", "mask"), BY_HAND)
def test_masks_by_hand(text, mask):
    decoded = rle.decode(text, shape=(2, 3))
    np.testing.assert_array_equal(decoded, mask)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert rle.encode(np.array(mask)) == text


@pytest.mark.parametrize("text", ["-1", " -1", "-1 \n", "", "  "])
def test_healthy_is_an_empty_mask(text):
    mask = rle.decode(text)
    assert mask.shape == (1024, 1024)
    assert not mask.any()


def test_empty_mask_is_healthy():
    assert rle.encode(np.zeros((3, 4), bool)) == "-1"


def test_runs_that_touch_become_one():
    np.testing.assert_array_equal(rle.decode("1 1 0 2", shape=(4, 1)), [[0], [1], [1], [1]])
    assert rle.encode(rle.decode("1 1 0 2", shape=(4, 1))) == "1 3"


def test_white_space_does_not_matter():
    np.testing.assert_array_equal(rle.decode(" 1\t2  1 1 ", shape=(2, 3)), rle.decode("1 2 1 1", shape=(2, 3)))


@PROPERTY
@hypothesis.given(masks())
def test_decode_inverts_encode_and_equals_the_slow_loop(mask):
    text = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode(text, mask.shape), mask)
    if mask.any():
        np.testing.assert_array_equal(slow_decode(text, *mask.shape), mask)


@PROPERTY
@hypothesis.given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8))
def test_any_pairs_decode_as_the_slow_loop(pairs):
    text = " ".join(f"{gap} {length}" for gap, length in pairs)
    np.testing.assert_array_equal(rle.decode(text, (10, 8)), slow_decode(text, 10, 8))


def test_encode_takes_any_integers_that_are_not_0():
    mask = np.array([[0, 255], [7, 0]])
    assert rle.encode(mask) == rle.encode(mask != 0) == "1 2"


def test_encode_does_not_depend_on_memory_order():
    mask = np.array([[0, 1, 0], [1, 1, 0]])
    assert rle.encode(np.asfortranarray(mask)) == rle.encode(mask) == "1 3"


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 1), np.uint8), np.full((2, 2), 0.5)])
def test_encode_rejects_what_is_no_mask(mask):
    with pytest.raises(ValueError, match=r"expected a bool or integer mask \[H, W\]\. Received: shape="):
        rle.encode(mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 2", r"RLE pair 2: expected a gap and a length\. Received: 2 alone"),
        ("-1 -1 5", r"RLE pair 2: expected a gap and a length"),
        ("0 1 3 x", r"RLE pair 2: expected whole numbers\. Received: 'x'"),
        ("0 1.5", r"RLE pair 1: expected whole numbers\. Received: '1.5'"),
        ("1_0 2", r"RLE pair 1: expected whole numbers\. Received: '1_0'"),
        ("٣ 2", r"RLE pair 1: expected whole numbers"),
        ("\ud800 2", r"RLE pair 1: expected whole numbers\. Received: '\\ud800'"),
        ("- 2", r"RLE pair 1: expected whole numbers\. Received: '-'"),
        ("0 1 -2 1", r"RLE pair 2: expected 0 <= gap, 1 <= length, .* Received: gap=-2, length=1"),
        ("0 1 1 0", r"RLE pair 2: expected 0 <= gap, 1 <= length, .* Received: gap=1, length=0"),
        ("0 1 0 2147483648", r"RLE pair 2: .* both < 2\^31\. Received: gap=0, length=2147483648"),
        ("0 1 0 " + "9" * 500, r"RLE pair 2: expected whole numbers\. Received: '9{40}'\Z"),
        ("0 1 1 -4", r"RLE pair 2: .* Received: gap=1, length=-4"),
        ("9000000000000000000 9000000000000000000", "RLE pair 1: expected whole numbers"),
        ("900000000000000000 1", "RLE pair 1: expected 0 <= gap"),
        ("0 1 0 99", r"RLE pair 2: expected all runs within 2 x 3 = 6 pixels\. Received: run_end=100"),
        ("6 1 1 1", r"RLE pair 1: expected all runs within 2 x 3 = 6 pixels\. Received: run_end=7"),
    ],
)
def test_malformed_text_names_the_pair(text, message):
    with pytest.raises(InputError, match=message) as caught:
        rle.decode(text, shape=(2, 3))
    assert "\n" not in str(caught.value)


@PROPERTY
@hypothesis.given(
    st.one_of(
        st.text(max_size=30),
        st.text(alphabet="0123456789 -+_.\t\xa0٣", max_size=30),
        st.lists(st.sampled_from(["0", "1", "2", "-1", "007", str(2**31), str(2**63), str(2**64)])).map(" ".join),
    )
)
def test_any_text_is_strict_pairs_or_an_error(text):
    """Python's own reading of the words, which shares nothing with NumPy's, says which of the two."""
    words = text.split()
    is_plain = all(re.fullmatch("-?[0-9]{1,18}", word) for word in words)
    numbers = [int(word) for word in words] if is_plain else []
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    if words in ([], ["-1"]):
        assert rle.parse(text).shape == (0, 2)
    elif is_plain and len(words) % 2 == 0 and all(0 <= gap < 2**31 and 0 < length < 2**31 for gap, length in pairs):
        assert rle.parse(text).tolist() == [list(pair) for pair in pairs]
    else:
        with pytest.raises(InputError, match=r"^RLE pair [0-9]+: expected [^\n]+\. Received: [^\n]+\Z"):
            rle.parse(text)
        with pytest.raises(InputError, match=r"^RLE pair "):
            rle.decode(text)
        with pytest.raises(InputError, match=r"^RLE pair "):
            rle.overlap(["0 1", text])


def test_run_may_end_at_the_last_pixel():
    assert rle.decode("5 1", shape=(2, 3))[1, 2] == 1


def test_union_is_neither_sum_nor_exclusive_or():
    overlapping = ["0 3", "2 3", "2 1"]
    np.testing.assert_array_equal(rle.union(overlapping, shape=(2, 3)), [[1, 1, 1], [1, 1, 0]])


def test_union_of_no_rows_is_healthy():
    assert not rle.union((), shape=(2, 3)).any()
    assert rle.union(()).shape == (1024, 1024)


@PROPERTY
@hypothesis.given(masks(), masks(), masks())
def test_union_is_or(one, two, three):
    height, width = np.min([one.shape, two.shape, three.shape], axis=0)
    parts = [mask[:height, :width] for mask in (one, two, three)]
    rows = [rle.encode(part) for part in parts]
    np.testing.assert_array_equal(rle.union(rows, shape=(height, width)), parts[0] | parts[1] | parts[2])


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        ([], False),
        (["-1"], False),
        (["0 3"], False),
        (["0 3", "3 2"], False),  # they touch
        (["0 3", "2 2"], True),
        (["0 3", "0 3"], True),
        (["0 9", "3 1"], True),  # one within the other
        (["0 1 8 1", "3 2", "6 1"], False),  # one row around the others
        (["0 1 8 1", "3 2", "-1", "4 1"], True),
        (["0 1 0 1", "2 1"], False),  # runs of one row that touch are no overlap
    ],
)
def test_overlap_by_hand(rows, shared):
    assert rle.overlap(rows) is shared


@PROPERTY
@hypothesis.given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), min_size=1, max_size=3), min_size=1, max_size=4)
)
def test_overlap_is_a_pixel_drawn_twice(rows):
    texts = [" ".join(f"{gap} {length}" for gap, length in pairs) for pairs in rows]
    assert rle.overlap(texts) == (sum(slow_decode(text, 7, 9) for text in texts) > 1).any()


@PROPERTY
@hypothesis.given(masks(), st.data())
def test_union_of_parts_is_the_whole(mask, data):
    part = mask * data.draw(arrays.arrays(np.uint8, mask.shape, elements=st.integers(0, 1)))
    np.testing.assert_array_equal(rle.union([rle.encode(part), rle.encode(mask)], shape=mask.shape), mask)
