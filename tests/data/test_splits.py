import collections
import random

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from ptxtf.data import splits
from ptxtf.data.splits import Case

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}


def single_image_patients(healthy, positive):
    flags = [False] * healthy + [True] * positive
    return [Case(f"i{index:05d}", flag, f"p{index:05d}") for index, flag in enumerate(flags)]


def clinic(patients=400, seed=3):
    """Many patients with one image, a few with many, some of them positive in a part of their images."""
    draw = random.Random(seed)
    cases = []
    for patient in range(patients):
        share = draw.choice([0, 0, 0, 0.5, 1])
        for _ in range(draw.choice([1, 1, 1, 1, 2, 3, 12])):
            cases.append(Case(f"i{len(cases):05d}", draw.random() < share, f"p{patient:04d}"))
    return cases


def count(cases):
    return collections.Counter(case.positive for case in cases)


def patients(cases):
    return {case.patient for case in cases}


@pytest.mark.parametrize("fractions", [FRACTIONS, {"train": 0.8, "test": 0.2}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}])
@pytest.mark.parametrize(("healthy", "positive"), [(937, 267), (100, 100), (11, 3), (50, 0)])
def test_by_patient_with_single_images_is_within_one_image(fractions, healthy, positive):
    parts = splits.by_patient(single_image_patients(healthy, positive), fractions=fractions, seed=1)
    assert list(parts) == list(fractions)
    for name, fraction in fractions.items():
        assert abs(count(parts[name])[False] - fraction * healthy) < 1
        assert abs(count(parts[name])[True] - fraction * positive) < 1


@pytest.mark.parametrize("seed", range(5))
def test_by_patient_keeps_patients_together_and_shares_near(seed):
    cases = clinic()
    parts = splits.by_patient(cases, fractions=FRACTIONS, seed=seed)
    total = count(cases)
    for name, fraction in FRACTIONS.items():
        for positive in (False, True):
            assert abs(count(parts[name])[positive] / total[positive] - fraction) < 0.01
    assert not patients(parts["train"]) & patients(parts["test"])
    assert not patients(parts["train"]) & patients(parts["val"])
    assert not patients(parts["val"]) & patients(parts["test"])


def test_patients_with_many_images_are_shared_out_too():
    few = [Case(f"f{patient:03d}", False, f"f{patient}") for patient in range(200)]
    many = [Case(f"m{patient:02d}-{image}", False, f"m{patient}") for patient in range(20) for image in range(10)]
    parts = splits.by_patient(few + many, fractions=FRACTIONS, seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 280, "val": 40, "test": 80}
    assert {name: len(patients(part) & patients(many)) for name, part in parts.items()} == {
        "train": 14,
        "val": 2,
        "test": 4,
    }


def test_kfold_folds_are_equal_and_share_no_patient():
    cases = clinic()
    folds = splits.kfold(cases, folds=5, seed=0)
    assert list(folds) == ["fold0", "fold1", "fold2", "fold3", "fold4"]
    assert max(map(len, folds.values())) - min(map(len, folds.values())) <= 3
    assert sum(len(patients(fold)) for fold in folds.values()) == len(patients(cases))


@hypothesis.settings(deadline=None, max_examples=40, derandomize=True)
@hypothesis.given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=40), st.integers(0, 2**32), st.randoms()
)
def test_every_split_holds_each_case_once_whatever_the_order(rows, seed, shuffler):
    cases = [Case(f"i{index:03d}", positive, f"p{patient}") for index, (positive, patient) in enumerate(rows)]
    shuffled = list(cases)
    shuffler.shuffle(shuffled)
    for split in (
        lambda given: splits.by_patient(given, fractions=FRACTIONS, seed=seed),
        lambda given: splits.kfold(given, folds=3, seed=seed),
        lambda given: splits.paper(given, seed=seed),
    ):
        parts = split(cases)
        assert sorted(case.image_id for part in parts.values() for case in part) == [case.image_id for case in cases]
        assert all(part == sorted(part, key=lambda case: case.image_id) for part in parts.values())
        assert split(shuffled) == parts
    kept = splits.balance(cases, healthy_per_positive=0.5, seed=seed)
    assert splits.balance(shuffled, healthy_per_positive=0.5, seed=seed) == kept


