"""Training, validation and test: which case goes where.

Flows in: cases. Flows out: named splits, {name: cases}, the names in split order, the cases of each sorted by image id.

In SIIM-ACR one patient has up to 61 radiographs that look alike, so a split by image shows a model its test
patients in training. `by_patient` and `kfold` keep each patient in one split and hold the share of positives;
`paper` repeats the study's split by image, for comparison; `shared_patients` counts what leaks, `conflicts` lists
the patients who are labelled both ways.

All functions are pure: the same cases, in any order, with the same seed give the same splits, with any version of
NumPy.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """One radiograph as far as splitting needs it.

    Attributes:
        image_id: SOP instance UID; unique.
        positive: whether it shows a pneumothorax.
        patient: what groups radiographs; the image id again where nothing is known.
    """

    image_id: str
    positive: bool
    patient: str


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Counts of images in a split; shared: those of a patient who is in what it is compared with too."""

    images: int
    shared_images: int
    positives: int
    shared_positives: int


@dataclasses.dataclass(frozen=True)
class Conflict:
    """A patient with positive and healthy images, and which these are, sorted; no error by itself: a lung can heal."""

    patient: str
    positives: tuple[str, ...]
    healthy: tuple[str, ...]


def by_patient(cases: Iterable[Case], *, fractions: Mapping[str, float], seed: int) -> dict[str, list[Case]]:
    """Split so that no patient is in two splits, and positives and healthy images are shared out alike.

    Patients are taken in random order, those with more images first. Each goes where it adds least to the
    chi-square distance, sum((have - target)^2 / target) over splits and classes: to the split that lacks most
    of what this patient brings. For patients with one image this is Webster's method of apportionment. Where there
    are fewer patients than splits, or one owns most images, some splits stay empty or small.

    Args:
        cases: the radiographs.
        fractions: share of each split; positive, together 1.
        seed: the order of patients with equally many images.

    Returns:
        The cases of each split.

    Raises:
        ValueError: an image id twice, or unfit fractions.

    Example:
        >>> splits = by_patient(cases, fractions={"train": 0.8, "test": 0.2}, seed=0)
        >>> shared_patients(splits)["test"].shared_images
        0
    """
    if not fractions or min(fractions.values()) <= 0 or not np.isclose(sum(fractions.values()), 1):
        raise ValueError(f"expected positive fractions that sum to 1. Received: fractions={dict(fractions)}")
    cases = _in_order(cases)
    split_of = _assign(_count_by_patient(cases), np.array(list(fractions.values())), seed)
    splits: dict[str, list[Case]] = {name: [] for name in fractions}
    names = list(fractions)
    for case in cases:
        splits[names[split_of[case.patient]]].append(case)
    return splits


def kfold(cases: Iterable[Case], *, folds: int, seed: int) -> dict[str, list[Case]]:
    """Split into equal folds as `by_patient` does.

    Args:
        cases: the radiographs.
        folds: how many; at least 2.
        seed: the order of patients with equally many images.

    Returns:
        The cases of "fold0", "fold1", ...

    Raises:
        ValueError: an image id twice, or fewer than 2 folds.

    Example:
        >>> list(kfold(cases, folds=3, seed=0))
        ['fold0', 'fold1', 'fold2']
    """
    if folds < 2:
        raise ValueError(f"expected at least 2 folds. Received: folds={folds}")
    return by_patient(cases, fractions={f"fold{fold}": 1 / folds for fold in range(folds)}, seed=seed)


def paper(cases: Iterable[Case], *, seed: int) -> dict[str, list[Case]]:
    """Split 80 : 20 at random by image, as the study of Dašić et al. did. This leaks patients.

    On SIIM-ACR, balanced as in the study, about 61 % of the test images and 89 % of the positive ones then
    show a patient who is in training: scores on it are too good. `shared_patients` gives the figures.

    Args:
        cases: the radiographs.
        seed: the draw.

    Returns:
        The cases of "train" and "test".

    Raises:
        ValueError: an image id twice.

    Example:
        >>> {name: len(part) for name, part in paper(cases, seed=0).items()}
        {'train': 80, 'test': 20}
    """
    cases = _in_order(cases)
    is_train = np.zeros(len(cases), bool)
    is_train[permutation(len(cases), seed=seed)[: round(0.8 * len(cases))]] = True
    return {
        "train": [case for case, train in zip(cases, is_train, strict=True) if train],
        "test": [case for case, train in zip(cases, is_train, strict=True) if not train],
    }


def balance(cases: Iterable[Case], *, healthy_per_positive: float, seed: int) -> list[Case]:
    """Keep all positives and a random part of the healthy cases.

    Args:
        cases: the radiographs.
        healthy_per_positive: how many healthy cases to keep for each positive one; 0 keeps all.
        seed: the draw.

    Returns:
        The cases kept, sorted by image id.

    Raises:
        ValueError: an image id twice, or a negative `healthy_per_positive`.

    Example:
        >>> kept = balance(cases, healthy_per_positive=1.0, seed=0)
    """
    if not 0 <= healthy_per_positive < np.inf:
        raise ValueError(
            "expected healthy_per_positive of 0 or more, where 0 keeps all. "
            f"Received: healthy_per_positive={healthy_per_positive}"
        )
    cases = _in_order(cases)
    if healthy_per_positive == 0:
        return cases
    healthy = [case.image_id for case in cases if not case.positive]
    count = round(min(healthy_per_positive * (len(cases) - len(healthy)), len(healthy)))
    kept = {healthy[index] for index in permutation(len(healthy), seed=seed)[:count]}
    return [case for case in cases if case.positive or case.image_id in kept]


