"""The whole export: what lies in the folder, what the model card says, and what a wrong wish is told."""

import csv
import hashlib
import json
import re

import pytest
import tensorflow as tf

from ptxtf import config, export, rundir
from ptxtf.config import ExportConfig, MaskConfig
from ptxtf.errors import InputError
from ptxtf.exporting import card
from ptxtf.exporting.results import export as run_export

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
    export.main(settings(run, tmp_path, formats=("savedmodel", "tflite"), evaluation=str(evaluation)), MaskConfig())
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
        "- it sees 64 x 64 pixels, whole",
        "- unet over resnet34, 10 weights, computed in float32",
        "- contrast is equalised first (CLAHE, 8x8 tiles, clip limit 2.0)",
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
    there = rundir.read_flags(run)._replace(inputs=config.InputConfig(records_dir=str(records)))
    manifest = json.loads((records / "dataset.json").read_text())["card"]["splits"]
    assert card.data_lines(run, there)[2:] == tuple(
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
        "threshold": 0.25, "top_threshold": 0.25, "min_area_px": 7, "origin": done.rule.origin, "image_size": 64
    }  # fmt: skip
    inside = tf.saved_model.load(str(tmp_path / "exported" / "saved_model")).signatures["rule"]()
    assert {name: value.numpy() for name, value in inside.items()} == numbers | {"origin": done.rule.origin.encode()}


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
    with pytest.raises(InputError, match=r"model\.keras: expected a saved model\. Received: no such file"):
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
