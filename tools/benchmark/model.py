"""A training step and a prediction of a U-Net, beside the libraries that people take for it.

Each network has a process of its own, lest one library's threads and memory disturb another; see `networks`.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

import keras

from ptxtf import forward, models
from ptxtf.config import PreprocessConfig
from ptxtf.errors import InputError
from ptxtf.preprocess import Augment
from ptxtf.training import losses, optimizers, steps
from tools.benchmark import networks, timing
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

_PYTORCH = "segmentation_models_pytorch"
_HALF = "mixed_bfloat16"


@dataclasses.dataclass(frozen=True)
class _Network:
    """A competitor: its line in the tables, and how its process is started."""

    name: str
    library: str
    precision: str
    python: str = sys.executable


class _Process:
    """A network that runs, to be asked for training steps and predictions."""

    def __init__(self, name: str, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.name = name
        self._process = process
        self._errors = errors
        self.first_step_s = self._answer()

    def ask(self, what: str) -> float:
        print(what, file=_open(self._process.stdin))
        return self._answer()

    def _answer(self) -> float:
        line = _open(self._process.stdout).readline()
        if not line:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["nothing"])[-1]
            ours = last.removeprefix(f"{InputError.__module__}.InputError: ")
            raise InputError(ours if ours != last else f"{self.name}: expected a network that trains. Received: {last}")
        return float(line)


@contextlib.contextmanager
def _running(network: _Network, config: BenchmarkConfig) -> Iterator[_Process]:
    settings = {
        "library": network.library,
        "backbone": config.backbone,
        "precision": network.precision,
        "batch": config.batch_size,
        "size": config.image_size,
    }
    command = [network.python, str(pathlib.Path(networks.__file__)), json.dumps(settings)]
    environment = {"TF_ENABLE_ONEDNN_OPTS": "1"} | os.environ  # as `ptxtf.train` has it; it serves the peer as well
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as errors,  # a pipe that nobody reads would fill up
        subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=errors, text=True, bufsize=1
        ) as process,
    ):
        try:
            yield _Process(network.name, process, errors)
        finally:
            process.kill()


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # asked for by PIPE
    return stream


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print tables of seconds a training step and a prediction, then first steps and memory."""
    with contextlib.ExitStack() as running:
        started = [_start(network, config, running, report) for network in _present(config, report)]
        processes = {process.name: process for process in started if process}
        what = f"{config.backbone}, {config.batch_size} images of {config.image_size}²"
        for task, title in (("train", "Training step"), ("predict", "Prediction")):
            asks = {name: _asking(process, task) for name, process in processes.items()}
            times = timing.interleaved(asks, turns=config.repeats)
            per_image = {name: [s / config.batch_size for s in seconds] for name, seconds in times.items()}
            report.table(f"{title}, U-Net over {what}", per_image, rate="images/s")
        for name, process in processes.items():
            report.fact(f"{name}: first training step after", process.first_step_s, "s")
            report.fact(f"{name}: peak memory", process.ask("memory") / 2**30, "GiB")


def _start(
    network: _Network, config: BenchmarkConfig, running: contextlib.ExitStack, report: Report
) -> _Process | None:
    """Return a running network; None for a peer's that does not run."""
    try:
        return running.enter_context(_running(network, config))
    except InputError as error:
        if network.library == "ptxtf":
            raise
        report.skip(f"{error}, skipped")
        return None


def _asking(process: _Process, task: str) -> Callable[[], float]:
    return lambda: process.ask(task)


def _present(config: BenchmarkConfig, report: Report) -> list[_Network]:
    found = [_Network(f"ptxtf, {config.precision}", "ptxtf", config.precision)]
    if importlib.util.find_spec(_PYTORCH):  # not imported here, where TensorFlow is: together they may crash
        found += [
            _Network(f"segmentation_models.pytorch, {precision}", _PYTORCH, precision)
            for precision in ("float32", *([_HALF] if _has_bfloat16() else []))
        ]
    else:
        report.skip("segmentation_models.pytorch: not installed, skipped; pip install 'ptxtf[bench]'")
    if config.legacy_python:
        found.append(_Network("segmentation_models", "segmentation_models", "float32", config.legacy_python))
    else:
        report.skip("segmentation_models: skipped; --legacy_python names a Python that has it, and TensorFlow 2.18")
    return found


def _has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16 by itself; otherwise a step may take minutes."""
    file = pathlib.Path("/proc/cpuinfo")
    return file.exists() and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(file.read_text().split())


def build(config: BenchmarkConfig, augment: Augment) -> tuple[keras.Model, steps.Steps]:
    """Return a network with random weights, and its training functions as `ptxtf.train` compiles them."""
    model = models.unet(config.backbone, weights=None, precision=config.precision)
    xla = forward.use_xla("auto")
    functions = steps.build(
        model,
        forward.logits_function(model, PreprocessConfig(), xla=xla),
        losses.focal_dice(reduction=None),
        optimizers.adam(model, 1e-3, precision=config.precision),
        augment=augment,
        batch_size=config.batch_size,
        xla=xla,
    )
    return model, functions
