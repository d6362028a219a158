"""The state of a run <-> files, so that a stopped run goes on and a finished one can be used.

Flows in: model and optimizer after each epoch. Flows out: checkpoints, the best weights, model.keras (`ptxtf.rundir`).
An epoch that was interrupted is run again from its start; as order and augmentation depend on (seed, epoch) alone, the
result is that of an uninterrupted run.
"""

import keras
import tensorflow as tf

from ptxtf import files, rundir
from ptxtf.errors import InputError, first_line


class RunState:
    """Weights, optimizer, finished epochs and best score of a run, kept in its folder.

    Args:
        run_dir: the run's folder.
        model: the network.
        optimizer: built for the model's trainable variables.
    """

    def __init__(self, run_dir: files.Path, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self._run_dir = run_dir
        self._model = model
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        self._best = tf.Variable(float("inf"), dtype=tf.float32, trainable=False, name="best")
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, epoch=self._epoch, best=self._best)
        self._manager = tf.train.CheckpointManager(checkpoint, str(run_dir / rundir.CHECKPOINTS), max_to_keep=2)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return int(self._epoch)

    @property
    def best(self) -> float:
        """Lowest validation loss so far; infinity before the first."""
        return float(self._best)

    def restore(self, path: files.Path, *, epochs: int) -> None:
        """Load a checkpoint of a run that is to have `epochs` epochs.

        Raises:
            InputError: it is damaged, of another network, or of more epochs.
        """
        try:
            self._manager.checkpoint.restore(str(path)).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            raise InputError(
                f"{path}: expected a whole checkpoint of this network. Received: {first_line(error)}"
            ) from None
        if self.epoch > epochs:
            raise InputError(
                f"{self._run_dir}: expected --epochs of at least {self.epoch}. Received: --epochs={epochs}"
            )

    def save(self, *, val_loss: float | None) -> None:
        """Note one more finished epoch; keep its weights if its validation loss is the lowest (None: no validation).

        The loss, not the Dice over all images: a net that finds nothing yet has its best Dice there by staying empty.
        """
        if val_loss is not None and val_loss < self.best:
            self._best.assign(val_loss)
            with files.atomic_local(self._run_dir / rundir.BEST, ending=".weights.h5") as temporary:
                self._model.save_weights(temporary)
        self._epoch.assign_add(1)
        self._manager.save(checkpoint_number=self._epoch)

    def finish(self) -> files.Path:
        """Write model.keras with the best weights and return its path.

        Raises:
            InputError: the best weights are gone or damaged.
        """
        best = self._run_dir / rundir.BEST
        if self.best < float("inf"):
            try:
                with files.local(best) as file:
                    self._model.load_weights(file)
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"{best}: expected the weights of the best epoch. Received: {error}") from None
        path = self._run_dir / rundir.MODEL
        with files.atomic_local(path, ending=".keras") as temporary:
            self._model.save(temporary)
        return path
