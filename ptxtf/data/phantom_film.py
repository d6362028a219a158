"""From a phantom's anatomy to its film: attenuation added up structure by structure, then exposed.

Flows in: `Anatomy` and `PleuralSpace`s (curves in the patient's frame). Flows out: uint8 [S, S] pixels, bright = dense,
and uint8 [S, S] masks of {0, 1}. In between, attenuation is a float32 [S, S] sum in which 0 is air outside the
patient, about 0.3 a lung and about 0.9 the mediastinum or the belly.

Lines and edges are drawn at the size asked for. Whatever is soft is drawn on a 256 x 256 field and enlarged once.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from ptxtf.data.phantom_anatomy import STATIONS, Anatomy, Bone, Curve, Hemithorax, PleuralSpace, band, open_curve

Field = np.ndarray
"""float32 [S, S]."""
Mask = np.ndarray
"""uint8 [S, S]."""

SOFT = 256  # edge of the fields that hold only soft structures
_SHIFT = 4  # OpenCV takes points in sixteenths of a pixel


@dataclasses.dataclass(frozen=True)
class Film:
    """A square sheet of `size` pixels on which the patient's curves can be drawn."""

    anatomy: Anatomy
    size: int

    def points(self, curve: Curve) -> np.ndarray:
        """Take a curve to OpenCV's fixed-point pixels, whose centres lie at whole numbers."""
        pixels = self.anatomy.to_film(curve) * self.size - 0.5
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    def pixels_per_unit(self) -> float:
        """The length of the patient's unit, a lung's height, in pixels."""
        return float(np.sqrt(np.linalg.det(self.anatomy.pose[:, :2])) * self.size)

    def blank(self) -> Mask:
        """Return an empty sheet."""
        return np.zeros((self.size, self.size), np.uint8)

    def fill(self, sheet: Mask, curve: Curve, value: int = 255, *, smooth: bool = True) -> None:
        """Fill a closed curve, with antialiased edges if smooth."""
        cv2.fillPoly(sheet, [self.points(curve)], value, cv2.LINE_AA if smooth else cv2.LINE_8, _SHIFT)

    def stroke(self, sheet: Mask, curve: Curve, width: float, value: int = 255) -> None:
        """Draw a line of some width (patient's units); one that is thinner than a pixel is drawn fainter."""
        pixels = width * self.pixels_per_unit()
        shade = round(value * min(1.0, pixels))
        cv2.polylines(sheet, [self.points(curve)], False, shade, max(1, round(pixels)), cv2.LINE_AA, _SHIFT)

    def soften(self, sheet: Mask, width: float) -> Field:
        """Blur by a standard deviation in patient's units. Returns 0..1."""
        blurred = _blur(sheet, width * self.pixels_per_unit())  # as bytes: three times as fast
        return np.multiply(blurred, np.float32(1 / 255), dtype=np.float32)


def _blur(field: Field, sigma: float) -> Field:
    return cv2.GaussianBlur(field, (0, 0), sigma) if sigma > 0.2 else field


def enlarged(field: Field, size: int) -> Field:
    """Take a soft field to the film's size."""
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR if size >= SOFT else cv2.INTER_AREA)


# --- The lungs and the air around them --------------------------------------------------------------------------


def retraction(side: Hemithorax, spaces: Iterable[PleuralSpace]) -> np.ndarray:
    """How far a lung has come off at each point of its wall: the deepest of its spaces."""
    depths = [space.retraction(side.stations) for space in spaces]
    return np.max(depths, axis=0) if depths else np.zeros(len(side.wall))


def spaces_of(spaces: Iterable[PleuralSpace], side: int) -> list[PleuralSpace]:
    """Return the spaces of one side."""
    return [space for space in spaces if space.side == side]


def component_masks(film: Film, spaces: Sequence[PleuralSpace]) -> tuple[Mask, ...]:
    """Rasterise each pleural space: what lies between the wall and the lung it would leave if it were alone.

    Returns:
        One uint8 [S, S] mask of {0, 1} per space that covers at least a pixel.
    """
    centre = film.blank()
    for curve in (film.anatomy.heart, film.anatomy.mediastinum):
        film.fill(centre, curve, 1, smooth=False)
    masks = []
    for space in spaces:
        side = film.anatomy.sides[space.side]
        mask, lung = film.blank(), film.blank()
        film.fill(mask, side.wall, 1, smooth=False)
        film.fill(lung, side.shrunken(retraction(side, [space])), 1, smooth=False)
        mask &= (1 - lung) & (1 - centre)
        if mask.any():
            masks.append(mask)
    return tuple(masks)


def _lung_fields(film: Film) -> Mask:
    """What the rays pass without meeting the heart: both hemithoraces less the middle. Returns 0..255."""
    sheet = film.blank()
    for side in film.anatomy.sides:
        film.fill(sheet, side.wall)
    for curve in (film.anatomy.heart, film.anatomy.mediastinum):
        film.fill(sheet, curve, 0)
    return sheet


