"""Synthetic chest radiographs with a known pneumothorax, to stand in for SIIM-ACR where its images may not go.

Flows in: a seed. Flows out: `draw` gives one `Phantom`, uint8 [S, S] pixels (bright = dense) with uint8 [S, S] masks of
{0, 1}; `write_dataset` gives a folder laid out and labelled like SIIM-ACR stage 1, odd headers and all, for everything
that reads that data set. No pixel comes from a patient.

What tells the pneumothorax is what tells it on a film: a thin line, the lung's edge, and beyond it no vessels and no
lung texture. The air may be hardly darker than the lung, ribs and shoulder blades cross both, and skin folds, mostly
of healthy phantoms, make edges too. `phantom_anatomy` says where things lie; `phantom_film` and `phantom_extras` draw
them.
"""

import dataclasses
import functools
import hashlib
import uuid
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from ptxtf import files
from ptxtf.data import dicom, rle
from ptxtf.data.phantom_anatomy import Anatomy, PleuralSpace, draw_anatomy, draw_pleural_spaces
from ptxtf.data.phantom_extras import Extras, burn_in, collimate, draw_extras, extra_attenuation
from ptxtf.data.phantom_film import (
    Exposure,
    Film,
    Tissue,
    attenuation,
    component_masks,
    draw_exposure,
    draw_tissue,
    expose,
)
from ptxtf.data.workers import Workers

SMALLEST = 64
"""The least size, in pixels: below it the thinnest pneumothorax has no pixel left."""

_DRAWING = 1  # part of every image's UID: raise it when the same seed gives other pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic radiograph and the truth about it."""

    pixels: np.ndarray
    """uint8 [S, S], bright = dense."""
    mask: np.ndarray
    """uint8 [S, S] of {0, 1}: the pleural space that holds air; the union of the components."""
    components: tuple[np.ndarray, ...]
    """The regions one by one, which may overlap; SIIM-ACR gives each a row."""
    view_position: str
    """"PA" or "AP"."""
    spacing_mm: tuple[float, float]
    """Millimetres from row to row, and from column to column."""
    width_mm: float
    """Diameter of the largest disc that fits between lung and chest wall; 0.0 for a healthy one."""

    @property
    def positive(self) -> bool:
        """Whether there is a pneumothorax."""
        return bool(self.components)


def draw(seed: int, *, positive: bool, size: int = 1024) -> Phantom:
    """Draw one frontal chest radiograph.

    One seed is one patient: its healthy and its positive phantom share anatomy and exposure, and another size gives the
    same picture, scaled, under other grain.

    Args:
        seed: not negative; the same seed, class and size give the same phantom.
        positive: whether to draw a pneumothorax.
        size: edge of the square film in pixels, at least `SMALLEST`.

    Returns:
        The phantom.

    Raises:
        ValueError: a negative seed, or a size below `SMALLEST`.

    Example:
        >>> phantom = draw(7, positive=True, size=256)
        >>> phantom.pixels.shape, phantom.positive
        ((256, 256), True)
    """
    _check_size(size)
    subject = _Subject.drawn(seed, positive=positive)
    film = Film(subject.anatomy, size)
    components = subject.components(size)
    mask = np.bitwise_or.reduce(components, axis=0) if components else film.blank()
    spacing_mm = subject.anatomy.film_mm / size
    return Phantom(
        pixels=subject.pixels(size),
        mask=mask,
        components=components,
        view_position=subject.anatomy.view_position,
        spacing_mm=(spacing_mm, spacing_mm),
        width_mm=_width_px(mask) * spacing_mm,
    )


def _width_px(mask: np.ndarray) -> float:
    """The diameter of the largest disc inside a mask."""
    x, y, width, height = cv2.boundingRect(mask)
    region = mask[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1]
    return 2 * float(cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max()) if width else 0.0


