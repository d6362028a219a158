"""A rule chosen for a run end to end, against deciding image by image; what is stored, and what a user may change."""

import dataclasses
import json
import re
import shutil

import cv2
import keras
import numpy as np
import pytest

import ptxtf
from ptxtf import config, predict, rundir
from ptxtf.config import MaskConfig
from ptxtf.data.convert import convert
from ptxtf.errors import InputError
from ptxtf.inference import Predictor, cases, choice, choose_rule, masks, members, rules, system
from ptxtf.inference.predictor import Film

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

STORED = {
    "threshold": 0.25, "top_threshold": 0.75, "min_area_px": 40, "split": "val", "images": 6, "dice": 0.5,
    "half_dice": 0.25, "all_empty_dice": 0.375, "gate": 0.0,
}  # fmt: skip
ALL = "train+val+test"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Return records at half size of eight pictures, 128² and 128 x 160, that a plain threshold does not do for.

    Five hold a block, surer in its middle than at its rim; three hold a speck that is as sure.
    """
    folder = tmp_path_factory.mktemp("films")
    for index in range(8):
        image = np.full((128, 128 + 32 * (index % 2)), 200, np.uint8)
        mask = np.zeros_like(image)
        if index < 5:
            image[20:68, 20:68] = 60
            image[32:56, 32:56] = 10
            mask[20:68, 20:68] = 255
        else:
            image[90:96, 20:26] = 10
        for name, pixels in (("images", image), ("masks", mask)):
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{index}.png"), pixels)
    settings = config.ConvertConfig(
        image_dir=str(folder / "images"), mask_dir=str(folder / "masks"), output_dir=str(folder / "records"),
        image_size=64, num_shards=1, fractions=(0.5, 0.25, 0.25), workers=1, balance=0,
    )  # fmt: skip
    convert(settings)
    return folder / "records"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run whose model is the surer of a pixel the darker it is: 0.88 of 10, 0.42 of 60, none of 200."""
    folder = tmp_path_factory.mktemp("run")
    images = keras.Input((None, None, 1))
    convolution = keras.layers.Conv2D(1, 1)
    outputs = convolution(images)
    convolution.set_weights([np.full((1, 1, 1, 1), -12.0, np.float32), np.array([2.5], np.float32)])
    keras.Model(images, outputs).save(folder / rundir.MODEL)
    settings = config.RunConfig(
        config.InputConfig(records_dir="records", image_size=64),
        config.TrainConfig(run_dir=str(folder)),
        config.PreprocessConfig(clahe=False),
    )
    rundir.write_flags(folder, settings)
    return folder


@pytest.fixture
def chosen(run, films):
    return choose_rule(run, films, ALL, batch_size=5)


@pytest.fixture
def stored(tmp_path):
    """Return a function that writes rule.json into a folder and returns that."""

    def write(text=""):
        (tmp_path / "rule.json").write_text(text or json.dumps(STORED))
        return tmp_path

    return write


def probabilities_of(predictor, image, size) -> np.ndarray:
    ((_, found),) = predictor.each([Film("", image, size)], batch_size=1)
    return found.probabilities


@pytest.fixture(scope="module")
def decided(run, films):
    """Return a function that gives the mean Dice of a rule by deciding image after image."""
    predictor = Predictor.load(run)
    known = []
    for case in ptxtf.data.examples(films, ALL, full_mask=True).as_numpy_iterator():
        mask = case["mask"][..., 0]
        known.append((mask, probabilities_of(predictor, case["image"], mask.shape)))

    def mean(threshold, top_threshold, min_area_px, empty=0):
        rule = masks.Rule(threshold, top_threshold, min_area_px, origin="")
        dices = [1.0] * empty  # healthy images that are left so
        for mask, probabilities in known:
            if empty and not mask.any():
                continue
            predicted = masks.decide(probabilities, rule)
            total = int(mask.sum()) + int(predicted.sum())
            dices.append(2 * int((mask & predicted).sum()) / total if total else 1.0)
        return np.mean(dices)

    return mean


def test_the_rule_scores_what_it_says_and_no_other_scores_more(chosen, decided):
    assert chosen.dice == pytest.approx(decided(chosen.threshold, chosen.top_threshold, chosen.min_area_px), abs=1e-9)
    assert chosen.half_dice == pytest.approx(decided(0.5, 0.5, 0), abs=1e-9)
    assert (chosen.images, chosen.all_empty_dice) == (8, 3 / 8)
    grid = [(low, high, area) for low in range(8, 128, 8) for high in range(low, 128, 8) for area in (0, 5, 20, 50, 99)]
    assert max(decided(low / 128, high / 128, area) for low, high, area in grid) <= chosen.dice + 1e-9


def test_the_rule_is_what_the_pictures_ask_for(chosen):
    """Rims belong to the mask, specks are too small, and only middles are as sure as these."""
    assert chosen.threshold < 0.42 < chosen.top_threshold < 0.88
    assert 0 < chosen.min_area_px <= 24 * 24
    assert chosen.half_dice < 0.45
    assert chosen.dice > 0.95