def _lungs_alone(film: Film, spaces: Sequence[PleuralSpace], visible: Field) -> Field:
    """Where there is lung tissue. Returns 0..1."""
    sheet = film.blank()
    for index, side in enumerate(film.anatomy.sides):
        film.fill(sheet, side.shrunken(retraction(side, spaces_of(spaces, index))))
    return film.soften(sheet, 0.003) * visible


def _pleural_lines(film: Film, spaces: Sequence[PleuralSpace]) -> Mask:
    """Draw the visceral pleura where the lung has come off: the thin white line."""
    sheet = film.blank()
    for index, side in enumerate(film.anatomy.sides):
        off = retraction(side, spaces_of(spaces, index))
        edge = side.shrunken(off)
        for start in range(0, len(edge), 4):
            part = np.arange(start, start + 5) % len(edge)
            strength = np.clip(off[part].mean() / 0.03, 0, 1)
            if strength > 0.05:
                film.stroke(sheet, edge[part], 0.0055, int(255 * strength))
    return sheet


# --- Soft structures --------------------------------------------------------------------------------------------


def _soft_tissue(film: Film) -> Field:
    """The body without bones: chest wall, arms, middle, belly, and the depth of the lungs. Drawn on the soft field."""
    anatomy = film.anatomy
    torso, arms = film.blank(), film.blank()
    film.fill(torso, anatomy.torso)
    for arm in anatomy.arms:
        film.fill(arms, arm)
    # A body is thick in its middle and thin at its rim: the wide blur stands for the roundness.
    trunk = film.soften(torso, 0.012) * (0.28 + 0.30 * film.soften(torso, 0.10))
    limbs = film.soften(arms, 0.008) * (0.16 + 0.22 * film.soften(arms, 0.05))
    body = np.maximum(trunk, limbs) + 0.35 * np.minimum(trunk, limbs)
    total = body + _middle(film) + _belly(film, torso) + _breast_shadows(film)
    surplus = np.maximum(total - 0.75, 0)
    return total - surplus + 0.3 * np.tanh(surplus / 0.3)  # no film shows ever more


def _middle(film: Film) -> Field:
    """Mediastinum, heart and spine without their edges."""
    sheet = film.blank()
    film.fill(sheet, film.anatomy.mediastinum)
    heart = film.blank()
    film.fill(heart, film.anatomy.heart)
    left, right = band(film.anatomy.spine, 0.13)
    spine = film.blank()
    film.fill(spine, np.vstack([left, right[::-1]]))
    return 0.06 * film.soften(sheet, 0.04) + 0.10 * film.soften(heart, 0.06) + 0.10 * film.soften(spine, 0.02)


def _belly(film: Film, torso: Mask) -> Field:
    """Liver, stomach and bowel below the diaphragm, behind which the lungs' base hides."""
    below = np.array([(-1.5, 0.86), (0.0, 0.72), (1.5, 0.86), (1.5, 2.0), (-1.5, 2.0)])
    sheet = film.blank()
    film.fill(sheet, below)
    gas = film.blank()
    film.fill(gas, film.anatomy.stomach)
    return 0.18 * film.soften(sheet, 0.13) * film.soften(torso, 0.05) - 0.13 * film.soften(gas, 0.012)


def _breast_shadows(film: Film) -> Field:
    """Breasts fade in from above and end below in an edge: nested copies that touch at the lowest point."""
    sheet = film.blank()
    for breast in film.anatomy.breasts:
        lowest = breast[np.argmax(breast[:, 1])]
        for shade, scale in enumerate(np.linspace(1, 0.3, 12), start=1):
            film.fill(sheet, lowest + (breast - lowest) * (min(1.0, 0.5 + 0.5 * scale), scale), shade * 20)
    return 0.11 * film.soften(sheet, 0.008)


# --- Bones ------------------------------------------------------------------------------------------------------


def _bones(film: Film, depth: Field) -> Field:
    """All bones; over the middle and the belly, where little light is left, they hardly show. depth: lungs, 0..1."""
    ribs = 0.10 * _long_bones(film, film.anatomy.posterior_ribs)
    ribs += 0.055 * _long_bones(film, film.anatomy.anterior_ribs)
    field = ribs * (0.35 + 0.65 * depth)
    field += 0.085 * _long_bones(film, film.anatomy.clavicles)
    field += 0.13 * _long_bones(film, film.anatomy.humeri)
    field += 0.06 * _scapulae(film)
    field += 0.045 * _vertebrae(film)
    return field


