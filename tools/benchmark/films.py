"""Phantoms for the benchmark: as arrays, or as folders of DICOMs converted to records."""

import pathlib
from typing import Any

import numpy as np

from ptxtf.config import ConvertConfig
from tools.benchmark.settings import BenchmarkConfig


def radiographs(config: BenchmarkConfig) -> np.ndarray:
    """Return phantoms, uint8 [batch, size, size]."""
    from ptxtf.data import phantom

    drawn = [phantom.draw(seed, positive=True, size=config.image_size) for seed in range(config.batch_size)]
    return np.stack([film.pixels for film in drawn])


def convert_films(
    films: pathlib.Path, output: pathlib.Path, config: BenchmarkConfig, *, encoding: Any, workers: int
) -> None:
    """Write the records of a folder of films, all of them into the split "train"."""
    from ptxtf.data.convert import convert

    convert(
        ConvertConfig(
            dicom_dir=str(films / "dicom"),
            annotations=str(films / "train-rle.csv"),
            output_dir=str(output),
            image_size=config.image_size,
            encoding=encoding,
            fractions=(1.0, 0.0, 0.0),
            balance=0,
            workers=workers,
        )
    )
