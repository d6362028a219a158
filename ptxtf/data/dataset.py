"""Record directory -> tf.data on the host: read, parse, decode, resize, cache, shuffle, batch, prefetch.

Flows in: the shards that dataset.json lists. Flows out: single examples (`examples`), or batches (`Split.batches`) of
uint8 images and masks with one random seed per example. Grey values are the device's work (`ptxtf.preprocess`), but
what every epoch would do alike may be handed in to be done before caching.

An example's seed depends on the data set's seed, the epoch and the image id only, so it gets the same augmentation
whatever the batch size, the order, the number of workers, or a restart. (Where a share of positives is asked for, an
image may come more than once an epoch; then it depends on how often it came before, too.)
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from ptxtf import files
from ptxtf.data import example, shards
from ptxtf.errors import InputError

_READERS = 4
_SHUFFLE_UNCACHED = 1024
_FINISHED_AT_ONCE = 2
"""Batches whose masks are unpacked at the same time; each takes a fraction of the time of augmenting one."""

as_it_is = tf.autograph.experimental.do_not_convert
"""For what tf.data calls: AutoGraph would rewrite it first, which takes seconds. Nothing here branches on tensors."""

_HASHES = 2**62
_CHANGED = "dataset.json is that of another conversion"

DAMAGES = (tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.InvalidArgumentError)
"""What TensorFlow says of damaged records. FailedPreconditionError: a shard ends early, but between two records, and
the count is not dataset.json's. InvalidArgumentError: a record is whole, but holds something else."""

Batch = Mapping[str, tf.Tensor]
"""What `Split.batches` yields; see there."""


def examples(directory: files.Name, split: str, *, full_mask: bool = False, image_size: int = 0) -> tf.data.Dataset:
    """Read one split's examples, in the same order each time.

    Args:
        directory: record directory made by tools.make_tfrecords.
        split: name of a split in dataset.json; several are joined by "+".
        full_mask: give masks at the original size (default: the image's size).
        image_size: height and width in pixels to resize images to; 0: as stored.

    Returns:
        Dataset of {"image": uint8 [H, W, 1], bright = dense, "mask": uint8 [H, W, 1] of {0, 1}, "image_id": string,
        "patient": string (keyed hash), "view_position": string, "sex": string, "age_years": float32 (nan = unknown),
        "spacing_mm": float32 [2], row and column spacing of the original pixels (nan = unknown), "original_size": int32
        [2], "positive": bool}.

    Raises:
        InputError: no record directory, another schema, an unknown split, or a missing shard.
        ValueError: a negative image_size.

    A damaged shard shows when it is read, by TensorFlow's DataLossError, FailedPreconditionError or
    InvalidArgumentError; `readable` makes one InputError of them.

    Example:
        >>> for case in ptxtf.data.examples("tfrecords", "val").take(1):
        ...     print(case["image_id"], case["image"].shape)
    """
    manifest = shards.read_manifest(directory)
    size = _checked_size(image_size) or manifest.image_size
    parsed = _parsed(_records(directory, manifest, split), manifest.encoding, full_mask=full_mask, image_size=size)
    return parsed.apply(tf.data.experimental.assert_cardinality(manifest.images(split)))


