"""What every test may use: quiet, deterministic TensorFlow, and a small record directory made of phantoms."""

import contextlib
import os
import subprocess

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pathlib
import shutil
import sys

import numpy as np
import pytest

from ptxtf.config import ConvertConfig


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Let networks begin with the same random weights in each run of the tests."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(20240607)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> pathlib.Path:
    """Return a folder with 24 phantoms of 256² pixels: dicom/, train-rle.csv, patient-map.csv."""
    from ptxtf.data import phantom

    directory = tmp_path_factory.mktemp("phantoms")
    phantom.write_dataset(directory, 24, seed=3, size=256, workers=1)
    return directory


@pytest.fixture
def conversion(phantoms, tmp_path):
    """Return a function that makes a ConvertConfig of the phantoms, written to tmp_path/records."""

    def make(**settings) -> ConvertConfig:
        given = {
            "dicom_dir": str(phantoms / "dicom"),
            "annotations": str(phantoms / "train-rle.csv"),
            "patient_map": str(phantoms / "patient-map.csv"),
            "output_dir": str(tmp_path / "records"),
            "image_size": 64,
            "num_shards": 2,
            "workers": 1,
        }
        return ConvertConfig(**given | settings)

    return make


@pytest.fixture(scope="session")
def records(phantoms, tmp_path_factory) -> pathlib.Path:
    """Return a record directory of the phantoms: 64² pixels, splits train, val, test."""
    from ptxtf.data.convert import convert

    directory = tmp_path_factory.mktemp("records")
    convert(
        ConvertConfig(
            dicom_dir=str(phantoms / "dicom"),
            annotations=str(phantoms / "train-rle.csv"),
            patient_map=str(phantoms / "patient-map.csv"),
            output_dir=str(directory),
            image_size=64,
            num_shards=2,
            fractions=(0.5, 0.25, 0.25),
            workers=1,
        )
    )
    return directory


@pytest.fixture(scope="session")
def services():
    """Return a context with so many data services: (processes, addresses)."""

    @contextlib.contextmanager
    def start(count):
        # as in a terminal; what runs in the background may ignore Ctrl-C, and hands that down
        start = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        start += "runpy.run_module('ptxtf.data.service', run_name='__main__', alter_sys=True)"
        command = [sys.executable, "-c", start, "--port=0", "--host=localhost"]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        try:
            addresses = [process.stdout.readline().split()[-1] for process in processes]
            yield processes, addresses
        finally:
            for process in processes:
                process.kill()
                process.wait()
                process.stdout.close()

    return start


@pytest.fixture(scope="session")
def browser():
    """Return a Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if not found:
        if os.environ.get("CI"):
            raise AssertionError("expected Chromium, as `make browser` installs it. Received: none")
        pytest.skip("no Chromium on this machine: `make browser` installs it")
    with playwright.sync_playwright() as running:
        one = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)
