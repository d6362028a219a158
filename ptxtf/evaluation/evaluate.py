"""A trained run and a split -> its scores, rows, masks and report: what `ptxtf.evaluate` does.

    examples ─► Predictor ─► masks ─► a row, bins and a run-length mask of each image ─► merged ─► summary ─► report

Each image is scored by itself, and all that follows is made of those results in the split's order: it is the same
however images were divided among processes, and, computed in pairs on a processor, however they were batched.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from ptxtf import devices, files
from ptxtf.config import EvaluateConfig, InferenceConfig, MaskConfig
from ptxtf.data import rle, shards
from ptxtf.data.dataset import readable
from ptxtf.evaluation import calibration, gallery, notes, report, scores
from ptxtf.evaluation import rows as image_rows
from ptxtf.evaluation.results import IMAGES, PREDICTIONS, SCORES, Evaluation, Kept
from ptxtf.inference import cases, masks
from ptxtf.inference.system import System, load

_CHUNK = 128
"""Images after whose scoring an evaluation can be stopped and go on from there."""


@dataclasses.dataclass(frozen=True)
class _Scored:
    """What is kept of one image: its row, its pixels' calibration, its mask as run-length text, and its time."""

    row: image_rows.Row
    bins: calibration.Bins
    mask: str
    seconds: float
    """Of prediction, its share of the batch's."""


def evaluate(
    config: EvaluateConfig, mask_config: MaskConfig, asked: InferenceConfig | None = None, *, in_pairs: bool = False
) -> Evaluation | None:
    """Score a run on a split at the original size, and write the report.

    Args:
        config: the run, the split, and where to write.
        mask_config: from probabilities to masks, as `choice.complete` completes it.
        asked: how the networks are asked.
        in_pairs: as `Predictor.load` takes it.

    Returns:
        What was found; None where `config.part` asked for a part of the images, and others are still to come.

    Raises:
        InputError: no finished run, no records, an unknown or empty split, a damaged rule.json; a model that takes
            other images; another evaluation of other images.
    """
    directory = files.path(config.output_dir)
    directory.mkdir(parents=True, exist_ok=True)
    other = Kept.read(files.path(config.against)) if config.against else None
    system = load(config.run_dir, mask_config, asked, in_pairs=in_pairs)
    dataset = cases.read(config.records_dir, config.split, image_size=system.predictor.image_size)
    number, count = _part(config)
    chunks = _Chunks(directory, _key(config, system), int(dataset.cardinality()), count)
    _score_the_rest(chunks, number, system, dataset, config)
    scored = chunks.together()
    if scored is None:
        return None
    found = _conclude(directory, scored, dataset, config, system, other)
    if count == 1:
        chunks.drop()
    return found


def _conclude(
    directory: files.Path,
    scored: Sequence[_Scored],
    dataset: tf.data.Dataset,
    config: EvaluateConfig,
    system: System,
    other: Kept | None,
) -> Evaluation:
    """Write what follows from all images."""
    rows = [one.row for one in scored]
    encoded = {one.row.image_id: one.mask for one in scored}
    found = Evaluation(
        directory=directory,
        rows=rows,
        summary=scores.summarize(rows, resamples=config.bootstrap, seed=config.seed),
        pixels=calibration.merge([one.bins for one in scored]),
        presence=calibration.bins(np.array([row.presence for row in rows]), np.array([row.positive for row in rows])),
        rule=system.rule,
        notes=notes.of(rows, config, system),
        seconds_per_image=float(np.median([one.seconds for one in scored])),
        difference=other.differences(rows, config) if other else {},
        settings=config,
    )
    chosen = gallery.choose(rows, config.gallery)
    with readable(config.records_dir):
        figures = gallery.draw(dataset, chosen, encoded, other.masks if other else {})
    page = report.html(found, figures)
    (directory / SCORES).unlink(missing_ok=True)  # which is there when all of it is
    image_rows.write(directory / IMAGES, rows)
    files.write_csv(directory / PREDICTIONS, ["ImageId", "EncodedPixels"], encoded.items())
    files.write_text(directory / "report.md", report.markdown(found))
    files.write_text(directory / "report.html", page)
    files.write_json(directory / SCORES, found.as_json())
    return found


