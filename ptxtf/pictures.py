"""Arrays -> pictures that a person looks at: overlays, contact sheets, curves.

Flows in: uint8 images 0..255 and masks of {0, 1}, [H, W]. Flows out: uint8 RGB [H, W, 3], or PNG bytes. Truth is drawn
in blue, the model's mask in orange, another model's in purple: colours that colour-blind readers tell apart, on grey.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

TRUTH = (86, 180, 233)
PREDICTED = (230, 159, 0)
OTHER = (204, 121, 167)

_PAPER, _INK, _FAINT = (18, 18, 20), (235, 235, 235), (150, 150, 155)
_MARGIN, _GAP = 32, 16
_TITLE, _HEADING, _CAPTION = 108, 52, 76
"""Heights in pixels of a contact sheet's title, of a section's heading, and of the text below a tile."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 8
"""Bits behind the point of the coordinates that outlines are drawn at."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a contact sheet and what is written below it.

    Attributes:
        picture: uint8 RGB [H, W, 3].
        heading: first line, in the colour of truth if `is_marked`.
        note: fainter lines below.
    """

    picture: np.ndarray
    heading: str
    note: str = ""
    is_marked: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """Tiles of a contact sheet that belong together: a heading, a note opposite (orange if it warns), and the tiles."""

    heading: str
    note: str
    tiles: Sequence[Tile]
    is_warning: bool = False


@dataclasses.dataclass(frozen=True)
class _Text:
    """Lines of text on a picture: where their upper left (or right) corner lies and how high they are, in pixels."""

    x: float
    y: float
    text: str
    size: int
    colour: tuple[int, int, int] = _INK
    is_bold: bool = False
    align: str = "left"


def overlay(
    image: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    predicted_mask: np.ndarray | None = None,
    title: str = "",
    disc: tuple[float, float, float, float] | None = None,
    along_mm: float | None = None,
) -> np.ndarray:
    """Return the image in grey with the outlines of truth (blue) and prediction (orange, lightly filled).

    Args:
        image: uint8 [H, W].
        mask: truth, of {0, 1}, or None; one that is finer than the image has a finer outline.
        predicted_mask: the model's, [H, W] of {0, 1}, or None.
        title: written into the upper left corner, in as many lines as it takes; ASCII.
        disc: a place to be ringed, in pixels: row and column of its centre, half its height and half its width.
        along_mm: spacing of the pixels along a row, for a bar that shows a length, in the lower right corner; None or
            nan: not known, and no bar.

    Returns:
        uint8 RGB [H, W, 3].
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    thickness = max(1, round(image.shape[0] / 400))
    if predicted_mask is not None:
        filled = predicted_mask.astype(bool)
        canvas[filled] = (0.75 * canvas[filled] + 0.25 * np.array(PREDICTED)).astype(np.uint8)
        _outline(canvas, predicted_mask, PREDICTED, thickness)
    if mask is not None:
        _outline(canvas, mask, TRUTH, thickness)
    if disc is not None:
        row, column, half_height, half_width = (round(value * 2**_SHIFT) for value in disc)
        axes, finer = (half_width, half_height), max(1, thickness // 2)
        cv2.ellipse(canvas, (column, row), axes, 0, 0, 360, _INK, finer, cv2.LINE_AA, _SHIFT)
    if title:
        _write_title(canvas, title)
    if along_mm is not None and along_mm > 0:
        _draw_scale_bar(canvas, along_mm)
    return canvas


def outline_layer(mask: np.ndarray, shape: tuple[int, ...], colour: tuple[int, int, int]) -> np.ndarray:
    """Return the outline of a mask, lightly filled, to be laid over a picture.

    Args:
        mask: [H, W] of {0, 1}.
        shape: height and width of the picture in pixels.
        colour: of the outline.

    Returns:
        uint8 RGBA [*shape, 4].
    """
    filled = cv2.resize(mask.astype(np.uint8) * 64, shape[1::-1], interpolation=cv2.INTER_AREA)
    line = np.zeros((*shape[:2], 3), np.uint8)
    _outline(line, mask, (255, 255, 255), max(1, round(shape[0] / 300)))
    alpha = np.maximum(filled, line[..., 0])
    return np.dstack([np.full((*shape[:2], 3), colour, np.uint8), alpha])


def sheet(pictures: Sequence[np.ndarray], *, columns: int, gap: int = 6) -> np.ndarray:
    """Return RGB pictures [H, W, 3] of one size side by side, row by row, on black."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas


