"""What a file says of its pixels' size -> the spacing that lengths are computed with, and how far it can be trusted.

Flows in: the spacing of pixel centres in mm (down, along a row) as a file states it, the image's shape, and a factor
that a user gives. Flows out: `Spacing`.

SIIM-ACR's files are why this is no plain number. Their PixelSpacing is that of the NIH originals, of 2,000 to 3,000
pixels a side, which were squeezed to 1024 x 1024 afterwards; the file does not tell from how many. As stated, their
films are some 15 cm wide, and no adult chest fits on that. With 2.5 times the spacing (2,560 pixels became 1,024) they
are about as wide as they were, but any one length may be wrong by about 20 %, more so in one direction than the other
where the original was no square.
"""

import dataclasses
import math
from collections.abc import Sequence

NARROWEST_MM = 200.0
"""No adult chest fits on a narrower film. (A child's does: there a factor of 1 says that the spacing is right.)"""

SQUEEZED_SHAPE = (1024, 1024)
"""Height and width of every file of SIIM-ACR."""

SQUEEZED_FACTOR = 2.5
"""How many pixels of the original, along a side, became one of them, as a rule."""

_MOST_OBLONG = 4.0
"""No detector's pixels are longer than so many times their width."""


@dataclasses.dataclass(frozen=True)
class Spacing:
    """The distance of pixel centres; nan where it is not known."""

    down_mm: float
    along_mm: float
    """Along a row."""
    source: str
    """"stated": by the file; "given factor": by the file, times what a user says; "assumed": by the file, times
    `SQUEEZED_FACTOR`, so that lengths are good to about 20 %; "unknown"."""

    @property
    def unit(self) -> str:
        """What lengths are in: mm, or px where the spacing is not known."""
        return "px" if self.source == "unknown" else "mm"

    @property
    def steps(self) -> tuple[float, float]:
        """The distance of pixel centres, down and along a row, in that unit."""
        return (1.0, 1.0) if self.source == "unknown" else (self.down_mm, self.along_mm)


UNKNOWN = Spacing(math.nan, math.nan, "unknown")


def likely(stated_mm: Sequence[float] | None, shape: tuple[int, ...], *, factor: float = 0.0) -> Spacing:
    """Return the spacing that a finding is measured with: better about right, and said so, than in pixels.

    Args:
        stated_mm: down and along a row, as the file states it; None or nan where it does not. Where one is more than
            4 times the other, nothing is known.
        shape: height and width in pixels.
        factor: what is stated is multiplied by it. 0: by 1, but by `SQUEEZED_FACTOR`, as an assumption, where the file
            looks like one of SIIM-ACR: of their shape, and a film that is narrower than `NARROWEST_MM`.
    """
    if stated_mm is None or not all(0 < step < math.inf for step in stated_mm):
        return UNKNOWN
    if max(stated_mm) > _MOST_OBLONG * min(stated_mm):
        return UNKNOWN
    if factor:
        return _multiplied(stated_mm, factor, "given factor")
    if tuple(shape[:2]) == SQUEEZED_SHAPE and _is_narrow(stated_mm, shape):
        return _multiplied(stated_mm, SQUEEZED_FACTOR, "assumed")
    return _multiplied(stated_mm, 1.0, "stated")


def certain(stated_mm: Sequence[float] | None, shape: tuple[int, ...], *, factor: float = 0.0) -> Spacing:
    """Return the spacing that a score is computed with: `likely`, but nothing is assumed.

    With a factor of 0, a spacing that makes the film narrower than `NARROWEST_MM` counts as unknown.
    """
    found = likely(stated_mm, shape, factor=factor)
    return UNKNOWN if stated_mm is not None and not factor and _is_narrow(stated_mm, shape) else found


def _multiplied(stated_mm: Sequence[float], factor: float, source: str) -> Spacing:
    down_mm, along_mm = (float(step) * factor for step in stated_mm)
    return Spacing(down_mm, along_mm, source)


def _is_narrow(stated_mm: Sequence[float], shape: tuple[int, ...]) -> bool:
    return min(step * side for step, side in zip(stated_mm, shape[:2], strict=True)) < NARROWEST_MM
