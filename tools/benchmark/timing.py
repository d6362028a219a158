"""Competitors that run in turn, A B A B …, so that what else the machine does falls on all alike."""

import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

Times = dict[str, list[float]]
"""Seconds per item (image, file) of each competitor, one for each timed turn."""

_WARM_UP = 2
_SHORTEST_TURN = 0.05  # seconds
_QUIET = 0.1  # cores
_TICK = 0.25  # seconds
_PATIENCE = 60.0  # seconds


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


def clocked(function: Callable[[], Any], *, items: int, repeat: bool = False) -> Callable[[], float]:
    """Return a competitor that calls a function, which handles so many items, and looks at the clock.

    Args:
        function: what to time.
        items: images or files that one call handles.
        repeat: call it again until a turn has taken a while: a short call alone mostly pays for the caches that the
            competitor before it has filled.
    """

    def work() -> float:
        calls, start = 0, time.perf_counter()
        while calls == 0 or (repeat and time.perf_counter() - start < _SHORTEST_TURN):
            function()
            calls += 1
        return (time.perf_counter() - start) / (calls * items)

    return work


def settle() -> None:
    """Wait until this process and its descendants hardly compute any more, but no longer than a minute.

    What they work on ahead is done then.
    """
    used = _processor_seconds()
    for _ in range(int(_PATIENCE / _TICK)):
        time.sleep(_TICK)
        before, used = used, _processor_seconds()
        if sum(seconds - before.get(process, 0.0) for process, seconds in used.items()) < _QUIET * _TICK:
            return


def _processor_seconds() -> dict[str, float]:
    """Return what this process and its living descendants have used, by process number, as /proc lists it (proc(5))."""
    used: dict[str, float] = {}
    pending = [str(os.getpid())]
    while pending:
        process = pathlib.Path("/proc", pending.pop())
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            pending += [child for file in process.glob("task/*/children") for child in file.read_text().split()]
        except OSError:  # it has ended meanwhile
            continue
        used[process.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user, system
    return used


def synchronised(function: Callable[..., Any], *inputs: Any) -> Callable[[], Any]:
    """Return a call of a TensorFlow function that ends when its results are there: on a GPU the plain call does not."""
    import tensorflow as tf

    def call() -> Any:
        results = function(*inputs)
        tf.test.experimental.sync_devices()
        return results

    return call
