"""What the tests of training share: small runs on phantoms, and a look into their steps."""

import contextlib
import pathlib
import shutil

import pytest

from ptxtf import config


@pytest.fixture
def run(records, tmp_path, monkeypatch, request):
    """Return a function that trains the test module's `network` on the phantoms and gives the run's folder."""
    from ptxtf.training import loop, setup

    monkeypatch.setattr(setup, "build_model", request.module.network)

    def train(name="run", **settings) -> pathlib.Path:
        still = {"clahe": False, "rotation_degrees": (0.0, 0.0), "zoom": 0.0, "flip_probability": 0.0}  # quick to trace
        given = {"records_dir": str(records), "run_dir": str(tmp_path / name), "batch_size": 4, "epochs": 2}
        given |= {"overlays": 0, "precision": "float32"} | still | settings
        stages = [
            kind(**{key: given.pop(key) for key in kind.__dataclass_fields__ if key in given}) for kind in config.RUN
        ]
        assert not given
        return loop.train(config.RunConfig(*stages))

    return train


@pytest.fixture(scope="module")
def _finished(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def finished(run, _finished, tmp_path):
    """Return a function that gives a folder with a finished run, as `run` leaves it, but trained once for a module."""

    def copy(name="run", *, epochs=2) -> pathlib.Path:
        kept = _finished / str(epochs)
        if not kept.exists():
            shutil.copytree(run(f"{epochs} epochs", epochs=epochs), kept)
        return pathlib.Path(shutil.copytree(kept, tmp_path / name))

    return copy


@pytest.fixture
def calls_by(monkeypatch):
    """Return a context in which a function makes another `Stage.train`, batches -> losses, of a run's."""
    from ptxtf.training import steps

    @contextlib.contextmanager
    def context(wrap):
        real = steps.train_function
        with monkeypatch.context() as patch:
            patch.setattr(steps, "train_function", lambda *args: wrap(real(*args)))
            yield

    return context
