"""A function and many items -> results in order, computed by worker processes, with a progress bar.

The processes are started afresh, as a fork would copy the locks of TensorFlow's threads; so the function must be
importable, and its module should not load TensorFlow. A worker that dies – killed for its memory, or crashed inside a
decoder by a damaged file – takes nobody with it: what was under way is done again, one item at a time, and only the
item that kills its worker once more is given up.

(The standard library's pools end as a whole when one process does, copy every result three times on its way, and run
the script that started them once more in each process.)
"""

import collections
import concurrent.futures
import contextlib
import itertools
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import cv2
import tqdm

from ptxtf.errors import InputError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_CHUNK = 8
"""Items that travel to a worker together: a message costs as much as reading a few small headers."""

_AHEAD = 2
"""Chunks that a process has at a time, so that it need not wait for the next."""

_ATTEMPTS = 3
"""How often a process is started in place of a dead one, before there is something wrong with starting."""

_SETTINGS = {
    # memory of images and masks is used again, not given back to the system and fetched anew each time
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    # NumPy's threads for matrices, which nobody uses here, would wait in circles
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment of a worker, where the user has not set these: together they save a fifth of the time."""


class Workers:
    """Worker processes, started when first needed; a context manager that ends them.

    Args:
        count: processes; 0: one per core; 1: none, the work is done here.

    Example:
        >>> with Workers(1) as workers:
        ...     list(workers.map(len, ["a", "bc"], title="measuring"))
        [1, 2]
    """

    def __init__(self, count: int) -> None:
        self._count = count or os.cpu_count() or 1
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._servers: list[_Server] = []
        self._is_closed = False

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure:
            for server in self._servers:
                server.abandon()
        self._is_closed = True
        self._tasks.put(None)
        for server in self._servers:
            server.join()

    def start(self) -> None:
        """Start the processes now, while there is other work, so that they are ready when `map` needs them."""
        while len(self._servers) < self._count > 1:
            self._servers.append(_Server(self._tasks))
            self._servers[-1].start()

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

        Raises:
            InputError: see `lost`.
            Exception: what `function` raises; results of items shortly before it may be lost.
        """
        alone = self._count == 1 or not items
        with tqdm.tqdm(total=len(items), desc=title, unit=unit, disable=None) as bar:
            for result in map(function, items) if alone else self._pooled(function, items, lost or _raise):
                bar.update()
                yield result

    def _pooled(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], lost: Callable[[_Item], _Result]
    ) -> Iterator[_Result]:
        """Keep the workers a little ahead of the reader, so that results do not pile up in memory."""
        self.start()
        rest = iter(items)
        pending: collections.deque[_Task] = collections.deque()
        while not self._is_closed:
            while len(pending) <= _AHEAD * self._count and (chunk := list(itertools.islice(rest, _CHUNK))):
                pending.append(_Task(function, chunk, lost, concurrent.futures.Future()))
                self._tasks.put(pending[-1])
            if not pending:
                return
            yield from pending.popleft().results.result()
        raise RuntimeError("expected results to be taken within the with block. Received: workers that have ended")


class _Task(NamedTuple):
    """A function, some items, what to say of an item that is lost, and where the results go."""

    function: Callable[[Any], Any]
    items: list[Any]
    lost: Callable[[Any], Any]
    results: "concurrent.futures.Future[list[Any]]"

    def settle(self, results: list[Any], error: Exception | None) -> None:
        if error:
            self.results.set_exception(error)
        else:
            self.results.set_result(results)


