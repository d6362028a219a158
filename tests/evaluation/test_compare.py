"""The grid: what is planned, what goes on where it was, and what its tables say."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ptxtf import config, flags, rundir
from ptxtf.data import convert, shards
from ptxtf.errors import InputError
from ptxtf.evaluation import compare, compare_report, grid, rows, scores, table1
from ptxtf.training import processes

RECIPE = """
--val_split=val
--batch_size=4
--decoder_filters=8,8,8,8,8
--clahe=false
--rotation_degrees=0,0
--zoom=0
--flip_probability=0
--overlays=0
--precision=float32
"""


@pytest.fixture(scope="module")
def settings(records, tmp_path_factory):
    """Return a function that makes the settings of a small comparison."""
    recipe = tmp_path_factory.mktemp("recipe") / "small.flags"
    recipe.write_text(RECIPE)

    def make(output_dir, **changes):
        given = {
            "backbones": ("tiny",),
            "weights": "none",
            "epochs": 1,
            "patch_size": 32,
            "bootstrap": 20,
            "gallery": 2,
        }
        given |= {"records_dir": str(records), "output_dir": str(output_dir), "recipe": str(recipe)}
        return config.CompareConfig(**given | changes)

    return make


@pytest.fixture(scope="module")
def kfold(phantoms, tmp_path_factory):
    """Return the phantoms' records in three folds."""
    made = config.ConvertConfig(
        dicom_dir=str(phantoms / "dicom"), annotations=str(phantoms / "train-rle.csv"),
        patient_map=str(phantoms / "patient-map.csv"), output_dir=str(tmp_path_factory.mktemp("kfold")), image_size=64,
        split="kfold", folds=3, num_shards=1, workers=1,
    )  # fmt: skip
    return convert.convert(made).directory


def table(directory):
    with (directory / "table1.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def trained(cell):
    inputs, training, preprocessing, network, *_ = flags.parse(cell.train, *config.RUN)[0]
    return inputs, training, preprocessing, network


def test_the_default_grid_is_the_study_s(settings, tmp_path):
    made = settings(tmp_path, backbones=config.CompareConfig.backbones, recipe="study.flags", weights="", epochs=0)
    cells = grid.plan(made)
    assert [cell.name for cell in cells] == [
        f"{backbone}_{mode}"
        for backbone in ("vgg16", "vgg19", "resnet34", "resnet50", "densenet121", "inceptionv3")
        for mode in ("whole", "patch")
    ]
    for cell in cells:
        inputs, training, preprocessing, network = trained(cell)
        assert f"{network.backbone}_{preprocessing.mode}" == cell.name
        assert (inputs.image_size, inputs.batch_size, training.epochs, network.weights) == (512, 8, 75, "imagenet")


def test_settings_reach_every_network(settings, tmp_path):
    for cell in grid.plan(settings(tmp_path, epochs=3, image_size=96, seed=7, split="val")):
        inputs, training, preprocessing, network = trained(cell)
        assert (training.epochs, inputs.image_size, training.seed, network.weights) == (3, 96, 7, "none")
        assert preprocessing.patch_size == (32 if preprocessing.mode == "patch" else 128)
        assert training.run_dir == str(tmp_path / cell.name / "run")
        (scored,), _ = flags.parse(cell.evaluate, config.EvaluateConfig)
        assert (scored.split, scored.run_dir, scored.bootstrap) == ("val", training.run_dir, 20)


def test_each_fold_is_scored_by_a_network_that_has_not_seen_it(settings, kfold, tmp_path):
    cells = grid.plan(settings(tmp_path, records_dir=str(kfold), folds=3, modes=("whole",)))
    found = [(trained(cell)[0].train_split, trained(cell)[0].val_split, cell.split) for cell in cells]
    assert found == [("fold2", "fold1", "fold0"), ("fold0", "fold2", "fold1"), ("fold1", "fold0", "fold2")]
    without = grid.plan(settings(tmp_path, records_dir=str(kfold), folds=1, recipe="study.flags", modes=("whole",)))
    inputs = trained(without[0])[0]
    assert (inputs.train_split, inputs.val_split) == ("fold1+fold2", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": ("resnet-34",)}, r"expected --backbones of .* did you mean resnet34.* Received: resnet-34"),
        ({"recipe": "nowhere.flags"}, r"expected a flag file, .* Received: --flagfile=nowhere\.flags"),
        ({"split": "fold7"}, r"expected a split of train, val, test\. Received: split='fold7'"),
        ({"folds": 2}, r"expected at least three folds, .* Received: --folds=2, 0 in the records"),
        ({"recipe": "DRY"}, r"dry\.flags: expected no --dry_run and --cross_validate"),
        ({"records_dir": "nowhere"}, r"nowhere/dataset\.json: expected a record directory"),
    ],
)
def test_what_cannot_be_planned_is_one_clear_line(settings, tmp_path, changes, message):
    dry = tmp_path / "dry.flags"
    dry.write_text("--dry_run=true\n")
    changes = {name: str(dry) if value == "DRY" else value for name, value in changes.items()}
    with pytest.raises(InputError, match=message):
        grid.plan(settings(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": ("whole", "half")}, "expected modes of whole, patch, each once"),
        ({"modes": ()}, "expected modes of whole, patch, each once"),
        ({"backbones": ("tiny", "tiny")}, "expected backbones, each once"),
        ({"folds": 2, "split": "val"}, "expected no split with folds=2"),
    ],
)
def test_settings_out_of_range_are_refused(settings, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **changes)


