"""The whole export: what lies in the folder, what the model card says, and what a wrong wish is told."""

import csv
import hashlib
import json
import re

import cv2
import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from ptxtf import config, export, rundir
from ptxtf.config import ExportConfig, InferenceConfig, MaskConfig
from ptxtf.errors import InputError
from ptxtf.exporting import card
from ptxtf.exporting.results import export as run_export
from ptxtf.inference import Predictor, choice, masks, members
from ptxtf.inference.predictor import Film

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SCORE = {"value": 0.61234, "low": 0.5, "high": 0.7, "images": 28, "all_empty": 0.25, "all_full": 0.0}
SCORES = {
    "summary": {
        "images": 28, "positives": 14, "patients": 13, "dice": {"all": SCORE, "positives": SCORE | {"value": None}},
        "presence": {"AUC": SCORE | {"low": None, "all_empty": None}},
    },
    "rule": {"threshold": 0.5, "top_threshold": 0.75, "min_area_px": 20, "origin": "chosen on val"},
    "settings": {"split": "test"},
}  # fmt: skip


@pytest.fixture
def run(tmp_path, write_a_run):
    """Return a run that learnt from four images of two patients, and of nobody known."""
    folder = write_a_run(tmp_path / "run", rule=(0.5, 0.75, 20))
    rundir.write_trained_on(
        folder,
        [
            rundir.Used("image-1", "hash-1", "train"), rundir.Used("image-2", "hash-1", "train"),
            rundir.Used("image-3", "hash-2", "train"), rundir.Used("image-4", "", "val"),
        ],
    )  # fmt: skip
    return folder


@pytest.fixture
def evaluation(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "scores.json").write_text(json.dumps(SCORES))
    return tmp_path / "test"


def settings(run, tmp_path, **given):
    return ExportConfig(run_dir=str(run), output_dir=str(tmp_path / "exported"), **given)


def test_all_is_there_and_the_card_names_each_file_and_its_sum(run, tmp_path, evaluation, capsys):
    given = settings(run, tmp_path, formats=("savedmodel", "tflite"), evaluation=str(evaluation))
    export.main(given, MaskConfig(), InferenceConfig())
    folder = tmp_path / "exported"
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    assert {path.name for path in folder.iterdir()} == {"saved_model", "model.tflite", "rule.json", "README.md"}
    text = (folder / "README.md").read_text()
    table = list(csv.reader(re.findall(r"^\| (\S+ \| \d+ \| [0-9a-f]{64}) \|$", text, re.MULTILINE), delimiter="|"))
    stated = {name.strip(): (int(size), digest.strip()) for name, size, digest in table}
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found["README.md"]
    assert stated == {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in found.items()}


def test_the_card_tells_what_is_known_and_of_nobody(run, tmp_path, evaluation):
    run_export(settings(run, tmp_path, formats=("tflite",), evaluation=str(evaluation)), MaskConfig())
    text = (tmp_path / "exported" / "README.md").read_text()
    for line in (
        "- learnt from: 3 images of 2 patients",
        "- chosen by: epoch, threshold, smallest area: 1 images",
        "- masks: threshold 0.5, none below 20 px at 0.75 or more (chosen on val); `rule.json` holds the numbers",
        "- 10 weights, computed in float32; it sees 64 x 64 pixels",
        "- unet over resnet34, whole images, contrast equalised first (CLAHE, 8x8 tiles, clip limit 2.0)",
        "- scored on test: 28 images, 14 with a pneumothorax",
        "- mean Dice, all images (empty-empty = 1): 0.612 (95 % interval 0.500–0.700; predicting nothing: 0.250)",
        "- AUC: 0.612 (95 % interval ?–0.700)",
        "--image_size=64",
    ):
        assert line in text.splitlines()
    assert "Dice 0.7500 there; threshold 0.5: 0.5000; nothing: 0.2500" in text
    assert "no medical device" in text
    for secret in ("image-1", "hash-", str(tmp_path), "records_dir", "saved_model", "onnx"):
        assert secret not in text
    assert "uint8 [1, 64, 64, 1]" in text


