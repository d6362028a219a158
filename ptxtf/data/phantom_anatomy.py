"""The patient behind a phantom: every outline of a chest, drawn from a random generator and nothing else.

Flows in: a NumPy generator. Flows out: frozen dataclasses of float curves [N, 2]. `phantom_film` makes pixels of them.

Curves live in the patient's frame: x runs to the right of the *picture* (the patient's left) from the midline,
y runs down from the lung apex; the unit is the height of a lung, so that most numbers lie in -1..1. `Anatomy.pose`
takes them to fractions of the film, where (0, 0) is its top left corner and (1, 1) its bottom right one.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Curve = np.ndarray
"""float [N, 2]: points (x, y)."""

_SAMPLES = 24  # points per control point of a curve: chords well under a pixel off at 1024 x 1024


def closed_curve(points: npt.ArrayLike) -> Curve:
    """Run a Catmull-Rom spline through a ring of points. Returns [_SAMPLES * len(points), 2], first point first."""
    ring = np.asarray(points, np.float64)
    return _catmull_rom(np.vstack([ring[-1:], ring, ring[:2]]))


def open_curve(points: npt.ArrayLike) -> Curve:
    """Run a Catmull-Rom spline through points, from the first one to just before the last one."""
    path = np.asarray(points, np.float64)
    return _catmull_rom(np.vstack([2 * path[:1] - path[1:2], path, 2 * path[-1:] - path[-2:-1]]))


def _catmull_rom(points: Curve) -> Curve:
    before, start, end, after = points[:-3], points[1:-2], points[2:-1], points[3:]
    t = np.arange(_SAMPLES)[None, :, None] / _SAMPLES
    before, start, end, after = (p[:, None, :] for p in (before, start, end, after))
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return curve.reshape(-1, 2)


def band(centre: Curve, widths: npt.ArrayLike) -> tuple[Curve, Curve]:
    """Return the two edges of a band that follows an open curve; widths is a number or one per point."""
    along = np.gradient(centre, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * np.reshape(widths, (-1, 1)) / 2
    return centre - across, centre + across


# Stations 0 to 15 go round a hemithorax: over the apex, down the ribs, along the diaphragm, up the mediastinum.
# Each is (distance from the midline, y) in the mean chest.
_HEMITHORAX = np.array(
    [
        (0.085, 0.130), (0.135, 0.035), (0.235, 0.000), (0.345, 0.070), (0.435, 0.215), (0.490, 0.400),
        (0.525, 0.600), (0.545, 0.800), (0.545, 0.965), (0.465, 0.890), (0.350, 0.840), (0.230, 0.845),
        (0.120, 0.900), (0.085, 0.720), (0.080, 0.500), (0.080, 0.300),
    ]
)  # fmt: skip
APEX, LATERAL, ANGLE, DOME = 2.0, 5.5, 8.0, 10.5
STATIONS = len(_HEMITHORAX)


@dataclasses.dataclass(frozen=True)
class Hemithorax:
    """One half of the chest: the parietal pleura as a ring of curve points, and the hilum, to which a lung shrinks."""

    sign: int  # -1: left in the picture, the patient's right; +1: right in the picture
    wall: Curve
    hilum: Curve  # [2]

    @property
    def stations(self) -> np.ndarray:
        """The station, 0..16, of each point of the wall."""
        return np.arange(len(self.wall)) / _SAMPLES

    def lateral_distance(self, y: float | np.ndarray) -> np.ndarray:
        """How far from the midline the ribs run at height y."""
        side = self.wall[(self.stations >= APEX) & (self.stations <= ANGLE)]
        return np.interp(np.asarray(y), side[:, 1], np.abs(side[:, 0]))

    def shrunken(self, retraction: np.ndarray) -> Curve:
        """Return the wall drawn towards the hilum by a fraction, 0..1, at each of its points: the visceral pleura."""
        return self.hilum + (self.wall - self.hilum) * (1 - retraction[:, None])


@dataclasses.dataclass(frozen=True)
class PleuralSpace:
    """One region of air: how far, as a fraction of the way to the hilum, the lung has come off round a station."""

    side: int  # index into Anatomy.sides
    station: float
    reach: float  # stations to either side, where the lung touches the wall again
    depth: float
    flatness: float  # above 1: steep ends and an even rim; 1: a crescent
    ripple: tuple[float, float]  # amplitude (fraction of depth) and phase of the lung's uneven edge

    def retraction(self, stations: np.ndarray) -> np.ndarray:
        """Return the fraction by which the lung is drawn in at each station; 0 outside the reach."""
        away = (stations - self.station + STATIONS / 2) % STATIONS - STATIONS / 2
        rise = np.clip(1 - np.abs(away / self.reach) ** (2 * self.flatness), 0, 1)
        amplitude, phase = self.ripple
        return self.depth * rise * (1 + amplitude * np.sin(2.1 * stations + phase))


@dataclasses.dataclass(frozen=True)
class Bone:
    """A long bone: its centre line and its widths."""

    centre: Curve
    width: np.ndarray  # float, one per point


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Everything about one patient on one film that is not air in the wrong place."""

    view_position: str  # "PA" or "AP"
    film_mm: float  # edge of the square film
    pose: np.ndarray  # [2, 3]: patient frame -> film fractions
    sides: tuple[Hemithorax, Hemithorax]
    torso: Curve
    arms: tuple[Curve, Curve]
    mediastinum: Curve
    heart: Curve
    spine: Curve
    trachea: Curve
    posterior_ribs: tuple[Bone, ...]
    anterior_ribs: tuple[Bone, ...]
    clavicles: tuple[Bone, Bone]
    humeri: tuple[Bone, Bone]
    scapulae: tuple[Curve, Curve]
    breasts: tuple[Curve, ...]
    stomach: Curve

    def to_film(self, points: Curve) -> Curve:
        """Take points of the patient's frame to fractions of the film."""
        return points @ self.pose[:, :2].T + self.pose[:, 2]


