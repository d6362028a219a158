"""The SavedModel against Python: by plain TensorFlow, by a session as servers run it, without ptxtf."""

import functools
import os
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from ptxtf import models
from ptxtf.config import MaskConfig
from ptxtf.data import images, rle
from ptxtf.exporting import portable, saved_model
from ptxtf.inference import choice, masks

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SHAPES = [(64, 64), (128, 128), (96, 200), (40, 52), (30, 150), (1, 70), (65, 1)]
RUNS = {
    "whole": {"rule": (0.5, 0.75, 30)},
    "patches": {"rule": (0.4, 0.4, 0), "mode": "patch", "patch_size": 24, "tile_grid": (3, 5), "clip_limit": 3.0},
    "all is too little": {"rule": (0.5, 0.75, 10**6), "clahe": False},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory, write_a_run, python, ready):
    """Return a function that gives one of `RUNS` as a SavedModel's folder, and as Python applies it."""

    @functools.cache
    def get(name):
        folder = tmp_path_factory.mktemp("exported")
        run = write_a_run(folder / "run", **RUNS[name])
        saved_model.save(
            ready(run),
            choice.complete(MaskConfig(), run),
            folder / "saved_model",
        )
        return folder / "saved_model", python(run)

    return get


@pytest.fixture(scope="module")
def signatures(exported):
    """Return a function that gives the signatures of one of `RUNS`, loaded by plain TensorFlow."""
    return functools.cache(lambda name: tf.saved_model.load(str(exported(name)[0])).signatures)


def film(rng, shape):
    """Return an image with regions, uint8 [H, W]."""
    coarse = rng.integers(0, 256, (7, 7)).astype(np.uint8)
    return cv2.add(cv2.resize(coarse, shape[::-1]), rng.integers(0, 9, shape).astype(np.uint8))


def pictures(rng, folder):
    """Write pictures of several sizes and kinds; return their bytes and what ptxtf reads of each."""
    paths = [folder / name for name in ("a.png", "b.jpg", "c.png", "d.png")]
    cv2.imwrite(str(paths[0]), film(rng, (50, 90)))
    cv2.imwrite(str(paths[1]), np.dstack([film(rng, (128, 128)) for _ in range(3)]))
    cv2.imwrite(str(paths[2]), film(rng, (200, 99)).astype(np.uint16) * 200)
    cv2.imwrite(str(paths[3]), np.zeros((33, 33), np.uint8))
    return [path.read_bytes() for path in paths], [images.read(path).pixels for path in paths]


def unpack(png):
    mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask.ndim == 2
    assert set(np.unique(mask)) <= {0, 255}
    return mask // 255


@pytest.mark.parametrize("name", RUNS)
def test_arrays_of_any_size(exported, signatures, rng, name):
    call, (_, python), found = signatures(name)["pixels"], exported(name), 0
    for shape in SHAPES:
        batch = np.stack([film(rng, shape), film(rng, shape), np.zeros(shape, np.uint8)])
        answer = {key: value.numpy() for key, value in call(images=tf.constant(batch[..., np.newaxis])).items()}
        found += answer["mask"].sum()
        for index, image in enumerate(batch):
            python.check(
                image, score=answer["score"][index], text=answer["rle"][index], mask=answer["mask"][index, ..., 0],
                probabilities=answer["probabilities"][index, ..., 0],
            )  # fmt: skip
    assert bool(found) == (name != "all is too little")


@pytest.mark.parametrize("name", ["whole", "patches"])
def test_pictures_of_several_sizes_in_one_batch(exported, signatures, rng, tmp_path, name):
    (_, python), calls = exported(name), signatures(name)
    encoded, pixels = pictures(rng, tmp_path)
    heights, widths = zip(*[image.shape for image in pixels], strict=True)
    answers = (
        calls["serving_default"](pictures=tf.constant(encoded)),
        calls["raw"](
            raw=tf.constant([image.tobytes() for image in pixels]),
            height=tf.constant(heights),
            width=tf.constant(widths),
        ),
    )
    for answer in answers:
        assert answer["size"].numpy().tolist() == [list(image.shape) for image in pixels]
        for index, image in enumerate(pixels):
            python.check(
                image, score=answer["score"][index], text=answer["rle"][index].numpy(),
                mask=unpack(answer["mask_png_bytes"][index].numpy()),
            )  # fmt: skip
    one = calls["picture"](picture=tf.constant(encoded[:1]))
    python.check(
        pixels[0], score=one["score"][0], text=one["rle"][0].numpy(), mask=one["mask"][0, ..., 0],
        probabilities=one["probabilities"][0, ..., 0],
    )  # fmt: skip


def test_the_rule_can_be_read(signatures):
    numbers = signatures("whole")["rule"]()
    assert {name: value.numpy() for name, value in numbers.items()} == {
        "threshold": 0.5, "top_threshold": 0.75, "min_area_px": 30, "origin": b"chosen on val", "gate": 0.0,
        "image_size": 64,
    }  # fmt: skip


