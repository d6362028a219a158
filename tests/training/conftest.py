"""What the tests of training share."""

import contextlib
import dataclasses

import pytest


@pytest.fixture
def updates_by(monkeypatch):
    """Return a context in which a function makes another training step, (images, masks, index) -> loss, of a run's."""
    from ptxtf.training import steps

    @contextlib.contextmanager
    def context(wrap):
        real = steps.build

        def build(*args, **kwargs):
            functions = real(*args, **kwargs)
            return dataclasses.replace(functions, update=wrap(functions.update))

        with monkeypatch.context() as patch:
            patch.setattr(steps, "build", build)
            yield

    return context
