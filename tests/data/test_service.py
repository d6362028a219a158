"""Batches made by real service processes: the ones that the training would make itself, and what is said without."""

import collections
import itertools
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from ptxtf import pipeline
from ptxtf.config import InputConfig, PreprocessConfig, ServiceConfig
from ptxtf.data import served
from ptxtf.data.dataset import readable
from ptxtf.errors import InputError


def source(records, addresses=(), **settings):
    inputs = InputConfig(records_dir=str(records), batch_size=4, data_service=tuple(addresses), **settings)
    return pipeline.training_source(inputs, PreprocessConfig(clahe=False), positive_shares=inputs.positive_share)


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def test_services_make_the_same_batches_in_the_same_order(records, services):
    # three batches an epoch for two services, and on into the fourth epoch
    with services(2) as (_, addresses):
        for settings in (
            {"train_split": "train"},
            {"train_split": "train", "positive_share": (0.75,), "cache": "none"},
        ):
            here, there = (
                source(records, given, **settings).epochs(4, seed=3, first=1).take(8) for given in ((), addresses)
            )
            for ours, theirs in itertools.zip_longest(here.as_numpy_iterator(), there.as_numpy_iterator()):
                for name, value in ours.items():
                    np.testing.assert_array_equal(value, theirs[name])
        augmented_here, augmented_there = (
            source(records, given).augmented(4, seed=3).take(3) for given in ((), addresses)
        )
        for ours, theirs in itertools.zip_longest(augmented_here, augmented_there):
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_service_that_dies_is_one_clear_line(records, services, monkeypatch):
    monkeypatch.setattr(served, "_PATIENCE_S", 0.5)
    with services(2) as (processes, addresses):
        batches = iter(source(records, addresses).epochs(4, seed=0))
        made = served.answered(batches, addresses)
        next(made)
        processes[1].send_signal(signal.SIGKILL)
        processes[1].wait()
        with pytest.raises(InputError, match=rf"^{addresses[1]}: expected a data service there .* Received: .*refused"):
            collections.deque(made, maxlen=0)


def test_a_service_is_stopped_by_ctrl_c(services):
    with services(1) as ((process,), _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_records_that_a_service_does_not_find_are_one_clear_line(records, services, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    with services(1) as (_, addresses):
        batches = iter(source(copy, addresses, cache="none").epochs(4, seed=0))
        shutil.move(copy, tmp_path / "elsewhere")
        with pytest.raises(InputError, match=r"expected data services that find the records under the same path"):
            next(served.answered(batches, addresses))


def test_records_converted_anew_under_the_same_path_are_not_taken_for_the_old_ones(records, services, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    with services(1) as (_, addresses):
        batches = iter(source(copy, addresses, cache="none").epochs(4, seed=0))
        manifest = copy / "dataset.json"
        manifest.write_text(manifest.read_text() + "\n")  # as on another machine, or by a conversion since
        with (
            pytest.raises(InputError, match=r"dataset\.json: expected what it was .*Received: that of another conver"),
            readable(copy),
        ):
            next(served.answered(batches, addresses))


@pytest.mark.parametrize(
    "address", ["localhost:5050", "grpc://localhost", "http://localhost:5050", "grpc://:1", "grpc://a:65535", ""]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(
        ValueError, match=r"^expected data_service of grpc://host:port, one or more, ports in 1\.\.65534\. Received: "
    ):
        InputConfig(records_dir="records", data_service=(address,))


def test_a_service_that_is_not_there_is_one_clear_line(records):
    address = f"grpc://localhost:{free_port()}"
    with pytest.raises(InputError, match=rf"^{address}: expected a data service there .* Received: .*refused"):
        source(records, [address])


def test_a_port_that_is_taken_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "ptxtf.data.service", f"--port={port}", "--host=localhost"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "ptxtf.data.service: expected --host that can be found, and --port that is free like the next one. Received: "
    )


def test_a_port_that_another_service_has_is_one_clear_line(services):
    with services(1) as (_, (address,)):
        port = int(address.rpartition(":")[2])
        for taken in (port, port - 1, port + 1):  # each service has two
            with pytest.raises(InputError, match=r"^expected --host that can be found, and --port that is free"):
                served.serve(ServiceConfig(port=taken, host="localhost"), ready=print)


def test_what_takes_calls_and_does_not_answer_is_one_clear_line(records, monkeypatch):
    monkeypatch.setattr(served, "_ANSWER_S", 2.0)
    with socket.socket() as one, socket.socket() as other:
        one.bind(("localhost", 0))
        port = one.getsockname()[1]
        other.bind(("localhost", port + 1))
        for silent in (one, other):
            silent.listen()
        with pytest.raises(InputError, match=rf"^grpc://localhost:{port}: expected a data .* no answer within 2 s"):
            source(records, [f"grpc://localhost:{port}"])


def test_a_service_that_is_stopped_in_mid_training_is_one_clear_line(records, services, monkeypatch):
    with services(1) as ((process,), addresses):
        made = served.answered(iter(source(records, addresses).epochs(4, seed=0)), addresses)
        next(made)
        monkeypatch.setattr(served, "_PATIENCE_S", 0.5)
        monkeypatch.setattr(served, "_ANSWER_S", 2.0)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(InputError, match=rf"^{addresses[0]}: expected a data service"):
            collections.deque(made, maxlen=0)


def test_what_tensorflow_says_of_services_is_one_clear_line():
    with (
        pytest.raises(
            InputError, match=r"^grpc://a:1: expected data services that .* Received: Dataset id 2 not found"
        ),
        served.understood(["grpc://a:1"]),
    ):
        raise tf.errors.NotFoundError(None, None, "Dataset id 2 not found")
    with pytest.raises(tf.errors.NotFoundError), served.understood([]):
        raise tf.errors.NotFoundError(None, None, "of no service")


def test_what_is_no_longer_wanted_is_dropped(records, services):
    with services(1) as (_, addresses):
        before = threading.active_count()
        made = served.answered(iter(source(records, addresses).epochs(4, seed=0)), addresses)
        next(made)
        assert threading.active_count() > before
        made.close()
        for _ in range(100):
            if threading.active_count() == before:
                return
            time.sleep(0.05)
        raise AssertionError(threading.enumerate())
