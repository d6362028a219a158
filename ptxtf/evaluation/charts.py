"""Numbers -> charts as SVG, for a page: they take the page's own ink, so they suit a dark one too."""

import dataclasses
import html
from collections.abc import Sequence

_WIDTH, _HEIGHT = 340, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 44, 40
_LETTER = 5.6  # about as wide as one of the legend

Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line through points; its colour is that of the page's class `name`."""

    points: Points
    label: str
    name: str = "first"
    has_dots: bool = False


@dataclasses.dataclass(frozen=True)
class Axis:
    """What an axis shows: its label, and the values at its ends."""

    label: str
    low: float = 0.0
    high: float = 1.0


def lines(title: str, x: Axis, y: Axis, drawn: Sequence[Line], *, diagonal: bool = False) -> str:
    """Return a chart of lines; `diagonal` adds the line of x = y."""
    parts = []
    if diagonal:
        parts.append(_path([(x.low, y.low), (x.high, y.high)], x, y, "faint"))
    for line in drawn:
        parts.append(_path(line.points, x, y, line.name))
        if line.has_dots:
            parts += [
                f'<circle cx="{_across(px, x):.1f}" cy="{_down(py, y):.1f}" r="3" class="dot {line.name}"/>'
                for px, py in line.points
            ]
    return _chart(title, x, y, [*parts, *_legend(drawn)])


def bars(title: str, x: Axis, y: Axis, heights: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return a histogram: of each group, a name and its heights from bin to bin; groups stand side by side."""
    names = ("first", "second", "third")
    parts = []
    for number, (_, values) in enumerate(heights):
        step = (x.high - x.low) / len(values)
        for index, value in enumerate(values):
            left = _across(x.low + step * (index + number / len(heights)), x)
            right = _across(x.low + step * (index + (number + 1) / len(heights)), x)
            top = _down(value, y)
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 1, 0.5):.1f}" '
                f'height="{_down(y.low, y) - top:.1f}" class="bar {names[number]}"/>'
            )
    legend = _legend([Line([], label, names[number]) for number, (label, _) in enumerate(heights)])
    return _chart(title, x, y, [*parts, *legend])


def _chart(title: str, x: Axis, y: Axis, parts: Sequence[str]) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    ticks = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        across, down = x.low + share * (x.high - x.low), y.low + share * (y.high - y.low)
        px, py = _across(across, x), _down(down, y)
        ticks.append(f'<path d="M{_LEFT} {py:.1f}H{right}" class="grid"/>')
        ticks.append(f'<text x="{_LEFT - 5}" y="{py + 4:.1f}" text-anchor="end">{down:.3g}</text>')
        ticks.append(f'<text x="{px:.1f}" y="{bottom + 15}" text-anchor="middle">{across:.3g}</text>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{html.escape(title)}">'
        f'<text x="{_LEFT}" y="16" class="title">{html.escape(title)}</text>{"".join(ticks)}'
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" class="axis"/>{"".join(parts)}'
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(x.label)}</text>'
        f'<text transform="translate(11 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(y.label)}</text></svg>"
    )


def _legend(drawn: Sequence[Line]) -> list[str]:
    """Return the lines' labels, side by side between title and chart."""
    parts, left = [], float(_LEFT)
    for line in drawn:
        if line.label:
            parts.append(
                f'<path d="M{left:.0f} {_TOP - 14}h14" class="line {line.name}"/>'
                f'<text x="{left + 18:.0f}" y="{_TOP - 10}">{html.escape(line.label)}</text>'
            )
            left += 30 + _LETTER * len(line.label)
    return parts


def _path(points: Points, x: Axis, y: Axis, name: str) -> str:
    if not points:
        return ""
    places = "L".join(f"{_across(px, x):.1f} {_down(py, y):.1f}" for px, py in points)
    return f'<path d="M{places}" class="line {name}"/>'


def _across(value: float, axis: Axis) -> float:
    return _LEFT + (value - axis.low) / (axis.high - axis.low) * (_WIDTH - _LEFT - _RIGHT)


def _down(value: float, axis: Axis) -> float:
    return _HEIGHT - _BOTTOM - (value - axis.low) / (axis.high - axis.low) * (_HEIGHT - _TOP - _BOTTOM)
