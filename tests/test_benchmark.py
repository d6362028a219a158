"""The benchmark compares what it says, and writes what it prints; how fast anything is is no matter of tests."""

import importlib.util
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from ptxtf import ops, preprocess
from ptxtf.config import PreprocessConfig
from tools.benchmark import peers, picture, timing

LINE = re.compile(r"^(\S.*?) +([0-9.]+) +([0-9.]+) +([0-9.]+)x", flags=re.MULTILINE)
OURS = {
    "clahe": ["ptxtf, XLA", "ptxtf, graph", "OpenCV"],
    "warp": [
        "ptxtf, XLA, uint8 images",
        "ptxtf, XLA",
        "ptxtf, graph",
        "OpenCV",
        "ImageProjectiveTransformV3",
        "Keras layers, own angles",
    ],
    "tiles": ["ptxtf"],
    "patches": ["ptxtf, XLA, one function", "ptxtf, XLA, cut, then stitch", "ptxtf, XLA", "tf.image.extract_patches"],
}
"""What needs no package that ptxtf itself does not."""

PEERS = {
    "clahe": ["kornia", "scikit-image", "albumentations", "DALI"],
    "warp": ["kornia"],
    "patches": ["MONAI"],
    "tiles": ["MONAI"],
}


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(peers.PACKAGES[package].split(".")[0]) is not None


@pytest.mark.slow
@pytest.mark.parametrize("what", OURS)
def test_a_table_has_its_lines_and_the_file_has_the_table(what, tmp_path):
    saved = tmp_path / "figures.json"
    done = benchmark(what, "--image_size=64", "--batch_size=2", "--repeats=1", f"--save={saved}")
    assert done.returncode == 0, done.stderr
    lines = LINE.findall(done.stdout)
    names = [name for name, *_ in lines]
    assert set(OURS[what]) <= set(names)
    for package in PEERS[what]:
        line = f"{package}: not installed, skipped; pip install 'ptxtf[bench]'\n"
        assert done.stdout.count(line) == (not is_installed(package))
    written = json.loads(saved.read_text())
    timed = [figure for figure in written["figures"] if figure["ratio"] is not None]
    shown = [[f["name"], f"{f['median']:.3f}", f"{f['min']:.3f}", f"{f['ratio']:.2f}"] for f in timed]
    assert [list(line) for line in lines] == shown
    assert written["settings"]["image_size"] == 64
    assert written["versions"]["here"]["tensorflow"] == tf.__version__
    assert written["machine"]["cpu"] in done.stdout
    assert str(saved) in done.stdout
    if what == "clahe":
        check_clahe({figure["name"]: figure for figure in written["figures"]})


def check_clahe(figures: dict[str, dict]) -> None:
    assert figures["ptxtf, XLA"]["others"] == {"grey levels off": 0.0}
    for dtype, size in (("uint8", 1), ("uint16", 2)):
        memory = figures[f"ptxtf XLA, {dtype}: peak memory"]
        assert memory["unit"] == "bytes/pixel"
        assert memory["median"] > 2 * size  # input and output are part of it
    assert figures["ptxtf XLA, uint8: peak memory"]["median"] < 40


@pytest.mark.slow
@pytest.mark.long
def test_networks_train_and_predict_in_processes_of_their_own(tmp_path):
    saved = tmp_path / "figures.json"
    small = ["--backbone=tiny", "--image_size=64", "--batch_size=1", "--repeats=1", "--precision=float32"]
    done = benchmark("model", *small, "--legacy_python=/bin/false", f"--save={saved}")
    assert done.returncode == 0, done.stderr
    assert [name for name, *_ in LINE.findall(done.stdout)].count("ptxtf, float32") == 2  # a step, a prediction
    assert "segmentation_models: expected a network that runs. Received: nothing, skipped" in done.stdout
    written = json.loads(saved.read_text())
    assert written["versions"]["ptxtf, float32"]["tensorflow"] == tf.__version__
    figures = {figure["name"]: figure for figure in written["figures"]}
    assert 0.1 < figures["ptxtf, float32: peak memory"]["median"] < 16
    assert figures["ptxtf, float32: from start to the first"]["median"] > 1