@pytest.mark.parametrize(
    "split",
    [
        lambda seed: splits.by_patient(clinic(), fractions=FRACTIONS, seed=seed),
        lambda seed: splits.kfold(clinic(), folds=3, seed=seed),
        lambda seed: splits.paper(clinic(), seed=seed),
        lambda seed: splits.balance(clinic(), healthy_per_positive=1, seed=seed),
    ],
)
def test_the_seed_decides(split):
    assert split(0) == split(0)
    assert split(0) != split(1)


def test_what_patients_are_called_does_not_matter():
    cases = clinic()
    renamed = [Case(case.image_id, case.positive, case.patient[::-1]) for case in cases]
    ids, renamed_ids = (
        {
            name: [case.image_id for case in part]
            for name, part in splits.by_patient(given, fractions=FRACTIONS, seed=0).items()
        }
        for given in (cases, renamed)
    )
    assert ids == renamed_ids


@pytest.mark.parametrize(("count", "train"), [(100, 80), (5338, 4270), (3, 2), (0, 0)])
def test_paper_is_four_fifths_by_image(count, train):
    parts = splits.paper(single_image_patients(count, 0), seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": train, "test": count - train}


def test_paper_ignores_patients():
    cases = [Case(f"i{index}", False, "the same") for index in range(10)]
    assert [len(part) for part in splits.paper(cases, seed=0).values()] == [8, 2]


@pytest.mark.parametrize(("ratio", "healthy"), [(1.0, 30), (0.5, 15), (2.5, 75), (100, 200), (0, 200)])
def test_balance_keeps_all_positives_and_so_many_healthy(ratio, healthy):
    cases = single_image_patients(healthy=200, positive=30)
    kept = splits.balance(cases, healthy_per_positive=ratio, seed=0)
    assert count(kept) == {True: 30, False: healthy}
    assert set(kept) <= set(cases)
    assert kept == sorted(kept, key=lambda case: case.image_id)


def test_shared_patients_by_hand():
    parts = {
        "val": [Case("v1", True, "a"), Case("v2", False, "d")],
        "train": [Case("t1", False, "a"), Case("t2", True, "b")],
        "test": [Case("e1", True, "b"), Case("e2", True, "c"), Case("e3", False, "a"), Case("e4", False, "b")],
    }
    assert splits.shared_patients(parts) == {
        "val": splits.Overlap(images=2, shared_images=1, positives=1, shared_positives=1),
        "test": splits.Overlap(images=4, shared_images=3, positives=2, shared_positives=1),
    }
    assert splits.shared_patients(parts, reference="val")["test"] == splits.Overlap(4, 1, 2, 0)


def test_each_fold_is_compared_with_all_others():
    folds = {
        "fold0": [Case("a1", True, "a"), Case("b1", False, "b"), Case("x1", False, "x")],
        "fold1": [Case("b2", True, "b")],
        "fold2": [Case("a2", False, "a"), Case("c1", True, "c")],
        "fold3": [],
    }
    assert splits.shared_patients(folds, reference=None) == {
        "fold0": splits.Overlap(images=3, shared_images=2, positives=1, shared_positives=1),
        "fold1": splits.Overlap(images=1, shared_images=1, positives=1, shared_positives=1),
        "fold2": splits.Overlap(images=2, shared_images=1, positives=1, shared_positives=0),
        "fold3": splits.Overlap(images=0, shared_images=0, positives=0, shared_positives=0),
    }
    folds_of_clinic = splits.kfold(clinic(), folds=4, seed=0)
    assert not any(
        overlap.shared_images for overlap in splits.shared_patients(folds_of_clinic, reference=None).values()
    )


def test_conflicts_by_hand():
    cases = [
        Case("i4", False, "q"),
        Case("i2", True, "q"),
        Case("i9", False, "b"),
        Case("i1", True, "q"),
        Case("i3", True, "b"),
        Case("i5", True, "only positive"),
        Case("i6", True, "only positive"),
        Case("i7", False, "only healthy"),
        Case("i0", False, "q"),
    ]
    assert splits.conflicts(reversed(cases)) == (
        splits.Conflict("b", positives=("i3",), healthy=("i9",)),
        splits.Conflict("q", positives=("i1", "i2"), healthy=("i0", "i4")),
    )
    assert splits.conflicts([]) == ()


def test_more_folds_than_patients():
    cases = [Case(f"i{index}", index < 4, f"p{index % 3}") for index in range(8)]
    folds = splits.kfold(cases, folds=5, seed=0)
    assert sorted(map(len, folds.values())) == [0, 0, 2, 3, 3]
    assert all(len(patients(fold)) <= 1 for fold in folds.values())


@pytest.mark.parametrize("positive", [False, True])
def test_one_class_alone_is_shared_out(positive):
    cases = [Case(case.image_id, positive, case.patient) for case in clinic()]
    parts = splits.by_patient(cases, fractions=FRACTIONS, seed=0)
    assert all(abs(len(parts[name]) - fraction * len(cases)) <= 1 for name, fraction in FRACTIONS.items())


@pytest.mark.parametrize("seed", range(3))
def test_one_patient_with_most_images(seed):
    cases = single_image_patients(healthy=60, positive=40)
    cases += [Case(f"z{index:04d}", index % 2 == 0, "p of many") for index in range(900)]
    parts = splits.by_patient(cases, fractions=FRACTIONS, seed=seed)
    assert {name: "p of many" in patients(part) for name, part in parts.items()} == {
        "train": True,
        "val": False,
        "test": False,
    }
    # Training is full already; what is left is shared out as the other two should be, 1 to 2.
    assert len(parts["train"]) == 900
    assert count(parts["val"]) == pytest.approx({False: 20, True: 40 / 3}, abs=1)
    assert count(parts["test"]) == pytest.approx({False: 40, True: 80 / 3}, abs=1)


def test_the_draw_follows_from_what_numpy_promises_to_keep():
    raw = np.random.PCG64(0).random_raw(50)
    assert splits.permutation(50, seed=0).tolist() == sorted(range(50), key=lambda index: raw[index])
    assert splits.permutation(0, seed=0).tolist() == []


def test_every_order_is_equally_likely():
    orders = collections.Counter(tuple(splits.permutation(3, seed=seed).tolist()) for seed in range(3000))
    assert len(orders) == 6
    assert sum((seen - 500) ** 2 / 500 for seen in orders.values()) < 20.5  # chi-square, 5 degrees, p = 0.001


def test_only_the_split_by_image_leaks():
    leaks = splits.shared_patients(splits.paper(clinic(), seed=0))["test"]
    assert leaks.shared_images > 0.5 * leaks.images
    parts = splits.by_patient(clinic(), fractions=FRACTIONS, seed=0)
    assert all(overlap.shared_images == 0 for overlap in splits.shared_patients(parts).values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda cases: splits.by_patient(cases, fractions={"a": 0.5, "b": 0.4}, seed=0),
            "expected positive fractions that sum to 1. Received: fractions=",
        ),
        (
            lambda cases: splits.by_patient(cases, fractions={"a": 1.2, "b": -0.2}, seed=0),
            "expected positive fractions",
        ),
        (lambda cases: splits.by_patient(cases, fractions={"a": float("nan")}, seed=0), "expected positive fractions"),
        (lambda cases: splits.by_patient(cases, fractions={}, seed=0), "expected positive fractions"),
        (lambda cases: splits.kfold(cases, folds=1, seed=0), "expected at least 2 folds. Received: folds=1"),
        (lambda cases: splits.balance(cases, healthy_per_positive=-1, seed=0), "Received: healthy_per_positive=-1"),
        (
            lambda cases: splits.shared_patients({"a": cases}),
            "expected reference of a, or None. Received: reference='train'",
        ),
        (
            lambda cases: splits.paper([*cases, cases[0]], seed=0),
            "expected each image id once. Received: image_id='i00000' twice",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(single_image_patients(healthy=3, positive=3))
