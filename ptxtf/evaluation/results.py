"""What an evaluation found, and what another one left in its folder.

In OUTPUT_DIR stand

    scores.json        everything that is said of all images, with the settings
    images.csv         a row for each image, see `ptxtf.evaluation.rows`
    predictions.csv    ImageId,EncodedPixels: the masks at the original size, in SIIM's run-length form
    report.html, .md   the same to look at
"""

import csv
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ptxtf import files
from ptxtf.config import EvaluateConfig
from ptxtf.data import rle
from ptxtf.errors import InputError
from ptxtf.evaluation import calibration, scores
from ptxtf.evaluation import rows as image_rows
from ptxtf.inference import masks

SCORES, IMAGES, PREDICTIONS = "scores.json", "images.csv", "predictions.csv"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        directory: where it was written.
        rows: of each image, in the split's order.
        summary: what they say together.
        pixels: how often pixels were what their probability said.
        presence: how often there was a pneumothorax where the image's `presence` said so.
        rule: that made the masks.
        notes: what a reader must know, a line each.
        seconds_per_image: median time of prediction, in a batch, without reading and scoring.
        difference: to another evaluation, by what is compared; empty without one.
        settings: what it was asked for.
    """

    directory: files.Path
    rows: Sequence[image_rows.Row]
    summary: scores.Summary
    pixels: calibration.Bins
    presence: calibration.Bins
    rule: masks.Rule
    notes: Sequence[str]
    seconds_per_image: float
    difference: Mapping[str, scores.Difference]
    settings: EvaluateConfig

    def as_json(self) -> dict[str, Any]:
        """Return what scores.json holds."""
        return _plain(
            {
                "summary": dataclasses.asdict(self.summary),
                "calibration": {
                    name: {"expected_calibration_error": calibration.error(bins), "points": calibration.points(bins)}
                    for name, bins in (("pixels", self.pixels), ("presence", self.presence))
                },
                "difference": {name: dataclasses.asdict(value) for name, value in self.difference.items()},
                "notes": list(self.notes),
                "seconds_per_image": self.seconds_per_image,
                "rule": dataclasses.asdict(self.rule),
                "settings": dataclasses.asdict(self.settings),
            }
        )


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: nan, which it lacks, becomes null."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclasses.dataclass(frozen=True)
class Kept:
    """What an evaluation left in its folder.

    Attributes:
        directory: the folder.
        rows: of each image.
        masks: the model's, as run-length text by image id.
        notes: what a reader must know, a line each.
        seconds_per_image: median time of prediction.
        settings: what it was asked for, of `EvaluateConfig`.
    """

    directory: files.Path
    rows: Sequence[image_rows.Row]
    masks: Mapping[str, str]
    notes: Sequence[str]
    seconds_per_image: float
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, directory: files.Path) -> "Kept":
        """Read images.csv, predictions.csv and scores.json.

        Raises:
            InputError: the folder lacks one of them, or it holds something else.
        """
        rows = image_rows.read(directory / IMAGES)
        try:
            with (directory / PREDICTIONS).open(encoding="utf-8", newline="") as file:
                encoded = {line["ImageId"]: line["EncodedPixels"] for line in csv.DictReader(file)}
            if encoded.keys() != {row.image_id for row in rows}:
                raise ValueError(f"masks of other images than {IMAGES} has")
            for text in encoded.values():
                rle.parse(text)
            scored = json.loads((directory / SCORES).read_text(encoding="utf-8"))
            seconds = float(scored["seconds_per_image"])
            return cls(directory, rows, encoded, scored["notes"], seconds, scored["settings"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
            raise InputError(
                f"{directory}: expected {PREDICTIONS} and {SCORES} as ptxtf.evaluate writes them. Received: {error}"
            ) from None

    def differences(self, rows: Sequence[image_rows.Row], config: EvaluateConfig) -> dict[str, scores.Difference]:
        """Return by how much these rows' Dice is above this evaluation's: "all" images, and "positives" if any.

        Raises:
            InputError: these are other images.
        """
        kinds = ["all", *(["positives"] if any(row.positive for row in rows) else [])]
        try:
            return {
                kind: scores.compare(
                    rows, self.rows, resamples=config.bootstrap, seed=config.seed, positives=kind == "positives"
                )
                for kind in kinds
            }
        except ValueError as error:
            raise InputError(f"{self.directory}: {error}") from None