@dataclasses.dataclass(frozen=True)
class _Habitus:
    """What the drawing of single structures shares."""

    supine: bool  # AP films are taken lying or sitting: less breath, wider heart, scapulae over the lungs
    breadth: float  # of the chest, 1 for the mean
    turn: float  # apparent turn about the long axis: midline structures move by this, one lung looks wider


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient and the way in which the film was taken."""
    supine = bool(rng.random() < 0.4)
    habitus = _Habitus(
        supine=supine,
        breadth=rng.normal(1.2, 0.06) if supine else rng.normal(1.08, 0.06),
        turn=rng.normal(0, 0.03 if supine else 0.012),
    )
    sides = (_hemithorax(rng, habitus, -1), _hemithorax(rng, habitus, +1))
    film_mm, pose = _pose(rng, habitus)
    ribs = [_ribs(rng, side) for side in sides]
    return Anatomy(
        view_position="AP" if supine else "PA",
        film_mm=film_mm,
        pose=pose,
        sides=sides,
        torso=_torso(rng, habitus),
        arms=(_arm(rng, habitus, -1), _arm(rng, habitus, +1)),
        mediastinum=_mediastinum(rng, habitus),
        heart=_heart(rng, habitus),
        spine=_spine(rng, habitus),
        trachea=_trachea(rng, habitus),
        posterior_ribs=ribs[0][0] + ribs[1][0],
        anterior_ribs=ribs[0][1] + ribs[1][1],
        clavicles=(_clavicle(rng, habitus, -1), _clavicle(rng, habitus, +1)),
        humeri=(_humerus(rng, habitus, -1), _humerus(rng, habitus, +1)),
        scapulae=(_scapula(rng, habitus, -1), _scapula(rng, habitus, +1)),
        breasts=_breasts(rng, habitus),
        stomach=_stomach(rng, sides[1]),
    )


def _mirrored(sign: int, points: npt.ArrayLike) -> np.ndarray:
    return np.asarray(points, np.float64) * (sign, 1)


def _pose(rng: np.random.Generator, habitus: _Habitus) -> tuple[float, np.ndarray]:
    lung_mm = rng.uniform(220, 260) if habitus.supine else rng.uniform(240, 295)
    film_mm = rng.uniform(340, 400)
    angle = np.deg2rad(rng.normal(0, 3.5 if habitus.supine else 1.5))
    scale = lung_mm / film_mm
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([0.0, 0.47])  # the middle of the lungs goes near the middle of the film
    target = np.array([0.5, 0.5]) + rng.normal(0, 0.022, 2)
    return film_mm, np.hstack([turn, (target - turn @ centre)[:, None]])


def _hemithorax(rng: np.random.Generator, habitus: _Habitus, sign: int) -> Hemithorax:
    points = _HEMITHORAX + rng.normal(0, 0.005, _HEMITHORAX.shape)
    apex_width, base_width = rng.normal(1, 0.04, 2)
    points[1:4, 0] *= apex_width
    points[5:9, 0] *= base_width
    # The right dome stands higher (the liver); a poor breath lifts both and shortens the lungs.
    dome_lift = rng.normal(0.035 if sign < 0 else 0.0, 0.02) + (0.07 if habitus.supine else 0.0)
    points[9:13, 1] -= dome_lift * np.array([0.7, 1.0, 1.0, 0.6])
    points[8, 1] -= 0.6 * dome_lift
    points[7, 1] -= 0.3 * dome_lift
    points[:, 0] *= habitus.breadth * (1 + 2.0 * sign * habitus.turn)
    hilum = np.array([0.125 * habitus.breadth, 0.44 if sign < 0 else 0.41]) + rng.normal(0, 0.008, 2)
    return Hemithorax(sign, _mirrored(sign, closed_curve(points)), _mirrored(sign, hilum))


def _torso(rng: np.random.Generator, habitus: _Habitus) -> Curve:
    girth = habitus.breadth * rng.uniform(0.98, 1.16)
    neck = rng.uniform(0.155, 0.2)
    half = np.array(
        [
            (neck, -0.6), (neck, -0.32), (neck + 0.06, -0.21), (0.44, -0.13), (0.68, -0.06), (0.80, 0.06),
            (0.76, 0.26), (0.68, 0.42), (0.655, 0.62), (0.66, 0.85), (0.65, 1.1), (0.67, 1.6),
        ]
    )  # fmt: skip
    half[3:, 0] *= girth
    half[4:6, 1] += rng.normal(-0.03 if habitus.supine else 0.02, 0.02)
    return closed_curve(np.vstack([half, half[::-1] * (-1, 1)]))


def _arm(rng: np.random.Generator, habitus: _Habitus, sign: int) -> Curve:
    # Arms hang beside the chest of a lying patient and are held away at a standing one.
    swing = rng.uniform(0.0, 0.12) if habitus.supine else rng.uniform(0.12, 0.4)
    width = rng.uniform(0.2, 0.26)
    path = np.array([(0, 0), (0.07 + swing / 3, 0.25), (0.08 + swing, 0.75), (swing, 1.5)])
    centre = open_curve(path + np.array([0.74 * habitus.breadth, 0.02]))
    left, right = band(centre, width)
    return _mirrored(sign, np.vstack([left, right[::-1]]))


def _mediastinum(rng: np.random.Generator, habitus: _Habitus) -> Curve:
    width = rng.normal(1.12 if habitus.supine else 1.0, 0.06)
    knob = rng.uniform(0.125, 0.165)  # the aortic arch
    right = np.array([(-0.075, -0.3), (-0.08, 0.0), (-0.095, 0.2), (-0.1, 0.4), (-0.115, 0.7), (-0.13, 1.0)])
    left = np.array(
        [
            (0.13, 1.0), (0.125, 0.7), (0.115, 0.42), (knob * 0.87, 0.35), (knob, 0.285), (knob * 0.85, 0.225),
            (0.085, 0.15), (0.08, 0.0), (0.075, -0.3),
        ]
    )  # fmt: skip
    return closed_curve(np.vstack([right, left]) * (width, 1) + np.array([habitus.turn * 0.8, 0]))


def _heart(rng: np.random.Generator, habitus: _Habitus) -> Curve:
    width = rng.normal(1.22 if habitus.supine else 1.0, 0.1)
    apex = rng.uniform(0.29, 0.37) * width
    base = (0.9 if habitus.supine else 0.94) + rng.normal(0, 0.01)
    points = [
        (-0.02, 0.42), (0.10, 0.41), (0.16, 0.48), (0.235 * width, 0.62), (apex, 0.77), (apex * 0.97, base - 0.05),
        (0.2 * width, base + 0.03), (0.02, base + 0.04), (-0.10 * width, base), (-0.165 * width, 0.8),
        (-0.165 * width, 0.67), (-0.115, 0.53),
    ]  # fmt: skip
    return closed_curve(np.array(points) + np.array([habitus.turn * 1.6, 0]))


def _spine(rng: np.random.Generator, habitus: _Habitus) -> Curve:
    sway = rng.normal(0, 0.014, 4)
    points = [(-habitus.turn * 0.4 + sway[i], y) for i, y in enumerate((-0.6, 0.1, 0.8, 1.7))]
    return open_curve(points)


def _trachea(rng: np.random.Generator, habitus: _Habitus) -> Curve:
    x = habitus.turn + rng.normal(0.0, 0.006)
    return open_curve([(x, -0.5), (x, -0.1), (x - 0.008, 0.15), (x - 0.012, 0.31)])


def _ribs(rng: np.random.Generator, side: Hemithorax) -> tuple[tuple[Bone, ...], tuple[Bone, ...]]:
    spacing = rng.uniform(0.088, 0.1)
    first = rng.uniform(-0.075, -0.035)
    slope = rng.uniform(0.9, 1.5)
    width = rng.uniform(0.027, 0.035)
    posterior, anterior = [], []
    for number in range(10):
        start = first + spacing * number + rng.normal(0, 0.004)
        back, front = _rib_arcs(side, number, start=start, slope=slope)
        taper = np.linspace(0, 1, len(back))
        posterior.append(Bone(_mirrored(side.sign, back), width * (0.8 + 0.25 * taper)))
        if number < 8:  # lower ones end in cartilage outside the lung
            anterior.append(Bone(_mirrored(side.sign, front), width * (1.0 + 0.35 * taper[: len(front)])))
    return tuple(posterior), tuple(anterior)


def _rib_arcs(side: Hemithorax, number: int, *, start: float, slope: float) -> tuple[Curve, Curve]:
    """Draw rib `number` (0 is the first) from the spine to the lateral wall, and on to its front end."""
    lateral = start + slope * (0.085 + 0.013 * number)
    reach = float(side.lateral_distance(max(lateral, 0.055))) + 0.012
    t = np.linspace(0, 1, 48)
    back = np.stack(
        [
            0.055 + (reach - 0.055) * np.sin(t * np.pi / 2),
            start - 0.03 * np.sin(np.pi * np.minimum(1.5 * t, 1)) + (lateral - start) * t**1.9,
        ],
        axis=1,
    )
    fall = slope * (0.09 + 0.022 * number)
    stop = 0.42 if number else 0.62  # how far the bone comes back towards the sternum
    front = np.stack([reach * (1 - stop * t**1.7), lateral + fall * np.sin(t * np.pi / 2)], axis=1)
    return back, front


def _clavicle(rng: np.random.Generator, habitus: _Habitus, sign: int) -> Bone:
    lift = rng.normal(-0.035 if habitus.supine else 0.02, 0.02)
    inner = 0.055 + 1.2 * sign * habitus.turn
    points = [
        (inner, 0.135 + lift), (0.2, 0.095 + lift), (0.38, 0.03 + lift * 0.7), (0.55, -0.035), (0.68, -0.03),
        (0.75, -0.01),
    ]  # fmt: skip
    scale = (habitus.breadth, 1)
    centre = open_curve(np.array(points) * scale + rng.normal(0, 0.006, (6, 2)))
    t = np.linspace(0, 1, len(centre))
    return Bone(_mirrored(sign, centre), 0.046 - 0.016 * np.sin(np.pi * np.minimum(t * 1.2, 1)))


def _humerus(rng: np.random.Generator, habitus: _Habitus, sign: int) -> Bone:
    swing = rng.uniform(0.0, 0.1) if habitus.supine else rng.uniform(0.1, 0.3)
    x = 0.77 * habitus.breadth
    centre = open_curve([(x - 0.02, 0.0), (x, 0.06), (x + 0.025, 0.16), (x + 0.05 + swing / 4, 0.45), (x + swing, 1.1)])
    t = np.linspace(0, 1, len(centre))
    head = np.sqrt(np.clip(1 - ((t - 0.2) / 0.21) ** 2, 0, 1))
    return Bone(_mirrored(sign, centre), np.maximum(0.145 * head, np.where(t > 0.2, 0.075, 0.0)))


def _scapula(rng: np.random.Generator, habitus: _Habitus, sign: int) -> Curve:
    inner = rng.uniform(0.33, 0.43) if habitus.supine else rng.uniform(0.45, 0.54)
    low = rng.uniform(0.42, 0.54)
    points = [
        (inner + 0.05, 0.03), (inner, 0.16), (inner + 0.01, low - 0.14), (inner + 0.07, low),
        (inner + 0.115, low - 0.08), (inner + 0.15, 0.25), (0.69, 0.14), (0.72, 0.03), (0.62, 0.0),
    ]  # fmt: skip
    return _mirrored(sign, closed_curve(np.array(points) * (habitus.breadth, 1)))


def _breasts(rng: np.random.Generator, habitus: _Habitus) -> tuple[Curve, ...]:
    if rng.random() < 0.6:
        return ()
    size, low = rng.uniform(0.85, 1.2), rng.uniform(0.78, 1.02)
    points = np.array(
        [(0.16, -0.1), (0.22, -0.04), (0.36, 0.0), (0.5, -0.03), (0.6, -0.12), (0.58, -0.32), (0.34, -0.4)]
    )
    points = points * (habitus.breadth, size) + (0, low)
    return tuple(_mirrored(sign, closed_curve(points + rng.normal(0, 0.012, points.shape))) for sign in (-1, 1))


def _stomach(rng: np.random.Generator, left: Hemithorax) -> Curve:
    """Draw the gas bubble under the patient's left dome."""
    dome = left.wall[int(DOME * _SAMPLES)]
    width, height = rng.uniform(0.06, 0.12), rng.uniform(0.03, 0.07)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack([np.cos(angle) * width, np.sin(angle) * height], axis=1) * rng.uniform(0.85, 1.15, (12, 1))
    return closed_curve(ring + dome + (rng.normal(0, 0.04), height * 1.15 + 0.035))