def permutation(count: int, *, seed: int) -> np.ndarray:
    """Draw an order of `count` things.

    Args:
        count: how many.
        seed: 0 or more.

    Returns:
        int64 [count], each of 0 ... count - 1 once.

    Example:
        >>> sorted(permutation(3, seed=0).tolist())
        [0, 1, 2]
    """
    # NumPy promises that a seed of PCG64 gives the same integers for ever, not what Generator.permutation makes of them
    # (NEP 19). So each thing draws one, and the smallest comes first.
    return np.random.PCG64(seed).random_raw(count).argsort(kind="stable")


def shared_patients(splits: Mapping[str, Collection[Case]], *, reference: str | None = "train") -> dict[str, Overlap]:
    """Count, for each split, the images whose patient is also in what a model that is tested on it was trained on.

    Args:
        splits: the cases of each split.
        reference: the split that is trained on; None, as for `kfold`: all splits but the one that is tested.

    Returns:
        An `Overlap` for each split but the reference.

    Raises:
        ValueError: there is no split of the reference's name.

    Example:
        >>> shared_patients(paper(cases, seed=0))["test"]
        Overlap(images=1068, shared_images=657, positives=530, shared_positives=473)
        >>> shared_patients(kfold(cases, folds=5, seed=0), reference=None)["fold4"]
        Overlap(images=2409, shared_images=0, positives=534, shared_positives=0)
    """
    if reference is not None and reference not in splits:
        raise ValueError(f"expected reference of {', '.join(splits)}, or None. Received: reference={reference!r}")
    patients = {name: {case.patient for case in cases} for name, cases in splits.items()}
    overlaps = {}
    for name, cases in splits.items():
        if name == reference:
            continue
        trained_on = splits.keys() - {name} if reference is None else {reference}
        known = set().union(*(patients[other] for other in trained_on))
        count = Counter((case.positive, case.patient in known) for case in cases)
        overlaps[name] = Overlap(
            images=count.total(),
            shared_images=count[True, True] + count[False, True],
            positives=count[True, True] + count[True, False],
            shared_positives=count[True, True],
        )
    return overlaps


def conflicts(cases: Iterable[Case]) -> tuple[Conflict, ...]:
    """List the patients of whom some images are labelled positive and others healthy.

    With `Case.patient` set to what else groups images, such as the original that several of them are copies of, it
    lists the groups whose labels contradict each other.

    Args:
        cases: the radiographs.

    Returns:
        A `Conflict` for each such patient, sorted by patient.

    Raises:
        ValueError: an image id twice.

    Example:
        >>> conflicts([Case("a", True, "p"), Case("b", False, "p"), Case("c", True, "q")])
        (Conflict(patient='p', positives=('a',), healthy=('b',)),)
    """
    image_ids: dict[tuple[str, bool], list[str]] = {}
    for case in _in_order(cases):
        image_ids.setdefault((case.patient, case.positive), []).append(case.image_id)
    both = sorted(patient for patient, positive in image_ids if positive and (patient, False) in image_ids)
    return tuple(
        Conflict(patient, positives=tuple(image_ids[patient, True]), healthy=tuple(image_ids[patient, False]))
        for patient in both
    )


def _in_order(cases: Iterable[Case]) -> list[Case]:
    """Return the cases sorted by image id, which frees all that follows from the order they came in."""
    ordered = sorted(cases, key=lambda case: case.image_id)
    for one, next_one in itertools.pairwise(ordered):
        if one.image_id == next_one.image_id:
            raise ValueError(f"expected each image id once. Received: image_id={one.image_id!r} twice")
    return ordered


def _count_by_patient(cases: Iterable[Case]) -> dict[str, np.ndarray]:
    """Return int64 [2] by patient: how many healthy and how many positive images."""
    counts: dict[str, np.ndarray] = {}
    for case in cases:
        counts.setdefault(case.patient, np.zeros(2, np.int64))[int(case.positive)] += 1
    return counts


def _assign(counts: Mapping[str, np.ndarray], fractions: np.ndarray, seed: int) -> dict[str, int]:
    """Return the index of the split for each patient; see `by_patient` for the rule.

    Args:
        counts: int64 [2] by patient.
        fractions: float [S], share of each split.
        seed: the order of patients with equally many images.
    """
    patients = list(counts)
    shuffled = permutation(len(patients), seed=seed)
    by_size = sorted(shuffled, key=lambda index: -counts[patients[index]].sum())  # stable: equals stay shuffled
    total = np.sum(list(counts.values()), axis=0) if counts else np.zeros(2)
    target = fractions[:, None] * np.maximum(total, 1)  # [S, 2]; a class without images is never counted
    have = np.zeros_like(target)
    split_of = {}
    for index in by_size:
        count = counts[patients[index]]
        # (have + count - target)^2 - (have - target)^2, over target
        added = ((2 * (have - target) + count) * count / target).sum(axis=1)
        split = int(added.argmin())
        have[split] += count
        split_of[patients[index]] = split
    return split_of
