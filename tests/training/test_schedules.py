"""Learning rates at steps where they can be worked out by hand."""

import math

import pytest

from ptxtf.config import TrainConfig
from ptxtf.training import schedules


def rate(schedule, step):
    return float(schedule(step))


def test_constant_is_the_number_itself():
    assert schedules.learning_rate(TrainConfig(run_dir="r", learning_rate=3e-4), steps_per_epoch=10) == 3e-4


def test_cosine_warms_up_and_falls_to_zero():
    config = TrainConfig(run_dir="r", learning_rate=1e-2, schedule="cosine", epochs=11, warmup_epochs=1)
    schedule = schedules.learning_rate(config, steps_per_epoch=20)
    assert rate(schedule, 0) == pytest.approx(1e-2 / 20)
    assert rate(schedule, 20) == pytest.approx(1e-2)
    assert rate(schedule, 20 + 50) == pytest.approx(1e-2 * (1 + math.cos(math.pi / 4)) / 2, rel=1e-4)
    assert rate(schedule, 220) == pytest.approx(0, abs=1e-9)


def test_cosine_without_warm_up_starts_at_the_top():
    config = TrainConfig(run_dir="r", learning_rate=1e-2, schedule="cosine", epochs=2, warmup_epochs=0)
    assert rate(schedules.learning_rate(config, steps_per_epoch=5), 0) == pytest.approx(1e-2)