def draw_pleural_spaces(rng: np.random.Generator) -> tuple[PleuralSpace, ...]:
    """Draw a pneumothorax: from an apical rim of some millimetres to a lung shrunk onto its hilum."""
    side = int(rng.integers(2))
    if rng.random() < 0.03:
        return (_sliver(rng, side),)
    extent = float(rng.beta(1.0, 2.6))  # 0: a rim, 1: collapse
    spaces = [_apical(rng, side, extent)]
    if rng.random() < 0.45:
        spaces.append(_further(rng, side, extent))
    if rng.random() < 0.2:
        spaces.append(_basal(rng, side, extent))
    if rng.random() < 0.03:
        spaces.append(_apical(rng, 1 - side, extent * rng.random()))
    return tuple(spaces)


def _ripple(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(0.02, 0.12)), float(rng.uniform(0, 2 * np.pi))


def _sliver(rng: np.random.Generator, side: int) -> PleuralSpace:
    """A few millimetres over the apex: what is missed."""
    return PleuralSpace(
        side=side,
        station=APEX + rng.uniform(-0.2, 0.8),
        reach=rng.uniform(0.6, 1.3),
        depth=rng.uniform(0.03, 0.07),
        flatness=1.0,
        ripple=_ripple(rng),
    )


def _apical(rng: np.random.Generator, side: int, extent: float) -> PleuralSpace:
    return PleuralSpace(
        side=side,
        station=APEX + rng.uniform(0.1, 0.9) + 2.4 * extent,
        reach=rng.uniform(1.8, 2.6) + 3.0 * extent,
        depth=0.08 + 0.08 * rng.random() + 0.62 * extent**1.7,
        flatness=rng.uniform(0.8, 1.4),
        ripple=_ripple(rng),
    )


def _further(rng: np.random.Generator, side: int, extent: float) -> PleuralSpace:
    """A lateral space; at larger extents it overlaps the apical one, as separately drawn regions do."""
    return PleuralSpace(
        side=side,
        station=LATERAL + rng.uniform(-0.2, 1.0),
        reach=rng.uniform(1.0, 1.8) + extent,
        depth=0.07 + 0.05 * rng.random() + 0.25 * extent,
        flatness=rng.uniform(0.8, 1.4),
        ripple=_ripple(rng),
    )


def _basal(rng: np.random.Generator, side: int, extent: float) -> PleuralSpace:
    """Air over the diaphragm, where it gathers in a lying patient."""
    return PleuralSpace(
        side=side,
        station=ANGLE + rng.uniform(0.0, 1.2),
        reach=rng.uniform(1.2, 2.2),
        depth=0.05 + 0.07 * rng.random() + 0.2 * extent,
        flatness=rng.uniform(0.8, 1.3),
        ripple=_ripple(rng),
    )
