"""Competitors, and which of them this machine can run.

A peer is a library that does the same; most come by the extra `bench`. Its function is built only where its package can
be imported.
"""

import dataclasses
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from tools.benchmark.table import Report

PACKAGES = {
    "kornia": "kornia",
    "scikit-image": "skimage",
    "albumentations": "albumentations",
    "DALI": "nvidia.dali",
    "MONAI": "monai",
    "PyTorch": "torch",
}
"""What the extra `bench` installs -> the module to import; `tools.benchmark.model` looks for its own peers."""

KERAS_CLAHE = "Keras' CLAHE layer"
"""A need that depends on the version of Keras."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """A competitor.

    Attributes:
        name: its line in the table.
        build: called with the benchmark's inputs; returns what is timed.
        needs: keys of `PACKAGES`, or `KERAS_CLAHE`.
    """

    name: str
    build: Callable[..., Any]
    needs: tuple[str, ...] = ()


def present(peers: Sequence[Peer], report: Report) -> list[Peer]:
    """Return the peers whose packages can be imported; the report names the packages that cannot."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks its server for news
    missing = {package for peer in peers for package in peer.needs if not _is_there(package, report)}
    return [peer for peer in peers if not missing & set(peer.needs)]


def _is_there(package: str, report: Report) -> bool:
    if package == KERAS_CLAHE:
        return _has_keras_clahe(report)
    module = PACKAGES[package]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            report.skip(f"{package}: not installed, skipped; pip install 'ptxtf[bench]'")
        else:
            report.skip(f"{package}: cannot be imported ({error}), skipped")
        return False
    except (ImportError, OSError) as error:
        report.skip(f"{package}: cannot be imported ({error}), skipped")
        return False
    return True


def _has_keras_clahe(report: Report) -> bool:
    import keras

    is_there = hasattr(keras.layers, "ContrastLimitedAdaptiveHistogramEqualization")
    if not is_there:
        report.skip(f"{KERAS_CLAHE}: Keras {keras.__version__} has none, skipped")
    return is_there