def _long_bones(film: Film, bones: Iterable[Bone]) -> Field:
    """Draw tubes: a weak marrow between two bright cortical edges. Returns 0..1."""
    sheet = film.blank()
    for bone in bones:
        left, right = band(bone.centre, bone.width)
        film.fill(sheet, np.vstack([left, right[::-1]]), 150)
    for bone in bones:
        for edge in band(bone.centre, bone.width * 0.9):
            film.stroke(sheet, edge, 0.006, 245)
    return film.soften(sheet, 0.0035)


def _scapulae(film: Film) -> Field:
    """Draw flat bones with thick rims. Returns 0..1."""
    sheet = film.blank()
    for scapula in film.anatomy.scapulae:
        film.fill(sheet, scapula, 130)
        film.stroke(sheet, np.vstack([scapula, scapula[:1]]), 0.014, 210)
    return film.soften(sheet, 0.006)


def _vertebrae(film: Film) -> Field:
    """Draw end plates and pedicles down the spine. Returns 0..1."""
    sheet = film.blank()
    spine = film.anatomy.spine
    y, step = -0.45, 0.07
    while y < 1.4:
        x = float(np.interp(y, spine[:, 1], spine[:, 0]))
        for plate in (y, y + 0.012):
            film.stroke(sheet, np.array([(x - 0.05, plate), (x, plate + 0.003), (x + 0.05, plate)]), 0.005, 200)
        for pedicle in (-0.032, 0.032):
            dot = np.array([(x + pedicle, y + 0.4 * step), (x + pedicle, y + 0.6 * step)])
            film.stroke(sheet, dot, 0.016, 180)
        y, step = y + step, step * 1.03
    return film.soften(sheet, 0.004)


def _airways(film: Film) -> Field:
    """The trachea and both main bronchi, as less tissue. Returns 0..1."""
    sheet = film.blank()
    trachea = film.anatomy.trachea
    left, right = band(trachea, 0.062)
    film.fill(sheet, np.vstack([left, right[::-1]]))
    for side in film.anatomy.sides:
        film.stroke(sheet, np.vstack([trachea[-1:], side.hilum[None]]), 0.04, 150)
    return film.soften(sheet, 0.006)


# --- Lung markings ----------------------------------------------------------------------------------------------


def _vessels(film: Film, spaces: Sequence[PleuralSpace], rng: np.random.Generator) -> Field:
    """Draw vessels that branch from each hilum to the edge of its lung, wherever that edge now is. Returns 0..1."""
    sheet = film.blank()
    for index, side in enumerate(film.anatomy.sides):
        edge = side.shrunken(retraction(side, spaces_of(spaces, index)))
        for station in np.linspace(0.2, 12.2, 13) + rng.normal(0, 0.25, 13):
            _branch(film, sheet, (side, edge), rng, station=station, radius=0.06, width=rng.uniform(0.009, 0.017))
        film.fill(sheet, _hilum(rng, side), 130)
    return film.soften(sheet, 0.0028)


def _hilum(rng: np.random.Generator, side: Hemithorax) -> Curve:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ring = np.stack([0.035 * np.cos(angle), 0.075 * np.sin(angle)], axis=1) * rng.uniform(0.8, 1.2, (20, 1))
    return side.hilum + ring


