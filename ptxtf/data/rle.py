"""SIIM run-length text <-> mask.

Flows in: text such as "2 3 4 1", the mask of one region. Flows out: uint8 [H, W] of {0, 1}. And back.

The text holds pairs (gap, length). The gap counts the pixels since the END of the previous run (for the first
pair: since the first pixel), the length counts mask pixels. Pixels are counted down the columns, the columns
left to right. A healthy radiograph is written "-1". A radiograph with several regions has several rows; their
`union` is its mask.
"""

from collections.abc import Iterable

import numpy as np

from ptxtf.errors import InputError

HEALTHY = "-1"
SIIM_SHAPE = (1024, 1024)

_LONGEST = 2**31 - 1  # no run or gap is longer; their sum then always fits into int64


def parse(text: str) -> np.ndarray:
    """Return the (gap, length) pairs of a run-length text, checked as far as that needs no image size.

    Args:
        text: pairs (gap, length) parted by white space; "-1" or nothing when healthy.

    Returns:
        int64 [N, 2] of gaps >= 0 and lengths >= 1 in pixels; N = 0 when healthy.

    Raises:
        InputError: an odd count of numbers, something that is no whole number, a gap < 0, a length < 1.

    Example:
        >>> parse("2 3 4 1").tolist()
        [[2, 3], [4, 1]]
    """
    if text.strip() in ("", HEALTHY):
        return np.zeros((0, 2), np.int64)
    numbers = _whole_numbers(text)
    if numbers.size % 2:
        raise InputError(
            f"RLE pair {numbers.size // 2 + 1}: expected a gap and a length. Received: {numbers[-1]} alone"
        )
    pairs = numbers.reshape(-1, 2)
    wrong = (pairs < (0, 1)) | (pairs > _LONGEST)
    if wrong.any():
        place = wrong.any(axis=1).argmax()
        gap, length = pairs[place]
        raise InputError(
            f"RLE pair {place + 1}: expected 0 <= gap, 1 <= length, both < 2^31. Received: gap={gap}, length={length}"
        )
    return pairs


def decode(text: str, shape: tuple[int, int] = SIIM_SHAPE) -> np.ndarray:
    """Draw a run-length text as a mask.

    Args:
        text: pairs (gap, length), see the module; "-1" or nothing when healthy.
        shape: (height, width) of the radiograph in pixels.

    Returns:
        uint8 [H, W] of {0, 1}.

    Raises:
        InputError: the text is malformed or runs beyond the image.

    Example:
        >>> decode("1 2 2 1", shape=(3, 2))
        array([[0, 0],
               [1, 0],
               [1, 1]], dtype=uint8)
    """
    return union((text,), shape=shape)


def encode(mask: np.ndarray) -> str:
    """Write a mask as run-length text: the inverse of `decode`.

    Args:
        mask: bool or integer [H, W]; every value but 0 is mask.

    Returns:
        Pairs (gap, length) parted by one space; "-1" for an empty mask.

    Raises:
        ValueError: not two-dimensional, or of another type, such as probabilities.

    Example:
        >>> encode(np.array([[0, 0], [1, 0], [1, 1]]))
        '1 2 2 1'
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise ValueError(f"expected a bool or integer mask [H, W]. Received: shape={mask.shape}, dtype={mask.dtype}")
    is_mask = np.pad(mask.ravel(order="F") != 0, 1)
    edges = np.flatnonzero(is_mask[1:] != is_mask[:-1])  # start, end, start, end, ...; ends are exclusive
    if not edges.size:
        return HEALTHY
    return " ".join(map(str, np.diff(edges, prepend=0).tolist()))


def union(rows: Iterable[str], *, shape: tuple[int, int] = SIIM_SHAPE) -> np.ndarray:
    """Draw all rows of one radiograph as one mask; where rows overlap a pixel is 1 all the same.

    Args:
        rows: run-length texts; none when healthy.
        shape: (height, width) of the radiograph in pixels.

    Returns:
        uint8 [H, W] of {0, 1}.

    Raises:
        InputError: a row is malformed or runs beyond the image.

    Example:
        >>> union(["0 2", "1 2"], shape=(2, 2))
        array([[1, 1],
               [1, 0]], dtype=uint8)
    """
    mask = np.zeros(shape, np.uint8)
    for row in rows:
        left, columns = _columns(row, shape)
        lines = np.flatnonzero(columns.any(axis=0))
        if lines.size:
            top, bottom = lines[0], lines[-1] + 1
            mask[top:bottom, left : left + len(columns)] |= columns[:, top:bottom].T
    return mask


def overlap(rows: Iterable[str]) -> bool:
    """Return whether any pixel is in more than one row of a radiograph. Nothing is drawn.

    Args:
        rows: run-length texts; none when healthy.

    Returns:
        True if the `union` has fewer pixels than its rows together.

    Raises:
        InputError: a row is malformed.

    Example:
        >>> overlap(["0 3", "3 2"]), overlap(["0 3", "2 2"])
        (False, True)
    """
    spans = np.concatenate([np.zeros((0, 2), np.int64), *map(_spans, rows)])
    starts, ends = spans[spans[:, 0].argsort()].T
    # The runs of one row never overlap. If any two runs do, then so do two that start one after the other.
    return bool((starts[1:] < ends[:-1]).any())


def _spans(text: str) -> np.ndarray:
    """Return int64 [N, 2]: first pixel of each run, and the pixel behind its last; ascending."""
    return parse(text).cumsum().reshape(-1, 2)


def _columns(text: str, shape: tuple[int, int]) -> tuple[int, np.ndarray]:
    """Draw only the columns that hold mask; the fewer, the better, as turning a drawing on its side takes most time.

    Returns:
        The index of the first of them, and uint8 [columns, H] of {0, 1}.
    """
    height, width = shape
    spans = _spans(text)
    if not spans.size:
        return 0, np.zeros((0, height), np.uint8)
    beyond = spans[:, 1] > height * width
    if beyond.any():
        place = beyond.argmax()
        raise InputError(
            f"RLE pair {place + 1}: expected all runs within {height} x {width} = {height * width} pixels. "
            f"Received: run_end={spans[place, 1]}"
        )
    left, right = spans[0, 0] // height, (spans[-1, 1] - 1) // height + 1
    edges = np.concatenate([[left * height], spans.ravel(), [right * height]])
    is_mask = np.arange(len(edges) - 1, dtype=np.uint8) % 2  # gap, run, gap, run, ..., what is left
    return int(left), np.repeat(is_mask, np.diff(edges)).reshape(-1, height)


def _whole_numbers(text: str) -> np.ndarray:
    """Return the words of a text as int64 [N], or say which pair holds another thing."""
    if text.isascii() and not text.encode().translate(None, b"0123456789 "):
        # NumPy reads a text five times as fast as int() its words, and as strictly where it is of digits and spaces
        # alone. Numbers too large for it come out as the largest there is: those are left to what follows.
        numbers = np.fromstring(text, np.int64, sep=" ")
        if numbers.max() < _LONGEST:
            return numbers
    words = text.split()
    for position, word in enumerate(words):
        digits = word.removeprefix("-")
        # Stricter than int(), which also takes "1_000" and other scripts' digits; 18 digits fit into int64.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise InputError(f"RLE pair {position // 2 + 1}: expected whole numbers. Received: {word[:40]!r}")
    return np.array([int(word) for word in words], np.int64)