@pytest.mark.slow
@pytest.mark.long
def test_a_peer_that_ends_while_it_is_timed_is_left_out(tmp_path):
    peer = tmp_path / "python"
    peer.write_text("#!/bin/sh\necho 1.5\nread once\necho 0.25\nread twice\necho out of memory >&2\n")
    peer.chmod(0o755)
    small = ["--backbone=tiny", "--image_size=64", "--batch_size=1", "--repeats=1", "--precision=float32"]
    done = benchmark("model", *small, f"--legacy_python={peer}")
    assert done.returncode == 0, done.stderr
    assert "expected a network that runs. Received: out of memory, left out" in done.stdout
    names = [name for name, *_ in LINE.findall(done.stdout)]
    assert names.count("ptxtf, float32") == 2
    assert "segmentation_models" not in names


@pytest.mark.slow
@pytest.mark.long
def test_input_is_compared_in_both_stored_forms_and_drawn(tmp_path):
    saved, drawn = tmp_path / "figures.json", tmp_path / "batch.png"
    small = ["--image_size=64", "--step_size=32", "--batch_size=2", "--files=4", "--turns=1", "--repeats=1"]
    done = benchmark("input", *small, "--workers=1", "--backbone=tiny", f"--save={saved}", f"--picture={drawn}")
    assert done.returncode == 0, done.stderr
    names = [name for name, *_ in LINE.findall(done.stdout)]
    assert names.count("ptxtf, first pass, compiling") == names.count("ptxtf, later passes (cached)") == 2
    assert names[-2:] == ["training, records to step", "training, the same batch again"]
    assert re.search(r"^the input's share of a training step: -?[0-9.]+ %$", done.stdout, flags=re.MULTILINE)
    times = {figure["name"]: figure for figure in json.loads(saved.read_text())["figures"]}
    again = times["training, the same batch again"]
    assert f"{again['others']['images/s']:.1f}\n" in done.stdout
    for package in ("PyTorch", "albumentations", "DALI"):
        assert done.stdout.count(f"{package}: not installed") == (not is_installed(package))
    assert f"\n{drawn}\n" in done.stdout
    assert cv2.imread(str(drawn)).ndim == 3


def outline(tile: np.ndarray) -> np.ndarray:
    """Return where a tile is blue rather than grey: rows and columns [N, 2]."""
    return np.argwhere(tile[..., 2].astype(int) - tile[..., 0] > 50)


def test_the_picture_s_lower_row_has_image_and_mask_moved_together():
    rows, columns = np.mgrid[:300, :300]
    shapes = [(rows > 60) & (rows < 90) & (columns > 100) & (columns < 240), np.hypot(rows - 120, columns - 90) < 40]
    masks = np.stack(shapes)[..., np.newaxis].astype(np.uint8)
    seeds = np.array([[5, 1], [5, 2]], np.int32)
    sheet = picture.draw(200 * masks, masks, seeds)  # what is bright is what is marked
    upper, lower = sheet[160:460], sheet[588:888]
    for left in (32, 348):
        before, after = (row[:, left : left + 300] for row in (upper, lower))
        assert len(outline(before)) > 100
        assert len(outline(after)) > 100
        assert not np.array_equal(outline(before), outline(after))
        bright = (after[..., 0] > 95).astype(np.uint8)  # redder than the outline
        inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (bright, 1 - bright))
        to_edge = np.maximum(inside, outside)
        assert to_edge[tuple(outline(after).T)].max() < 4
        edge = np.argwhere((outside > 0) & (outside < 1.5))
        assert all(np.abs(outline(after) - point).max(axis=1).min() <= 3 for point in edge)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stablehlo")
    done = benchmark(f"--export_stablehlo={folder}", "--image_size=64", "--batch_size=2")
    assert done.returncode == 0, done.stderr
    return folder


