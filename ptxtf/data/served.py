"""Batches that other machines make (`ptxtf.data.service`), by TensorFlow's tf.data service.

Of M services, the one named first makes the batches 0, M, 2 M, … of each epoch, the next one 1, M + 1, …: the batches
and their order are those of a training without any. What they share is what is done to batches, above all augmentation
where the host does it; each reads, and keeps, the whole split.
"""

import contextlib
import importlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from ptxtf.config import ServiceConfig
from ptxtf.data.dataset import DAMAGES, as_it_is
from ptxtf.errors import InputError, first_line

_service = tf.data.experimental.service
_Batch = TypeVar("_Batch")

_LOOK_S = 0.5
"""Time between two looks at whether somebody pressed Ctrl-C: Python's main thread sees it only when it wakes."""

_ANSWER_S = 30.0
"""Time in which a service that is there makes a batch of next to nothing."""

_PATIENCE_S = 10.0
"""Time without a batch after which services are asked whether they are there, and that they have for an answer."""


def joined(
    part_of: Callable[[int, int], tf.data.Dataset], addresses: Sequence[str], *, batches_per_epoch: int
) -> tf.data.Dataset:
    """Return the epochs' batches that services make.

    Args:
        part_of: (part m, parts M) -> every M-th batch of each epoch, from batch m on, one epoch after another.
        addresses: of the services, grpc://host:port.
        batches_per_epoch: of all of them together.
    """
    count = len(addresses)
    parts = [
        part_of(part, count).apply(_service.distribute(_service.ShardingPolicy.OFF, address))
        for part, address in enumerate(addresses)
    ]
    turns = tf.data.Dataset.range(batches_per_epoch).map(as_it_is(lambda batch: batch % count)).repeat()
    return tf.data.Dataset.choose_from_datasets(parts, turns).prefetch(tf.data.AUTOTUNE)


def answered(batches: Iterator[_Batch], addresses: Sequence[str]) -> Iterator[_Batch]:
    """Yield the batches of services for as long as these answer; tf.data by itself would wait for ever.

    Raises:
        InputError: one does not answer, or no longer knows what was asked of it.
    """
    if not addresses:
        yield from batches
        return
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    made: queue.SimpleQueue[_Batch | Exception] = queue.SimpleQueue()
    threading.Thread(target=_make, args=(batches, wanted, made), daemon=True).start()
    try:
        while True:
            wanted.put(True)
            batch = _wait(made, addresses)
            if isinstance(batch, Exception):
                with understood(addresses):
                    raise batch
            yield batch
    finally:
        wanted.put(False)


@contextlib.contextmanager
def understood(addresses: Sequence[str]) -> Iterator[None]:
    """Make one line of what TensorFlow says of data services; without any, of nothing.

    Raises:
        InputError: they are none, do not find the records, or no longer know what was asked of them.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if not addresses or isinstance(error, DAMAGES):
            raise
        raise InputError(
            f"{', '.join(addresses)}: expected data services that find the records under the same path, and are not "
            f"started anew while a run goes on. Received: {first_line(error)}"
        ) from None


def _make(batches: Iterator[_Batch], wanted: queue.SimpleQueue, made: queue.SimpleQueue) -> None:
    """Fetch a batch whenever one is wanted, as far as there is one, until none will be."""
    try:
        while wanted.get():
            made.put(next(batches))
    except Exception as error:
        made.put(error)  # for the thread that wants the batch


def _wait(made: queue.SimpleQueue, addresses: Sequence[str]) -> Any:
    while True:
        with contextlib.suppress(queue.Empty):
            return _get(made, _PATIENCE_S)
        for address in addresses:
            check_answers(address)


def _get(of: queue.SimpleQueue, seconds: float) -> Any:
    """Return what a queue gets within so many seconds, or raise queue.Empty; Ctrl-C is seen meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(queue.Empty):
            return of.get(timeout=_LOOK_S)
    raise queue.Empty


def check_answers(address: str) -> None:
    """Check that a service can be reached at both its ports, and does what it is asked for.

    Raises:
        InputError: it does not.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    try:
        for one in (int(port), int(port) + 1):
            socket.create_connection((host.strip("[]"), one), timeout=_PATIENCE_S).close()
        _ask_for_next_to_nothing(address)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f"{address}: expected a data service there and at the next port, as `python -m ptxtf.data.service "
            f"--port={port}` is one. After it is there again, the same command goes on. Received: {first_line(error)}"
        ) from None


def _ask_for_next_to_nothing(address: str) -> None:
    """Have a service count to one; it may be stopped, or something else than a service.

    Raises:
        TimeoutError: it does not answer in time.
        OpError: it cannot.
    """
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            next(iter(tf.data.Dataset.range(1).apply(_service.distribute(_service.ShardingPolicy.OFF, address))))
            answers.put(None)
        except Exception as error:
            answers.put(error)  # for the thread that asks

    threading.Thread(target=ask, daemon=True).start()
    try:
        error = _get(answers, _ANSWER_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_ANSWER_S:.0f} s") from None
    if error:
        raise error


def serve(config: ServiceConfig, ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        config: where.
        ready: is told the address, grpc://host:port, once others can use it.

    Raises:
        InputError: the ports are taken, or nobody knows the host.
    """
    host = config.host or socket.gethostname()
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorflow_io")  # which opens s3:// and others
    try:
        socket.getaddrinfo(host, None)
        _check_free(config.port)
        *_servers, port = _started(config.port, host)  # which serve for as long as they are there
    except (RuntimeError, OSError, tf.errors.OpError) as error:
        raise InputError(
            f"expected --host that can be found, and --port that is free like the next one. Received: --host={host}, "
            f"--port={config.port}, {first_line(error)}"
        ) from None
    ready(f"grpc://{host}:{port}")
    while True:
        time.sleep(_LOOK_S)


def _check_free(port: int) -> None:
    """Raise OSError unless a port and the next one are free, or it is 0: gRPC shares ports that are taken."""
    for one in (port, port + 1) if port else ():
        with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as tried:
            tried.bind(("", one))


def _started(port: int, host: str) -> tuple[Any, Any, int]:
    """Start what takes orders, and at the next port what carries them out; at port 0, wherever two are free."""
    dispatcher = _service.DispatchServer(_service.DispatcherConfig(port=port))
    target = dispatcher.target.partition("://")[2]
    found = int(target.rpartition(":")[2])
    try:
        worker = _service.WorkerServer(_service.WorkerConfig(target, f"{host}:{found + 1}", port=found + 1))
    except (RuntimeError, tf.errors.OpError):
        if port:
            raise
        return _started(0, host)
    return dispatcher, worker, found
