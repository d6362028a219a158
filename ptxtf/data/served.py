"""Batches that other machines make (`ptxtf.data.service`), by TensorFlow's tf.data service.

Of M services, the one named first makes the batches 0, M, 2 M, … of each epoch, the next one 1, M + 1, …: the batches
and their order are those of a training without any.
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from ptxtf.config import ServiceConfig
from ptxtf.errors import InputError, first_line

_service = tf.data.experimental.service
_Batch = TypeVar("_Batch")

_PATIENCE_S = 10.0
"""Time without a batch after which services are asked whether they are there, and that they have for an answer."""


def joined(
    part: Callable[[int, int], tf.data.Dataset], addresses: Sequence[str], *, batches_per_epoch: int
) -> tf.data.Dataset:
    """Return the epochs' batches that services make.

    Args:
        part: (number m, number M) -> every M-th batch of each epoch, from batch m on, one epoch after another.
        addresses: of the services, grpc://host:port.
        batches_per_epoch: of all of them together.

    Raises:
        InputError: a service does not answer.
    """
    for address in addresses:
        _check_answers(address)
    count = len(addresses)
    parts = [
        part(number, count).apply(_service.distribute(_service.ShardingPolicy.OFF, address))
        for number, address in enumerate(addresses)
    ]
    turns = tf.data.Dataset.range(batches_per_epoch).map(lambda batch: batch % count).repeat()
    return tf.data.Dataset.choose_from_datasets(parts, turns).prefetch(tf.data.AUTOTUNE)


def answered(batches: Iterator[_Batch], addresses: Sequence[str]) -> Iterator[_Batch]:
    """Yield the batches of services for as long as these answer; tf.data by itself would wait for ever.

    Raises:
        InputError: one does not answer, or no longer knows what was asked of it.
    """
    if not addresses:
        yield from batches
        return
    wanted: queue.SimpleQueue[None] = queue.SimpleQueue()
    made: queue.SimpleQueue[_Batch | Exception] = queue.SimpleQueue()
    threading.Thread(target=_make, args=(batches, wanted, made), daemon=True).start()
    while True:
        wanted.put(None)
        batch = _wait(made, addresses)
        if isinstance(batch, tf.errors.NotFoundError | tf.errors.UnavailableError):
            raise InputError(
                f"{', '.join(addresses)}: expected data services that find the records under the same path, and are "
                f"not started anew while a run goes on. Received: {first_line(batch)}"
            )
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _make(batches: Iterator[_Batch], wanted: queue.SimpleQueue, made: queue.SimpleQueue) -> None:
    """Fetch a batch whenever one is wanted, as far as there is one."""
    while True:
        wanted.get()
        try:
            made.put(next(batches))
        except Exception as error:  # for the thread that wants the batch
            made.put(error)
            return


def _wait(made: queue.SimpleQueue, addresses: Sequence[str]) -> Any:
    while True:
        with contextlib.suppress(queue.Empty):
            return made.get(timeout=_PATIENCE_S)
        for address in addresses:
            _check_answers(address)


def _check_answers(address: str) -> None:
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "grpc" or not host or not port.isdecimal():
        raise InputError(f"expected --data_service of grpc://host:port. Received: --data_service={address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{address}: expected a data service, as `python -m ptxtf.data.service --port={port}` is one. After it is "
            f"there again, the same command goes on. Received: {error}"
        ) from None


def serve(config: ServiceConfig, ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        config: where.
        ready: is told the address, grpc://host:port, once others can use it.

    Raises:
        InputError: the ports are taken.
    """
    host = config.host or socket.gethostname()
    worker_port = config.port + 1 if config.port else 0
    try:
        dispatcher = _service.DispatchServer(_service.DispatcherConfig(port=config.port))
        target = dispatcher.target.partition("://")[2]
        worker = _service.WorkerServer(_service.WorkerConfig(target, f"{host}:%port%", port=worker_port))
    except (RuntimeError, tf.errors.OpError) as error:
        raise InputError(
            f"expected --port={config.port}, where it and the next one are free. Received: {first_line(error)}"
        ) from None
    ready(f"grpc://{host}:{target.rpartition(':')[2]}")
    threading.Event().wait()
    del worker, dispatcher  # which serve for as long as they are there
