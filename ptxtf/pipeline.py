"""Records -> model inputs in one call, for anybody's training loop: `ptxtf.batches`.

`training_source` joins the two halves of it, `data.dataset` on the host and `preprocess` on the device; the training
loop, which needs them apart to place them under a distribution strategy, begins there as well.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from ptxtf import devices, files, preprocess
from ptxtf.config import Cache, InputConfig, Mode, PreprocessConfig, check_seed
from ptxtf.data import dataset, served

_AHEAD = 2
"""Batches that tf.data augments at the same time, and as many that it keeps ready: more would only take memory."""


@dataclasses.dataclass(frozen=True)
class TrainingSource:
    """A split for training, and what remains to be done to its batches.

    Attributes:
        split: its batches are uint8, on the host.
        augment: what takes the time in it is compiled by XLA; see `preprocess.for_training`.
        on_processor: augmenting is the processor's work: it was asked for, or there is no accelerator. `batches` then
            augments ahead of the caller. (The training loop does so only where it was asked for.)
        positive_shares: share of positive images in each epoch, as `dataset.Split.batches` takes it.
        services: addresses of the `data.service`s that make the batches, if not this process.
    """

    split: dataset.Split
    augment: preprocess.Augment
    on_processor: bool
    positive_shares: Sequence[float] = ()
    services: Sequence[str] = ()

    def epochs(self, batch_size: int, *, seed: int, first: int = 0) -> tf.data.Dataset:
        """Return the split's batches of epoch `first` and all that follow, as `dataset.Split.epochs` does."""
        return self._made(lambda part, parts: self._part(part, parts, batch_size, seed, first), batch_size)

    def augmented(self, batch_size: int, *, seed: int, first: int = 0) -> tf.data.Dataset:
        """Return epoch after epoch of batches that tf.data has augmented: the same numbers as on a device.

        Args:
            batch_size: images per batch.
            seed: seed of order and augmentation.
            first: number of the epoch to begin with.

        Returns:
            Endless dataset of (images, masks), float32 [S, B, h, w, 1], the batches of S training steps.
        """

        def augmented_part(part: int, parts: int) -> tf.data.Dataset:
            batches = self._part(part, parts, batch_size, seed, first)
            augment = dataset.as_it_is(self.augment_batch)
            return batches.map(augment, num_parallel_calls=_AHEAD, deterministic=True).prefetch(_AHEAD)

        return self._made(augmented_part, batch_size)

    def _part(self, part: int, parts: int, batch_size: int, seed: int, first: int) -> tf.data.Dataset:
        shares = self.positive_shares
        return self.split.epochs(batch_size, seed=seed, first=first, positive_shares=shares, part=part, parts=parts)

    def _made(self, part_of: Callable[[int, int], tf.data.Dataset], batch_size: int) -> tf.data.Dataset:
        """Have batches made in parts by the data services, or here as one."""
        if not self.services:
            return part_of(0, 1)
        return served.joined(part_of, self.services, batches_per_epoch=self.split.steps(batch_size))

    def here(self) -> "TrainingSource":
        """Return the same batches, made by this process."""
        return dataclasses.replace(self, services=())

    def augment_batch(self, batch: dataset.Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Augment a batch of the split."""
        return self.augment(batch["image"], batch["mask"], batch["seed"])


def training_source(
    inputs: InputConfig, config: PreprocessConfig, *, positive_shares: Sequence[float] = ()
) -> TrainingSource:
    """Open the split that `inputs` names for training.

    Args:
        inputs: all but `positive_share` and `positive_schedule` is heeded, as only the caller knows how many epochs
            there are.
        config: what to do to the images.
        positive_shares: what those two come to: share of positive images in each epoch, 0..1, the last number for all
            later ones; empty: every image once an epoch.

    Raises:
        InputError: as `dataset.Split` and its `check_shares`; where its images are too small for a setting, or fewer
            than a batch; a data service that does not answer.
    """
    size = _size_that_fits(inputs, config)
    for address in inputs.data_service:
        served.check_answers(address)
    on_processor = config.preprocess_on == "host" or not devices.has_accelerator()
    equalised = inputs.cache == "equalised" or (inputs.cache == "auto" and on_processor)
    prepare = (
        tf.function(preprocess.equalise(config), jit_compile=True, autograph=False)
        if equalised and config.clahe
        else None
    )
    split = dataset.Split(
        inputs.records_dir, inputs.train_split, image_size=size, cache=inputs.cache != "none", prepare=prepare
    )
    split.steps(inputs.batch_size)  # here, not at the first batch
    split.check_shares(positive_shares)
    augment = preprocess.for_training(config, equalised=equalised, xla=True)
    return TrainingSource(split, augment, on_processor, positive_shares, inputs.data_service)


def batches(  # noqa: PLR0913, all but two by keyword
    directory: files.Name,
    split: str,
    *,
    batch_size: int,
    training: bool,
    seed: int = 0,
    mode: Mode = "whole",
    image_size: int = 0,
    cache: Cache = "auto",
    positive_share: float | None = None,
    **options: Any,
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yield batches that are read by tf.data and preprocessed by one XLA-compiled function.

    It runs on the accelerator where there is one, else (or in training with preprocess_on="host") on the processor, in
    training ahead of the caller.

    Args:
        directory: record directory made by tools.make_tfrecords.
        split: name of a split in dataset.json; several are joined by "+".
        batch_size: images per batch; in training in patch mode, patches.
        training: shuffle, augment as the study did, drop the incomplete last batch, and never end; otherwise one pass
            in stored order, the last batch smaller.
        seed: seed of order and augmentation, 0..2**32 - 1.
        mode: "whole" images, or "patch": 128² patches. Without training a batch holds all N patches of `batch_size`
            images, row by row.
        image_size: height and width in pixels, at least 32; 0: as stored.
        cache: what stays in memory in training, H * W * 9 / 8 bytes an image, as `ptxtf.config.InputConfig.cache`
            says; "none": nothing.
        positive_share: share of images with a pneumothorax in the training batches, 0..1, to within one image each;
            None: what the records hold.
        **options: other fields of `ptxtf.config.PreprocessConfig`, as contrast=0.2.

    Yields:
        (images, masks): float32 [B, H, W, 1], in patch mode [B, size, size, 1]; images in 0..1, masks of {0, 1}. B is
        `batch_size`, or without training in patch mode `batch_size` * N.

    Raises:
        InputError: as `ptxtf.data.examples`; images too small for an option; in training fewer images than
            `batch_size`, or none of a class that `positive_share` needs; and, while batches are read, a damaged shard.
        ValueError: an argument or option out of its range.
        TypeError: an option that `PreprocessConfig` does not have.

    Example:
        >>> images, masks = next(ptxtf.batches("tfrecords", "train", batch_size=8, training=True))
    """
    config = PreprocessConfig(mode=mode, **options)
    inputs = InputConfig(
        records_dir=str(directory),
        train_split=split,
        batch_size=batch_size,
        image_size=image_size,
        cache=cache,
        positive_share=() if positive_share is None else (positive_share,),
    )
    check_seed(seed)
    if training:
        source = training_source(inputs, config, positive_shares=inputs.positive_share)
        made = _training_batches(source, batch_size, seed)
    else:
        size = _size_that_fits(inputs, config)
        once = dataset.Split(directory, split, image_size=size, cache=False)
        made = _inference_batches(once.batches(batch_size, training=False), config)
    return _readable(directory, made)


def _size_that_fits(inputs: InputConfig, config: PreprocessConfig) -> int:
    """Return the images' height and width, checked before anything is traced for it."""
    size = dataset.common_size(inputs.records_dir, image_size=inputs.image_size)
    preprocess.check_fits(config, image_size=(size, size))
    return size


_Pairs = Iterator[tuple[tf.Tensor, tf.Tensor]]
"""Batches of images and masks."""


def _readable(directory: files.Name, made: _Pairs) -> _Pairs:
    with dataset.readable(directory):
        yield from made


def _training_batches(source: TrainingSource, batch_size: int, seed: int) -> _Pairs:
    for images, masks in _augmented(source, batch_size, seed):
        yield from zip(tf.unstack(images), tf.unstack(masks), strict=True)


def _augmented(source: TrainingSource, batch_size: int, seed: int) -> _Pairs:
    """Augment on an accelerator as batches are asked for, or else on the processor ahead of that."""
    if source.on_processor:
        yield from source.augmented(batch_size, seed=seed)
        return
    for batch in source.epochs(batch_size, seed=seed):
        yield source.augment_batch(batch)


def _inference_batches(host_batches: tf.data.Dataset, config: PreprocessConfig) -> _Pairs:
    prepare = tf.function(preprocess.for_inference(config), jit_compile=True, autograph=False)
    tiles = preprocess.tiles_of(config)
    for batch in host_batches:
        real = tf.math.count_nonzero(batch["image_id"] != "", dtype=tf.int32)
        images = prepare(batch["image"])
        each = preprocess.tiles_per_image(tiles, image_size=tuple(batch["image"].shape[1:3]))
        masks = preprocess.cut(tf.cast(batch["mask"], tf.float32), tiles)
        yield images[: real * each], masks[: real * each]
