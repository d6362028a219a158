"""Time the parts where speed counts, beside the peers that do the same.

For example,

    python -m tools.benchmark clahe

WHAT is one of: clahe, warp (image and mask), patches (cut and stitch), tiles (a small network's prediction by
overlapping tiles), input (records to augmented batches, and the input's share of a training step), convert (DICOM to
records, against the script that everybody writes), model (a training step and a prediction). Peers come by
`pip install 'ptxtf[bench]'`; one that is not installed is skipped.

What is compared runs in turn, A B A B …, and the ratio of the medians is the figure to quote: single times on a shared
machine say little. `taskset -c 0` in front gives one core. --export_stablehlo needs no WHAT.
"""

import importlib

from ptxtf.errors import InputError
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report

WHATS = ("clahe", "warp", "patches", "tiles", "convert", "input", "model")
"""Modules of this package, each with `run(config, report)`."""


def main(config: BenchmarkConfig, names: list[str]) -> None:
    """Time what is named, print a line per competitor, and write what the settings ask for."""
    _check(config, names)
    for name in names:
        report = Report(name, config)
        importlib.import_module(f"{__name__}.{name}").run(config, report)
        report.finish()
    if config.export_stablehlo:
        from tools.benchmark import stablehlo

        stablehlo.export(config)


def _check(config: BenchmarkConfig, names: list[str]) -> None:
    is_known = len(names) == 1 and names[0] in WHATS
    if not is_known and (names or not config.export_stablehlo):
        raise InputError(f"expected one of {', '.join(WHATS)}. Received: {' '.join(names) or 'none'}")
    if config.picture and names != ["input"]:
        raise InputError(f"expected WHAT=input with --picture. Received: {' '.join(names) or 'none'}")
    if config.save and not names:
        raise InputError(f"expected a WHAT with --save. Received: --save={config.save}")
