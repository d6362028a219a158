"""Records -> model inputs in one call, for anybody's training loop: `ptxtf.batches`.

`ptxtf.training` builds the same two halves (`data.dataset` on the host, `preprocess` on the device) under a
distribution strategy.
"""

import itertools
from collections.abc import Iterator

import tensorflow as tf

from ptxtf import files, preprocess
from ptxtf.config import Mode, PreprocessConfig
from ptxtf.data import dataset


def batches(
    directory: files.Name,
    split: str,
    *,
    batch_size: int,
    training: bool,
    seed: int = 0,
    mode: Mode = "whole",
    image_size: int = 0,
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

    Yields:
        (images, masks): float32 [B, H, W, 1]; images in 0..1, masks of {0, 1}.

    Raises:
        InputError: as `ptxtf.data.examples`, or fewer images than `batch_size` in training.

    Example:
        >>> images, masks = next(ptxtf.batches("tfrecords", "train", batch_size=8, training=True))
    """
    config = PreprocessConfig(mode=mode)
    source = dataset.Split(directory, split, image_size=image_size)
    if training:
        source.steps(batch_size)  # raises where not even one batch is full
        return _training_batches(source, config, batch_size, seed)
    return _inference_batches(source, config, batch_size)


def _training_batches(
    source: dataset.Split, config: PreprocessConfig, batch_size: int, seed: int
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    augment = tf.function(preprocess.for_training(config), jit_compile=True)
    for epoch in itertools.count():
        for batch in source.batches(batch_size, training=True, seed=seed, epoch=epoch):
            images, masks = augment(batch["image"], batch["mask"], batch["seed"])
            yield from zip(tf.unstack(images), tf.unstack(masks), strict=True)


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