def test_something_else_than_a_picture_is_said_to_be_none(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a PNG or JPEG picture"):
        signatures("whole")["serving_default"](pictures=tf.constant([b"garbage"]))


def test_a_session_runs_it_as_servers_do(exported, rng, tmp_path):
    folder, python = exported("patches")
    encoded, pixels = pictures(rng, tmp_path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = loaded.signature_def["serving_default"]
        assert signature.method_name == "tensorflow/serving/predict"
        tensors = {name: info.name for name, info in signature.outputs.items()}
        answer = session.run(tensors, {signature.inputs["pictures"].name: np.array(encoded, object)})
    for index, image in enumerate(pixels):
        python.check(
            image, score=answer["score"][index], text=answer["rle"][index],
            mask=unpack(answer["mask_png_bytes"][index]),
        )  # fmt: skip


def test_nothing_in_it_has_to_be_compiled_or_is_for_one_device(exported):
    """TensorFlow Serving compiles nothing on a CPU unless --xla_cpu_compilation_enabled says so."""
    saved = saved_model_pb2.SavedModel.FromString((exported("whole")[0] / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = graph.library.function
    assert len(functions) > 10
    assert not [one.signature.name for one in functions if one.attr["_XlaMustCompile"].b]
    of_the_network = [
        one for one in functions if "traced_save" not in one.signature.name and "restore" not in one.signature.name
    ]
    nodes = [node for function in of_the_network for node in function.node_def]
    assert {node.device for node in nodes} == {""}
    assert not [node.op for node in nodes if node.op.startswith(("_", "Xla", "PyFunc", "EagerPyFunc"))]


ALONE = """
import sys
sys.modules["ptxtf"] = sys.modules["keras"] = sys.modules["cv2"] = None  # importing any of them fails
import numpy as np
import tensorflow as tf
folder, picture, answer = sys.argv[1:]
find = tf.saved_model.load(folder).signatures["picture"]
found = find(picture=tf.stack([tf.io.read_file(picture)]))
found["rle"] = found["rle"].numpy().astype("S")
np.savez(answer, **found)
"""


def test_a_fresh_interpreter_needs_nothing_but_tensorflow(exported, rng, tmp_path):
    folder, python = exported("whole")
    image = film(rng, (90, 140))
    cv2.imwrite(str(tmp_path / "film.png"), image)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", ALONE, str(folder), tmp_path / "film.png", tmp_path / "a.npz"]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True)
    with np.load(tmp_path / "a.npz") as answer:
        assert answer["mask"].any()
        python.check(
            image, score=answer["score"][0], text=answer["rle"][0], mask=answer["mask"][0, ..., 0],
            probabilities=answer["probabilities"][0, ..., 0],
        )  # fmt: skip


def test_what_the_network_says_of_presence_goes_through():
    def infer(batch):
        shares = tf.cast(batch, tf.float32) / 255
        return shares, tf.reduce_mean(shares, axis=(1, 2, 3))

    told = portable.Portable(networks=(), gate=None, image_size=8, infer=infer, infer_plainly=infer)
    signatures = saved_model.signatures(told, masks.Rule(0.5, 0.5, 0, origin="", gate=0.25))
    half = np.zeros((8, 8), np.uint8)
    half[:, :4] = 255
    answer = signatures["raw"](tf.constant([half.tobytes()]), tf.constant([8]), tf.constant([8]))
    assert (answer["score"].numpy().tolist(), answer["rle"].numpy().tolist()) == ([0.5], [b"0 32"])
    answer = signatures["pixels"](tf.constant(half[np.newaxis, ..., np.newaxis]))
    assert (answer["score"].numpy().tolist(), rle.decode(answer["rle"].numpy()[0].decode(), (8, 8)).sum()) == (
        [0.5],
        32,
    )


def test_half_precision_is_computed_in_float32_unless_asked(write_a_run, ready, tmp_path, rng):
    settings = {"weights": None, "decoder_filters": (8,) * 5}
    half = models.unet("tiny", precision="mixed_bfloat16", **settings)
    exact = models.unet("tiny", precision="float32", **settings)
    exact.set_weights(half.get_weights())
    run = write_a_run(tmp_path / "run", model=half, precision="mixed_bfloat16", clahe=False)
    batch = tf.constant(rng.integers(0, 256, (2, 64, 64, 1)).astype(np.uint8))
    expected = tf.sigmoid(exact(tf.cast(batch, tf.float32) / 255, training=False))
    np.testing.assert_allclose(
        ready(run).infer(batch)[0],
        expected,
        atol=1e-5,
    )
    trained = ready(run, as_trained=True).infer(batch)[0]
    assert trained.dtype == tf.float32
    assert 1e-5 < np.abs(trained - expected).max() < 0.05


def test_heads_that_only_training_needs_are_left_out(write_a_run, ready, tmp_path, rng):
    images_in = keras.Input((None, None, 1))
    mask = keras.layers.Conv2D(1, 1)(images_in)
    side = keras.layers.Conv2D(1, 1)(images_in)
    model = keras.Model(images_in, {"mask": mask, "side1": side})
    run = write_a_run(tmp_path / "run", model=model, clahe=False)
    batch = rng.integers(0, 256, (1, 64, 64, 1)).astype(np.uint8)
    expected = tf.sigmoid(model(batch / np.float32(255))["mask"])
    np.testing.assert_allclose(
        ready(run).infer(tf.constant(batch))[0],
        expected,
        atol=1e-6,
    )
