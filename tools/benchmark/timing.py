"""Competitors that run in turn, A B A B …, so that what else the machine does falls on all alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

Times = dict[str, list[float]]
"""Seconds per item (image, file) of each competitor, one for each timed turn."""

_WARM_UP = 2
_SHORTEST_TURN = 0.05  # seconds


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
    """Return a competitor that calls a function, which handles so many items, and looks at the clock.

    A short call is repeated: alone it would mostly pay for the caches that the competitor before it has filled.
    """

    def work() -> float:
        calls, start = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - start < _SHORTEST_TURN:
            function()
            calls += 1
        return (time.perf_counter() - start) / (calls * items)

    return work


def on_device(function: Callable[..., Any], *inputs: Any) -> Callable[[], Any]:
    """Return a call of a TensorFlow function that ends when its results are there: on a GPU the plain call does not."""
    import tensorflow as tf

    def call() -> Any:
        results = function(*inputs)
        tf.test.experimental.sync_devices()
        return results

    return call
