"""Competitors that run in turn, A B A B …, so that what else the machine does falls on all alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

Times = dict[str, list[float]]
"""Seconds per item (image, file) of each competitor, one for each timed turn."""

_WARM_UP = 2


def interleaved(competitors: Mapping[str, Callable[[], float]], *, turns: int, warm_up: int = _WARM_UP) -> Times:
    """Let each competitor work once per turn.

    Args:
        competitors: functions that work and return the seconds that an item took.
        turns: how often each is timed.
        warm_up: turns before that, which do not count.
    """
    times: Times = {name: [] for name in competitors}
    for turn in range(warm_up + turns):
        for name, work in competitors.items():
            seconds = work()
            if turn >= warm_up:
                times[name].append(seconds)
    return times


def clocked(function: Callable[[], Any], *, items: int) -> Callable[[], float]:
    """Return a competitor that calls a function, which handles so many items, and looks at the clock."""

    def work() -> float:
        start = time.perf_counter()
        function()
        return (time.perf_counter() - start) / items

    return work


def on_device(function: Callable[..., Any], *inputs: Any) -> Callable[[], Any]:
    """Return a call of a TensorFlow function that ends when its results are there: on a GPU the plain call does not."""
    import tensorflow as tf

    def call() -> Any:
        results = function(*inputs)
        tf.test.experimental.sync_devices()
        return results

    return call
