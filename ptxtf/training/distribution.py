"""Devices and machines -> a `tf.distribute` strategy, and each replica's part of the batches.

One processor or GPU; several GPUs of a machine; the cores of a TPU; or several machines, each started with the same
command and a TF_CONFIG of its own. A batch is the same whatever computes it: every machine reads all of it and keeps
its replicas' parts, so that a run on two machines is the run on one.
"""

import contextlib
import json
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from ptxtf.data.dataset import as_it_is
from ptxtf.errors import InputError, first_line

_EXPECTED = (
    'expected TF_CONFIG as {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}. '
    "Received: "
)


def machines() -> dict[str, list[str]]:
    """Return the machines that TF_CONFIG names, addresses by task; none without it.

    Raises:
        InputError: TF_CONFIG is not what TensorFlow takes.
    """
    try:
        given = json.loads(os.environ.get("TF_CONFIG") or "{}")
        found = given.get("cluster") or {}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{_EXPECTED}{first_line(error)}") from None
    if given and not found:
        raise InputError(f"{_EXPECTED}{', '.join(given)} without a cluster")
    return found


def tpu() -> str:
    """Return the TPU that TPU_NAME names; empty: none."""
    return os.environ.get("TPU_NAME", "")


def strategy() -> tf.distribute.Strategy:
    """Return the strategy for what there is: machines by TF_CONFIG, a TPU by TPU_NAME, all GPUs, or the one device.

    To be called before TensorFlow has computed anything, as machines meet at its start only; it waits for all of them.

    Raises:
        InputError: TF_CONFIG is not what TensorFlow takes, or there is no such TPU.
    """
    if machines():
        try:
            return _of_machines()
        except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            raise InputError(f"{_EXPECTED}{first_line(error)}") from None
    if name := tpu():
        return _of_tpu(name)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _of_machines() -> tf.distribute.Strategy:
    """Wait for the other machines."""
    if threading.current_thread() is not threading.main_thread():
        return tf.distribute.MultiWorkerMirroredStrategy()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # TensorFlow waits without looking at Python's
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        signal.signal(signal.SIGINT, before)


def _of_tpu(name: str) -> tf.distribute.Strategy:
    """Start a TPU: "local" where it is this machine's, else its address or Google Cloud's name. Not tried on one."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise InputError(f"TPU_NAME={name}: expected a TPU. Received: {first_line(error)}") from None


def is_chief(of: tf.distribute.Strategy) -> bool:
    """Return whether this process is the one that writes files and speaks."""
    if not _has_others(of):
        return True
    first = "chief" if "chief" in of.cluster_resolver.cluster_spec().jobs else "worker"
    return (of.cluster_resolver.task_type, of.cluster_resolver.task_id) == (first, 0)


def check_batch(of: tf.distribute.Strategy, batch_size: int, accumulate: int) -> None:
    """Check that each replica gets as many images.

    Raises:
        InputError: replicas times parts do not divide the batch.
    """
    parts = of.num_replicas_in_sync * accumulate
    if batch_size % parts:
        raise InputError(
            f"expected --batch_size of a multiple of {parts}, for {of.num_replicas_in_sync} devices and "
            f"--accumulate={accumulate}. Received: --batch_size={batch_size}"
        )


def distribute(of: tf.distribute.Strategy, dataset: tf.data.Dataset, *, accumulate: int = 1) -> Any:
    """Return an iterable of what each replica gets of a data set's batches, whose first axis is the batch's.

    Args:
        of: the replicas.
        dataset: of batches, tuples of tensors. Of one that is known to be endless machines need not ask one another
            at each batch whether there is one more.
        accumulate: parts that batches are computed in. Part k of all replicas together is part k of the batch, so that
            batch statistics, which are each part's, do not depend on the number of replicas.
    """
    replicas = of.num_replicas_in_sync

    def parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
        if replicas == 1:
            return dataset
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here
        divided = dataset.flat_map(
            as_it_is(lambda *batch: _parts(batch, accumulate, replicas, slice(first, first + here)))
        )
        is_endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
        return (
            divided.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
            if is_endless
            else divided
        )

    return of.distribute_datasets_from_function(parts)


def _parts(batch: tuple, accumulate: int, replicas: int, here: slice) -> tf.data.Dataset:
    """Return what of a batch belongs to this machine's replicas, one after another."""

    def divide(values: tf.Tensor) -> tf.Tensor:
        shares = tf.reshape(values, [accumulate, replicas, -1, *values.shape[1:]])[:, here]
        by_replica = tf.experimental.numpy.moveaxis(shares, 1, 0)  # [replicas here, accumulate, share, …]
        return tf.reshape(by_replica, [here.stop - here.start, values.shape[0] // replicas, *values.shape[1:]])

    return tf.data.Dataset.from_tensor_slices(tuple(map(divide, batch)))


def check_alike(of: tf.distribute.Strategy, settings: str) -> None:
    """Check that all machines have the same settings; with others they would wait for one another for ever.

    Raises:
        InputError: they differ.
    """
    if not _has_others(of):
        return
    own = float(zlib.crc32(settings.encode()))

    def total() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce("MEAN", tf.constant(own, tf.float64))

    mean = of.experimental_local_results(of.run(tf.function(total, autograph=False)))[0].numpy()
    if mean != own:
        raise InputError("expected the same flags on all machines of TF_CONFIG. Received: others on some of them")


def meet(of: tf.distribute.Strategy) -> None:
    """Wait until all machines are here; one that left earlier would look dead to the others."""

    def all_here() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(1.0))

    if _has_others(of):
        of.run(tf.function(all_here, autograph=False))


def _has_others(of: tf.distribute.Strategy) -> bool:
    return isinstance(of, tf.distribute.MultiWorkerMirroredStrategy)


@contextlib.contextmanager
def together(of: tf.distribute.Strategy) -> Iterator[None]:
    """Make one line of what TensorFlow says where another machine is gone.

    Raises:
        InputError: it is.
    """
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    ) as error:
        if not _has_others(of):
            raise
        raise InputError(
            "expected all machines of TF_CONFIG to go on; start all of them again with the same commands, and the run "
            f"goes on after its last finished epoch. Received: {first_line(error)}"
        ) from None