def test_the_study_s_numbers_are_those_in_the_recipes():
    for (backbone, mode), numbers in table1.STUDY.items():
        text = (flags.RECIPES / f"{backbone}_{mode}.flags").read_text()
        found = re.search(r"IoU ([\d.]+) %, Dice ([\d.]+) %", text)
        assert tuple(map(float, found.groups())) == numbers


def test_several_tests_at_once_by_hand():
    assert table1.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert table1.holm([0.5, 0.6]) == [1.0, 1.0]
    assert table1.holm([]) == []


@pytest.fixture
def network(row):
    """Return a function that makes a network whose Dice over eight positives, of eight patients, is about so high."""

    def make(backbone, mode, dice):
        rng = np.random.default_rng(round(1000 * dice))
        found = [round(100 * dice) + int(rng.integers(-3, 4)) for _ in range(8)]
        made = [row(f"p{i}", patient=f"p{i}", true=100, predicted=100, both=both) for i, both in enumerate(found)]
        made += [row(f"h{i}", patient=f"h{i}", predicted=i) for i in range(2)]
        summary = scores.summarize(made, resamples=20, seed=0)
        return table1.Network(backbone, mode, made, {}, summary, 0.9, 1.5, 12.0, float("nan"), 0.02)

    return make


def test_tables_say_what_the_numbers_are(network):
    networks = [
        network("vgg16", "whole", 0.5), network("vgg16", "patch", 0.8),
        network("resnet34", "whole", 0.52), network("resnet34", "patch", 0.81),
    ]  # fmt: skip
    first, modes, best, costs = table1.of(networks, resamples=200, seed=0)
    assert all(len(cells) == len(one.columns) for one in (first, modes, best, costs) for cells in one.rows)
    assert [cells[:2] for cells in first.rows] == [
        *([one.backbone, one.mode] for one in networks), ["predicting nothing", ""], ["predicting all", ""],
    ]  # fmt: skip
    dice = networks[0].summary.dice["all"].value
    assert first.rows[0][first.columns.index("Dice")] == f"{100 * dice:.2f}"
    assert first.rows[0][first.columns.index("Dice, study")] == "72.41"
    assert first.rows[4][first.columns.index("Dice")] == "20.00"  # two of ten are healthy
    assert [cells[:3] for cells in modes.rows] == [
        [f"{name}, patch", f"{name}, whole", over]
        for name in ("vgg16", "resnet34")
        for over in ("all images", "positives")
    ]
    assert {cells[-1] for cells in modes.rows} == {"yes"}
    assert [cells[:2] for cells in best.rows[::2]] == [
        ["resnet34, whole", "vgg16, whole"],
        ["resnet34, patch", "vgg16, patch"],
    ]
    assert best.rows[3][-1] == "no"  # 0.81 and 0.80
    assert costs.rows[0][2:] == ["1.50", "12.0", "n/a", "20.0"]
    assert table1.best(networks).name == "resnet34, patch"
    for one in networks:
        assert len(table1.plain(one)) == len(table1.COLUMNS)


