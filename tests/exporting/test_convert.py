"""ONNX and TFLite in their own runtimes against Python."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from ptxtf import models
from ptxtf.errors import InputError
from ptxtf.exporting import convert, portable

pytestmark = [
    pytest.mark.filterwarnings(
        # Keras 3.15 on NumPy 2.4, when it saves weights
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
    # TensorFlow's own interpreter, which the last releases have announced the end of and still bring
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning"),
]
RUNS = {
    "patches": {"mode": "patch", "patch_size": 24, "tile_grid": (3, 5)},
    "not equalised": {"clahe": False},
}


@pytest.fixture(scope="module")
def known(tmp_path_factory, write_a_run, python, ready):
    """Return a function that gives one of `RUNS`, or one of a U-Net, to be exported and as Python applies it."""

    @functools.cache
    def get(name):
        unet = (
            models.unet("tiny", weights=None, decoder_filters=(8,) * 5, precision="float32") if name == "unet" else None
        )
        run = write_a_run(tmp_path_factory.mktemp("run"), model=unet, **RUNS.get(name, {}))
        return ready(run), python(run)

    return get


def films(rng, count):
    coarse = rng.integers(0, 256, (count, 16, 16)).astype(np.uint8)
    return np.kron(coarse, np.ones((4, 4), np.uint8)) // 2 + rng.integers(0, 99, (count, 64, 64)).astype(np.uint8)


@pytest.mark.parametrize("name", [*RUNS, "unet"])
def test_onnx_gives_the_same_probabilities(known, rng, tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    (trained, python), path = known(name), tmp_path / "model.onnx"
    convert.save_onnx(trained, path, metadata={"rule": {"threshold": 0.5}})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("images", ["batch", 64, 64, 1])]
    assert json.loads(session.get_modelmeta().custom_metadata_map["rule"]) == {"threshold": 0.5}
    for count in (3, 1):
        images = films(rng, count)
        (found,) = session.run(["probabilities"], {"images": images[..., np.newaxis]})
        np.testing.assert_allclose(found[..., 0], [python.probabilities(image) for image in images], atol=1e-5)


@pytest.mark.parametrize("name", [*RUNS, "unet"])
def test_tflite_gives_the_same_probabilities(known, rng, tmp_path, name):
    (trained, python), path = known(name), tmp_path / "model.tflite"
    convert.save_tflite(trained, path)
    find = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    for image in films(rng, 2):
        found = find(images=image[np.newaxis, ..., np.newaxis])["probabilities"]
        np.testing.assert_allclose(found[0, ..., 0], python.probabilities(image), atol=1e-5)


def test_what_a_network_says_of_presence_is_a_second_output(tmp_path, rng):
    onnxruntime = pytest.importorskip("onnxruntime")

    def infer(images):
        shares = tf.cast(images, tf.float32) / 255
        return shares, tf.reduce_mean(shares, axis=(1, 2, 3))

    told = portable.Portable(networks=(), gate=None, image_size=8, infer=infer, infer_plainly=infer)
    convert.save_onnx(told, tmp_path / "model.onnx", metadata={})
    convert.save_tflite(told, tmp_path / "model.tflite")
    images = rng.integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    by_onnx = session.run(["presence"], {"images": images})[0]
    by_tflite = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()(images=images)["presence"]
    np.testing.assert_allclose([by_onnx, by_tflite], [images.mean(axis=(1, 2, 3)) / 255] * 2, rtol=1e-6)


def test_a_converter_that_is_missing_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    convert.check_converters(["savedmodel", "tflite"])
    with pytest.raises(InputError, match=r"^expected the package tf2onnx with --formats=onnx: pip install .* no such"):
        convert.check_converters(["onnx"])