@dataclasses.dataclass(frozen=True)
class _Subject:
    """All that is drawn before the first pixel: cheap, and the same for every size."""

    anatomy: Anatomy
    spaces: tuple[PleuralSpace, ...]
    tissue: Tissue
    extras: Extras
    exposure: Exposure
    texture_seed: np.random.SeedSequence
    grain_seed: np.random.SeedSequence

    @classmethod
    def drawn(cls, seed: int, *, positive: bool) -> "_Subject":
        """Draw each matter from a stream of its own, so that a pneumothorax changes nothing else."""
        if seed < 0:
            raise ValueError(f"expected seed of 0 or more. Received: seed={seed}")
        *seeds, texture_seed, grain_seed = np.random.SeedSequence(seed).spawn(7)
        body, pleura, lung, things, detector = (np.random.default_rng(child) for child in seeds)
        anatomy = draw_anatomy(body)
        return cls(
            anatomy=anatomy,
            spaces=draw_pleural_spaces(pleura) if positive else (),
            tissue=draw_tissue(lung),
            extras=draw_extras(things, anatomy, positive=positive),
            exposure=draw_exposure(detector, anatomy),
            texture_seed=texture_seed,
            grain_seed=grain_seed,
        )

    def components(self, size: int) -> tuple[np.ndarray, ...]:
        """Draw the masks: uint8 [S, S] of {0, 1}, none of them empty."""
        masks = component_masks(Film(self.anatomy, size), self.spaces)
        for mask in masks:
            collimate(self.extras, mask)
        return tuple(mask for mask in masks if mask.any())

    def pixels(self, size: int) -> np.ndarray:
        """Draw the picture: uint8 [S, S]."""
        film = Film(self.anatomy, size)
        field = attenuation(film, self.spaces, self.tissue, np.random.default_rng(self.texture_seed))
        field += extra_attenuation(self.extras, film)
        pixels = expose(field, self.exposure, np.random.default_rng(self.grain_seed))
        collimate(self.extras, pixels)
        burn_in(self.extras, pixels)
        return pixels


def _check_size(size: int) -> None:
    if size < SMALLEST:
        raise ValueError(f"expected size of at least {SMALLEST} pixels. Received: size={size}")


# --- A data set like SIIM-ACR -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One image of a data set before it is drawn."""

    seed: int
    positive: bool
    size: int
    image_id: str
    study_id: str
    series_id: str
    patient_id: str  # in the DICOM file, where it is unique per image as in SIIM-ACR
    nih_name: str  # patient_number.png: which images are of one patient
    sex: str
    age_years: int

    def path(self, directory: files.Path) -> files.Path:
        return directory / "dicom" / self.study_id / self.series_id / f"{self.image_id}.dcm"


def write_dataset(
    directory: files.Name,
    count: int,
    *,
    seed: int = 0,
    positive_share: float = 0.5,
    size: int = 1024,
    images_per_patient: tuple[int, int] = (1, 3),
    workers: int = 0,
) -> files.Path:
    """Write phantoms as SIIM-ACR comes: DICOM files, run-length labels, and the public map of patients.

    Equal arguments give byte-identical files, whatever `workers` is. An image's UID follows from all that is in it, so
    a call that was stopped goes on where it was; images of calls with other arguments stay, without a label.

    Files appear whole or not at all, the csv last.

    Args:
        directory: gets `dicom/<study>/<series>/<image>.dcm`, `train-rle.csv` and `patient-map.csv`.
        count: images.
        seed: not negative.
        positive_share: share of images with a pneumothorax, 0..1.
        size: edge of the images in pixels.
        images_per_patient: least and most, both included.
        workers: processes; 0: one per core.

    Returns:
        The path of `train-rle.csv`.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> write_dataset("phantoms", 240, seed=1)  # doctest: +SKIP
        PosixPath('phantoms/train-rle.csv')
    """
    _check_size(size)
    if count < 1 or seed < 0 or workers < 0:
        raise ValueError(
            f"expected count of 1 or more, seed and workers of 0 or more. "
            f"Received: count={count}, seed={seed}, workers={workers}"
        )
    if not 0 <= positive_share <= 1:
        raise ValueError(f"expected positive_share in 0..1. Received: positive_share={positive_share}")
    if not 1 <= images_per_patient[0] <= images_per_patient[1]:
        raise ValueError(
            f"expected images_per_patient of 1 <= least <= most. Received: images_per_patient={images_per_patient}"
        )
    directory = files.path(directory)
    rng = np.random.default_rng((seed, count))
    entries = _entries(
        _classes(count, positive_share, rng), _nih_names(count, images_per_patient, rng), seed=seed, size=size
    )
    write = functools.partial(_write_image, directory=directory)
    with Workers(workers) as processes:
        rows = list(processes.map(write, entries, title="phantoms", unit="image"))
    files.write_csv(directory / "patient-map.csv", ("Kaggle_ID", "NIH_ID"), ((e.image_id, e.nih_name) for e in entries))
    annotations = directory / "train-rle.csv"
    files.write_csv(annotations, ("ImageId", " EncodedPixels"), _label_rows(entries, rows, rng))
    return annotations