def contact_sheet(title: str, note: str, sections: Sequence[Section], *, columns: int, size: int) -> np.ndarray:
    """Return captioned tiles, row by row below their sections' headings, on black.

    Args:
        title: first line.
        note: a fainter line below.
        sections: what to show.
        columns: tiles in a row.
        size: height and width in pixels of the box for each tile; what does not fill it is centred.

    Returns:
        uint8 RGB [H, W, 3].
    """
    pitch = size + _CAPTION
    rows = [-(-len(section.tiles) // columns) for section in sections]
    width = 2 * _MARGIN + columns * (size + _GAP) - _GAP
    canvas = np.full((_TITLE + sum(_HEADING + count * pitch for count in rows) + _MARGIN, width, 3), _PAPER, np.uint8)
    texts = [_Text(_MARGIN, 28, title, 28, is_bold=True), _Text(_MARGIN, 68, note, 16, _FAINT)]
    top = _TITLE
    for section, count in zip(sections, rows, strict=True):
        texts.append(_Text(_MARGIN, top + 10, section.heading, 20, is_bold=True))
        colour = PREDICTED if section.is_warning else _FAINT
        texts.append(_Text(width - _MARGIN, top + 13, section.note, 15, colour, align="right"))
        top += _HEADING
        for index, tile in enumerate(section.tiles):
            x, y = _MARGIN + index % columns * (size + _GAP), top + index // columns * pitch
            _paste(canvas[y : y + size, x : x + size], tile.picture)
            texts.append(_Text(x, y + size + 8, tile.heading, 15, TRUTH if tile.is_marked else _INK, is_bold=True))
            texts.append(_Text(x, y + size + 28, tile.note, 12, _FAINT))
        top += count * pitch
    return _write(canvas, texts)


def fit(image: np.ndarray, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Return a uint8 [H, W] image with the aspect of `shape` and a longer side of `size` pixels."""
    height, width = (max(1, round(side * size / max(shape[:2]))) for side in shape[:2])
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Return a picture whose longer side is at most `size` pixels."""
    scale = size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else image


def enlarge(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a uint8 [H, W] image at another height and width."""
    return cv2.resize(image, shape[1::-1], interpolation=cv2.INTER_LINEAR)


def png(picture: np.ndarray) -> bytes:
    """Return uint8 [H, W], RGB [H, W, 3] or RGBA [H, W, 4] as PNG."""
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, codes[picture.shape[2]])
    return cv2.imencode(".png", ordered)[1].tobytes()


def curves(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Return a PNG of loss and Dice by epoch, from the rows of history.csv."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        if name in rows[0]:
            left.plot(epochs, [row[name] for row in rows], label=label)
    for name, label in (("val_dice", "all images (empty-empty = 1)"), ("val_positive_dice", "positives")):
        if name in rows[0]:
            right.plot(epochs, [row[name] for row in rows], label=label)
    left.set(xlabel="epoch", title="Loss")
    right.set(xlabel="epoch", title="Validation Dice", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.set_dpi(110)
    canvas.draw()
    return png(np.asarray(canvas.buffer_rgba())[..., :3])


def _paste(box: np.ndarray, picture: np.ndarray) -> None:
    """Put a picture into the middle of a black box that is as large or larger."""
    box[:] = 0
    height, width = picture.shape[:2]
    top, left = (box.shape[0] - height) // 2, (box.shape[1] - width) // 2
    box[top : top + height, left : left + width] = picture


def _write(canvas: np.ndarray, texts: Sequence[_Text]) -> np.ndarray:
    """Return RGB [H, W, 3] with texts on it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)  # so that a point is a pixel
    figure.figimage(canvas)
    for text in texts:
        figure.text(
            text.x / width,
            1 - text.y / height,
            text.text,
            size=text.size,
            color=tuple(np.divide(text.colour, 255)),
            weight="bold" if text.is_bold else "normal",
            horizontalalignment=text.align,
            verticalalignment="top",
            linespacing=1.35,
            parse_math=False,
        )
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3]


def _outline(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw the outline of a mask of any size, through the centres of its outermost pixels, to a fraction of a pixel."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    scale = np.divide(canvas.shape[1::-1], mask.shape[1::-1])
    lines = [np.rint(((contour + 0.5) * scale - 0.5) * 2**_SHIFT).astype(np.int32) for contour in contours]
    cv2.polylines(canvas, lines, True, colour, thickness, cv2.LINE_AA, _SHIFT)
    for line in lines:
        if np.ptp(line, axis=0).max() < 2**_SHIFT:  # a line so short is not drawn
            cv2.circle(canvas, line[0, 0].tolist(), thickness << _SHIFT, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _write_title(canvas: np.ndarray, title: str) -> None:
    """Write white on black into the upper left corner, in lines that fit."""
    scale, thickness = _letters(canvas)
    margin = round(8 * scale) + 1
    lines = _lines(title, scale, thickness, room=canvas.shape[1] - 2 * margin)
    sizes = [cv2.getTextSize(line, _FONT, scale, thickness)[0] for line in lines]
    pitch = sizes[0][1] + margin
    canvas[: len(lines) * pitch + margin, : max(width for width, _ in sizes) + 2 * margin] = 0
    for number, line in enumerate(lines, start=1):
        cv2.putText(canvas, line, (margin, number * pitch), _FONT, scale, _INK, thickness, cv2.LINE_AA)


def _letters(canvas: np.ndarray) -> tuple[float, int]:
    """Return OpenCV's scale and thickness for letters that can be read on a picture of this size."""
    scale = max(0.3, canvas.shape[1] / 1300)
    return scale, max(1, round(1.5 * scale))


def _lines(text: str, scale: float, thickness: int, *, room: int) -> list[str]:
    """Break a text between words, into lines of `room` pixels where that can be."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cv2.getTextSize(longer, _FONT, scale, thickness)[0][0] > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _draw_scale_bar(canvas: np.ndarray, along_mm: float) -> None:
    """Draw a white bar and the length that it shows, on black, into the lower right corner."""
    height, width = canvas.shape[:2]
    length_mm = _bar_length_mm(width * along_mm)
    text = f"{length_mm / 10:g} cm" if length_mm >= 10 else f"{length_mm:g} mm"
    scale, thickness = _letters(canvas)
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    margin, half = round(8 * scale) + 1, max(1, round(3 * scale))
    right, middle = width - margin, height - margin - max(half, text_height // 2)
    left = right - max(1, round(length_mm / along_mm))
    start = left - margin - text_width
    canvas[max(0, 2 * middle - height) :, max(0, start - margin) :] = 0
    canvas[middle - half : middle + half, left:right] = 255
    cv2.putText(canvas, text, (start, middle + text_height // 2), _FONT, scale, _INK, thickness, cv2.LINE_AA)


def _bar_length_mm(width_mm: float) -> float:
    """Return 5 cm where that is a quarter to a twentieth of a picture's width, else the longest 1, 2, 5 … up to it."""
    if width_mm / 20 <= 50 <= width_mm / 4:
        return 50.0
    power = 10.0 ** math.floor(math.log10(width_mm / 4))
    return max(step * power for step in (1, 2, 5) if step * power <= width_mm / 4)