def test_records_that_are_there_are_counted(records, run):
    inputs = config.InputConfig(records_dir=str(records))
    rundir.write_flags(run, rundir.read_flags(run)._replace(inputs=inputs))
    manifest = json.loads((records / "dataset.json").read_text())["card"]["splits"]
    assert card.data_lines(members.find(run))[2:] == tuple(
        f"records, {split}: {manifest[split]['images']} images, {manifest[split]['positives']} with a pneumothorax"
        for split in ("train", "val")
    )


def test_places_on_somebody_s_disk_are_not_told():
    here = config.RunConfig(
        config.InputConfig(records_dir="/home/secret/records"), config.TrainConfig(run_dir="/home/secret/run"),
        network=config.ModelConfig(weights="/home/secret/encoder.h5"),
    )  # fmt: skip
    lines = list(card._setting_lines(here))
    assert "--weights=encoder.h5" in lines
    assert "secret" not in "\n".join(lines)


def test_the_rule_is_the_one_asked_for_and_stands_in_the_folder(run, tmp_path):
    done = run_export(settings(run, tmp_path), MaskConfig(threshold=0.25, min_area_px=7))
    numbers = json.loads((tmp_path / "exported" / "rule.json").read_text())
    assert numbers == {
        "threshold": 0.25, "top_threshold": 0.25, "min_area_px": 7, "origin": done.rule.origin, "gate": 0.0,
        "image_size": 64,
    }  # fmt: skip
    inside = tf.saved_model.load(str(tmp_path / "exported" / "saved_model")).signatures["rule"]()
    assert {name: value.numpy() for name, value in inside.items()} == numbers | {"origin": done.rule.origin.encode()}


@pytest.fixture
def ensemble(tmp_path, write_a_run):
    """Return a folder with a network that sees patches, one of another size, and a classifier before them."""
    images = keras.Input((None, None, 1))
    mask = keras.layers.Rescaling(9.0, offset=-4.0)(images)
    gate = keras.Model(images, {"mask": mask, "presence": keras.layers.GlobalAveragePooling2D()(mask)})
    folder = tmp_path / "all"
    for inner in ("large", "small"):
        (folder / inner).mkdir(parents=True)
    large = write_a_run(folder / "large" / "unet", mode="patch", patch_size=32)
    small = write_a_run(folder / "small" / "unet", image_size=32, clahe=False)
    asked = InferenceConfig(
        gate_dir=str(write_a_run(folder / "gate", model=gate)), member_weights=(3.0, 1.0), tta_flip=True
    )
    members.write(folder, config.RunsConfig(run_dir=f"{large},{small}"), asked)
    chosen = json.loads((large / "rule.json").read_text()) | {"gate": 0.4}
    (folder / "rule.json").write_text(json.dumps(chosen))
    return folder


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_an_ensemble_with_all_that_it_is_asked_is_one_file_of_each_kind(ensemble, tmp_path, rng):
    given = settings(ensemble, tmp_path, formats=("savedmodel", "onnx", "tflite"))
    run_export(given, MaskConfig(), InferenceConfig(tile_overlap=0.5))
    folder = tmp_path / "exported"
    noise = [rng.integers(0, top, (64, 64)).astype(np.uint8) for top in (99, 255)]
    images = np.stack([cv2.GaussianBlur(image, (5, 5), 0) for image in noise])[..., np.newaxis]
    predictor = Predictor.load(ensemble, InferenceConfig(tile_overlap=0.5))
    films = [Film(number, image, (64, 64)) for number, image in enumerate(images)]
    expected = [found for _, found in predictor.each(films, batch_size=2)]
    probabilities = np.stack([found.probabilities for found in expected])
    presence = np.array([found.presence for found in expected])
    assert presence[0] < 0.4 < presence[1]
    np.testing.assert_allclose(predictor(images)[..., 0], probabilities, atol=1e-6)

    saved = tf.saved_model.load(str(folder / "saved_model")).signatures["pixels"](images=tf.constant(images))
    np.testing.assert_allclose(saved["probabilities"][..., 0], probabilities, atol=1e-5)
    np.testing.assert_allclose(saved["score"], presence, atol=1e-5)
    rule = choice.complete(MaskConfig(), ensemble)
    assert rule.gate == 0.4
    for found, mask in zip(expected, saved["mask"].numpy()[..., 0], strict=True):
        np.testing.assert_array_equal(mask, masks.decide(found.probabilities, rule, presence=found.presence))
    assert saved["rle"].numpy()[0] == b"-1"

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    found = session.run(["probabilities", "presence"], {"images": images})
    np.testing.assert_allclose(found[0][..., 0], probabilities, atol=1e-5)
    np.testing.assert_allclose(found[1], presence, atol=1e-5)
    runner = tf.lite.Interpreter(str(folder / "model.tflite")).get_signature_runner("serving_default")
    for image, one, sure in zip(images, probabilities, presence, strict=True):
        found = runner(images=image[np.newaxis])
        np.testing.assert_allclose(found["probabilities"][0, ..., 0], one, atol=1e-5)
        np.testing.assert_allclose(found["presence"], [sure], atol=1e-5)

    text = (folder / "README.md").read_text()
    clahe = "contrast equalised first (CLAHE, 8x8 tiles, clip limit 2.0)"
    tiled = f"tiles of 32 x 32 pixels every 16, which are stitched, {clahe}"
    assert f"- unet over resnet34, {tiled}, the mean of 2 views, 75% of the mean\n" in text
    assert "- unet over resnet34, whole images, the mean of 2 views, 25% of the mean\n" in text
    assert f"- presence: unet over resnet34, whole images, {clahe}, the mean of 2 views\n" in text
    assert re.findall(r"^(\w+):\n\n```$", text, re.MULTILINE) == ["unet", "unet", "gate"]
    assert text.count("--image_size=32") == 1
    assert "`presence`" in text


