"""Several machines, as processes on this one: the numbers of a single one, and what happens when one is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from ptxtf import rundir

pytestmark = pytest.mark.slow

TRAIN = """
import sys
import keras
from ptxtf import config
from ptxtf.training import loop, setup

def small_model(*_):
    images = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(8, 5, padding="same", activation="swish", name="one")(images)
    x = FusedBatchNormalization(name="two")(x)
    return keras.Model(images, keras.layers.Conv2D(1, 5, padding="same", dtype="float32", name="three")(x))

from ptxtf.models.layers import FusedBatchNormalization
setup.build_model = small_model
records, run_dir, epochs = sys.argv[1:]
loop.train(config.RunConfig(
    config.InputConfig(records_dir=records, batch_size=4),
    config.TrainConfig(run_dir=run_dir, epochs=int(epochs), overlays=0),
    config.PreprocessConfig(clahe=False),
    optimizer=config.OptimizerConfig(clip_norm=0.5, ema=0.9),
))
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(arguments, *, machines, others=()):
    """Start a command on so many machines, on the last one with `others` if given."""
    workers = [f"localhost:{port}" for port in free_ports(machines)]
    processes = []
    for index in range(machines):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = os.environ | ({"TF_CONFIG": json.dumps(cluster)} if machines > 1 else {})
        own = others if others and index == machines - 1 else arguments
        command = [sys.executable, "-c", TRAIN, *map(str, own)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
    return processes


def train(arguments, *, machines):
    """Train to the end, and return what each machine printed.

    Where processes starve, as tests side by side may let them, machines lose one another; a run goes on from there.
    """
    for _ in range(3):
        done = finish(start(arguments, machines=machines))
        if not any(status for *_, status in done):
            return [printed for printed, *_ in done]
    raise AssertionError(done)


def finish(processes):
    return [(*process.communicate(timeout=400), process.returncode) for process in processes]


def weights(run_dir, epoch):
    found = {}
    with h5py.File(run_dir / rundir.EPOCHS / rundir.weights_name(epoch)) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def losses(run_dir):
    lines = (run_dir / "history.csv").read_text().splitlines()
    return [[float(number) for number in line.split(",")[:-1]] for line in lines[1:]]


def assert_same_run(one, other, *, epochs):
    np.testing.assert_allclose(losses(one), losses(other), rtol=1e-5)
    (epoch,) = {int(path.name[6:11]) for path in (one / rundir.EPOCHS).iterdir()}
    found, expected = weights(one, epoch), weights(other, epoch)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5 * max(np.abs(expected[name]).max(), 1))
    assert len(losses(one)) == epochs


@pytest.mark.long
def test_two_machines_equal_one_and_go_on_after_one_was_killed(records, tmp_path):
    train([records, tmp_path / "one", 3], machines=1)
    chief_printed, worker_printed = train([records, tmp_path / "two", 3], machines=2)
    assert_same_run(tmp_path / "two", tmp_path / "one", epochs=3)
    assert "epoch 3/3" in chief_printed
    assert "epoch" not in worker_printed  # one speaks for both

    chief, worker = start([records, tmp_path / "killed", 20], machines=2)
    while not rundir.checkpoints(tmp_path / "killed"):
        assert chief.poll() is None
        time.sleep(0.1)
    worker.send_signal(signal.SIGKILL)
    (_, errors, status), _ = finish([chief, worker])
    assert status != 0
    assert "expected all machines of TF_CONFIG to go on; start all of them again" in errors, errors
    chief_printed, _ = train([records, tmp_path / "killed", 20], machines=2)
    assert "going on after epoch" in chief_printed
    assert len(losses(tmp_path / "killed")) == 20
    np.testing.assert_allclose(losses(tmp_path / "killed")[:3], losses(tmp_path / "one"), rtol=1e-5)


@pytest.mark.long
def test_machines_with_other_flags_do_not_wait_for_one_another(records, tmp_path):
    done = finish(start([records, tmp_path / "run", 2], machines=2, others=[records, tmp_path / "run", 3]))
    assert all(status for *_, status in done)
    assert any("expected the same flags on all machines of TF_CONFIG" in errors for _, errors, _ in done), done
