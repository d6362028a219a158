"""What is shown of a radiograph, and the last few of them, in memory: at most so many, so large, and so old."""

import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

_LONGEST = 100


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """What is shown of one radiograph. Texts may hold anything; the page shows them as text.

    Attributes:
        image_id: what it is called.
        sentence: what was found, in words.
        columns: headings of the findings.
        rows: the findings, a text for each column.
        image_png: the film in grey.
        layer_png: the outline of what was found, RGBA, of the film's height and width.
        downloads: name -> content of each file that a visitor may take along. A name is one that `file_name` gives.

    Raises:
        ValueError: another name, or a row with more or fewer texts.
    """

    image_id: str
    sentence: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    image_png: bytes
    layer_png: bytes
    downloads: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for name in self.downloads:
            if name != file_name(name):
                raise ValueError(f"expected a plain file name, as {file_name(name)!r}. Received: {name!r}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"expected a text for each of {self.columns}. Received: {row}")

    @property
    def size(self) -> int:
        """Bytes that it takes, but for a few texts."""
        return len(self.image_png) + len(self.layer_png) + sum(map(len, self.downloads.values()))


def file_name(text: str) -> str:
    """Return a text as it may stand in a file name: letters, digits, "_", "." and "-" only, not hidden, not too long.

    Example:
        >>> file_name("../My film.dcm")
        'My_film.dcm'
    """
    name = re.sub(r"[^\w.-]", "_", text.encode(errors="replace").decode()).lstrip("._-")
    while len(name.encode()) > _LONGEST:
        name = name[1:]  # of long names the end tells more
    return name.lstrip("._-") or "radiograph"


class Store:
    """Keeps the last results, each under a token that nobody can guess.

    Args:
        count: how many.
        max_bytes: how large all of them may be; the last one is kept in any case.
        seconds: how long.
        clock: what time it is, in seconds.
    """

    def __init__(
        self, *, count: int, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._max_bytes, self._seconds, self._clock = count, max_bytes, seconds, clock
        self._kept: dict[str, tuple[float, Examined]] = {}

    def put(self, examined: Examined) -> str:
        """Keep a result, and forget what is too old, or too much beside it; return its token."""
        token = secrets.token_urlsafe(24)
        self._kept[token] = (self._clock() + self._seconds, examined)
        self.sweep()
        while len(self._kept) > self._count or (len(self._kept) > 1 and self._bytes() > self._max_bytes):
            del self._kept[next(iter(self._kept))]
        return token

    def get(self, token: str) -> Examined | None:
        """Return a result; None for one that was forgotten or never there."""
        self.sweep()
        return self._kept[token][1] if token in self._kept else None

    def sweep(self) -> None:
        """Forget what is too old."""
        now = self._clock()
        self._kept = {token: kept for token, kept in self._kept.items() if kept[0] > now}

    def _bytes(self) -> int:
        return sum(examined.size for _, examined in self._kept.values())
