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
    words = text.split()
    if words in ([], [HEALTHY]):
        return np.zeros((0, 2), np.int64)
    numbers = _whole_numbers(words)
    if len(numbers) % 2:
        raise InputError(
            f"RLE pair {len(numbers) // 2 + 1}: expected a gap and a length. Received: {words[-1]!r} alone"
        )
    pairs = np.array(numbers, np.int64).reshape(-1, 2)
    wrong = np.flatnonzero((pairs < (0, 1)).any(axis=1) | (pairs > _LONGEST).any(axis=1))
    if wrong.size:
        gap, length = pairs[wrong[0]]
        raise InputError(
            f"RLE pair {wrong[0] + 1}: expected 0 <= gap, 1 <= length, both < 2^31. "
            f"Received: gap={gap}, length={length}"
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
    height, width = shape
    pairs = parse(text)
    ends = pairs.sum(axis=1).cumsum()
    if ends.size and ends[-1] > height * width:
        raise InputError(
            f"RLE pair {np.argmax(ends > height * width) + 1}: expected all runs within {height} x {width} = "
            f"{height * width} pixels. Received: run_end={ends[ends > height * width][0]}"
        )
    rest = height * width - (ends[-1] if ends.size else 0)
    stretches = np.append(pairs, rest)  # gap, length, gap, length, ..., what is left
    is_mask = np.arange(len(stretches), dtype=np.uint8) % 2
    columns = np.repeat(is_mask, stretches).reshape(width, height)
    return np.ascontiguousarray(columns.T)


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
        mask |= decode(row, shape)
    return mask


def _whole_numbers(words: list[str]) -> list[int]:
    """Return the words as integers, or say which pair holds another thing."""
    for position, word in enumerate(words):
        digits = word.removeprefix("-")
        # Stricter than int(), which also takes "1_000" and other scripts' digits; 18 digits fit into int64.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise InputError(f"RLE pair {position // 2 + 1}: expected whole numbers. Received: {word!r}")
    return [int(word) for word in words]
