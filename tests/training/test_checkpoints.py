"""Which epochs the final model is made of."""

import pytest

from ptxtf.training import checkpoints


@pytest.mark.parametrize(
    ("losses", "keep", "count", "expected"),
    [
        ([3.0, 1.0, 2.0], "best", 1, [2]),
        ([3.0, 1.0, 2.0], "best", 2, [2, 3]),
        ([3.0, 1.0, 2.0], "best", 9, [2, 3, 1]),
        ([1.0, 1.0], "best", 1, [1]),  # of equal ones the earlier
        ([float("nan"), 2.0, float("nan")], "best", 2, [2, 1]),
        ([3.0, 1.0, 2.0], "last", 2, [2, 3]),
        ([], "best", 3, []),
    ],
)
def test_epochs_chosen(losses, keep, count, expected):
    rows = [{"epoch": number, "val_loss": loss} for number, loss in enumerate(losses, start=1)]
    assert checkpoints.chosen(rows, keep=keep, count=count) == expected


@pytest.mark.parametrize(
    ("dices", "count", "expected"),
    [([0.1, 0.3, 0.2], 1, [2]), ([0.1, 0.3, 0.2], 2, [2, 3]), ([0.3, 0.3], 1, [1]), ([float("nan"), 0.1], 1, [2])],
)
def test_epochs_chosen_by_the_dice_of_positives(dices, count, expected):
    rows = [{"epoch": number, "val_loss": number, "val_positive_dice": dice} for number, dice in enumerate(dices, 1)]
    assert checkpoints.chosen(rows, keep="dice", count=count) == expected


def test_without_validation_the_last_ones_are():
    rows = [{"epoch": number, "loss": 1.0} for number in (1, 2, 3)]
    assert checkpoints.chosen(rows, keep="best", count=2) == [2, 3]
