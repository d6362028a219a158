"""Time the parts where speed counts, beside a peer where there is one.

For example,

    python -m tools.benchmark clahe

WHAT is one of: clahe (against OpenCV), warp (image and mask, against OpenCV), patches (against
tf.image.extract_patches), input (records to augmented batches, images/s), convert (DICOM to records, against the script
that everybody writes: pydicom, OpenCV, two PNGs, one process), model (a training step and a prediction). What is
compared runs in turn, A B A B …, and the medians' ratio is the figure to quote: single times on a shared machine say
little. `taskset -c 0` in front gives one core.
"""

import dataclasses
import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ptxtf import flags
from ptxtf.config import ConvertConfig, setting
from ptxtf.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is timed."""

    image_size: int = setting("height and width in pixels", 512)
    batch_size: int = setting("images per call", 8)
    repeats: int = setting("timed runs of each, after two to warm up", 15)
    files: int = setting("DICOMs of WHAT=convert; the usual script gets a tenth", 3000)
    turns: int = setting("turns of WHAT=convert", 5)
    workers: int = setting("processes of WHAT=convert", 2)
    backbone: str = setting("encoder of WHAT=model", "resnet34")
    precision: str = setting("precision of WHAT=model", "float32")

    def __post_init__(self) -> None:
        for name in ("image_size", "batch_size", "repeats", "files", "turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1. Received: {name}={getattr(self, name)}")


def main(config: BenchmarkConfig, names: list[str]) -> None:
    """Time what is named and print a line per competitor."""
    if len(names) != 1 or names[0] not in _BENCHMARKS:
        raise InputError(f"expected one of {', '.join(_BENCHMARKS)}. Received: {' '.join(names) or 'none'}")
    _BENCHMARKS[names[0]](config)


def interleaved(competitors: dict[str, Callable[[], Any]], *, repeats: int) -> dict[str, float]:
    """Return the median seconds of each competitor, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for round_number in range(repeats + 2):
        for name, function in competitors.items():
            start = time.perf_counter()
            function()
            if round_number >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _compare(competitors: dict[str, Callable[[], Any]], config: BenchmarkConfig) -> None:
    """Print milliseconds per image, and the ratio of the first competitor to each other."""
    medians = interleaved(competitors, repeats=config.repeats)
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"{name:28s} {1e3 * seconds / config.batch_size:8.3f} ms/image   ptxtf takes {first / seconds:.2f}x this")


def _clahe(config: BenchmarkConfig) -> None:
    import cv2
    import tensorflow as tf

    from ptxtf import ops

    images = _radiographs(config)
    tensor = tf.constant(images[..., np.newaxis])
    ours = tf.function(ops.clahe, jit_compile=True)
    opencv = cv2.createCLAHE(2.0, (8, 8))
    _compare(
        {"ptxtf, XLA": lambda: ours(tensor).numpy(), "OpenCV": lambda: [opencv.apply(image) for image in images]},
        config,
    )


def _warp(config: BenchmarkConfig) -> None:
    import cv2
    import tensorflow as tf

    from ptxtf import ops

    images = _radiographs(config)
    floats = tf.constant(images[..., np.newaxis] / 255, tf.float32)
    masks = tf.constant((images[..., np.newaxis] > 128).astype(np.uint8))
    size = (config.image_size, config.image_size)
    matrices = ops.affine_matrices(
        tf.fill([config.batch_size], 0.2),
        zoom=tf.fill([config.batch_size], 1.05),
        flip=tf.fill([config.batch_size], True),
        image_size=size,
    )

    ours = tf.function(
        lambda: (ops.warp_affine(floats, matrices), ops.warp_affine(masks, matrices, interpolation="nearest")),
        jit_compile=True,
    )
    plain, matrix = (floats.numpy(), masks.numpy()), matrices.numpy()[0][::-1, [1, 0, 2]].copy()
    flat = cv2.WARP_INVERSE_MAP

    def opencv() -> None:
        for image, mask in zip(*plain, strict=True):
            cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR | flat)
            cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST | flat)

    _compare({"ptxtf, XLA": lambda: [part.numpy() for part in ours()], "OpenCV": opencv}, config)


