"""What changes while a run goes on, at steps and epochs where it can be worked out by hand."""

import math

import pytest

from ptxtf.config import InputConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from ptxtf.training import schedules
from ptxtf.training.schedules import Phase


def rates(steps, *, epochs=10, steps_per_epoch=10, **settings):
    config = OptimizerConfig(learning_rate=1e-2, **settings)
    schedule = schedules.learning_rate(config, epochs=epochs, steps_per_epoch=steps_per_epoch)
    return [float(schedule(step)) for step in steps]


def test_constant_stays_and_may_rise_first():
    assert rates([0, 1, 99]) == pytest.approx([1e-2] * 3)
    assert rates([0, 4, 9, 10, 99], warmup_epochs=1) == pytest.approx([1e-3, 5e-3, 1e-2, 1e-2, 1e-2])


def test_cosine_falls_after_its_rise():
    found = rates([0, 9, 10, 10 + 50, 110], epochs=11, schedule="cosine", warmup_epochs=1)
    assert found == pytest.approx([1e-3, 1e-2, 1e-2, 5e-3, 0], abs=1e-9)
    assert rates([0, 25], schedule="cosine") == pytest.approx([1e-2, 1e-2 * (1 + math.cos(math.pi / 4)) / 2])
    assert rates([100], schedule="cosine", final_rate=0.1) == pytest.approx([1e-3])


def test_restarts_begin_anew_and_take_longer_each_time():
    settings = {"schedule": "restarts", "restart_epochs": 2, "restart_factor": 2}
    quarter = 1e-2 * (1 + math.cos(math.pi / 4)) / 2
    found = rates([0, 5, 10, 20, 30, 60], **settings)
    assert found == pytest.approx([1e-2, quarter, 5e-3, 1e-2, quarter, 1e-2], rel=1e-5)
    even = rates([5, 25, 45], schedule="restarts", restart_epochs=2, restart_factor=1)
    assert even == pytest.approx([quarter] * 3, rel=1e-5)


def test_the_loop_s_factor_multiplies_all():
    schedule = schedules.learning_rate(OptimizerConfig(learning_rate=1e-2), epochs=1, steps_per_epoch=1)
    schedule.factor.assign(0.25)
    assert float(schedule(0)) == pytest.approx(2.5e-3)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], 1),
        ([3, 2, 1], 1),
        ([1, 2], 1),
        ([1, 2, 1], 0.5),  # two epochs without a lower one
        ([1, 2, 3, 0.5, 1], 0.5),  # lower again: the waiting begins anew
        ([1, 2, 3, 4, 5], 0.25),
        ([1, 2, 3, 4], 0.5),
    ],
)
def test_a_plateau_lowers_the_rate(losses, expected):
    config = OptimizerConfig(schedule="plateau", plateau_factor=0.5, plateau_epochs=2)
    assert schedules.plateau_factor(config, losses) == expected
    assert schedules.plateau_factor(OptimizerConfig(), losses) == 1


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([], False), ([1], False), ([1, 2], False), ([1, 2, 3], True), ([3, 2, 1], False), ([1, 2, 0.5, 1], False)],
)
def test_patience_ends_after_so_many_epochs_without_a_lower_loss(losses, expected):
    assert schedules.is_over(2, losses) is expected
    assert not schedules.is_over(0, losses)


def phases(*, image_size=512, epochs=40, freeze_epochs=(), freeze_encoder=False, **settings):
    return schedules.phases(
        RunConfig(
            InputConfig(records_dir="r", image_size=image_size),
            TrainConfig(run_dir="d", epochs=epochs, **settings),
            network=ModelConfig(freeze_epochs=freeze_epochs, freeze_encoder=freeze_encoder),
        )
    )


def test_phases():
    assert phases() == [Phase(0, 512, 0)]
    assert phases(freeze_encoder=True) == [Phase(0, 512, 0)]  # which no phase changes
    assert phases(first_sizes=(128, 256), size_epochs=5) == [Phase(0, 128, 0), Phase(5, 256, 0), Phase(10, 512, 0)]
    assert phases(freeze_epochs=(3,)) == [Phase(0, 512, 32), Phase(3, 512, 0)]
    assert phases(freeze_epochs=(2, 4, 6)) == [
        Phase(0, 512, 32),
        Phase(2, 512, 16),
        Phase(4, 512, 8),
        Phase(6, 512, 0),
    ]
    assert phases(freeze_epochs=(3,), first_sizes=(256,), size_epochs=5, epochs=5) == [
        Phase(0, 256, 32),
        Phase(3, 256, 0),
    ]


@pytest.mark.parametrize(
    ("shares", "schedule", "epochs", "expected"),
    [
        ((), "linear", 3, []),
        ((), "stepped", 3, []),
        ((0.3,), "linear", 3, [0.3, 0.3, 0.3]),
        ((0.3,), "stepped", 3, [0.3, 0.3, 0.3]),
        ((0.8, 0.4), "linear", 5, [0.8, 0.7, 0.6, 0.5, 0.4]),
        ((0.8, 0.4), "linear", 2, [0.8, 0.4]),
        ((0.8, 0.4), "linear", 1, [0.8]),
        ((0.8, 0.2, 0.4), "linear", 5, [0.8, 0.5, 0.2, 0.3, 0.4]),
        ((0.8, 0.2, 0.4), "linear", 4, [0.8, 0.4, 4 / 15, 0.4]),  # the bend is halfway between epochs
        ((0.8, 0.4), "stepped", 4, [0.8, 0.8, 0.4, 0.4]),
        ((0.8, 0.4), "stepped", 5, [0.8, 0.8, 0.8, 0.4, 0.4]),
        ((0.8, 0.6, 0.4), "stepped", 7, [0.8, 0.8, 0.8, 0.6, 0.6, 0.4, 0.4]),
    ],
)
def test_shares_of_positives_by_epoch(shares, schedule, epochs, expected):
    assert schedules.positive_shares(shares, schedule, epochs) == pytest.approx(expected)
