"""What the tests of exports share: runs whose network is a few numbers, and what Python says of an image."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from ptxtf import config, rundir
from ptxtf.data import rle
from ptxtf.exporting import portable
from ptxtf.inference import Predictor, choice, masks, members


def network_of_nine() -> keras.Model:
    """Return a network whose logit is a fixed function of a pixel and its eight neighbours, about 0 in the mean."""
    images = keras.Input((None, None, 1))
    convolution = keras.layers.Conv2D(1, 3, padding="same")
    outputs = convolution(images)
    kernel = np.array([[0.53, -1.01, 0.27], [-1.57, 6.11, 1.03], [0.79, -2.03, 0.47]], np.float32)
    convolution.set_weights([kernel.reshape(3, 3, 1, 1), np.array([-2.003], np.float32)])
    return keras.Model(images, outputs)


def write_run(folder, *, model=None, rule=(0.5, 0.5, 0), precision="float32", image_size=64, **preprocessing):
    """Write a finished run of a network; return its folder."""
    folder.mkdir(exist_ok=True)
    (model or network_of_nine()).save(folder / rundir.MODEL)
    settings = config.RunConfig(
        config.InputConfig(records_dir=str(folder / "records"), image_size=image_size),
        config.TrainConfig(run_dir=str(folder)),
        config.PreprocessConfig(**preprocessing),
        config.ModelConfig(precision=precision),
    )
    rundir.write_flags(folder, settings)
    threshold, top_threshold, min_area_px = rule
    chosen = choice.Choice(
        threshold=threshold, top_threshold=top_threshold, min_area_px=min_area_px, split="val", images=6, dice=0.75,
        half_dice=0.5, all_empty_dice=0.25,
    )  # fmt: skip
    (folder / rundir.RULE).write_text(json.dumps(dataclasses.asdict(chosen)))
    return folder


class Python:
    """A run as Python applies it: an image to its probabilities, mask, run-length text and presence."""

    def __init__(self, run):
        self._predictor = Predictor.load(run)
        self._rule = choice.complete(config.MaskConfig(), run)

    def probabilities(self, image):
        return self._predictor(image[np.newaxis, ..., np.newaxis]).numpy()[0, ..., 0]

    def check(self, image, *, score, text, mask, probabilities=None):
        """Compare what an export says of one image, uint8 [H, W], with what Python does."""
        expected = self.probabilities(image)
        sure = np.abs(expected - self._rule.threshold) > 1e-5
        assert sure.mean() > 0.99
        np.testing.assert_array_equal(mask[sure], masks.decide(expected, self._rule)[sure])
        assert text.decode() == rle.encode(mask)
        np.testing.assert_allclose(score, masks.presence(expected, self._rule), atol=1e-5)
        if probabilities is not None:
            np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.fixture(scope="session")
def python():
    return Python


@pytest.fixture(scope="session")
def write_a_run():
    return write_run


@pytest.fixture(scope="session")
def ready():
    """Return a function that gives a run's networks as they are exported."""

    def load(run, *, as_trained=False):
        adapt = portable.adapt(as_trained=as_trained)
        return portable.of(Predictor.of(members.find(run), adapt=adapt))

    return load
