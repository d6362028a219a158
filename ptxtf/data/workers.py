"""A function and many items -> results in order, computed by worker processes, with a progress bar.

The processes are spawned, as a fork would copy the locks of TensorFlow's threads; so the function must be importable,
and its module should not load TensorFlow.
"""

import collections
import concurrent.futures
import concurrent.futures.process
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import cv2
import tqdm

from ptxtf.errors import InputError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 8


def ordered_map(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, workers: int, title: str, unit: str = "file"
) -> Iterator[_Result]:
    """Yield `function` of each item, in order.

    Args:
        function: what each worker calls; importable by name.
        items: its arguments; they travel to the workers, so they should be small.
        workers: processes; 0: one per core; 1: none, the work is done here.
        title: of the progress bar.
        unit: what the bar counts.

    Example:
        >>> list(ordered_map(len, ["a", "bc"], workers=1, title="measuring"))
        [1, 2]
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    with tqdm.tqdm(total=len(items), desc=title, unit=unit, disable=None) as bar:
        results = map(function, items) if workers <= 1 else _pooled(function, items, workers)
        for result in results:
            bar.update()
            yield result


def _pooled(function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int) -> Iterator[_Result]:
    """Keep the workers a little ahead of the reader, so that results do not pile up in memory."""
    pending: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    with concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start
    ) as executor:
        try:
            for item in items:
                pending.append(executor.submit(function, item))
                if len(pending) > _AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(
                "expected worker processes that live; give fewer --workers where memory is short. Received: one that "
                "was killed"
            ) from None
        finally:
            executor.shutdown(cancel_futures=True)


def _start() -> None:
    """Prepare a worker: one thread of its own, and an end when its parent has ended, even by a kill."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
