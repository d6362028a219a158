"""A function and many items -> results in order, computed by worker processes, with a progress bar.

The processes are spawned, as a fork would copy the locks of TensorFlow's threads; so the function must be importable,
and its module should not load TensorFlow. A worker that dies – killed for its memory, or crashed inside a decoder by a
damaged file – takes nobody with it: what was under way is done again, one item at a time, and only the item that
kills its worker once more is given up.
"""

import collections
import concurrent.futures
import itertools
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import cv2
import tqdm

from ptxtf.errors import InputError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_CHUNK = 4
"""Items that travel to a worker together: a message costs as much as reading a small file's header."""


class Workers:
    """Worker processes, started when first needed; a context manager that ends them.

    Each process is served by a thread of its own, so that one that dies is known by what it was doing. (The standard
    library's process pool ends as a whole when one process does, and may hang over it while others are started.)

    Args:
        count: processes; 0: one per core; 1: none, the work is done here.

    Example:
        >>> with Workers(1) as workers:
        ...     list(workers.map(len, ["a", "bc"], title="measuring"))
        [1, 2]
    """

    def __init__(self, count: int) -> None:
        self._count = count or os.cpu_count() or 1
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._threads = concurrent.futures.ThreadPoolExecutor(self._count)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().end()

    def map(
        self,
        function: Callable[[_Item], _Result],
        items: Sequence[_Item],
        *,
        title: str,
        unit: str = "file",
        lost: Callable[[_Item], _Result] | None = None,
    ) -> Iterator[_Result]:
        """Yield `function` of each item, in order.

        Args:
            function: what each worker calls; importable by name.
            items: its arguments; they travel to the workers, so they should be small.
            title: of the progress bar.
            unit: what the bar counts.
            lost: gives the result of an item that killed its worker; None: such an item is an InputError.
        """
        alone = self._count == 1 or len(items) <= 1
        with tqdm.tqdm(total=len(items), desc=title, unit=unit, disable=None) as bar:
            for result in map(function, items) if alone else self._pooled(function, items, lost or _raise):
                bar.update()
                yield result

    def _pooled(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], lost: Callable[[_Item], _Result]
    ) -> Iterator[_Result]:
        """Keep the workers a little ahead of the reader, so that results do not pile up in memory."""
        rest = iter(items)
        pending: collections.deque[concurrent.futures.Future[list[_Result]]] = collections.deque()
        while True:
            while len(pending) <= 2 * self._count and (chunk := list(itertools.islice(rest, _CHUNK))):
                pending.append(self._threads.submit(self._apply, function, chunk, lost))
            if not pending:
                return
            yield from pending.popleft().result()

    def _apply(
        self, function: Callable[[_Item], _Result], chunk: list[_Item], lost: Callable[[_Item], _Result]
    ) -> list[_Result]:
        """Have one process do a chunk; where it dies, each item by itself."""
        try:
            return self._call(function, chunk)
        except _DeathError:
            return [self._apply_alone(function, item, lost) for item in chunk]

    def _apply_alone(
        self, function: Callable[[_Item], _Result], item: _Item, lost: Callable[[_Item], _Result]
    ) -> _Result:
        try:
            return self._call(function, [item])[0]
        except _DeathError:
            return lost(item)

    def _call(self, function: Callable[[_Item], _Result], chunk: list[_Item]) -> list[_Result]:
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = _Process()
        results = process.call(function, chunk)
        self._idle.put(process)
        return results


class _Process:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # the process has a copy; without ours, its death ends the connection

    def call(self, function: Callable[[_Item], _Result], chunk: list[_Item]) -> list[_Result]:
        try:
            self._connection.send((function, chunk))
            results, error = self._connection.recv()
        except (EOFError, ConnectionError):
            self.end()
            raise _DeathError from None
        if error:
            raise error
        return results

    def end(self) -> None:
        self._connection.close()
        self._process.join()


class _DeathError(Exception):
    """A process died before it answered."""


def _raise(item: Any) -> Any:
    raise InputError(
        "expected worker processes that live; give fewer --workers where memory is short. "
        f"Received: one that died twice over {item!r}"
    )


def _serve(connection: multiprocessing.connection.Connection) -> None:
    """Answer calls until the parent hangs up; one thread of our own, and an end when the parent is killed."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    while True:
        try:
            function, chunk = connection.recv()
        except EOFError:
            return
        try:
            connection.send(([function(item) for item in chunk], None))
        except Exception as error:
            connection.send((None, error))