class _Server(threading.Thread):
    """Hands tasks to one process, until it finds None among them."""

    def __init__(self, tasks: "queue.SimpleQueue[_Task | None]") -> None:
        super().__init__(daemon=True)
        self._tasks = tasks
        self._process = _Process()
        self._is_abandoned = False

    def abandon(self) -> None:
        """Give up what is under way."""
        self._is_abandoned = True
        self._process.kill()

    def run(self) -> None:
        sent: collections.deque[_Task] = collections.deque()  # those under way
        while not self._is_abandoned and self._go_on(sent):
            pass
        self._process.end()

    def _go_on(self, sent: "collections.deque[_Task]") -> bool:
        """Send a task, or receive the results of one; return whether there may be more to do."""
        try:
            if len(sent) < _AHEAD and (task := self._take(wait=not sent)):
                sent.append(task)
                self._process.send(task.function, task.items)
            elif sent:
                answer = self._process.receive()
                sent.popleft().settle(*answer)
            else:
                return False
        except _DeathError:
            self._do_again(sent)
        except Exception as error:  # a function or an item that cannot be pickled
            sent.pop().settle([], error)
        return True

    def _do_again(self, sent: "collections.deque[_Task]") -> None:
        if self._is_abandoned:
            return
        try:
            self._restart()
            while sent:
                answer = self._one_by_one(sent[0])
                sent.popleft().settle(*answer)
        except Exception as error:  # an item that is lost and must not be; a process that cannot be started
            while sent:
                sent.popleft().settle([], error)

    def _take(self, *, wait: bool) -> _Task | None:
        try:
            task = self._tasks.get(block=wait)
        except queue.Empty:
            return None
        if task is None:
            self._tasks.put(None)  # for the other servers
        return task

    def _restart(self) -> None:
        """Start another process, and see it ready, so that what ends it afterwards is what it was given."""
        for _ in range(_ATTEMPTS):
            self._process.end()
            self._process = _Process()
            with contextlib.suppress(_DeathError):
                self._process.wait_until_ready()
                return
        raise InputError(f"expected a worker process that starts. Received: {_ATTEMPTS} that died at once")

    def _one_by_one(self, task: _Task) -> tuple[list[Any], Exception | None]:
        results: list[Any] = []
        for item in task.items:
            if self._is_abandoned:
                break
            try:
                self._process.send(task.function, [item])
                result, error = self._process.receive()
            except _DeathError:
                self._restart()
                result, error = [task.lost(item)], None
            if error:
                return [], error
            results += result
        return results, None


class _Process:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            there = theirs.fileno()
            start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({there})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.DEVNULL,
                pass_fds=[there],
                env=_SETTINGS | os.environ,
                start_new_session=True,  # Ctrl-C is for us; we end the process
            )
            self._file = ours.makefile("rwb")
        self._is_ready = False

    def send(self, function: Callable[[_Item], _Result], items: list[_Item]) -> None:
        request = pickle.dumps((function, items), pickle.HIGHEST_PROTOCOL)
        try:
            pickle.dump(request, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()
        except OSError as error:
            raise _DeathError from error

    def wait_until_ready(self) -> None:
        if not self._is_ready:
            self._load()
            self._is_ready = True

    def receive(self) -> Any:
        """Return results and None for what was sent first, or no results and the error that was raised."""
        self.wait_until_ready()
        return self._load()

    def _load(self) -> Any:
        try:
            return pickle.load(self._file)
        except Exception as error:  # no answer, half of one, or one that cannot be read here
            raise _DeathError from error

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self.kill()
        with contextlib.suppress(OSError):  # what it has not read
            self._file.close()
        self._process.wait()


class _DeathError(Exception):
    """A process died before it answered."""


def _raise(item: Any) -> Any:
    raise InputError(
        "expected worker processes that live; give fewer --workers where memory is short. "
        f"Received: one that died twice over {item!r}"
    )


def serve(connection: int) -> None:
    """Be a worker process: answer what comes by a socket, whose number is given, until the parent hangs up or dies."""
    cv2.setNumThreads(1)
    file = socket.socket(fileno=connection).makefile("rwb")
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                tasks.put(pickle.load(file))
        finally:  # no more to come
            os._exit(0)

    def answer(value: object) -> None:
        with contextlib.suppress(ConnectionError):
            pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
            file.flush()

    threading.Thread(target=read, daemon=True).start()
    answer("ready")
    while True:
        request = tasks.get()
        try:
            function, items = pickle.loads(request)
            results = [function(item) for item in items]
        except Exception as error:
            answer(([], error))
        else:
            answer((results, None))
