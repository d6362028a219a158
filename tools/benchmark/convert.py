"""DICOM to records, against the script that everybody writes: pydicom, OpenCV, two PNGs, one process."""

import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from tools.benchmark import films, timing
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.table import Report, figures_of

_USUAL = "the usual script"


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print files per second of the converter and of the usual script."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "films")
        paths, rows = write_many_films(source, config.files)
        few = paths[: max(1, config.files // 10)]
        output = pathlib.Path(folder, "output")

        def usual_script() -> None:
            _usual_script(few, rows, output, config.image_size)

        def ours(encoding: str) -> Callable[[], None]:
            return lambda: films.convert_films(source, output, config, encoding=encoding, workers=config.workers)

        def cleaned(convert: Callable[[], None], items: int) -> Callable[[], float]:
            clocked = timing.clocked(convert, items=items)

            def work() -> float:
                seconds = clocked()
                shutil.rmtree(output)
                return seconds

            return work

        times = timing.interleaved(
            {
                _USUAL: cleaned(usual_script, len(few)),
                "ptxtf, source": cleaned(ours("source"), len(paths)),
                "ptxtf, raw": cleaned(ours("raw"), len(paths)),
            },
            turns=config.turns,
            warm_up=0,
        )
    figures = figures_of("DICOM to records", times, unit="ms/file", per_second=1e3, first="ptxtf, raw")
    report.add(figures)
    usual = figures[0].median
    for figure in figures:
        print(f"{figure.name:20s} {1e3 / figure.median:7.0f} files/s   {usual / figure.median:5.1f}x the usual script")


def _usual_script(paths: Sequence[pathlib.Path], rows: dict[str, str], output: pathlib.Path, size: int) -> None:
    """Convert as most scripts do: decode by pydicom, draw the mask run by run, shrink both, write two PNGs."""
    import cv2
    import pydicom

    (output / "images").mkdir(parents=True)
    (output / "masks").mkdir()
    for path in paths:
        pixels = pydicom.dcmread(path).pixel_array
        mask = np.zeros(pixels.size, np.uint8)
        if rows[path.stem] != "-1":
            position = 0
            numbers = [int(number) for number in rows[path.stem].split()]
            for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
                position += gap
                mask[position : position + length] = 255
                position += length
        mask = mask.reshape(pixels.shape[::-1]).T
        cv2.imwrite(str(output / "images" / f"{path.stem}.png"), cv2.resize(pixels, (size, size)))
        shrunk = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(output / "masks" / f"{path.stem}.png"), shrunk)


def write_many_films(folder: pathlib.Path, count: int) -> tuple[list[pathlib.Path], dict[str, str]]:
    """Write SIIM-like films, copies of a few phantoms under ids of their own, and return paths and labels."""
    from ptxtf.data import phantom

    phantom.write_dataset(folder / "few", 18, positive_share=0.22, workers=0)  # as many as in SIIM-ACR
    texts = dict(line.split(",") for line in (folder / "few" / "train-rle.csv").read_text().splitlines()[1:])
    paths, rows = [], {}
    (folder / "dicom").mkdir()
    originals = {path.stem: path.read_bytes() for path in (folder / "few").rglob("*.dcm")}
    for number in range(count):
        image_id, content = sorted(originals.items())[number % len(originals)]
        copy_id = f"{image_id[:-6]}{number:06d}"
        path = folder / "dicom" / f"{copy_id}.dcm"
        path.write_bytes(content.replace(image_id.encode(), copy_id.encode()))
        paths.append(path)
        rows[copy_id] = texts[image_id].strip()
    lines = [f"{copy_id},{text}" for copy_id, text in rows.items()]
    (folder / "train-rle.csv").write_text("\n".join(["ImageId,EncodedPixels", *lines]) + "\n")
    return paths, rows
