"""A run scored end to end, with a model whose answer is known, and the report that comes of it."""

import csv
import dataclasses
import html
import json
import shutil

import keras
import numpy as np
import pytest

import ptxtf
from ptxtf import config, rundir
from ptxtf import evaluate as command
from ptxtf.data import rle
from ptxtf.errors import InputError
from ptxtf.evaluation import evaluate, results
from ptxtf.evaluation import rows as image_rows
from ptxtf.inference import Predictor, choice, choose_rule

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """Return a run whose model calls every pixel darker than a quarter of full scale pneumothorax."""
    folder = tmp_path_factory.mktemp("run")
    images = keras.Input((None, None, 1))
    convolution = keras.layers.Conv2D(1, 1)
    outputs = convolution(images)
    convolution.set_weights([np.full((1, 1, 1, 1), -200.0, np.float32), np.array([50.0], np.float32)])
    keras.Model(images, outputs).save(folder / "model.keras")
    settings = config.RunConfig(
        config.InputConfig(records_dir=str(records), image_size=64),
        config.TrainConfig(run_dir=str(folder)),
        config.PreprocessConfig(clahe=False),
    )
    rundir.write_flags(folder, settings)
    return folder


@pytest.fixture
def evaluated(run, records, tmp_path):
    def make(rule=None, **settings):
        given = {"run_dir": str(run), "records_dir": str(records), "output_dir": str(tmp_path / "out"), "bootstrap": 50}
        return evaluate.evaluate(config.EvaluateConfig(**given | settings), rule or config.MaskConfig())

    return make


def rows(directory):
    with (directory / "images.csv").open(newline="") as file:
        return {row["image_id"]: row for row in csv.DictReader(file)}


def by_hand(case) -> tuple[float, int]:
    """Return Dice and predicted area of one example at the original size, in NumPy alone."""
    logits = 50 - 200 * (case["image"][..., 0] / 255)
    probabilities = 1 / (1 + np.exp(-logits))
    # bilinear to four times the size: sampling points at (i + 0.5) / 4 - 0.5, edges held
    where = np.clip((np.arange(256) + 0.5) / 4 - 0.5, 0, 63)
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, 63)
    weight = where - low
    rows_grown = probabilities[low] * (1 - weight)[:, None] + probabilities[high] * weight[:, None]
    grown = rows_grown[:, low] * (1 - weight) + rows_grown[:, high] * weight
    predicted = grown >= 0.5
    mask = case["mask"][..., 0] > 0
    total = predicted.sum() + mask.sum()
    return (2 * (predicted & mask).sum() / total if total else 1.0), int(predicted.sum())


def test_every_image_is_scored_at_its_original_size(evaluated, records):
    done = evaluated()
    found = rows(done.directory)
    cases = list(ptxtf.data.examples(records, "test", full_mask=True).as_numpy_iterator())
    assert set(found) == {case["image_id"].decode() for case in cases}
    for case in cases:
        dice, area = by_hand(case)
        row = found[case["image_id"].decode()]
        assert float(row["dice"]) == pytest.approx(dice, abs=2e-3)
        assert int(row["predicted_area_px"]) == pytest.approx(area, abs=20)
        assert int(row["area_px"]) == case["mask"].sum()


def test_the_batch_size_changes_nothing(evaluated, tmp_path):
    one = evaluated(batch_size=1, output_dir=str(tmp_path / "one"))
    four = evaluated(batch_size=4, output_dir=str(tmp_path / "four"))
    assert (one.directory / "images.csv").read_bytes() == (four.directory / "images.csv").read_bytes()