def _branch(
    film: Film,
    sheet: Mask,
    lung: tuple[Hemithorax, Curve],
    rng: np.random.Generator,
    *,
    station: float,
    radius: float,
    width: float,
) -> None:
    """Draw one vessel and its offspring in the lung's own coordinates: station round the edge, radius 0..1 to it."""
    side, edge = lung
    length = rng.uniform(0.35, 0.6) if width > 0.008 else rng.uniform(0.2, 0.4)
    radii = radius + np.linspace(0, min(length, 0.97 - radius), 9)
    stations = station + np.cumsum(rng.normal(0, 0.085, 9)) / np.sqrt(0.15 + radii)
    index = np.round(stations / STATIONS * len(edge)).astype(int) % len(edge)
    path = side.hilum + (edge[index] - side.hilum) * radii[:, None]
    path = open_curve(path[::2])
    for part, thin in enumerate((1.0, 0.8, 0.62)):
        piece = path[part * len(path) // 3 : (part + 1) * len(path) // 3 + 1]
        film.stroke(sheet, piece, width * thin, int(80 + 120 * min(1.0, width / 0.016)))
    if radii[-1] < 0.92 and width > 0.002:
        for turn in (-1, 1):
            _branch(
                film,
                sheet,
                lung,
                rng,
                station=stations[-1] + turn * rng.uniform(0.12, 0.5),
                radius=radii[-1],
                width=width * rng.uniform(0.5, 0.68),
            )


def _parenchyma(size: int, rng: np.random.Generator) -> Field:
    """The net of lung tissue: noise of two grains, fine septa and coarser vessels seen end on. Standard deviation 1."""
    noise = rng.standard_normal((512, 512), np.float32)
    blurred = [cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (1.0, 3.0, 7.0)]
    fine, coarse = blurred[0] - blurred[1], blurred[1] - blurred[2]
    net = fine / fine.std() + coarse / coarse.std()
    return cv2.resize(net / net.std(), (size, size), interpolation=cv2.INTER_LINEAR if size >= 512 else cv2.INTER_AREA)


def _clouds(size: int, rng: np.random.Generator, *, scale: float) -> Field:
    """Noise without detail: standard deviation 1, correlated over `scale` of the film."""
    small = cv2.GaussianBlur(rng.standard_normal((64, 64), np.float32), (0, 0), scale * 64)
    return cv2.resize(small / small.std(), (size, size), interpolation=cv2.INTER_CUBIC)


# --- The sum, and the film --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tissue:
    """How dense this patient's lungs are, and how far the air around them differs from them."""

    air_darkness: float  # attenuation that a lung has more than the air outside it; small: only the markings tell
    net: float  # of the parenchyma's fine net
    vessels: float
    haze: float  # patches of denser lung
    pleura: float  # the thin line where the lung has come off
    bones: float
    depth: float  # what the lung fields lack against the chest wall


def draw_tissue(rng: np.random.Generator) -> Tissue:
    """Draw what one patient's tissues attenuate."""
    return Tissue(
        air_darkness=0.035 + 0.125 * rng.beta(1.7, 1.2),
        net=rng.uniform(0.014, 0.024),
        vessels=rng.uniform(0.12, 0.18),
        haze=rng.uniform(0.0, 0.03),
        pleura=rng.uniform(0.06, 0.14),
        bones=rng.uniform(0.75, 1.25),
        depth=rng.uniform(0.24, 0.34),
    )


def attenuation(film: Film, spaces: Sequence[PleuralSpace], tissue: Tissue, rng: np.random.Generator) -> Field:
    """Add up what the rays meet: float32 [S, S], 0 outside the patient to about 1 in the belly."""
    size, soft = film.size, Film(film.anatomy, SOFT)
    depth = film.soften(_lung_fields(film), 0.004)
    soft_depth = soft.soften(_lung_fields(soft), 0.035)
    lungs = _lungs_alone(film, spaces, depth)
    total = _soft_tissue(soft)
    total -= 0.5 * tissue.depth * soft_depth
    total = enlarged(total, size) * (1 + 0.05 * _clouds(size, rng, scale=0.06))
    total -= 0.5 * tissue.depth * depth
    total += tissue.bones * _bones(film, enlarged(soft_depth, size))
    total -= 0.10 * _airways(film)
    total -= tissue.air_darkness * (depth - lungs)
    markings = tissue.vessels * _vessels(film, spaces, rng)
    markings += tissue.net * _parenchyma(size, rng)
    markings += tissue.haze * _clouds(size, rng, scale=0.08)
    total += lungs * markings
    total += tissue.pleura * film.soften(_pleural_lines(film, spaces), 0.002) * depth  # lost over the heart
    return np.maximum(total, 0)


@dataclasses.dataclass(frozen=True)
class Exposure:
    """How the detector and the reading software turned attenuation into grey."""

    black: float  # attenuation shown as 0
    white: float  # attenuation shown as 255
    gamma: float
    tilt: tuple[float, float]  # of brightness along x and y over the film
    blur: float  # standard deviation, fraction of the film
    grain: float  # standard deviation of noise at full white, fraction of the range


def draw_exposure(rng: np.random.Generator, anatomy: Anatomy) -> Exposure:
    """Draw an exposure; portable films are grainier."""
    portable = anatomy.view_position == "AP"
    return Exposure(
        black=rng.uniform(-0.12, 0.06),
        white=rng.uniform(0.88, 1.2),
        gamma=float(np.exp(rng.normal(0, 0.15))),
        tilt=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
        blur=rng.uniform(0.0002, 0.0009),
        grain=rng.uniform(0.01, 0.026) * (1.4 if portable else 1.0),
    )


def expose(field: Field, exposure: Exposure, rng: np.random.Generator) -> Mask:
    """Turn attenuation into uint8 grey, with blur, grain that grows where few photons arrive, and a tone curve."""
    size = len(field)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    grey = _blur(field, exposure.blur * size)
    grey = grey + (exposure.tilt[0] * ramp)[None, :] + (exposure.tilt[1] * ramp)[:, None]
    grey = np.clip((grey - exposure.black) / (exposure.white - exposure.black), 0, 1) ** np.float32(exposure.gamma)
    grain = _blur(rng.standard_normal((size, size), np.float32), 0.6)
    grey += exposure.grain * grain * np.sqrt(0.15 + grey)
    grey = 0.7 * grey + 0.3 * grey * grey * (3 - 2 * grey)  # a mild toe and shoulder
    return np.clip(np.round(grey * 255), 0, 255).astype(np.uint8)
