"""Stored values -> grey levels: what a viewing station does, in NumPy.

In: integers [H, W] as a file holds them, and a `Rendering`, what its header says of them. Out: uint8 [H, W] in 0..255
where bright is dense. On the way:

1. Modality: the look-up table, else slope and intercept (PS3.3 C.11.1).
2. View: a VOI look-up table or a window (C.11.2), whose ends become 0 and 255. Where the header offers none, or a
   window that the standard forbids, 8 bits stay as they are, and of other depths the percentiles 0.5 and 99.5 become
   black and white: a marker or a dead pixel does not darken the rest.
3. Inversion, where low values are dense.
4. Padding (C.7.5.1.1.2) is background: black, and without weight in the percentiles.

All four depend on a pixel's value alone. So each value that occurs is rendered once, and pixels are looked up.
Nothing here knows files or pydicom.
"""

import dataclasses
import functools
import math

import numpy as np

from ptxtf.errors import InputError

_PERCENTILES = (0.5, 99.5)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A look-up table: `first` and lower become outputs[0], first + 1 outputs[1], ..., what lies above outputs[-1]."""

    first: int
    outputs: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """A window: `width` values around `center` span the grey levels; `function` as in PS3.3 C.11.2.1.3."""

    center: float
    width: float
    function: str = "LINEAR"

    @property
    def is_usable(self) -> bool:
        """Whether the standard allows it."""
        least = {"LINEAR": 1, "LINEAR_EXACT": math.ulp(0), "SIGMOID": math.ulp(0)}
        return math.isfinite(self.center) and least.get(self.function, math.inf) <= self.width < math.inf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rendering:
    """What a header says of how stored values are to be shown.

    Attributes:
        bits: how many bits a stored value has.
        is_signed: whether they are two's complement.
        slope: of a stored value, towards the modality's unit.
        intercept: likewise.
        modality: look-up table in place of slope and intercept.
        views: what the header offers, VOI look-up tables before windows.
        padding: least and greatest stored value that stand for no tissue.
        is_inverted: whether what would come out black is dense.
    """

    bits: int
    is_signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    modality: Table | None = None
    views: tuple[Table | Window, ...] = ()
    padding: tuple[int, int] | None = None
    is_inverted: bool = False


def render(stored: np.ndarray, rendering: Rendering, *, window: int = 1) -> np.ndarray:
    """Render stored values as grey levels, as the module says.

    Args:
        stored: integers [H, W].
        rendering: what the header says of them.
        window: which of `rendering.views`, from 1; 0: none of them. Where there are none, 1 is as good as 0.

    Returns:
        uint8 [H, W] in 0..255, bright = dense.

    Raises:
        InputError: there is no such view; the message names no file.

    Example:
        >>> render(np.array([[0, 94, 99], [102, 104, 4095]]), Rendering(bits=12, views=(Window(center=100, width=11),)))
        array([[  0,   0, 115],
               [191, 242, 255]], dtype=uint8)
    """
    view = _view(rendering, window)
    if stored.dtype == np.uint8 and changes_nothing(rendering, window=window):
        return stored
    values, places = _distinct(stored)
    counts = np.bincount(places.ravel(), minlength=len(values))
    return _levels(values, counts, rendering, view)[places]


@functools.lru_cache(maxsize=64)  # the files of a data set are all alike
def changes_nothing(rendering: Rendering, *, window: int = 1) -> bool:
    """Return whether stored values of 8 bits are the grey levels already, whatever the picture.

    Args:
        rendering: what the header says.
        window: which of `rendering.views`, from 1; 0: none of them.

    Raises:
        InputError: there is no such view; the message names no file.

    Example:
        >>> changes_nothing(Rendering(bits=8, views=(Window(center=128, width=256),)))
        True
    """
    view = _view(rendering, window)
    if rendering.bits != 8 or rendering.is_signed or rendering.is_inverted:
        return False
    values = np.arange(256)
    return np.array_equal(_levels(values, np.ones_like(values), rendering, view), values)


def robust_range(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[float, float]:
    """Return which values are shown black and white where nobody says it: the percentiles 0.5 and 99.5.

    Between two values that occur, percentiles are interpolated linearly.

    Args:
        values: numbers of any shape.
        counts: how often each of them occurs; once, where left out.

    Returns:
        Black and white; 0 and 0 where nothing occurs.

    Example:
        >>> robust_range(np.arange(1001))
        (5.0, 995.0)
    """
    if counts is None:
        black, white = np.percentile(values, _PERCENTILES)
        return float(black), float(white)
    if not counts.any():
        return 0.0, 0.0
    order = np.argsort(values, axis=None)
    ordered, ends = values.ravel()[order], np.cumsum(counts.ravel()[order])
    places = np.array(_PERCENTILES) / 100 * (ends[-1] - 1)  # among all occurrences in their order, from 0
    below, above = (ordered[np.searchsorted(ends, side(places), side="right")] for side in (np.floor, np.ceil))
    black, white = below + (above - below) * (places % 1)
    return float(black), float(white)


def stretch(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Return values as uint8 grey levels, `black` and below as 0, `white` and above as 255.

    Where both are the same, what lies above is white.

    Example:
        >>> stretch(np.array([0, 10, 15, 20, 99]), 10, 20)
        array([  0,   0, 128, 255, 255], dtype=uint8)
    """
    shares = (values - black) / ((white - black) or 1)
    return np.rint(255 * shares.clip(0, 1)).astype(np.uint8)