def test_parts_come_to_the_same_as_the_whole(evaluated, tmp_path):
    whole = evaluated(output_dir=str(tmp_path / "whole"))
    together = tmp_path / "together"
    assert evaluated(part="3/3", batch_size=1, output_dir=str(together)) is None
    assert evaluated(part="1/3", batch_size=2, output_dir=str(together)) is None
    assert not (together / "scores.json").exists()
    last = evaluated(part="2/3", batch_size=5, output_dir=str(together))
    assert repr(last.summary) == repr(whole.summary)  # nan is not equal to itself
    for name in ("images.csv", "predictions.csv", "report.html", "report.md"):
        assert (together / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    scored = [json.loads((folder / "scores.json").read_text()) for folder in (together, tmp_path / "whole")]
    assert scored[0]["summary"] == scored[1]["summary"]
    assert scored[0]["calibration"] == scored[1]["calibration"]


def test_parts_of_other_settings_are_not_mixed(evaluated):
    assert evaluated(part="1/2") is None
    assert evaluated(config.MaskConfig(threshold=0.7), part="2/2") is None
    assert evaluated(part="2/2") is not None
    assert evaluated(part="1/2") is not None  # is done, and so is the other


def test_what_was_stopped_goes_on_where_it_was(evaluated, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "_CHUNK", 2)
    whole = evaluated(output_dir=str(tmp_path / "whole"), batch_size=1)
    real, scored = image_rows.score, []

    def stopping(case, *args, **kwargs):
        scored.append(case["image_id"])
        if len(scored) == 4:
            raise KeyboardInterrupt
        return real(case, *args, **kwargs)

    monkeypatch.setattr(image_rows, "score", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluated(batch_size=1)
    found = evaluated(batch_size=1)
    ids = [row.image_id for row in whole.rows]
    assert scored == ids[:4] + ids[2:]  # the third and fourth were not kept
    assert list(map(repr, found.rows)) == list(map(repr, whole.rows))
    assert not list(found.directory.glob(".scored*"))


def test_what_was_kept_of_another_model_is_not_taken(evaluated, run, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    assert evaluated(run_dir=str(own), part="1/2") is None
    model = keras.saving.load_model(own / "model.keras")
    model.set_weights([-weight for weight in model.get_weights()])
    model.save(own / "model.keras")
    assert evaluated(run_dir=str(own), part="2/2") is None
    assert evaluated(run_dir=str(own), part="1/2") is not None


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(ValueError, match=r"^expected part as 2/4, the second of four\. Received: part="):
        config.EvaluateConfig(run_dir="r", records_dir="t", output_dir="o", part=part)


def test_masks_are_kept_as_kaggle_wants_them(evaluated, records):
    done = evaluated()
    with (done.directory / "predictions.csv").open(newline="") as file:
        masks = {row["ImageId"]: rle.decode(row["EncodedPixels"], (256, 256)) for row in csv.DictReader(file)}
    for row in done.rows:
        assert masks[row.image_id].sum() == row.predicted_area_px
        case = next(
            c
            for c in ptxtf.data.examples(records, "test", full_mask=True).as_numpy_iterator()
            if c["image_id"].decode() == row.image_id
        )
        assert (masks[row.image_id] & case["mask"][..., 0]).sum() == row.overlap_px


def test_scores_json_holds_the_summary_and_the_settings(evaluated):
    done = evaluated()
    content = json.loads((done.directory / "scores.json").read_text())
    dice = content["summary"]["dice"]["all"]
    assert dice["value"] == done.summary.dice["all"].value
    assert dice["all_empty"] == pytest.approx(
        np.mean([row["positive"] == "False" for row in rows(done.directory).values()])
    )
    assert content["settings"]["split"] == "test"
    half = {"threshold": 0.5, "top_threshold": 0.5, "min_area_px": 0, "gate": 0.0}
    assert content["rule"] == half | {"origin": "the default"}
    pixels = content["calibration"]["pixels"]["points"]
    assert sum(count for *_, count in pixels) == 256 * 256 * len(done.rows)


def test_nan_is_null_in_json(evaluated):
    done = evaluated(config.MaskConfig(min_area_px=256 * 256 + 1))  # so that nothing has an outline
    strata = json.loads((done.directory / "scores.json").read_text())["summary"]["others"]
    assert strata["precision"]["value"] is None


def test_a_smallest_area_empties_smaller_masks(evaluated):
    done = evaluated(config.MaskConfig(min_area_px=256 * 256 + 1))
    assert {row["predicted_area_px"] for row in rows(done.directory).values()} == {"0"}
    assert done.summary.dice["all"].value == done.summary.dice["all"].all_empty


def test_a_run_s_rule_scores_what_it_promised_and_is_named(evaluated, run, records, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(choice, "_GAIN", -1.0)  # for a network that has learnt nothing
    own, out = tmp_path / "own", tmp_path / "out"
    shutil.copytree(run, own)
    chosen = choose_rule(own, records, "val")
    assert chosen.half_dice < chosen.dice
    half = evaluated(split="val")
    assert half.summary.dice["all"].value == pytest.approx(chosen.half_dice, abs=1e-9)

    settings = {"run_dir": str(own), "records_dir": str(records), "output_dir": str(out), "split": "val"}
    asked, real = [], Predictor.of
    monkeypatch.setattr(
        Predictor, "of", lambda *given, in_pairs, **more: (asked.append(in_pairs), real(*given, **more))[1]
    )
    command.main(config.EvaluateConfig(**settings, bootstrap=20), config.MaskConfig(), config.InferenceConfig())
    printed = capsys.readouterr().out
    assert f"masks by {chosen.rule}\n" in printed
    assert asked == [True]  # in pairs, so that the batch's size does not matter
    assert "The rule for masks was chosen on these very images" in printed
    content = json.loads((out / "scores.json").read_text())
    assert content["summary"]["dice"]["all"]["value"] == pytest.approx(chosen.dice, abs=1e-9)
    assert content["rule"] == dataclasses.asdict(chosen.rule)
    assert content["rule"]["origin"] == "chosen on val"
    assert str(chosen.rule) in (out / "report.html").read_text()


def test_images_that_the_run_has_learnt_from_are_told(evaluated, run, tmp_path):
    assert "does not tell what it was trained on" in evaluated().notes[0]
    whole = evaluated().rows
    own = tmp_path / "own"
    shutil.copytree(run, own)
    first, last = whole[0], whole[-1]
    others = [row for row in whole if row.patient == first.patient and row is not first]
    seen = [
        rundir.Used(first.image_id, first.patient, "train"),
        rundir.Used("another", "of nobody here", "train"),
        rundir.Used("of the same patient", last.patient, "val"),
    ]
    rundir.write_trained_on(own, seen)
    of_last = [row for row in whole if row.patient == last.patient]
    expected = [f"Leakage: the run was trained on 1 of these {len(whole)} images."]
    if others:
        expected.append(
            "Leakage: the run was trained on other images of the patients of "
            f"{len(others)} of these {len(whole)} images (1 patients)."
        )
    expected.append(
        f"Leakage: the run was chosen by other images of the patients of {len(of_last)} of these {len(whole)} images "
        "(1 patients)."
    )
    notes = evaluated(run_dir=str(own)).notes
    assert [note for note in notes if note.startswith("Leakage")] == expected
    assert expected[0] in html.unescape((tmp_path / "out" / "report.html").read_text())
    rundir.write_trained_on(own, seen[1:2])
    assert not [note for note in evaluated(run_dir=str(own)).notes if note.startswith("Leakage")]


def test_two_evaluations_are_compared(evaluated, tmp_path):
    first = evaluated(output_dir=str(tmp_path / "first"))
    empty = config.MaskConfig(min_area_px=256 * 256 + 1)
    other = evaluated(empty, output_dir=str(tmp_path / "other"), against=str(tmp_path / "first"))
    dice = [one.summary.dice["positives"].value for one in (other, first)]
    assert other.difference["positives"].value == pytest.approx(dice[0] - dice[1])
    assert "the other run" in (tmp_path / "other" / "report.html").read_text()
    found = results.Kept.read(tmp_path / "first")
    assert list(map(repr, found.rows)) == list(map(repr, first.rows))


def test_an_evaluation_of_other_images_is_one_clear_line(evaluated, tmp_path):
    evaluated(output_dir=str(tmp_path / "first"), split="val")
    with pytest.raises(InputError, match=r"first: expected rows of the same images\. Received: \d+ and \d+"):
        evaluated(against=str(tmp_path / "first"))
    with pytest.raises(InputError, match=r"images\.csv: expected what ptxtf\.evaluate writes\. Received: no such file"):
        evaluated(against=str(tmp_path / "nowhere"))
    (tmp_path / "first" / "images.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"images\.csv: expected the rows of ptxtf\.evaluate's .* Received: columns"):
        evaluated(against=str(tmp_path / "first"))
    (tmp_path / "first" / "images.csv").write_text(",".join(image_rows.NAMES) + "\n1,2\n")
    with pytest.raises(InputError, match=r"images\.csv: expected the rows of ptxtf\.evaluate"):
        evaluated(against=str(tmp_path / "first"))


def test_an_unknown_split_is_one_clear_line(evaluated):
    with pytest.raises(InputError, match="expected a split of train, val, test"):
        evaluated(split="fold9")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (None, None, 3),
            r"expected a model for grey images, \[B, H, W, 1\]\. Received: one for \(None, None, None, 3\)",
        ),
        ((32, 32, 1), r"expected a model for images of 64 x 64 pixels\. Received: one for \(None, 32, 32, 1\)"),
    ],
)
def test_a_model_of_another_input_is_one_clear_line(evaluated, run, tmp_path, shape, message):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    images = keras.Input(shape)
    keras.Model(images, keras.layers.Conv2D(1, 1)(images)).save(own / "model.keras")
    with pytest.raises(InputError, match=rf"model\.keras: {message}"):
        evaluated(run_dir=str(own))


@pytest.mark.parametrize("damage", [lambda _: "", lambda text: text[:-4], lambda _: "[1]", lambda _: "{}x"])
def test_a_damaged_list_of_what_a_run_was_trained_on_is_one_clear_line(evaluated, run, tmp_path, damage):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    rundir.write_trained_on(own, [rundir.Used("a", "b", "train")])
    whole = (own / "trained_on.json").read_text()
    (own / "trained_on.json").write_text(damage(whole))
    with pytest.raises(InputError, match=r"trained_on\.json: expected a list of image_id, patient, used"):
        evaluated(run_dir=str(own))


def test_images_of_mixed_sizes_are_scored_each_at_its_own(evaluated, conversion, phantoms, tmp_path):
    from ptxtf.data import convert, phantom

    phantom.write_dataset(tmp_path / "small", 6, seed=8, size=128, workers=1)
    folder = tmp_path / "both"
    shutil.copytree(phantoms / "dicom", folder / "a")
    shutil.copytree(tmp_path / "small" / "dicom", folder / "b")
    labels = (phantoms / "train-rle.csv").read_text() + (tmp_path / "small" / "train-rle.csv").read_text().split(
        "\n", 1
    )[1]
    (tmp_path / "labels.csv").write_text(labels)
    mixed = conversion(
        dicom_dir=str(folder), annotations=str(tmp_path / "labels.csv"), patient_map="", image_size=0, balance=0,
        fractions=(0.0, 0.0, 1.0),
    )  # fmt: skip
    done = evaluated(records_dir=str(convert.convert(mixed).directory))
    assert {row.image_height for row in done.rows} == {128, 256}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", r"expected a saved model\. Received: a file that is no \.keras archive, or half of one"),
        (lambda content: content[: len(content) // 2], r"expected a saved model\. Received: a file that is no \.keras"),
        (lambda content: content.replace(b"class_name", b"Xlass_name"), r"expected a saved model\. Received: "),
    ],
)
def test_a_damaged_model_is_one_clear_line(evaluated, run, tmp_path, damage, message):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    (own / "model.keras").write_bytes(damage((own / "model.keras").read_bytes()))
    with pytest.raises(InputError, match=rf"^[^:]*model\.keras: {message}"):
        evaluated(run_dir=str(own))


def test_a_model_that_gives_no_numbers_is_one_clear_line(evaluated, run, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    model = keras.saving.load_model(own / "model.keras")
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    model.save(own / "model.keras")
    with pytest.raises(InputError, match=r"^[^:]*model\.keras: expected a model that gives numbers\. Received: nan$"):
        evaluated(run_dir=str(own))


def test_a_damaged_history_costs_its_curves_alone(evaluated, run, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    history = "epoch,loss,val_loss,val_dice,val_positive_dice,seconds\n1,2,3,0.5,0.5,9\n2,1,2,0.6,0.6,9\n"
    (own / "history.csv").write_text(history)
    with_curves = (evaluated(run_dir=str(own)).directory / "report.html").read_text()
    assert with_curves.count("Dice in validation") > 0
    for text in (history.replace("epoch,", "epoche,"), history[:-3] + "x", history.replace("\n1,", "\nnan,")):
        (own / "history.csv").write_text(text)
        found = (evaluated(run_dir=str(own)).directory / "report.html").read_text()
        assert "Mnan" not in found
        assert (found.count("Dice in validation") > 0) == ("nan" in text)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("images.csv", lambda lines: lines + lines[-1:]),
        ("images.csv", lambda lines: [*lines[:-1], lines[-1].replace("False", "perhaps").replace("True", "perhaps")]),
        ("images.csv", lambda lines: lines[:1]),
        ("predictions.csv", lambda lines: lines[:-1]),
        ("predictions.csv", lambda lines: [*lines[:-1], lines[-1].split(",")[0] + ",1 x"]),
        ("predictions.csv", lambda lines: ["a,b", *lines[1:]]),
        ("scores.json", lambda _: ["[" * 100_000]),
        ("scores.json", lambda _: ["{}"]),
    ],
)
def test_a_damaged_evaluation_to_compare_with_is_one_clear_line(evaluated, tmp_path, name, change):
    evaluated(output_dir=str(tmp_path / "first"))
    path = tmp_path / "first" / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(InputError, match=r"^[^:]*first.*: expected .* Received: ") as caught:
        evaluated(against=str(tmp_path / "first"))
    assert str(caught.value).count("expected ") <= 2  # the second is what the run-length text lacks
