"""Records -> examples in NumPy, one after another, each with its probabilities at the original size."""

import itertools
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from ptxtf import files
from ptxtf.data.dataset import examples
from ptxtf.errors import InputError
from ptxtf.inference.predictor import Predictor

Case = Mapping[str, Any]
"""One example as `ptxtf.data.examples(full_mask=True)` gives it, in NumPy: its mask [H, W], its texts as str."""


def read(records_dir: files.Name, split: str, *, image_size: int) -> tf.data.Dataset:
    """Return the examples of a split, images at the size that the network sees, masks at the original one.

    Raises:
        InputError: as `ptxtf.data.examples`; a split without images.
    """
    dataset = examples(records_dir, split, full_mask=True, image_size=image_size)
    if not int(dataset.cardinality()):
        raise InputError(f"{records_dir}: expected images in split {split!r}. Received: none")
    return dataset


def predict(
    predictor: Predictor, dataset: tf.data.Dataset, *, batch_size: int, title: str
) -> Iterator[tuple[Case, np.ndarray, float]]:
    """Yield each example, its probabilities at the original size, float32 [H, W], and its share of the batch's seconds.

    Args:
        predictor: of a trained run.
        dataset: of `read`, or a part of it.
        batch_size: images that are computed together.
        title: of the progress bar.
    """
    cases = dataset.as_numpy_iterator()
    with tqdm.tqdm(total=int(dataset.cardinality()), desc=title, unit="image", disable=None) as bar:
        while group := [_plain_case(case) for case in itertools.islice(cases, batch_size)]:
            images, sizes = [case["image"] for case in group], [case["mask"].shape for case in group]
            start = time.perf_counter()
            found = list(predictor.one_by_one(images, sizes, batch_size=batch_size))
            seconds = (time.perf_counter() - start) / len(group)
            for case, probabilities in zip(group, found, strict=True):
                yield case, probabilities, seconds
            bar.update(len(group))


def plain(dataset: tf.data.Dataset, image_ids: Collection[str]) -> Iterator[Case]:
    """Yield the examples of a data set that have these ids."""
    wanted = (case for case in map(_plain_case, dataset.as_numpy_iterator()) if case["image_id"] in image_ids)
    yield from itertools.islice(wanted, len(image_ids))


def _plain_case(case: Case) -> Case:
    names = ("image_id", "patient", "view_position", "sex")
    texts = {name: case[name].decode(errors="backslashreplace") for name in names}  # file names need not be UTF-8
    return {**case, **texts, "mask": case["mask"][..., 0]}