def test_patches_alone_are_drawn_as_such(network, settings, tmp_path):
    assert [one.name for one in compare._pair([network("vgg16", "patch", 0.5)])] == ["vgg16, patch"]
    both = [network("vgg16", "patch", 0.5), network("vgg16", "whole", 0.4), network("tiny", "whole", 0.3)]
    pair = [one.name for one in compare._pair(both)]
    assert pair == ["vgg16, whole", "vgg16, patch"]
    tables = table1.of(both, resamples=5, seed=0)
    page = compare_report.html(settings(tmp_path), tables, ["<b>"], [], pair, [])
    assert "Chosen by the Dice of vgg16, whole" in page
    assert "<b>&lt;b&gt;" not in page
    assert '<p class="warning">&lt;b&gt;</p>' in page


def test_one_network_is_compared_with_none(network):
    _, modes, best, _ = table1.of([network("tiny", "whole", 0.5)], resamples=10, seed=0)
    assert list(modes.rows) == list(best.rows) == []


@pytest.fixture(scope="module")
def compared(settings, tmp_path_factory):
    """Return the folder of a small comparison, finished, and what came of it."""
    folder = tmp_path_factory.mktemp("compared")
    return folder, compare.compare(settings(folder))


@pytest.mark.slow
@pytest.mark.long
def test_a_small_grid_is_trained_scored_and_compared(compared, records):
    folder, found = compared
    assert found.failed == []
    assert [(line["backbone"], line["mode"]) for line in table(folder)] == [("tiny", "whole"), ("tiny", "patch")]
    for line in table(folder):
        own = rows.read(folder / f"tiny_{line['mode']}" / "test" / "images.csv")
        assert float(line["dice"]) == pytest.approx(np.mean([one.dice for one in own]), rel=1e-5)
        assert int(line["images"]) == len(own) == shards.read_manifest(records).images("test")
        assert float(line["memory_gib"]) > 0.1
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == 2
    assert page.count('<span class="film">') == 2 * 4  # radiograph, truth, whole, patches
    assert 'href="tiny_patch/test/report.html"' in page
    assert "## Table 1" in (folder / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_what_is_done_is_not_done_again(compared, settings, monkeypatch, capsys):
    folder, _ = compared
    before = (folder / "table1.csv").read_bytes()
    asked = []

    def note(module, _):
        asked.append(module)
        return True

    monkeypatch.setattr(processes, "run", note)
    compare.compare(settings(folder))
    assert asked == []
    assert (folder / "table1.csv").read_bytes() == before
    kept = {path: path.read_bytes() for path in folder.glob("*/test/scores.json")}
    with pytest.raises(InputError, match=r"expected predictions\.csv and scores\.json"):  # as `note` writes none
        compare.compare(settings(folder, bootstrap=30))
    assert asked == ["ptxtf.train", "ptxtf.evaluate"] * 2  # scored anew; its training finds nothing to do
    for path, content in kept.items():
        assert not path.exists()  # nothing of before is left if it is stopped in between
        path.write_bytes(content)
    with pytest.raises(InputError, match="expected a network that could be trained and scored"):
        compare.compare(settings(folder, seed=1))
    assert capsys.readouterr().out.count("expected --seed=0, as the run was started") == 2


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("damaged", ["scores.json", "images.csv", "predictions.csv"])
def test_a_network_whose_scores_are_damaged_is_scored_anew(compared, settings, monkeypatch, damaged):
    folder, _ = compared
    path = folder / "tiny_patch" / "test" / damaged
    whole, asked = {one: one.read_bytes() for one in path.parent.iterdir()}, []

    def mend(module, _):
        asked.append(module)
        if module == "ptxtf.evaluate":
            for one, content in whole.items():
                one.write_bytes(content)
        return True

    monkeypatch.setattr(processes, "run", mend)
    path.write_text("{")
    assert compare.compare(settings(folder)).failed == []
    assert asked == ["ptxtf.train", "ptxtf.evaluate"]


@pytest.mark.slow
@pytest.mark.long
def test_a_network_that_fails_stops_no_other(settings, tmp_path, monkeypatch):
    made = settings(tmp_path, patch_size=128)  # larger than the images
    found = compare.compare(made)
    assert found.failed == ["tiny_patch"]
    assert found.notes[0] == "tiny_patch could not be trained or scored."
    assert [line["mode"] for line in table(tmp_path)] == ["whole"]
    monkeypatch.setattr(processes, "run", lambda *_: False)
    with pytest.raises(InputError, match="expected a network that could be trained and scored"):
        compare.compare(settings(tmp_path / "none"))


@pytest.mark.slow
@pytest.mark.long
def test_a_grid_that_was_killed_goes_on_where_it_was(settings, tmp_path):
    made = settings(tmp_path / "killed", epochs=2)
    command = [sys.executable, "-m", "ptxtf.compare", *flags.to_flagfile(made).splitlines()[1:]]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = tmp_path / "killed" / "tiny_patch" / "run"
    while not (second.exists() and rundir.checkpoints(second)):  # within its second epoch, or just before
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = tmp_path / "killed" / "tiny_whole" / "test" / "scores.json"
    written = first.stat().st_mtime_ns
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == written
    compare.compare(settings(tmp_path / "whole", epochs=2))
    timed = {"hours", "seconds_per_epoch", "memory_gib", "seconds_per_image"}
    one, other = (
        [{k: v for k, v in line.items() if k not in timed} for line in table(tmp_path / name)]
        for name in ("killed", "whole")
    )
    assert one == other


@pytest.mark.slow
@pytest.mark.long
def test_folds_come_together_in_one_network(settings, kfold, tmp_path):
    compare.compare(settings(tmp_path, records_dir=str(kfold), folds=2, modes=("whole",)))
    (line,) = table(tmp_path)
    manifest = shards.read_manifest(kfold)
    assert int(line["images"]) == manifest.images("fold0") + manifest.images("fold1")
    for number in range(2):
        cell = tmp_path / f"tiny_whole_fold{number}"
        scored = {one.image_id for one in rows.read(cell / "test" / "images.csv")}
        known = {one.image_id for one in rundir.read_trained_on(cell / "run")}
        assert not scored & known
        assert len(scored) == manifest.images(f"fold{number}")


@pytest.mark.slow
@pytest.mark.long
def test_the_study_s_whole_grid_in_small(settings, tmp_path):
    made = settings(tmp_path, backbones=config.CompareConfig.backbones, image_size=64)
    found = compare.compare(made)
    assert found.failed == []
    lines = table(tmp_path)
    assert len(lines) == 12
    assert {(line["backbone"], line["mode"]) for line in lines} >= set(table1.STUDY)
    dices = [float(line["dice"]) for line in lines]
    for line, dice in zip(lines, dices, strict=True):
        own = rows.read(tmp_path / f"{line['backbone']}_{line['mode']}" / "test" / "images.csv")
        assert dice == pytest.approx(np.mean([one.dice for one in own]), rel=1e-5)
    assert "densenet121_patch/test/report.html" in (tmp_path / "report.html").read_text()
