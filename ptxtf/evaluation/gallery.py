"""Rows -> the cases that are worth a look, drawn in layers: radiograph, truth, prediction, another prediction.

The study's figure 3 is such a gallery: whole images against patches.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from ptxtf import pictures
from ptxtf.data import rle
from ptxtf.evaluation.rows import Row
from ptxtf.inference import cases

_SIZE = 420
"""Longer side of a picture in pixels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """A case in layers of one size, to be laid over one another.

    Attributes:
        row: its scores.
        why: it was chosen.
        image: PNG, the radiograph.
        truth: PNG with transparency, the outline of the true mask.
        predicted: the same of the model's.
        other: the same of another model's; None without one.
    """

    row: Row
    why: str
    image: bytes
    truth: bytes
    predicted: bytes
    other: bytes | None


def choose(rows: Sequence[Row], count: int) -> list[tuple[Row, str]]:
    """Choose cases worth a look: worst, median and best positives and the largest false alarms, as many of each.

    Returns:
        Up to `count` (row, why it was chosen), kind by kind, each row once.
    """
    positives = sorted((row for row in rows if row.positive), key=lambda row: row.dice)
    alarms = sorted(
        (row for row in rows if not row.positive and row.predicted_area_px), key=lambda row: -row.predicted_area_px
    )
    middle = (len(positives) - 1) / 2
    by_middle = [row for _, row in sorted(enumerate(positives), key=lambda place: abs(place[0] - middle))]
    kinds = {"worst": positives, "median": by_middle, "best": positives[::-1], "false alarm": alarms}
    why: dict[str, str] = {}
    for turn in itertools.zip_longest(*kinds.values()):
        for kind, row in zip(kinds, turn, strict=True):
            if row and len(why) < count:
                why.setdefault(row.image_id, kind)
    return [
        (row, "missed" if kind == "worst" and not row.predicted_area_px else kind)
        for kind, candidates in kinds.items()
        for row in candidates
        if why.get(row.image_id) == kind
    ]


def draw(
    dataset: tf.data.Dataset,
    chosen: Sequence[tuple[Row, str]],
    encoded: Mapping[str, str],
    others: Mapping[str, str],
) -> list[Figure]:
    """Draw the chosen cases, in their order.

    Args:
        dataset: of `ptxtf.inference.cases.read`.
        chosen: of `choose`.
        encoded: run-length text of the model's masks, by image id.
        others: the same of another model's; empty: none.
    """
    found = {case["image_id"]: case for case in cases.plain(dataset, {row.image_id for row, _ in chosen})}
    return [_figure(found[row.image_id], row, why, encoded, others) for row, why in chosen]


def _figure(case: cases.Case, row: Row, why: str, encoded: Mapping[str, str], others: Mapping[str, str]) -> Figure:
    shape = (row.image_height, row.image_width)
    image = pictures.fit(case["image"][..., 0], shape, _SIZE)
    other = others.get(row.image_id)
    return Figure(
        row=row,
        why=why,
        image=pictures.png(image),
        truth=_layer(case["mask"], image.shape, pictures.TRUTH),
        predicted=_layer(rle.decode(encoded[row.image_id], shape), image.shape, pictures.PREDICTED),
        other=_layer(rle.decode(other, shape), image.shape, pictures.OTHER) if other is not None else None,
    )


def _layer(mask: np.ndarray, shape: tuple[int, ...], colour: tuple[int, int, int]) -> bytes:
    return pictures.png(pictures.outline_layer(mask, shape, colour))
