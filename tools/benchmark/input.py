"""Records to augmented batches, images and masks, beside the peers' ways from the same stored pixels.

Streams work ahead. A turn of one therefore takes a few batches first, until none is left that was made while others
ran, then times some, and then waits until the stream has filled its queue again, lest it disturb the next.
"""

import contextlib
import functools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import ptxtf
from tools.benchmark import loaders, peers, picture, share, stored, timing
from tools.benchmark.loaders import Stream
from tools.benchmark.settings import BenchmarkConfig
from tools.benchmark.stored import Stored
from tools.benchmark.table import Report

_SECONDS = 2.0
"""A turn of a slow stream times no further batch after this."""

_OURS_AHEAD = 8
"""Batches that `ptxtf.batches` may have ready: two kept and two in the making, and as many that are read so far."""

_TITLES = {
    "raw": "Stored pixels ({size}², .npy for the peers) to augmented batches of {batch}",
    "source": "Stored JPEG streams to augmented batches of {batch} of {size}²",
}


def run(config: BenchmarkConfig, report: Report) -> None:
    """Print a table for each stored form, then the input's share of a training step; draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        forms = stored.write(pathlib.Path(folder), config)
        if config.picture:
            picture.write(forms[0].records, config)
        for form in forms:
            _compare(form, config, report)
        share.run(forms[0].records, config, report)
    if config.picture:
        print(config.picture)


def _compare(form: Stored, config: BenchmarkConfig, report: Report) -> None:
    with contextlib.ExitStack() as opened:

        def turn(stream: Stream, ahead: int) -> Callable[[], float]:
            opened.enter_context(contextlib.closing(stream))
            next(stream)  # compiles, starts workers
            return lambda: _seconds_per_image(stream, ahead, config)

        competitors = {
            "ptxtf, later passes (cached)": turn(_later_passes(form, config), _OURS_AHEAD),
            "ptxtf, first pass, compiling": _first_pass(form, config),
        }
        for peer in peers.present(_PEERS, report):
            competitors[peer.name] = turn(*peer.build(form, config))
        timing.settle()
        times = timing.interleaved(competitors, turns=config.turns, warm_up=0)
    title = _TITLES[form.encoding].format(size=config.image_size, batch=config.batch_size)
    report.table(title, times, rate="images/s")


def _seconds_per_image(stream: Stream, ahead: int, config: BenchmarkConfig) -> float:
    """Return what an image takes once the `ahead` batches are gone that the stream may have made already."""
    for _ in range(ahead):
        next(stream)
    seconds: list[float] = []
    while len(seconds) < config.repeats and sum(seconds) < _SECONDS:
        start = time.perf_counter()
        next(stream)
        seconds.append(time.perf_counter() - start)
    timing.settle()
    return statistics.fmean(seconds) / config.batch_size


def _ours(form: Stored, config: BenchmarkConfig) -> Stream:
    yield from ptxtf.batches(
        form.records, "train", batch_size=config.batch_size, training=True, image_size=config.image_size
    )


def _first_pass(form: Stored, config: BenchmarkConfig) -> Callable[[], float]:
    """Return a competitor that starts anew: it compiles, reads every record, decodes and equalises."""
    count = len(form.images) // config.batch_size

    def read_all() -> None:
        with contextlib.closing(_ours(form, config)) as stream:
            for _ in range(count):
                next(stream)

    work = timing.clocked(read_all, items=count * config.batch_size)

    def turn() -> float:
        seconds = work()
        timing.settle()
        return seconds

    return turn


def _later_passes(form: Stored, config: BenchmarkConfig) -> Stream:
    """Return a stream that is through with its first pass."""
    stream = _ours(form, config)
    for _ in form.images[:: config.batch_size]:
        next(stream)
    return stream


def _pytorch(form: Stored, config: BenchmarkConfig) -> tuple[Stream, int]:
    return loaders.pytorch(form, config), 3 * config.workers  # two queued and one in the making by each


def _dali(form: Stored, config: BenchmarkConfig) -> tuple[Stream, int]:
    return loaders.dali(form, config), 4


def _keras(form: Stored, config: BenchmarkConfig, *, clahe: bool) -> tuple[Stream, int]:
    return loaders.keras_layers(form, config, clahe=clahe), 1 + config.workers


_PEERS = [
    peers.Peer("PyTorch, OpenCV, albumentations", _pytorch, ("PyTorch", "albumentations")),
    peers.Peer("DALI, CPU", _dali, ("DALI",)),
    peers.Peer("tf.data, Keras layers", functools.partial(_keras, clahe=True), (peers.KERAS_CLAHE,)),
    peers.Peer("the same without CLAHE", functools.partial(_keras, clahe=False)),
]
