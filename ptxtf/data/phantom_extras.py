"""What lies on or in a phantom's chest and is no anatomy: skin folds, wires, tubes, side markers, collimation.

Flows in: a NumPy generator and the `Anatomy`. Flows out: `Extras`, curves in the patient's frame; then float32 [S, S]
attenuation to add, and white signs burnt into uint8 [S, S] pixels. None of it depends on whether there is a
pneumothorax, but for the skin folds, the classic false alarm, which healthy phantoms have more often.
"""

import dataclasses

import cv2
import numpy as np

from ptxtf.data.phantom_anatomy import Anatomy, Curve, band, open_curve
from ptxtf.data.phantom_film import SOFT, Field, Film, Mask, enlarged

_LETTERS = {
    "L": [(0.1, 0.0), (0.1, 1.0), (0.7, 1.0)],
    "R": [(0.1, 1.0), (0.1, 0.0), (0.5, 0.0), (0.7, 0.12), (0.7, 0.38), (0.5, 0.5), (0.1, 0.5), (0.75, 1.0)],
    "arrow": [(0.4, 1.0), (0.4, 0.0), (0.1, 0.35), (0.4, 0.0), (0.7, 0.35)],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Fold:
    """A fold of skin: dense along its edge, fading over `width` towards the midline."""

    edge: Curve
    width: float  # signed: the direction along x in which it fades
    density: float


@dataclasses.dataclass(frozen=True)
class Tube:
    """A plastic tube with opaque walls."""

    centre: Curve
    width: float


@dataclasses.dataclass(frozen=True)
class Sign:
    """A letter of lead or an arrow, in fractions of the film."""

    shape: str
    corner: tuple[float, float]
    height: float
    grey: int


@dataclasses.dataclass(frozen=True)
class Extras:
    """Everything on a film that is neither anatomy nor disease."""

    folds: tuple[Fold, ...]
    wires: tuple[Curve, ...]
    electrodes: tuple[Curve, ...]  # [1, 2] each
    tubes: tuple[Tube, ...]
    signs: tuple[Sign, ...]
    margins: tuple[float, float, float, float]  # collimated off: left, top, right, bottom, fractions of the film


def draw_extras(rng: np.random.Generator, anatomy: Anatomy, *, positive: bool) -> Extras:
    """Draw what else is on the film; portable films of lying patients carry more."""
    portable = anatomy.view_position == "AP"
    fold = _fold(rng, anatomy)
    folded = rng.random() < (0.15 if positive else 0.45)
    leads = [_lead(rng) for _ in range(int(rng.integers(2, 5)))] if rng.random() < (0.65 if portable else 0.08) else []
    return Extras(
        folds=(fold,) if folded else (),
        wires=tuple(wire for _, wire in leads),
        electrodes=tuple(electrode for electrode, _ in leads),
        tubes=_tubes(rng, anatomy, portable=portable),
        signs=_signs(rng, portable=portable),
        margins=_margins(rng),
    )


def _fold(rng: np.random.Generator, anatomy: Anatomy) -> Fold:
    """Draw an edge down the outer lung, often running on past it, which no pleura does."""
    side = anatomy.sides[int(rng.integers(2))]
    top, bottom = rng.uniform(0.0, 0.25), rng.uniform(0.55, 0.95)
    y = np.linspace(top, bottom, 5)
    inward = rng.uniform(0.05, 0.2) + rng.uniform(-0.12, 0.06) * np.linspace(-0.5, 1, 5)
    x = side.lateral_distance(np.maximum(y, 0.12)) - inward + rng.normal(0, 0.008, 5)
    edge = open_curve(np.stack([side.sign * x, y], axis=1))
    return Fold(edge, -side.sign * rng.uniform(0.07, 0.16), rng.uniform(0.03, 0.075))


def _lead(rng: np.random.Generator) -> tuple[Curve, Curve]:
    """Draw an electrode and the wire that leaves the film from it."""
    start = np.array([rng.uniform(-0.5, 0.5), rng.uniform(0.0, 0.85)])
    end = np.array([np.sign(start[0]) * rng.uniform(0.5, 1.2), rng.choice([-0.6, 1.5])])
    way = np.linspace(0, 1, 6)[:, None]
    wander = rng.normal(0, 0.06, (6, 2)) * np.sin(np.pi * way)
    return start[None], open_curve(start + (end - start) * way + wander)


def _tubes(rng: np.random.Generator, anatomy: Anatomy, *, portable: bool) -> tuple[Tube, ...]:
    """Draw an airway tube, a feeding tube, a central line and a chest drain, each or none."""
    x = float(anatomy.trachea[0, 0])
    airway = open_curve([(x, -0.6), (x + 0.005, -0.2), (x, rng.uniform(0.12, 0.24))])
    feeding = open_curve([(x - 0.01, -0.6), (x, 0.0), (x + 0.015, 0.5), (x + 0.05, 0.9), (x + 0.2, 1.05)])
    line = open_curve([(0.4, -0.02), (0.2, 0.04), (0.08, 0.13), (0.085, rng.uniform(0.3, 0.45))])
    line = line * (rng.choice([-1, 1]), 1)
    side = anatomy.sides[int(rng.integers(2))]
    wall = float(side.lateral_distance(0.65))
    drain = open_curve([(wall + 0.25, 0.75), (wall - 0.02, 0.62), (0.3, 0.3), (0.22, rng.uniform(0.08, 0.2))])
    drain = drain * (side.sign, 1)
    odds = (0.25, 0.25, 0.4, 0.12) if portable else (0.0, 0.03, 0.06, 0.05)
    tubes = (Tube(airway, 0.038), Tube(feeding, 0.016), Tube(line, 0.008), Tube(drain, 0.024))
    return tuple(tube for tube, keep in zip(tubes, rng.random(4) < odds, strict=True) if keep)


def _signs(rng: np.random.Generator, *, portable: bool) -> tuple[Sign, ...]:
    height, grey = rng.uniform(0.025, 0.045), int(rng.integers(190, 256))
    left = rng.random() < 0.7  # "L" stands at the patient's left, the right of the picture
    across = rng.uniform(0.88, 0.95) if left else rng.uniform(0.03, 0.09)
    corner = (across, rng.uniform(0.02, 0.12))
    signs = [Sign("L" if left else "R", corner, height, grey)] if rng.random() < 0.75 else []
    if portable and rng.random() < 0.4:
        signs.append(Sign("arrow", (corner[0], corner[1] + 1.5 * height), height, grey))
    return tuple(signs)


def _margins(rng: np.random.Generator) -> tuple[float, float, float, float]:
    widths = rng.uniform(0.004, 0.035, 4) * (rng.random(4) < 0.15)
    return (float(widths[0]), float(widths[1]), float(widths[2]), float(widths[3]))


def extra_attenuation(extras: Extras, film: Film) -> Field:
    """Return what folds, wires and tubes add: float32 [S, S]."""
    metal = film.blank()
    for wire in extras.wires:
        film.stroke(metal, wire, 0.007, 110)
    for electrode in extras.electrodes:
        for width, value in ((0.055, 60), (0.03, 200), (0.018, 110)):
            film.stroke(metal, np.repeat(electrode, 2, axis=0), width, value)
    for tube in extras.tubes:
        film.stroke(metal, tube.centre, tube.width, 32)
        for wall in band(tube.centre, tube.width * 0.85):
            film.stroke(metal, wall, 0.0035, 75)
    field = 0.3 * film.soften(metal, 0.002)
    for fold in extras.folds:
        field += fold.density * _fold_shadow(fold, film)
    return field


def _fold_shadow(fold: Fold, film: Film, steps: int = 24) -> Field:
    """Lay ever narrower strips over one another: dense at the edge, nothing at the width. Returns 0..1."""
    sheet = film.blank()
    along = np.linspace(0, 1, len(fold.edge))[:, None]
    taper = np.sqrt(np.sin(np.pi * np.clip(along, 0.02, 0.98)))
    for step in range(1, steps + 1):
        inner = fold.edge + np.array([fold.width, 0.0]) * taper * (1 - step / (steps + 1))
        film.fill(sheet, np.vstack([fold.edge, inner[::-1]]), round(255 * (step / steps) ** 1.5))
    soft = Film(film.anatomy, SOFT)
    return film.soften(sheet, 0.003) * enlarged(soft.soften(_brush(fold, soft), 0.06), film.size)


def _brush(fold: Fold, film: Film) -> Mask:
    """Where the fold is strong: its middle, so that both its ends fade."""
    sheet = film.blank()
    quarter = len(fold.edge) // 5
    film.stroke(sheet, fold.edge[quarter:-quarter], 0.4)
    return sheet


def collimate(extras: Extras, sheet: Mask) -> None:
    """Blank, in place, the margins of uint8 [S, S] pixels or of a mask that the beam did not reach."""
    size = len(sheet)
    left, top, right, bottom = (round(margin * size) for margin in extras.margins)
    sheet[:, :left] = sheet[:top] = 0
    sheet[:, size - right :] = sheet[size - bottom :] = 0


def burn_in(extras: Extras, pixels: Mask) -> None:
    """Write the signs, in place, into uint8 [S, S] pixels."""
    size = len(pixels)
    for sign in extras.signs:
        strokes = (np.array(_LETTERS[sign.shape]) * sign.height + sign.corner) * size
        width = max(1, round(sign.height * size / 7))
        cv2.polylines(pixels, [np.round(strokes * 16).astype(np.int32)], False, sign.grey, width, cv2.LINE_AA, 4)