def augment(mode: str):
    return preprocess.for_training(PreprocessConfig(mode=mode, **{"patch_size": 16} if mode == "patch" else {}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("train_whole", augment("whole")),
        ("train_patch", augment("patch")),
        ("inference", preprocess.for_inference(PreprocessConfig())),
        ("clahe", ops.clahe),
        ("stitch", lambda patches: ops.stitch_patches(patches, image_size=64, stride=8, window="gaussian")),
    ],
)
def test_an_exported_program_s_examples_are_what_its_function_takes_and_gives(exported, name, function):
    text = (exported / f"{name}.stablehlo.mlir").read_text()
    assert text.count("func.func @main(") == 1
    assert "stablehlo." in text
    saved = np.load(exported / f"{name}.npz")
    arguments = [tf.constant(saved[key]) for key in saved.files if key.startswith("argument_")]
    taken = re.search(r"func\.func @main\((.*?)\) ->", text, flags=re.DOTALL).group(1)
    assert taken.count("%arg") == len(arguments)
    results = tf.nest.flatten(function(*arguments))
    assert len(results) == sum(key.startswith("result_") for key in saved.files)
    for number, result in enumerate(results):
        # the processor may round a product that is added to something once or twice
        np.testing.assert_allclose(saved[f"result_{number}"], result.numpy(), rtol=0, atol=1e-6)
    assert name in (exported / "README.txt").read_text()


@pytest.mark.slow
def test_converting_is_compared_with_the_usual_script(tmp_path):
    saved = tmp_path / "figures.json"
    done = benchmark("convert", "--files=6", "--turns=1", "--workers=1", "--image_size=64", f"--save={saved}")
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^(.+?) +([0-9]+) files/s +([0-9.]+)x the usual script$", done.stdout, flags=re.MULTILINE)
    assert [name for name, _, _ in lines] == ["the usual script", "ptxtf, source", "ptxtf, raw"]
    assert lines[0][2] == "1.0"
    assert all(int(speed) > 0 for _, speed, _ in lines)
    figures = json.loads(saved.read_text())["figures"]
    assert [f"{1e3 / figure['median']:.0f}" for figure in figures] == [speed for _, speed, _ in lines]


@pytest.mark.parametrize("name", ["image_size", "batch_size", "repeats", "files", "turns", "workers", "step_size"])
def test_there_is_something_to_time(name):
    done = benchmark("clahe", f"--{name}=0")
    assert done.returncode == 2
    assert re.search(rf"expected {name} of at least \d+\. Received: {name}=0\n$", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "expected one of clahe, warp, patches, tiles, convert, input, model. Received: none"),
        (["speed"], "expected one of clahe, warp, patches, tiles, convert, input, model. Received: speed"),
        (["warp", "--picture=a.png"], "expected WHAT=input with --picture. Received: warp"),
        (["--export_stablehlo=a", "--save=a.json"], "expected a WHAT with --save. Received: --save=a.json"),
        (["clahe", "--save=tests"], "expected save, a file to write. Received: a folder, save='tests'"),
        (["--export_stablehlo=README.md"], "a folder. Received: a file, export_stablehlo='README.md'"),
        (["model", "--precision=int4"], "mixed_float16, mixed_bfloat16. Received: --precision=int4"),
        (["model", "--backbone=lenet"], "Received: backbone='lenet'"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(arguments, line):
    done = benchmark(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.fullmatch(
        r"tools\.benchmark: (command line: |did you mean .*\? )?expected .*", done.stderr.splitlines()[-1]
    )
    assert done.stderr.endswith(f"{line}\n")


@pytest.mark.parametrize("generations", [1, 2])
def test_settling_waits_for_descendants_that_still_compute(generations):
    program = "import time\nend = time.time() + 1\nwhile time.time() < end: pass"
    for _ in range(generations - 1):
        program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {program!r}])"
    with subprocess.Popen([sys.executable, "-c", program]) as child:
        timing.settle()
        # a parent that has only to end may take a moment
        assert child.wait(timeout=0.2) == 0
