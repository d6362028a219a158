"""The state of a run <-> files, so that a stopped run goes on and a finished one can be used.

Flows in: model, optimizer and averages after each epoch. Flows out: checkpoints, the weights of the epochs that the
final model may be made of, and model.keras (`ptxtf.rundir`). An epoch that was interrupted is run again from its start;
as order and augmentation depend on (seed, epoch) alone, the result is that of an uninterrupted run.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from ptxtf import files, rundir
from ptxtf.errors import InputError, first_line
from ptxtf.training import averages, history

_KEPT = 2
"""Checkpoints; the older one is for the case that the newer one is damaged."""


class RunState:
    """Weights, optimizer, moving averages and number of finished epochs, kept in a run's folder.

    Args:
        run_dir: the run's folder.
        model: the network.
        optimizer: built for the model's trainable variables.
        average: moving averages of the model's weights, if any.
    """

    def __init__(
        self,
        run_dir: files.Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        average: averages.MovingAverage | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        parts = {"model": model, "optimizer": optimizer, "epoch": self._epoch}
        checkpoint = tf.train.Checkpoint(**parts, **({"average": average} if average else {}))
        folder = run_dir / rundir.CHECKPOINTS
        try:
            self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=_KEPT)
        except UnicodeDecodeError:  # TensorFlow's own list of them is damaged, and not needed
            (folder / "checkpoint").unlink()
            self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=_KEPT)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return int(self._epoch.numpy())

    def restore(self, paths: Sequence[files.Path], *, epochs: int) -> list[str]:
        """Load the newest checkpoint that is whole.

        Args:
            paths: of a run's checkpoints, newest first, at least one.
            epochs: that the run is to have.

        Returns:
            A line for each checkpoint that is damaged.

        Raises:
            InputError: all are damaged, or of another network; or the run has more epochs.
        """
        damages: list[str] = []
        for path in paths:
            try:
                self._manager.checkpoint.restore(str(path)).assert_consumed()
                break
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
                damages.append(f"{path}: expected a whole checkpoint of this network. Received: {first_line(error)}")
        else:
            raise InputError(damages[0])
        if self.epoch > epochs:
            raise InputError(
                f"{self._run_dir}: expected --epochs of at least {self.epoch}. Received: --epochs={epochs}"
            )
        return damages

    def save(self, *, write: bool = True) -> None:
        """Note one more finished epoch.

        Args:
            write: whether this process writes the checkpoint.

        Raises:
            InputError: it cannot be written; the checkpoints before stay.
        """
        self._epoch.assign_add(1)
        if not write:
            return
        with _room(self._run_dir / rundir.CHECKPOINTS):
            self._manager.save(checkpoint_number=self._epoch)


@contextlib.contextmanager
def _room(path: files.Path) -> Iterator[None]:
    """Make one line of what TensorFlow or HDF5 says where it cannot write.

    Raises:
        InputError: it cannot.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise InputError(
            f"{path}: expected room; the last checkpoint stays, and the same command goes on from it. "
            f"Received: {first_line(error)}"
        ) from None


def chosen(rows: Sequence[Mapping[str, float]], *, keep: str, count: int) -> list[int]:
    """Return the epochs, counted from 1, that the final model is made of.

    Args:
        rows: of history.csv.
        keep: "best", those of the lowest validation loss, "dice", of the highest Dice over validation images with a
            pneumothorax (of equal ones the earlier), or "last".
        count: how many.

    Not the Dice over all images: a net that finds nothing yet has its best Dice there by staying empty. The loss falls
    for the same where most images are healthy and each counts for the Dice loss; therefore "dice".
    """
    epochs = [int(row["epoch"]) for row in rows]
    ranks = history.missed_dice(rows) if keep == "dice" else history.val_losses(rows)
    if keep == "last" or not ranks:
        return epochs[-count:]
    return sorted(epochs, key=lambda epoch: (ranks[epoch - 1], epoch))[:count]


def keep_weights(run_dir: files.Path, model: keras.Model, epoch: int) -> None:
    """Write the model's weights as those of an epoch.

    Raises:
        InputError: they cannot be written.
    """
    path = run_dir / rundir.EPOCHS / rundir.weights_name(epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _room(path), files.atomic_local(path, ending=".weights.h5") as temporary:
        model.save_weights(temporary)


def drop_weights(run_dir: files.Path, *, but: Sequence[int]) -> None:
    """Delete the weights of all other epochs."""
    wanted = {rundir.weights_name(epoch) for epoch in but}
    for path in (run_dir / rundir.EPOCHS).glob("epoch-*.weights.h5"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def load_mean(run_dir: files.Path, model: keras.Model, epochs: Sequence[int]) -> None:
    """Give a model the mean of the weights that it had after some epochs.

    Raises:
        InputError: weights are gone or damaged.
    """

    def of_epoch(epoch: int) -> list[np.ndarray]:
        path = run_dir / rundir.EPOCHS / rundir.weights_name(epoch)
        try:
            with files.local(path) as file:
                model.load_weights(file)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: expected the weights of an epoch. Received: {first_line(error)}") from None
        return model.get_weights()

    model.set_weights(averages.mean(map(of_epoch, epochs)))


def write_model(run_dir: files.Path, model: keras.Model) -> None:
    """Write model.keras.

    Raises:
        InputError: it cannot be written.
    """
    with _room(run_dir / rundir.MODEL), files.atomic_local(run_dir / rundir.MODEL, ending=".keras") as temporary:
        model.save(temporary)
