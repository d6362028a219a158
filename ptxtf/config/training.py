"""Settings of the training: how weights follow their gradients, and the loop over epochs."""

import dataclasses
import math
from typing import Literal, NamedTuple

from ptxtf.config.fields import (
    check,
    check_default,
    check_fields,
    check_not_negative,
    check_positive,
    check_seed,
    setting,
)
from ptxtf.config.network import LossConfig, ModelConfig, PreprocessConfig
from ptxtf.config.records import InputConfig

_MOST_EPOCHS = 1_000_000


_OF_SCHEDULES = {
    "final_rate": ("cosine", "restarts"),
    "restart_epochs": ("restarts",),
    "restart_factor": ("restarts",),
    "plateau_factor": ("plateau",),
    "plateau_epochs": ("plateau",),
}
"""Settings that only some schedules have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights follow their gradients."""

    learning_rate: float = setting("step size (the highest, where a schedule changes it)", 1e-3)
    encoder_rate: float = setting("the encoder's step size as a multiple of it: less spares what was pretrained", 1.0)
    weight_decay: float = setting(
        "AdamW: share of a kernel that each step takes away, times the step size (0.01); 0: Adam", 0.0
    )
    schedule: Literal["constant", "cosine", "restarts", "plateau"] = setting(
        "cosine: falls to --final_rate along half a cosine; restarts: again and again, see --restart_epochs; plateau: "
        "times --plateau_factor where the validation loss does not fall",
        "constant",
    )
    warmup_epochs: float = setting("epochs in which the step size first rises from 0", 0.0)
    final_rate: float = setting("cosine, restarts: where it ends, as a multiple of --learning_rate", 0.0)
    restart_epochs: float = setting("restarts: epochs of the first cosine", 10.0)
    restart_factor: float = setting("restarts: each cosine is so many times as long as the one before", 2.0)
    plateau_factor: float = setting("plateau: what the step size is multiplied by", 0.3)
    plateau_epochs: int = setting("plateau: after so many epochs without a lower validation loss", 5)
    clip_norm: float = setting("most that the gradient of all weights may measure; 0: anything", 0.0)
    accumulate: int = setting(
        "parts that a batch is computed in, one after the other, to save memory; batch statistics are each part's", 1
    )
    ema: float = setting(
        "moving averages of the weights, with so much of the old one at each step (0.999), are what is validated and "
        "kept; 0: the weights themselves",
        0.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive(
            learning_rate=self.learning_rate, encoder_rate=self.encoder_rate, restart_epochs=self.restart_epochs
        )
        check_positive(plateau_epochs=self.plateau_epochs, accumulate=self.accumulate)
        check_not_negative(weight_decay=self.weight_decay, warmup_epochs=self.warmup_epochs, clip_norm=self.clip_norm)
        for name in ("warmup_epochs", "restart_epochs"):
            most = getattr(self, name)
            check(most <= _MOST_EPOCHS, f"{name} up to {_MOST_EPOCHS}", **{name: most})
        check(
            math.isfinite(self.restart_factor) and self.restart_factor >= 1,
            "restart_factor of at least 1",
            restart_factor=self.restart_factor,
        )
        check(0 <= self.final_rate < 1, "final_rate from 0 to below 1", final_rate=self.final_rate)
        check(0 < self.plateau_factor < 1, "plateau_factor between 0 and 1", plateau_factor=self.plateau_factor)
        for name, schedules in _OF_SCHEDULES.items():
            check_default(self, name, when=self.schedule not in schedules, of="schedule")
        check(0 <= self.ema < 1, "ema from 0 to below 1", ema=self.ema)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop."""

    run_dir: str = setting("folder for checkpoints, history.csv, TensorBoard events and the final model")
    epochs: int = setting("passes over the training split", 75)
    first_sizes: tuple[int, ...] = setting(
        "heights and widths of the training images in the first epochs, in pixels, before --image_size (256,384); "
        "validation has that throughout",
        (),
    )
    size_epochs: int = setting("epochs for each of --first_sizes", 10)
    keep: Literal["best", "dice", "last"] = setting(
        "epochs that the final model is made of: those of the lowest validation loss; of the highest Dice over the "
        "validation images with a pneumothorax; or the last ones",
        "best",
    )
    average: int = setting(
        "number of them; the mean of their weights, with batch statistics of its own, is the final model", 1
    )
    patience: int = setting("stop after so many epochs without a lower validation loss; 0: never", 0)
    xla: Literal["auto", "on", "off"] = setting("compile the model by XLA; auto: where an accelerator is", "auto")
    steps_per_call: int = setting(
        "training steps that one call starts, in whole batches: more take less of the processor's time each, but "
        "nothing is seen of them until all are done. The patches that a device cuts of a batch are one call anyway",
        1,
    )
    seed: int = setting("seed of weights, order and augmentation", 0)
    overlays: int = setting("validation cases drawn for TensorBoard after each epoch", 4)
    cross_validate: bool = setting(
        "train a run for each fold of the records (tools.make_tfrecords --split=kfold), in RUN_DIR/fold0 …: the fold "
        "validates, the others train; evaluate one by --run_dir=RUN_DIR/fold0 --split=fold0",
        False,
    )
    dry_run: bool = setting(
        "build everything, train on two batches, say what an epoch will take, and write nothing", False
    )

    def __post_init__(self) -> None:
        check_fields(self)
        # TensorFlow takes a checkpoint's path for a pattern
        check(not set("[]*?") & set(self.run_dir), "run_dir without any of [ ] * ?", run_dir=self.run_dir)
        check(self.run_dir != "", "run_dir, a folder", run_dir=self.run_dir)
        check(self.epochs <= _MOST_EPOCHS, f"epochs up to {_MOST_EPOCHS}", epochs=self.epochs)
        check_positive(epochs=self.epochs, size_epochs=self.size_epochs, average=self.average)
        check_positive(steps_per_call=self.steps_per_call)
        check(all(size >= 32 for size in self.first_sizes), "first_sizes of at least 32", first_sizes=self.first_sizes)
        check_not_negative(overlays=self.overlays, patience=self.patience)
        check_default(self, "size_epochs", when=not self.first_sizes, of="first_sizes")
        check(self.average <= self.epochs, f"average up to epochs={self.epochs}", average=self.average)
        check_seed(self.seed)


class RunConfig(NamedTuple):
    """Everything that a training run is started with."""

    inputs: InputConfig
    training: TrainConfig
    preprocessing: PreprocessConfig = PreprocessConfig()
    network: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()


RUN = tuple(RunConfig.__annotations__.values())
"""The stages of a run, in their order."""
