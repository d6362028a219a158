"""Figures -> lines on the terminal, and a JSON file with the same.

A table has a line per competitor: the median and the least of its times, and its median as a multiple of that of the
first, which is ptxtf: 2.00x is half as fast.
"""

import dataclasses
import os
import pathlib
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ptxtf import files
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.timing import Times

_VERSIONED = (
    "ptxtf", "tensorflow", "keras", "numpy", "cv2", "pydicom", "skimage", "torch", "kornia", "monai", "albumentations",
    "nvidia.dali",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Figure:
    """What was measured of one competitor.

    Attributes:
        table: title of its table.
        name: the competitor.
        unit: of what follows.
        median: of all turns.
        min: the least of all turns.
        ratio: the median as a multiple of ptxtf's, or None.
        others: further columns.
    """

    table: str
    name: str
    unit: str
    median: float
    min: float
    ratio: float | None
    others: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Report:
    """Prints figures as they come, and keeps them for --save."""

    def __init__(self, what: str, config: BenchmarkConfig) -> None:
        self._what = what
        self._config = config
        self._figures: list[Figure] = []
        self._skipped: list[str] = []
        self._versions: dict[str, Mapping[str, str]] = {}

    def skip(self, line: str) -> None:
        """Say, once, why a peer is not there."""
        if line not in self._skipped:
            self._skipped.append(line)
            print(line)

    def table(
        self,
        title: str,
        times: Times,
        *,
        rate: str = "",
        others: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Print milliseconds per image.

        Args:
            title: what stands above.
            times: seconds per image; the first competitor is the one that the others are compared with.
            rate: heading of a column with images per second; none if empty.
            others: further columns, heading -> competitor -> number.
        """
        columns = {heading: dict(numbers) for heading, numbers in (others or {}).items()}
        if rate:
            columns = {rate: {name: 1 / statistics.median(values) for name, values in times.items()}, **columns}
        figures = figures_of(title, times, unit="ms/image", per_second=1e3, others=columns)
        self.add(figures)
        print(f"\n{title}")
        for line in _lines(figures, list(columns)):
            print(line)

    def add(self, figures: Sequence[Figure]) -> None:
        """Keep figures that somebody else prints."""
        self._figures += figures

    def fact(self, name: str, value: float, unit: str, note: str = "") -> None:
        """Print one number that is no competitor's time."""
        self.add([Figure("", name, unit, value, value, None)])
        print(f"{name}: {value:.4g} {unit}{f' ({note})' if note else ''}")

    def versions(self, name: str, versions: Mapping[str, str]) -> None:
        """Keep what a competitor ran with in a process of its own."""
        self._versions[name] = versions

    def finish(self) -> None:
        """Print what ran and where; write the file of --save."""
        self._versions["here"] = _versions()
        print()
        for name, versions in self._versions.items():
            print(f"{name}: {', '.join(f'{package} {version}' for package, version in versions.items())}")
        machine = _machine()
        print(f"{machine['cpu']}, {machine['cores_used']} of {machine['cores']} cores")
        if self._config.save:
            files.write_json(self._config.save, self._summary(machine))
            print(self._config.save)

    def _summary(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "what": self._what,
            "settings": dataclasses.asdict(self._config),
            "machine": machine,
            "versions": self._versions,
            "skipped": self._skipped,
            "figures": [dataclasses.asdict(figure) for figure in self._figures],
        }


def figures_of(
    title: str,
    times: Times,
    *,
    unit: str,
    per_second: float = 1.0,
    first: str = "",
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Figure]:
    """Return the figures of a table.

    Args:
        title: the table's.
        times: seconds per item.
        unit: of the figures.
        per_second: how many of that unit a second is.
        first: the competitor that the others are compared with; the first one if empty.
        others: further columns, heading -> competitor -> number.
    """
    medians = {name: statistics.median(values) for name, values in times.items()}
    whole = medians[first or next(iter(medians))]
    return [
        Figure(
            title,
            name,
            unit,
            per_second * medians[name],
            per_second * min(values),
            medians[name] / whole,
            {heading: numbers[name] for heading, numbers in (others or {}).items() if name in numbers},
        )
        for name, values in times.items()
    ]


def _lines(figures: Sequence[Figure], headings: Sequence[str]) -> list[str]:
    """Return a table's lines, its heading first."""
    width = max(len(figure.name) for figure in figures)
    columns = [max(12, len(heading) + 2) for heading in headings]
    heads = "".join(f"{heading:>{size}s}" for heading, size in zip(headings, columns, strict=True))
    lines = [f"{'':{width}s}{'median':>10s}{'min':>10s} {figures[0].unit}  time/ptxtf{heads}"]
    for figure in figures:
        others = "".join(
            f"{figure.others[heading]:{size}.1f}" if heading in figure.others else f"{'–':>{size}s}"
            for heading, size in zip(headings, columns, strict=True)
        )
        gap = " " * (len(figure.unit) + 3)
        lines.append(f"{figure.name:{width}s}{figure.median:10.3f}{figure.min:10.3f}{gap}{figure.ratio:9.2f}x{others}")
    return lines


def _versions() -> dict[str, str]:
    """Return the versions of what was loaded."""
    loaded = {name: sys.modules[name] for name in _VERSIONED if name in sys.modules}
    found = {name: getattr(module, "__version__", "") for name, module in loaded.items()}
    return {name: version for name, version in found.items() if version}


def _machine() -> dict[str, Any]:
    return {"cpu": _cpu(), "cores": os.cpu_count(), "cores_used": len(os.sched_getaffinity(0))}


def _cpu() -> str:
    information = pathlib.Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
