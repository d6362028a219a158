"""Records -> examples in NumPy, one after another, each with what is found in it at the original size."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import tensorflow as tf
import tqdm

from ptxtf import files
from ptxtf.data.dataset import examples
from ptxtf.errors import InputError
from ptxtf.inference.predictor import Film, Found, Predictor

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
) -> Iterator[tuple[Case, Found]]:
    """Yield each example and what is found in it.

    Args:
        predictor: of a trained run.
        dataset: of `read`, or a part of it.
        batch_size: images that are computed together.
        title: of the progress bar.
    """
    examples_of = map(_plain_case, dataset.as_numpy_iterator())
    films = (Film(case, case["image"], case["mask"].shape) for case in examples_of)
    found = predictor.each(films, batch_size=batch_size)
    yield from tqdm.tqdm(found, total=int(dataset.cardinality()), desc=title, unit="image", disable=None)


def plain(dataset: tf.data.Dataset, image_ids: Collection[str]) -> Iterator[Case]:
    """Yield the examples of a data set that have these ids."""
    wanted = (case for case in map(_plain_case, dataset.as_numpy_iterator()) if case["image_id"] in image_ids)
    yield from itertools.islice(wanted, len(image_ids))


def _plain_case(case: Case) -> Case:
    names = ("image_id", "patient", "view_position", "sex")
    texts = {name: case[name].decode(errors="backslashreplace") for name in names}  # file names need not be UTF-8
    return {**case, **texts, "mask": case["mask"][..., 0]}