def names(directory: files.Name, split: str) -> list[tuple[str, str]]:
    """Return image id and patient of each of a split's examples, in their order, without decoding any.

    Raises:
        InputError: as `examples`; a damaged shard.
    """
    serialized = _records(directory, shards.read_manifest(directory), split).batch(256)
    named = serialized.map(as_it_is(example.names), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    with readable(directory):
        return [
            (image_id.decode(errors="backslashreplace"), patient.decode())
            for image_ids, patients in named.as_numpy_iterator()
            for image_id, patient in zip(image_ids, patients, strict=True)
        ]


def _records(directory: files.Name, manifest: shards.Manifest, split: str) -> tf.data.Dataset:
    """Read one split's records, each a string scalar, in the same order each time.

    Before a shard is opened dataset.json has to be what it was: another conversion may have come between, or another
    machine, which makes batches, may have another one under the same path.
    """
    paths = [files.path(directory) / shard.name for shard in manifest.shards(split)]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: expected a shard that dataset.json lists. Received: no such file")
    places = [_as_others_find_it(path) for path in paths]
    made_by = files.path(directory) / shards.MANIFEST
    known = tf.strings.to_hash_bucket_fast(made_by.read_bytes(), _HASHES)

    def checked(place: tf.Tensor) -> tf.Tensor:
        found = tf.strings.to_hash_bucket_fast(tf.io.read_file(_as_others_find_it(made_by)), _HASHES)
        with tf.control_dependencies([tf.debugging.Assert(found == known, [_CHANGED])]):
            return tf.identity(place)

    return (
        tf.data.Dataset.from_tensor_slices(places)
        .map(as_it_is(checked))
        .interleave(
            tf.data.TFRecordDataset, cycle_length=_READERS, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    )


def _as_others_find_it(path: files.Path) -> str:
    return str(path.absolute() if isinstance(path, pathlib.Path) else path)


def _parsed(records: tf.data.Dataset, encoding: str, *, full_mask: bool = False, image_size: int) -> tf.data.Dataset:
    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return example.parse(serialized, encoding=encoding, image_size=image_size, full_mask=full_mask)

    return records.map(as_it_is(parse), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _checked_size(image_size: int) -> int:
    if image_size < 0:
        raise ValueError(f"expected image_size of 0 or more. Received: image_size={image_size}")
    return image_size


@contextlib.contextmanager
def readable(directory: files.Name) -> Iterator[None]:
    """Turn what TensorFlow says of damaged or changed records into an InputError that names their folder."""
    try:
        yield
    except DAMAGES as error:
        if isinstance(error, tf.errors.InvalidArgumentError) and "IteratorGetNext" not in error.message:
            raise
        if _CHANGED in error.message:
            raise InputError(
                f"{files.path(directory) / shards.MANIFEST}: expected what it was at the start, here and on every "
                "machine that reads the records. Received: that of another conversion"
            ) from None
        raise InputError(
            f"{directory}: expected whole records; `python -m tools.check_tfrecords` names the bad one. "
            f"Received: {error.message}"
        ) from None


def common_size(directory: files.Name, *, image_size: int = 0) -> int:
    """Return the height and width in pixels that all images come in: image_size, or if 0 as they are stored.

    Raises:
        InputError: as `shards.read_manifest`, or stored images differ in size.
        ValueError: a negative image_size.
    """
    return _common_size(directory, shards.read_manifest(directory), image_size)


def _common_size(directory: files.Name, manifest: shards.Manifest, image_size: int) -> int:
    size = _checked_size(image_size) or manifest.image_size
    if not size:
        raise InputError(
            f"{directory}: expected --image_size, as its images keep their own sizes. Received: image_size=0"
        )
    return size


class Split:
    """One split, read for training or validation.

    Kept in memory, an image takes H * W bytes, its mask an eighth of it. Epochs with a share of positives and
    epochs without keep each their own: read a split in one way only.

    Args:
        directory: record directory made by tools.make_tfrecords.
        split: name of a split in dataset.json; several are joined by "+".
        image_size: height and width in pixels to resize to; 0: as stored.
        cache: keep the decoded examples in memory after the first pass.
        prepare: what to do to the images before they are kept, uint8 [B, H, W, 1] -> the same; None: nothing.

    Attributes:
        images: number of images.
        positives: number of images with a pneumothorax.
        image_size: height and width of every image in pixels.

    Raises:
        InputError: as `examples`; for a split without images; where stored images differ in size and no `image_size`
            is given.
        ValueError: a negative image_size.
    """

    def __init__(
        self,
        directory: files.Name,
        split: str,
        *,
        image_size: int = 0,
        cache: bool = True,
        prepare: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ) -> None:
        manifest = shards.read_manifest(directory)
        self.images = manifest.images(split)
        if not self.images:
            raise InputError(f"{directory}: expected images in split {split}. Received: none")
        self.image_size = _common_size(directory, manifest, image_size)
        self._name = f"{directory}: split {split}"
        self.positives = manifest.positives(split)
        self._cached = cache
        self._encoding = manifest.encoding
        self._prepare = prepare
        self._records = _records(directory, manifest, split)
        dataset = self._prepared(self._records, self.images)
        self._examples = dataset.cache() if cache else dataset

    def steps(self, batch_size: int) -> int:
        """Return the number of training batches in an epoch.

        Raises:
            InputError: not even one batch is full.
            ValueError: a batch_size below 1.
        """
        _check_batch_size(batch_size)
        if batch_size > self.images:
            raise InputError(
                f"expected at least --batch_size={batch_size} images in the training split. Received: {self.images}"
            )
        return self.images // batch_size

    def check_shares(self, positive_shares: Sequence[float]) -> None:
        """Check that the split can fill batches with each of these shares of positive images.

        Raises:
            InputError: a share above 0, but no positive images; a share below 1, but no healthy ones.
            ValueError: a share outside 0..1.
        """
        for share in positive_shares:
            if not 0 <= share <= 1:
                raise ValueError(f"expected positive_shares in 0..1. Received: {share}")
            for kind, positive, needed in (("positive", True, share > 0), ("healthy", False, share < 1)):
                if needed and not self._count(positive):
                    raise InputError(
                        f"{self._name}: expected {kind} images for positive_share={share:g}. "
                        f"Received: none among {self.images}"
                    )

    def epochs(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        first: int = 0,
        positive_shares: Sequence[float] = (),
        part: int = 0,
        parts: int = 1,
    ) -> tf.data.Dataset:
        """Return the training batches of epoch `first` and all that follow, without end; else as `batches`.

        One data set for all of them, as what tf.data calls is compiled anew for each iterator. Of several `parts`, part
        m of M is every M-th batch of each epoch from batch m on.

        Raises:
            InputError: not even one batch is full, so that there would be nothing to wait for; as `check_shares`.
            ValueError: a batch_size below 1; as `check_shares`.
        """
        self.steps(batch_size)
        self.check_shares(positive_shares)
        epochs = tf.data.Dataset.counter(first)
        return self._training_batches(epochs, batch_size, seed, positive_shares, part, parts)

    def batches(
        self,
        batch_size: int,
        *,
        training: bool,
        seed: int = 0,
        epoch: int = 0,
        positive_shares: Sequence[float] = (),
    ) -> tf.data.Dataset:
        """Return one epoch of batches.

        With a share of positives, round(n * share) of an epoch's first n images are positive. An epoch has as many
        batches as without, so it may leave images of one class out and go through the other more than once: through
        each image of a class equally often, to within one.

        Args:
            batch_size: images per batch.
            training: shuffle by (seed, epoch) and drop what does not fill a batch; otherwise keep the order and fill
                the last batch up with black images whose image_id is empty, so that every batch has one shape.
            seed: seed of the order and of the augmentation.
            epoch: number of the pass; another epoch has another order and other augmentation.
            positive_shares: in training, share of positive images in each epoch from epoch 0 on, 0..1, the last number
                for all later ones; empty: every image once, whatever their share.

        Returns:
            Dataset of {"image": uint8 [B, H, W, 1], "mask": uint8 [B, H, W, 1] of {0, 1}, "image_id": string [B],
            "seed": int32 [B, 2]}.

        Raises:
            InputError: in training, not even one batch is full; as `check_shares`.
            ValueError: a batch_size below 1; as `check_shares`.
        """
        _check_batch_size(batch_size)
        if training:
            self.steps(batch_size)
            self.check_shares(positive_shares)
            return self._training_batches(tf.data.Dataset.from_tensors(epoch), batch_size, seed, positive_shares)
        epoch_seed = _epoch_seed(seed, epoch)
        dataset = self._examples.batch(batch_size).map(
            as_it_is(lambda batch: _finish(_fill(batch, batch_size), epoch_seed))
        )
        return _ordered(dataset)

    def _count(self, positive: bool) -> int:
        return self.positives if positive else self.images - self.positives

    def _prepared(self, records: tf.data.Dataset, images: int) -> tf.data.Dataset:
        """Return what is kept of records, of which there must be `images`."""
        return (
            _parsed(records, self._encoding, image_size=self.image_size)
            .apply(tf.data.experimental.assert_cardinality(images))
            .map(
                as_it_is(lambda case: _to_keep(case, self._prepare)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        )

    def _training_batches(
        self,
        epochs: tf.data.Dataset,
        batch_size: int,
        seed: int,
        positive_shares: Sequence[float],
        part: int = 0,
        parts: int = 1,
    ) -> tf.data.Dataset:
        def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
            tf.random.set_seed(1)  # that of this graph alone, which shuffle adds to the seed it is given
            epoch_seed = _epoch_seed(seed, epoch)
            if positive_shares:
                dataset = self._mixed(_of_epoch(positive_shares, epoch), epoch_seed)
            else:
                dataset = _shuffled(self._examples, self._window(self.images), epoch_seed)
            dataset = dataset.batch(batch_size, drop_remainder=True).shard(parts, part)
            return dataset.map(as_it_is(_finish), num_parallel_calls=_FINISHED_AT_ONCE)

        return _ordered(epochs.flat_map(as_it_is(batches_of)))

    def _window(self, images: int) -> int:
        return images if self._cached else min(images, _SHUFFLE_UNCACHED)

    def _mixed(self, share: tf.Tensor, epoch_seed: tf.Tensor) -> tf.data.Dataset:
        """Draw an epoch's examples, of which a share is positive, each with its round's seed."""
        classes = [self._rounds(positive, epoch_seed) for positive in (False, True)]
        return tf.data.Dataset.choose_from_datasets(
            classes, tf.data.Dataset.from_tensor_slices(_spread(self.images, share))
        )

    def _rounds(self, positive: bool, epoch_seed: tf.Tensor) -> tf.data.Dataset:
        """Go through one class without end, each time in another order and with another seed, at first the epoch's."""
        window = self._window(self._count(positive))

        def round_of(number: tf.Tensor) -> tf.data.Dataset:
            seed = tf.bitwise.bitwise_xor(epoch_seed, tf.cast(number, tf.int32))
            return _shuffled(self._of_class(positive, seed), window, seed, stream=1 + positive)

        return tf.data.Dataset.counter().flat_map(as_it_is(round_of))

    def _of_class(self, positive: bool, seed: tf.Tensor) -> tf.data.Dataset:
        """Return the examples of one class: kept, or read from the disk.

        An epoch may need but few of a class. Where they are shuffled within a window only, reading begins somewhere
        else each time, or the last ones would never come.
        """
        if self._cached:
            return self._kept_classes[positive]
        count = self._count(positive)
        records = self._records_of_class(positive)
        if count > _SHUFFLE_UNCACHED:
            start = tf.random.stateless_uniform([], [seed, int(positive)], 0, count, tf.int64, alg="philox")
            records = records.skip(start).concatenate(records.take(start))
        return self._prepared(records, count)

    @functools.cached_property
    def _kept_classes(self) -> list[tf.data.Dataset]:
        with tf.init_scope():  # outside of the graph of an epoch, as all epochs share it
            return [
                self._prepared(self._records_of_class(positive), self._count(positive)).cache()
                for positive in (False, True)
            ]

    def _records_of_class(self, positive: bool) -> tf.data.Dataset:
        return self._records.filter(as_it_is(lambda serialized: example.is_positive(serialized) == positive))


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"expected batch_size of at least 1. Received: batch_size={batch_size}")


def _ordered(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Read ahead, but in the same order each time."""
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)


def _of_epoch(positive_shares: Sequence[float], epoch: tf.Tensor) -> tf.Tensor:
    """Return the share of an epoch, float64: the last holds for all epochs beyond."""
    last = len(positive_shares) - 1
    return tf.gather(tf.constant(positive_shares, tf.float64), tf.minimum(epoch, tf.cast(last, epoch.dtype)))


def _spread(images: int, share: tf.Tensor) -> tf.Tensor:
    """Spread positives over an epoch: int64 [images], 1 for a positive; of the first n, round(n * share) are."""
    positives = tf.floor(tf.range(images + 1, dtype=tf.float64) * share + 0.5)  # [images + 1], among the first 0, 1, …
    return tf.cast(positives[1:] - positives[:-1], tf.int64)


def _shuffled(examples: tf.data.Dataset, window: int, seed: tf.Tensor, *, stream: int = 0) -> tf.data.Dataset:
    """Shuffle by (seed, stream), and give each example the seed, int32."""
    order = tf.cast(seed, tf.int64) + (stream << 32)
    shuffled = examples.shuffle(window, order, reshuffle_each_iteration=False)
    return tf.data.Dataset.zip((shuffled, tf.data.Dataset.from_tensors(seed).repeat()))


def _to_keep(case: Mapping[str, tf.Tensor], prepare: Callable[[tf.Tensor], tf.Tensor] | None) -> dict[str, tf.Tensor]:
    image = case["image"] if prepare is None else prepare(case["image"][tf.newaxis])[0]
    return {"image": image, "mask": _pack(case["mask"]), "image_id": case["image_id"]}


def _fill(batch: Batch, size: int) -> dict[str, tf.Tensor]:
    """Fill a batch up to `size` examples with zeros (and empty ids)."""
    filled = {}
    for name, value in batch.items():
        filler = tf.zeros([size - tf.shape(value)[0], *value.shape[1:]], value.dtype)
        filled[name] = tf.ensure_shape(tf.concat([value, filler], axis=0), [size, *value.shape[1:]])
    return filled


def _finish(batch: Batch, epoch_seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    """Give each example of a batch its seed, from the epoch's (int32 [] or [B]), and its mask pixel by pixel."""
    masks = _unpack(batch["mask"], width=batch["image"].shape[2])
    return {**batch, "mask": masks, "seed": _seeds(batch["image_id"], epoch_seeds)}


def _pack(mask: tf.Tensor) -> tf.Tensor:
    """Keep a mask as bits, the leftmost pixel the highest: uint8 [H, W, 1] of {0, 1} -> uint8 [H, ceil(W / 8)]."""
    height, width, _ = mask.shape
    padded = tf.pad(mask[..., 0], [[0, 0], [0, -width % 8]])
    eights = tf.reshape(padded, [height, -1, 8])
    return tf.reduce_sum(eights * tf.constant([128, 64, 32, 16, 8, 4, 2, 1], tf.uint8), axis=-1)


@tf.function(jit_compile=True, autograph=False)  # a third of the time of TensorFlow's operations one by one
def _unpack(packed: tf.Tensor, *, width: int) -> tf.Tensor:
    """Undo `_pack` for a batch: uint8 [B, H, ceil(W / 8)] -> uint8 [B, H, W, 1]."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1)  # [256, 8]
    eights = tf.gather(tf.constant(bits), tf.cast(packed, tf.int32))  # [B, H, ceil(W / 8), 8]
    batch, height = tf.shape(packed)[0], packed.shape[1]
    return tf.reshape(eights, [batch, height, -1, 1])[:, :, :width]


def _epoch_seed(seed: int, epoch: int | tf.Tensor) -> tf.Tensor:
    """Draw an epoch's seed, an int32 of 0 or more, from the run's (below 2**32) and the number of the epoch."""
    seed = int(seed)  # NumPy's small integers would overflow
    folded = tf.random.fold_in([seed >> 16, seed & 0xFFFF], tf.cast(epoch, tf.int32), alg="philox")
    drawn = tf.random.stateless_uniform([], folded, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    return tf.bitwise.bitwise_and(drawn, 2**31 - 1)


def _seeds(image_ids: tf.Tensor, epoch_seeds: tf.Tensor) -> tf.Tensor:
    """Return one seed per example, int32 [B, 2], from the epoch's seed (or one each) and the image ids."""
    hashes = tf.cast(tf.strings.to_hash_bucket_fast(image_ids, 2**31 - 1), tf.int32)
    return tf.stack([tf.broadcast_to(epoch_seeds, tf.shape(hashes)), hashes], axis=1)
