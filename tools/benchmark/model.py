"""A training step and a prediction of a U-Net, beside the libraries that people take for it.

Each network has a process of its own for either, lest one library's threads and memory disturb another; see `networks`.
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
from collections.abc import Iterator
from typing import IO

from ptxtf import forward
from ptxtf.errors import InputError
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


class _EndedError(InputError):
    """A network's process does not run, or no more."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class _Process:
    """A network at one task, to be asked for it again and again."""

    def __init__(self, name: str, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.name = name
        self._process = process
        self._errors = errors
        self.first_s = float(self._answer())

    def again(self) -> float:
        return float(self.ask("again"))

    def ask(self, what: str) -> str:
        with contextlib.suppress(BrokenPipeError):  # there is no answer, then
            print(what, file=_open(self._process.stdin))
        return self._answer()

    def _answer(self) -> str:
        line = _open(self._process.stdout).readline()
        if not line:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["nothing"])[-1]
            ours = last.removeprefix(f"{InputError.__module__}.InputError: ")
            raise _EndedError(
                self.name, ours if ours != last else f"{self.name}: expected a network that runs. Received: {last}"
            )
        return line


@contextlib.contextmanager
def _running(network: _Network, task: str, config: BenchmarkConfig) -> Iterator[_Process]:
    settings = {
        "library": network.library,
        "task": task,
        "backbone": config.backbone,
        "precision": network.precision,
        "batch": config.batch_size,
        "size": config.image_size,
    }
    command = [network.python, str(pathlib.Path(networks.__file__)), json.dumps(settings)]
    # oneDNN as `ptxtf.train` has it, which serves the peer as well; a GPU's memory is for all of them
    environment = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true"} | os.environ
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
            with contextlib.suppress(BrokenPipeError):  # of what it was still to be asked
                _open(process.stdin).close()


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # asked for by PIPE
    return stream


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print a table for training steps and one for predictions, each with first calls and memory."""
    present = _present(config, report)
    what = f"U-Net over {config.backbone}, {config.batch_size} images of {config.image_size}²"
    for task, title in (("train", "Training step"), ("predict", "Prediction")):
        with contextlib.ExitStack() as running:
            started = [_start(network, task, config, running, report) for network in present]
            _compare([process for process in started if process], f"{title}, {what}", config, report)


def _compare(processes: list[_Process], title: str, config: BenchmarkConfig, report: Report) -> None:
    """Print a table of the networks that run to its end, ours the first, and what each took to begin and holds."""
    ours, *peers = processes
    while True:
        try:
            times = timing.interleaved(
                {process.name: process.again for process in (ours, *peers)}, turns=config.repeats
            )
            bytes_held = {process.name: int(process.ask("memory")) for process in (ours, *peers)}
            versions = {process.name: json.loads(process.ask("versions")) for process in (ours, *peers)}
            break
        except _EndedError as error:
            if error.name == ours.name:
                raise
            report.skip(f"{error}, left out")
            peers = [process for process in peers if process.name != error.name]
    per_image = {name: [second / config.batch_size for second in seconds] for name, seconds in times.items()}
    report.table(title, per_image, rate="images/s")
    for process in (ours, *peers):
        report.fact(f"{process.name}: from start to the first", process.first_s, "s")
        report.fact(f"{process.name}: peak memory", bytes_held[process.name] / 2**30, "GiB")
        report.versions(process.name, versions[process.name])


def _start(
    network: _Network, task: str, config: BenchmarkConfig, running: contextlib.ExitStack, report: Report
) -> _Process | None:
    """Return a running network; None for a peer's that does not run."""
    try:
        return running.enter_context(_running(network, task, config))
    except _EndedError as error:
        if network.library == "ptxtf":
            raise
        report.skip(f"{error}, skipped")
        return None


def _present(config: BenchmarkConfig, report: Report) -> list[_Network]:
    ours = forward.choose_precision(config.precision)
    found = [_Network(f"ptxtf, {ours}", "ptxtf", ours)]
    if importlib.util.find_spec(_PYTORCH):  # not imported here, where TensorFlow is: together they may crash
        found += [
            _Network(f"segmentation_models.pytorch, {precision}", _PYTORCH, precision)
            for precision in ("float32", *([_HALF] if forward.choose_precision("auto") == _HALF else []))
        ]
    else:
        report.skip("segmentation_models.pytorch: not installed, skipped; pip install 'ptxtf[bench]'")
    if config.legacy_python:
        found.append(_Network("segmentation_models", "segmentation_models", "float32", config.legacy_python))
    else:
        report.skip("segmentation_models: skipped; --legacy_python names a Python that has it, and TensorFlow 2.18")
    return found