def test_the_choice_is_stored_with_the_run(run, chosen):
    content = json.loads((run / "rule.json").read_text())
    assert content == dataclasses.asdict(chosen)
    assert set(content) == set(STORED)
    assert content["split"] == ALL
    assert choice.read(run) == chosen
    assert choice.complete(MaskConfig(), run) == masks.Rule(
        chosen.threshold, chosen.top_threshold, chosen.min_area_px, origin=f"chosen on {ALL}"
    )
    assert not list(run.glob(".*"))


@pytest.fixture
def gated(run, tmp_path):
    """Return a function that gives a folder with the run behind a classifier: presence by how dark an image is."""

    def make(slope):
        images = keras.Input((None, None, 1))
        mask = keras.layers.Rescaling(slope, offset=-slope * 0.71)(images)
        presence = keras.layers.GlobalAveragePooling2D()(mask)
        (tmp_path / "gate").mkdir()
        keras.Model(images, {"mask": mask, "presence": presence}).save(tmp_path / "gate" / rundir.MODEL)
        shutil.copy(run / rundir.FLAGS, tmp_path / "gate" / rundir.FLAGS)
        asked = config.InferenceConfig(gate_dir=str(tmp_path / "gate"))
        members.write(tmp_path, config.RunsConfig(run_dir=str(run)), asked)
        return tmp_path

    return make


def test_a_gate_that_tells_is_kept(gated, films, decided, monkeypatch):
    """Blocks make an image darker than specks do: images with a block pass, the others are shut out."""
    monkeypatch.setattr(rules, "_AREAS_OF_1024", np.array([0]))  # which would tell as well
    found = choose_rule(gated(-60.0), films, ALL)
    assert found.gate > 0
    assert found.dice == pytest.approx(decided(found.threshold, found.top_threshold, 0, empty=3), abs=1e-9)
    assert found.dice > decided(found.threshold, found.top_threshold, 0) + 0.3


def test_a_gate_that_tells_the_wrong_way_round_is_not_kept(gated, films, chosen):
    """So that on the split that it is chosen on a gate never lowers the score."""
    found = choose_rule(gated(60.0), films, ALL)
    assert dataclasses.replace(found, gate=0.0) == found == chosen


def test_a_gate_that_the_rule_has_no_use_for_is_not_loaded(gated):
    folder = gated(-60.0)
    assert Predictor.load(folder).gate
    for gate in (0.0, 0.5):
        found = system.load(folder, MaskConfig(threshold=0.5, gate=gate))
        assert (bool(found.predictor.gate), bool(found.members.gate)) == (gate > 0, gate > 0)


def test_a_gate_without_one_to_say_is_refused(run, films, tmp_path):
    settings = config.PredictConfig(run_dir=str(run), output_dir=str(tmp_path))
    with pytest.raises(
        InputError, match=r"expected --gate_dir, or networks with a presence logit .* with a gate of 0.5"
    ):
        predict.main(settings, MaskConfig(gate=0.5), config.InferenceConfig(), [str(films.parent / "images")])


def test_the_batch_size_changes_nothing(run, films, chosen):
    assert choose_rule(run, films, ALL, batch_size=4) == chosen


def test_an_overlap_needs_tiles(run):
    with pytest.raises(InputError, match=r"expected --tile_size with --tile_overlap, as the networks were trained on"):
        Predictor.load(run, config.InferenceConfig(tile_overlap=0.5))
    message = (
        r"expected tiles \(.*\) no larger than its images \(--at_size\)\. Received: tiles of 65 pixels, images of 64"
    )
    with pytest.raises(InputError, match=message):
        Predictor.load(run, config.InferenceConfig(tile_size=65))


def test_more_tiles_than_memory_holds_are_refused(run):
    """Along each side one of 1,024 pixels has (4,096 - 1,024) / 4 + 1 = 769 places."""
    asked = config.InferenceConfig(at_size=4096, tile_size=1024, tile_overlap=1 - 4 / 1024)
    message = r"at most 1073741824 pixels for an image, .* Received: 591361 pictures of 1024 x 1024 pixels"
    with pytest.raises(InputError, match=message):
        Predictor.load(run, asked)


def test_a_choice_in_words():
    assert str(choice.Choice(**STORED)) == (
        "threshold 0.25, none below 40 px at 0.75 or more (chosen on val): "
        "Dice 0.5000 there; threshold 0.5: 0.2500; nothing: 0.3750"
    )