def _patches(config: BenchmarkConfig) -> None:
    import tensorflow as tf

    from ptxtf import ops

    images = tf.constant(_radiographs(config)[..., np.newaxis] / 255, tf.float32)
    size = config.image_size // 4
    window = [1, size, size, 1]

    def there_and_back(stride: int, kind: str) -> Callable[[], Any]:
        def run() -> Any:
            patches = ops.extract_patches(images, size=size, stride=stride)
            return ops.stitch_patches(patches, image_size=config.image_size, stride=stride, window=kind)

        compiled = tf.function(run, jit_compile=True)
        return lambda: compiled().numpy()

    extract = tf.function(lambda: tf.image.extract_patches(images, window, window, [1, 1, 1, 1], "VALID"))
    _compare(
        {
            "ptxtf, cut and stitch": there_and_back(size, "uniform"),
            "half overlap, Gaussian": there_and_back(size // 2, "gaussian"),
            "tf.image.extract_patches": lambda: extract().numpy(),
        },
        config,
    )


def _convert(config: BenchmarkConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        films = pathlib.Path(folder, "films")
        paths, rows = _write_many_films(films, config.files)
        few = paths[: max(1, config.files // 10)]
        output = pathlib.Path(folder, "output")

        def usual_script() -> int:
            _usual_script(few, rows, output, config.image_size)
            return len(few)

        def ours(encoding: str) -> int:
            _convert_films(films, output, config, encoding=encoding, workers=config.workers)
            return len(paths)

        competitors: dict[str, Callable[[], int]] = {
            "the usual script": usual_script,
            "ptxtf, source": lambda: ours("source"),
            "ptxtf, raw": lambda: ours("raw"),
        }
        times: dict[str, list[float]] = {name: [] for name in competitors}
        for _ in range(config.turns):
            for name, convert in competitors.items():
                start = time.perf_counter()
                count = convert()
                times[name].append((time.perf_counter() - start) / count)
                shutil.rmtree(output)
    usual = statistics.median(times["the usual script"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:20s} {1 / median:7.0f} files/s   {usual / median:5.1f}x the usual script")


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


def _write_many_films(folder: pathlib.Path, count: int) -> tuple[list[pathlib.Path], dict[str, str]]:
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


def _input(config: BenchmarkConfig) -> None:
    import ptxtf
    from ptxtf.data import phantom

    with tempfile.TemporaryDirectory() as folder:
        films = pathlib.Path(folder)
        phantom.write_dataset(films, _FILMS)
        directory = films / "records"
        _convert_films(films, directory, config, encoding="raw", workers=0)
        stream = ptxtf.batches(directory, "train", batch_size=config.batch_size, training=True)
        for _ in range(2 * _FILMS // config.batch_size):
            next(stream)
        medians = interleaved({"batch": lambda: [part.numpy() for part in next(stream)]}, repeats=8 * config.repeats)
    print(f"records to augmented batches: {config.batch_size / medians['batch']:.0f} images/s")


def _model(config: BenchmarkConfig) -> None:
    import keras
    import tensorflow as tf

    from ptxtf import forward, models
    from ptxtf.config import PreprocessConfig
    from ptxtf.training import losses, steps

    model = models.unet(config.backbone, weights=None, precision=config.precision)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    xla = forward.use_xla("auto")
    functions = steps.build(
        model,
        forward.logits_function(model, PreprocessConfig(), xla=xla),
        losses.focal_dice(reduction=None),
        optimizer,
        config=PreprocessConfig(),
        batch_size=config.batch_size,
        xla=xla,
    )
    images = tf.random.uniform([1, config.batch_size, config.image_size, config.image_size, 1])
    masks = tf.cast(images > 0.9, tf.float32)
    infer = tf.function(lambda: model(images[0], training=False), jit_compile=xla)
    medians = interleaved(
        {
            "training step": lambda: float(functions.update(images, masks, tf.constant(0))),
            "prediction": lambda: infer().numpy(),
        },
        repeats=config.repeats,
    )
    for name, seconds in medians.items():
        print(f"{name:16s} {seconds:7.3f} s, {config.batch_size / seconds:6.1f} images/s")


_FILMS = 48
_BENCHMARKS = {
    "clahe": _clahe,
    "warp": _warp,
    "patches": _patches,
    "convert": _convert,
    "input": _input,
    "model": _model,
}


def _radiographs(config: BenchmarkConfig) -> np.ndarray:
    """Return phantoms, uint8 [batch, size, size]."""
    from ptxtf.data import phantom

    drawn = [phantom.draw(seed, positive=True, size=config.image_size) for seed in range(config.batch_size)]
    return np.stack([film.pixels for film in drawn])


def _convert_films(
    films: pathlib.Path, output: pathlib.Path, config: BenchmarkConfig, *, encoding: Any, workers: int
) -> None:
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


if __name__ == "__main__":
    flags.run(main, BenchmarkConfig, arguments="WHAT")
