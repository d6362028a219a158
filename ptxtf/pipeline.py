"""Records -> model inputs in one call, for anybody's training loop: `ptxtf.batches`.

`training_source` joins the two halves of it, `data.dataset` on the host and `preprocess` on the device; the training
loop, which needs them apart to place them under a distribution strategy, begins there as well.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from ptxtf import devices, files, preprocess
from ptxtf.config import Mode, PreprocessConfig
from ptxtf.data import dataset


@dataclasses.dataclass(frozen=True)
class TrainingSource:
    """A split for training, and what remains to be done to its batches.

    Attributes:
        split: its batches are uint8, on the host.
        augment: what takes the time in it is compiled by XLA; see `preprocess.for_training`.
        on_processor: augmenting is the processor's work: it was asked for, or there is no accelerator.
    """

    split: dataset.Split
    augment: preprocess.Augment
    on_processor: bool

    def augmented(self, batch_size: int, *, seed: int, first: int = 0) -> tf.data.Dataset:
        """Return epoch after epoch of batches that tf.data has augmented: the same numbers as on a device.

        Args:
            batch_size: images per batch.
            seed: seed of order and augmentation.
            first: number of the epoch to begin with.

        Returns:
            Endless dataset of (images, masks), float32 [S, B, h, w, 1], the batches of S training steps.
        """
        batches = self.split.epochs(batch_size, seed=seed, first=first)
        return batches.map(self._augment_batch, num_parallel_calls=2, deterministic=True).prefetch(2)

    def _augment_batch(self, batch: dataset.Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return self.augment(batch["image"], batch["mask"], batch["seed"])


def training_source(
    directory: files.Name, split: str, config: PreprocessConfig, *, image_size: int = 0, cache: str = "auto"
) -> TrainingSource:
    """Open a split for training.

    Args:
        directory: record directory made by tools.make_tfrecords.
        split: name of a split in dataset.json; several are joined by "+".
        config: preprocessing.
        image_size: height and width in pixels; 0: as stored.
        cache: what stays in memory, as `InputConfig.cache` says.

    Raises:
        InputError: as `dataset.Split`, and where its images are too small for a setting.
    """
    image_size = dataset.common_size(directory, image_size=image_size)
    preprocess.check_fits(config, image_size=(image_size, image_size))
    on_processor = config.preprocess_on == "host" or not devices.has_accelerator()
    equalised = cache == "equalised" or (cache == "auto" and on_processor)
    prepare = tf.function(preprocess.equalise(config), jit_compile=True) if equalised and config.clahe else None
    source = dataset.Split(directory, split, image_size=image_size, cache=cache != "none", prepare=prepare)
    return TrainingSource(source, preprocess.for_training(config, equalised=equalised, xla=True), on_processor)


def batches(
    directory: files.Name,
    split: str,
    *,
    batch_size: int,
    training: bool,
    seed: int = 0,
    mode: Mode = "whole",
    image_size: int = 0,
    **options: Any,
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yield batches that are read by tf.data and preprocessed on the device by one XLA-compiled function.

    Args:
        directory: record directory made by tools.make_tfrecords.
        split: name of a split in dataset.json; several are joined by "+".
        batch_size: images (in training, patches) per batch.
        training: shuffle, augment as the study did, drop the incomplete last batch, and never end; otherwise one pass
            in stored order, the last batch smaller.
        seed: seed of order and augmentation.
        mode: "whole" images, or "patch": 128² patches; without training an image's patches row by row.
        image_size: height and width in pixels; 0: as stored.
        **options: other fields of `ptxtf.config.PreprocessConfig`, as contrast=0.2.

    Yields:
        (images, masks): float32 [B, H, W, 1]; images in 0..1, masks of {0, 1}.

    Raises:
        InputError: as `ptxtf.data.examples`, or fewer images than `batch_size` in training.
        ValueError: an option out of its range.

    Example:
        >>> images, masks = next(ptxtf.batches("tfrecords", "train", batch_size=8, training=True))
    """
    config = PreprocessConfig(mode=mode, **options)
    if not training:
        once = dataset.Split(directory, split, image_size=image_size, cache=False)
        preprocess.check_fits(config, image_size=(once.image_size, once.image_size))
        return _inference_batches(once, config, batch_size)
    source = training_source(directory, split, config, image_size=image_size)
    source.split.steps(batch_size)  # at this call, not at the first batch
    return _training_batches(source, batch_size, seed)


def _training_batches(source: TrainingSource, batch_size: int, seed: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    for images, masks in _augmented(source, batch_size, seed):
        yield from zip(tf.unstack(images), tf.unstack(masks), strict=True)


def _augmented(source: TrainingSource, batch_size: int, seed: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Augment on an accelerator, or else on the processor, two batches ahead of the caller."""
    if source.on_processor:
        yield from source.augmented(batch_size, seed=seed)
        return
    for batch in source.split.epochs(batch_size, seed=seed):
        yield source.augment(batch["image"], batch["mask"], batch["seed"])


def _inference_batches(
    source: dataset.Split, config: PreprocessConfig, batch_size: int
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    prepare = tf.function(preprocess.for_inference(config), jit_compile=True)
    for batch in source.batches(batch_size, training=False):
        real = tf.math.count_nonzero(batch["image_id"] != "", dtype=tf.int32)
        images = prepare(batch["image"])
        pieces = tf.shape(images)[0] // batch_size
        masks = preprocess.cut(tf.cast(batch["mask"], tf.float32), config)
        yield images[: real * pieces], masks[: real * pieces]