def _score_the_rest(
    chunks: "_Chunks",
    number: int,
    system: System,
    dataset: tf.data.Dataset,
    config: EvaluateConfig,
) -> None:
    """Score what of a part is not yet, chunk by chunk."""
    left = chunks.of_part(number)
    done = len(chunks.read(number))
    if done == left:
        return
    rest = dataset.shard(chunks.parts, number - 1).skip(done)
    rest = rest.apply(tf.data.experimental.assert_cardinality(left - done))
    with readable(config.records_dir):
        scored = _score(system, rest, config)
        while chunk := list(itertools.islice(scored, _CHUNK)):
            chunks.write(number, done, chunk)
            done += len(chunk)


def _score(system: System, dataset: tf.data.Dataset, config: EvaluateConfig) -> Iterator[_Scored]:
    batch_size, rule = devices.images_at_once(config.batch_size), system.rule
    for case, found in cases.predict(system.predictor, dataset, batch_size=batch_size, title="scoring"):
        predicted_mask = masks.decide(found.probabilities, rule, presence=found.presence)
        presence = masks.presence(found.probabilities, rule, presence=found.presence)
        yield _Scored(
            row=image_rows.score(case, predicted_mask, presence=presence, spacing_factor=config.spacing_factor),
            bins=calibration.bins(found.probabilities, case["mask"]),
            mask=rle.encode(predicted_mask),
            seconds=found.seconds,
        )


def _part(config: EvaluateConfig) -> tuple[int, int]:
    """Return which part of how many is to be scored, counted from 1."""
    number, _, count = (config.part or "1/1").partition("/")
    return int(number), int(count)


def _key(config: EvaluateConfig, system: System) -> str:
    """Return what the results of an image depend on."""
    records = shards.sha256(files.path(config.records_dir) / shards.MANIFEST)
    return json.dumps([config.split, config.spacing_factor, records, system.key()])


@dataclasses.dataclass(frozen=True)
class _Chunks:
    """Results of single images in hidden files, so that what was stopped goes on, and parts come together.

    Attributes:
        directory: of the evaluation.
        key: of `_key`; what was kept with another one is as good as nothing.
        images: of the split.
        parts: that it is divided in, part 1 of 3 having images 0, 3, 6, …
    """

    directory: files.Path
    key: str
    images: int
    parts: int

    def of_part(self, number: int) -> int:
        """Return how many images a part has."""
        return len(range(number - 1, self.images, self.parts))

    def read(self, number: int) -> list[_Scored]:
        """Return what is kept of a part, from its first image on."""
        found: list[_Scored] = []
        while chunk := self._read_chunk(self._path(number, len(found))):
            found += chunk
        return found

    def write(self, number: int, first: int, chunk: Sequence[_Scored]) -> None:
        """Keep a chunk of a part, from its image `first` on."""
        bins = [[values.tolist() for values in vars(one.bins).values()] for one in chunk]
        images = [
            [dataclasses.asdict(one.row), kept, one.mask, one.seconds] for one, kept in zip(chunk, bins, strict=True)
        ]
        files.write_json(self._path(number, first), {"key": self.key, "images": images})

    def together(self) -> list[_Scored] | None:
        """Return all images in the split's order; None where some are missing."""
        parts = [self.read(number) for number in range(1, self.parts + 1)]
        if sum(map(len, parts)) < self.images:
            return None
        return [parts[index % self.parts][index // self.parts] for index in range(self.images)]

    def drop(self) -> None:
        """Delete all."""
        for path in self.directory.glob(f".scored-*-of-{self.parts}-*.json"):
            path.unlink(missing_ok=True)

    def _path(self, number: int, first: int) -> files.Path:
        return self.directory / f".scored-{number}-of-{self.parts}-{first:07d}.json"

    def _read_chunk(self, path: files.Path) -> list[_Scored]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["key"] != self.key:
                return []
            return [
                _Scored(image_rows.Row(**row), calibration.Bins(*map(np.array, bins)), mask, seconds)
                for row, bins, mask, seconds in content["images"]
            ]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not there, or not ours
            return []
