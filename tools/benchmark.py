"""Time the parts where speed counts, beside a peer where there is one.

For example,

    python -m tools.benchmark clahe

WHAT is one of: clahe (against OpenCV), warp (image and mask, against OpenCV), patches (against
tf.image.extract_patches), input (records to augmented batches, images/s), convert (DICOM to records, files/s), model (a
training step and a prediction). What is compared runs in turn, A B A B …, and the medians' ratio is the figure to
quote: single times on a
shared machine say little. `taskset -c 0` in front gives one core.
"""

import dataclasses
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
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
    backbone: str = setting("encoder of WHAT=model", "resnet34")
    precision: str = setting("precision of WHAT=model", "float32")


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
        films = _write_phantoms(pathlib.Path(folder))
        start = time.perf_counter()
        directory = _convert_phantoms(films, config)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in directory.iterdir())
    print(f"{_FILMS} DICOMs in {seconds:.1f} s: {_FILMS / seconds:.1f} files/s, {size / _FILMS / 1e3:.0f} kB each")


def _input(config: BenchmarkConfig) -> None:
    import ptxtf

    with tempfile.TemporaryDirectory() as folder:
        directory = _convert_phantoms(_write_phantoms(pathlib.Path(folder)), config)
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


def _write_phantoms(folder: pathlib.Path) -> pathlib.Path:
    from ptxtf.data import phantom

    phantom.write_dataset(folder / "phantoms", _FILMS)
    return folder / "phantoms"


def _convert_phantoms(films: pathlib.Path, config: BenchmarkConfig) -> pathlib.Path:
    from ptxtf.data.convert import convert

    settings = ConvertConfig(
        dicom_dir=str(films / "dicom"),
        annotations=str(films / "train-rle.csv"),
        output_dir=str(films / "records"),
        image_size=config.image_size,
        fractions=(1.0, 0.0, 0.0),
        balance=0,
    )
    return convert(settings).directory


if __name__ == "__main__":
    flags.run(main, BenchmarkConfig, arguments="WHAT")