def _distinct(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values, ascending, among which are all that occur, and for each pixel the index of its own."""
    lowest, highest = int(stored.min()), int(stored.max())
    if highest - lowest > max(stored.size, 2**16):  # 32 bits
        values, indices = np.unique(stored, return_inverse=True)
        return values, indices.reshape(stored.shape)  # NumPy 1 gives them flat
    return np.arange(lowest, highest + 1), np.subtract(stored, lowest, dtype=np.int64)


def _view(rendering: Rendering, window: int) -> Table | Window | None:
    """Return the view that is asked for; None where there is none, or none that can be used."""
    offered = len(rendering.views)
    if not 0 <= window <= max(offered, 1):
        raise InputError(f"expected window 0 (none) to {offered} of those in the file. Received: {window=}")
    if not window or not offered:
        return None
    view = rendering.views[window - 1]
    return None if isinstance(view, Window) and not view.is_usable else view


def _levels(values: np.ndarray, counts: np.ndarray, rendering: Rendering, view: Table | Window | None) -> np.ndarray:
    """Return the grey levels of stored values [N] of which `counts` [N] occur."""
    is_padding = np.zeros(len(values), bool)
    if rendering.padding:
        least, greatest = rendering.padding
        is_padding = (least <= values) & (values <= greatest)
    shown = _in_units(values, rendering)
    if isinstance(view, Table):
        # Not the depth that the header tells: some devices tell more bits than they use.
        levels = stretch(_look_up(shown, view), float(view.outputs.min()), float(view.outputs.max()))
    elif isinstance(view, Window):
        levels = stretch(_windowed(shown, view), 0, 1)
    elif rendering.bits == 8 and not rendering.is_signed and not rendering.modality:
        levels = stretch(shown, *sorted(_in_units(np.array([0, 255]), rendering)))
    else:
        levels = stretch(shown, *robust_range(shown, np.where(is_padding, 0, counts)))
    if rendering.is_inverted:
        levels = 255 - levels
    levels[is_padding] = 0
    return levels


def _in_units(values: np.ndarray, rendering: Rendering) -> np.ndarray:
    """Return stored values in the modality's unit (PS3.3 C.11.1.1.1 and C.11.1.1.2)."""
    if rendering.modality:
        return _look_up(values, rendering.modality)
    return values * rendering.slope + rendering.intercept


def _look_up(values: np.ndarray, table: Table) -> np.ndarray:
    places = np.clip(np.rint(values) - table.first, 0, len(table.outputs) - 1)
    return table.outputs[places.astype(np.int64)].astype(np.float64)


def _windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Return where values lie in a window: 0 and below black, 1 and above white (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    with np.errstate(over="ignore"):  # far outside of a narrow window
        if window.function == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - window.center) / window.width))
        if window.function == "LINEAR_EXACT":
            return (values - window.center) / window.width + 0.5
        if window.width == 1:
            return np.where(values > window.center - 0.5, 1.0, 0.0)
        return (values - (window.center - 0.5)) / (window.width - 1) + 0.5