def test_what_tflite_has_no_operations_for_is_told_before(run, tmp_path):
    given = settings(run, tmp_path, formats=("savedmodel", "tflite"))
    with pytest.raises(InputError, match=r"expected no --tta_rotations and --tta_scales with --formats=tflite"):
        run_export(given, MaskConfig(), InferenceConfig(tta_rotations=(5.0,)))
    assert not (tmp_path / "exported").exists()


def test_a_gate_without_one_to_say_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"expected --gate_dir, or networks with a presence logit"):
        run_export(settings(run, tmp_path), MaskConfig(gate=0.5))


def test_exporting_again_replaces_what_was_there(run, tmp_path):
    run_export(settings(run, tmp_path), MaskConfig())
    done = run_export(settings(run, tmp_path, formats=("tflite",)), MaskConfig())
    assert {path.name for path in (tmp_path / "exported").iterdir()} == {"model.tflite", "rule.json", "README.md"}
    assert done.sizes == {"model.tflite": (tmp_path / "exported" / "model.tflite").stat().st_size}
    assert {path.name for path in tmp_path.iterdir()} == {"run", "exported"}


def test_nothing_is_left_of_an_export_that_fails(run, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no space")

    monkeypatch.setattr(card, "write", fail)
    with pytest.raises(RuntimeError, match="no space"):
        run_export(settings(run, tmp_path, formats=("tflite",)), MaskConfig())
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_run_that_is_not_finished_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"run\.flags: expected a run folder written by ptxtf\.train"):
        run_export(settings(tmp_path / "nowhere", tmp_path), MaskConfig())
    (tmp_path / "run.flags").write_text("--records_dir=r\n--run_dir=d\n")
    with pytest.raises(InputError, match=r"model\.keras: expected the model of a finished run\."):
        run_export(settings(tmp_path, tmp_path), MaskConfig())
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"summary": 1, "settings": {"split": "a"}}'])
def test_scores_that_are_none_are_one_clear_line(run, tmp_path, evaluation, text):
    (evaluation / "scores.json").write_text(text)
    with pytest.raises(InputError, match=r"scores\.json: expected the scores that ptxtf\.evaluate writes"):
        run_export(settings(run, tmp_path, evaluation=str(evaluation)), MaskConfig())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"formats": ("pb",)}, "formats of savedmodel, onnx, tflite, each once"),
        ({"formats": ()}, "formats of"),
        ({"formats": ("onnx", "onnx")}, "formats of"),
        ({"formats": ("savedmodel", "onnx"), "precision": "trained"}, "precision=float32 with onnx"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ExportConfig(run_dir="r", output_dir="o", **given)
