"""What a person sees while a run goes on: TensorBoard events with overlays of fixed cases, and curves.png.

Flows in: the rows of history.csv, the model's probabilities for a few validation cases. Flows out: files in the run's
folder.
"""

import resource
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.pr_curve import summary as pr_curve

from ptxtf import files, pictures, rundir
from ptxtf.data.dataset import Batch, Split
from ptxtf.errors import InputError, first_line
from ptxtf.forward import Logits
from ptxtf.training.steps import THRESHOLD

_LARGEST = 320


def memory_gib() -> float:
    """Return the most memory that the run has taken, of the first GPU or, without one, of this process, in GiB."""
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Watch:
    """Writes TensorBoard events: every number of an epoch, and overlays of the same cases each time.

    Args:
        run_dir: the run's folder; events go to `tensorboard/`.
        cases: up to some positive validation cases, from `choose_cases`; None: no overlays.
        logits_of: uint8 images [B, H, W, 1] -> float32 logits [B, H, W, 1].
    """

    def __init__(self, run_dir: files.Path, cases: Batch | None, logits_of: Logits) -> None:
        folder = run_dir / rundir.TENSORBOARD
        try:
            self._writer = tf.summary.create_file_writer(str(folder))
        except tf.errors.OpError as error:
            raise InputError(f"{folder}: expected a folder for events. Received: {first_line(error)}") from None
        self._cases = cases
        self._logits_of = logits_of

    def epoch(self, row: Mapping[str, float], pixels: np.ndarray | None) -> None:
        """Write one row of the history, the overlays, and the curve of precision and recall over pixels.

        Args:
            row: of history.csv.
            pixels: of the validation split, as `metrics.Totals` has them; None: no curve.
        """
        step = int(row["epoch"])
        with self._writer.as_default():
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, value, step=step)
            if pixels is not None:
                tf.summary.experimental.write_raw_pb(_precision_recall(pixels).SerializeToString(), step=step)
            if self._cases is not None:
                tf.summary.image("truth blue, prediction orange", self._overlays()[np.newaxis], step=step)
        self._writer.flush()

    def _overlays(self) -> np.ndarray:
        assert self._cases is not None
        predicted = tf.sigmoid(self._logits_of(self._cases["image"])).numpy() >= THRESHOLD
        drawn = [
            pictures.shrink(pictures.overlay(image[..., 0], mask=mask[..., 0], predicted_mask=guess[..., 0]), _LARGEST)
            for image, mask, guess in zip(
                self._cases["image"].numpy(), self._cases["mask"].numpy(), predicted, strict=True
            )
        ]
        return pictures.sheet(drawn, columns=4)


def _precision_recall(pixels: np.ndarray) -> Any:
    """Return TensorBoard's curve for int64 [2, K] counts of background and foreground pixels by rising probability."""
    # pixels at or above each step, and none above the last: the plugin's thresholds go from 0 to 1
    false_positives, true_positives = np.pad(np.cumsum(pixels[:, ::-1], axis=1)[:, ::-1], [(0, 0), (0, 1)])
    background, foreground = pixels.sum(axis=1)
    return pr_curve.raw_data_pb(
        "precision and recall",
        true_positives,
        false_positives,
        background - false_positives,
        foreground - true_positives,
        true_positives / np.maximum(true_positives + false_positives, 1),
        true_positives / max(foreground, 1),
        num_thresholds=len(true_positives),
    )


def choose_cases(split: Split, count: int, batch_size: int) -> Batch | None:
    """Return the first `count` positive cases of a split as one batch; None where there are none."""
    chosen: list[dict[str, np.ndarray]] = []
    for batch in split.batches(batch_size, training=False):
        # reads on when it has enough, as a cache that was not filled to the end is thrown away
        positive = np.flatnonzero(batch["mask"].numpy().any(axis=(1, 2, 3)))[: count - len(chosen)]
        chosen.extend({name: batch[name].numpy()[i] for name in ("image", "mask")} for i in positive)
    if not chosen:
        return None
    return {name: tf.constant(np.stack([case[name] for case in chosen])) for name in ("image", "mask")}


def draw_curves(run_dir: files.Path, rows: Sequence[Mapping[str, float]]) -> files.Path:
    """Write curves.png from at least one row, and return its path."""
    path = run_dir / rundir.CURVES
    files.write_bytes(path, pictures.curves(rows))
    return path