def _classes(count: int, positive_share: float, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.arange(count) < int(count * positive_share + 0.5))


def _nih_names(count: int, images_per_patient: tuple[int, int], rng: np.random.Generator) -> list[str]:
    """Deal images to patients: names as in ChestX-ray14, whose patients' images are numbered from 0."""
    names: list[str] = []
    patient = 0
    while len(names) < count:
        patient += int(rng.integers(1, 5))  # SIIM-ACR holds only some of that collection's patients
        images = int(rng.integers(images_per_patient[0], images_per_patient[1] + 1))
        names += [f"{patient:08d}_{number:03d}.png" for number in range(images)]
    names = names[:count]
    return [names[index] for index in rng.permutation(count)]


def _entries(classes: Iterable[bool], nih_names: Iterable[str], *, seed: int, size: int) -> list[_Entry]:
    entries = []
    for index, (positive, nih_name) in enumerate(zip(classes, nih_names, strict=True)):
        number = functools.partial(_number, _DRAWING, seed, index, bool(positive), size)
        of_patient = functools.partial(_number, seed, nih_name.partition("_")[0])
        entries.append(
            _Entry(
                seed=_number(seed, index) >> 64,
                positive=bool(positive),
                size=size,
                image_id=f"2.25.{number('image')}",  # DICOM part 5, B.2: a UUID's number under this root is a UID
                study_id=f"2.25.{number('study')}",
                series_id=f"2.25.{number('series')}",
                patient_id=str(uuid.UUID(int=number("patient"))),
                nih_name=nih_name,
                sex="FM"[of_patient("sex") % 2],
                age_years=16 + of_patient("age") % 75,
            )
        )
    return entries


def _number(*key: object) -> int:
    """Return 128 bits that depend on nothing but the key; the version and variant bits make them a UUID."""
    return uuid.UUID(bytes=hashlib.sha256(repr(key).encode()).digest()[:16], version=4).int


def _write_image(entry: _Entry, directory: files.Path) -> list[str]:
    """Write one image unless it is there. Returns its run-length rows."""
    path = entry.path(directory)
    if path.exists():
        components = _Subject.drawn(entry.seed, positive=entry.positive).components(entry.size)
    else:
        phantom = draw(entry.seed, positive=entry.positive, size=entry.size)
        components = phantom.components
        dicom.write_secondary_capture(
            path,
            phantom.pixels,
            dicom.Header(
                image_id=entry.image_id,
                patient_id=entry.patient_id,
                view_position=phantom.view_position,
                sex=entry.sex,
                age_years=entry.age_years,
                spacing_mm=phantom.spacing_mm,
            ),
            study_id=entry.study_id,
            series_id=entry.series_id,
        )
    return [rle.encode(component) for component in components]


def _label_rows(entries: list[_Entry], rows: list[list[str]], rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Order the rows as SIIM-ACR does: shuffled, an image's several rows far from one another."""
    places = rng.permutation(len(entries))
    placed = []
    for place, entry, texts in zip(places, entries, rows, strict=True):
        stride = len(entries) / max(1, len(texts))
        for number, text in enumerate(texts or [rle.HEALTHY]):
            placed.append(((place + number * stride) % len(entries), entry.image_id, text))
    placed.sort(key=lambda row: row[:2])
    for _, image_id, text in placed:
        padded = text != rle.HEALTHY or rng.random() < 0.5  # SIIM-ACR has " -1" and "-1"
        yield image_id, f" {text}" if padded else text