def test_predictions_go_by_the_run_s_rule(run, films, chosen, tmp_path, capsys):
    settings = config.PredictConfig(run_dir=str(run), output_dir=str(tmp_path))
    predict.main(settings, MaskConfig(), config.InferenceConfig(), [str(films.parent / "images")])
    said = f"threshold {chosen.threshold}, none below {chosen.min_area_px} px at {chosen.top_threshold} or more"
    assert f"8 radiographs, 5 with pneumothorax, 0 not readable\nmasks by {said} (chosen on {ALL})\n" in (
        capsys.readouterr().out
    )
    predict.main(settings, MaskConfig(threshold=0.5), config.InferenceConfig(), [str(films.parent / "images")])
    assert "8 radiographs, 8 with pneumothorax, 0 not readable\nmasks by threshold 0.5 (as given)\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("given", "numbers", "origin"),
    [
        ({}, (0.25, 0.75, 40), "chosen on val"),
        ({"threshold": 0.3}, (0.3, 0.3, 0), "as given"),
        ({"threshold": 0.3, "min_area_px": 9}, (0.3, 0.3, 9), "as given"),
        ({"threshold": 0.3, "top_threshold": 0.6, "min_area_px": 9}, (0.3, 0.6, 9), "as given"),
        ({"min_area_px": 0}, (0.25, 0.75, 0), "chosen on val, but min_area_px as given"),
        ({"top_threshold": 0.5}, (0.25, 0.5, 40), "chosen on val, but top_threshold as given"),
        (
            {"top_threshold": 0.5, "min_area_px": 7},
            (0.25, 0.5, 7),
            "chosen on val, but top_threshold and min_area_px as given",
        ),
    ],
)
def test_what_is_given_comes_before_what_was_chosen(stored, given, numbers, origin):
    rule = choice.complete(MaskConfig(**given), stored())
    assert dataclasses.astuple(rule) == (*numbers, origin, 0.0)


@pytest.mark.parametrize(
    ("given", "numbers", "origin"),
    [
        ({}, (0.5, 0.5, 0), "the default"),
        ({"threshold": 0.3}, (0.3, 0.3, 0), "as given"),
        ({"min_area_px": 9}, (0.5, 0.5, 9), "the default, but min_area_px as given"),
    ],
)
def test_a_run_without_a_choice_goes_by_one_half(tmp_path, given, numbers, origin):
    assert dataclasses.astuple(choice.complete(MaskConfig(**given), tmp_path)) == (*numbers, origin, 0.0)


def test_a_given_top_threshold_below_the_chosen_one_is_one_clear_line(stored):
    with pytest.raises(InputError, match=r"threshold <= top_threshold.* Received: threshold=0\.25, top_threshold=0\.2"):
        choice.complete(MaskConfig(top_threshold=0.2), stored())


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", "5", '{"threshold": 0.5}',
        json.dumps(STORED | {"more": 1}),
        json.dumps(STORED | {"threshold": 0.8}),
        json.dumps(STORED | {"threshold": "0.5"}),
        json.dumps(STORED | {"min_area_px": 2.5}),
        json.dumps(STORED | {"min_area_px": -1}),
        json.dumps(STORED | {"threshold": float("nan")}),
    ],
)  # fmt: skip
def test_a_damaged_rule_is_one_clear_line(stored, text):
    folder = stored(text)
    message = re.escape(f"{folder / 'rule.json'}: expected a rule as ptxtf.train writes it. Received: ")
    with pytest.raises(InputError, match=message):
        choice.complete(MaskConfig(), folder)
    assert choice.complete(MaskConfig(threshold=0.5), folder).threshold == 0.5  # who needs none reads none


def test_a_folder_without_a_finished_run_is_one_clear_line(tmp_path, films):
    with pytest.raises(InputError, match=r"run\.flags: expected a run folder"):
        choose_rule(tmp_path, films, "val")


def test_a_split_without_images_is_one_clear_line(films, tmp_path):
    manifest = json.loads((films / "dataset.json").read_text())
    (shard,) = manifest["splits"]["val"]
    shard["images"] = 0
    (tmp_path / shard["name"]).write_bytes(b"")
    (tmp_path / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"expected images in split 'val'\. Received: none"):
        cases.read(tmp_path, "val", image_size=64)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": 1.0}, "threshold from 0 to below 1"),
        ({"threshold": float("nan")}, "threshold from 0 to below 1"),
        ({"top_threshold": -0.1}, "top_threshold from 0 to below 1"),
        ({"min_area_px": -2}, "min_area_px from -1 to below"),
        ({"threshold": 0.5, "top_threshold": 0.4, "min_area_px": 9}, "top_threshold of at least threshold"),
        ({"threshold": 0.5, "top_threshold": 0.6}, "min_area_px above 0 with top_threshold"),
        ({"top_threshold": 0.6, "min_area_px": 0}, "min_area_px above 0 with top_threshold"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given, message):
    with pytest.raises(ValueError, match=f"^expected {message}"):
        MaskConfig(**given)


@pytest.mark.parametrize("numbers", [(0.0, 0.5, 0), (0.6, 0.5, 0), (0.5, 1.0, 0), (0.5, 0.5, -1)])
def test_numbers_that_are_no_rule_are_refused(numbers):
    with pytest.raises(ValueError, match=r"^expected 0 < threshold <= top_threshold < 1 .* Received: threshold="):
        masks.Rule(*numbers, origin="")


def test_damaged_records_are_named_and_not_the_model(run, records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    for shard in copy.glob("val-*"):
        shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"^{copy}: expected whole records; "):
        choose_rule(run, copy, "val")
