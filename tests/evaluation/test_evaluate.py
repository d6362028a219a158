"""A run scored end to end, with a model whose answer is known, and the report that comes of it."""

import csv
import dataclasses
import html.parser
import json
import shutil

import keras
import numpy as np
import pytest

import ptxtf
from ptxtf import config, rundir
from ptxtf import evaluate as command
from ptxtf.errors import InputError
from ptxtf.evaluation import evaluate, report, scores
from ptxtf.inference import choice, choose_rule, masks

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


def test_scores_json_holds_the_summary_and_the_settings(evaluated):
    done = evaluated()
    content = json.loads((done.directory / "scores.json").read_text())
    assert content["summary"]["dice"]["value"] == done.summary["dice"].value
    assert content["summary"]["all_empty_dice"] == pytest.approx(
        np.mean([row["positive"] == "False" for row in rows(done.directory).values()])
    )
    assert content["settings"]["split"] == "test"
    assert content["rule"] == {"threshold": 0.5, "top_threshold": 0.5, "min_area_px": 0, "origin": "the default"}


def test_nan_is_null_in_json(evaluated, monkeypatch):
    real = scores.summarize
    monkeypatch.setattr(scores, "summarize", lambda rows, **kw: real([r for r in rows if not r.positive], **kw))
    done = evaluated()
    assert json.loads((done.directory / "scores.json").read_text())["summary"]["positive_dice"]["value"] is None


def test_a_smallest_area_empties_smaller_masks(evaluated):
    done = evaluated(config.MaskConfig(min_area_px=256 * 256 + 1))
    assert {row["predicted_area_px"] for row in rows(done.directory).values()} == {"0"}
    assert done.summary["dice"].value == done.summary["all_empty_dice"]


def test_a_run_s_rule_scores_what_it_promised_and_is_named(evaluated, run, records, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(choice, "_GAIN", -1.0)  # for a network that has learnt nothing
    own, out = tmp_path / "own", tmp_path / "out"
    shutil.copytree(run, own)
    chosen = choose_rule(own, records, "val")
    assert chosen.half_dice < chosen.dice
    half = evaluated(split="val")
    assert half.summary["dice"].value == pytest.approx(chosen.half_dice, abs=1e-9)

    settings = {"run_dir": str(own), "records_dir": str(records), "output_dir": str(out), "split": "val"}
    command.main(config.EvaluateConfig(**settings, bootstrap=20), config.MaskConfig())
    assert f"masks by {chosen.rule}\n" in capsys.readouterr().out
    content = json.loads((out / "scores.json").read_text())
    assert content["summary"]["dice"]["value"] == pytest.approx(chosen.dice, abs=1e-9)
    assert content["rule"] == dataclasses.asdict(chosen.rule)
    assert content["rule"]["origin"] == "chosen on val"
    assert f"masks by\n{chosen.rule}." in (out / "report.html").read_text()


def test_an_unknown_split_is_one_clear_line(evaluated):
    with pytest.raises(InputError, match="expected a split of train, val, test"):
        evaluated(split="fold9")


class Page(html.parser.HTMLParser):
    """Collects tags, the addresses they point to, and whether every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_whole_page_that_loads_nothing(evaluated):
    done = evaluated(gallery=4)
    text = (done.directory / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.tags.count("img") > 0
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "script" not in page.tags
    assert f"{done.summary['dice'].value:.4f}" in text
    assert f"{done.summary['all_empty_dice']:.4f}" in text
    assert "no medical device" in text


def image_score(name, *, positive=True, area=5, dice=0.5):
    return scores.ImageScore(name, "p", positive, 5 * positive, area, 0.5, dice, dice)


def test_the_report_escapes_what_comes_from_outside():
    nasty = '<script>alert("x")</script>'
    row = image_score(nasty)
    summary = scores.summarize([row], resamples=3, seed=0)
    settings = {"run_dir": nasty, "records_dir": "r", "split": "test"}
    rule = masks.Rule(0.5, 0.5, 0, origin=f"chosen on {nasty}")
    text = report.page(summary, [row], [report.Figure(b"", row, "worst")], settings, rule)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4


def test_the_gallery_shows_each_kind_once():
    positives = [image_score(f"p{i}", dice=i / 10, area=0 if i == 0 else 5) for i in range(10)]
    healthy = [image_score(f"h{i}", positive=False, area=i, dice=float(i == 0)) for i in range(4)]
    chosen = {row.image_id: why for row, why in evaluate.choose_gallery(positives + healthy, 8)}
    assert chosen == {
        "p0": "missed", "p1": "worst", "p4": "middle", "p5": "middle", "p9": "best", "p8": "best",
        "h3": "false alarm", "h2": "false alarm",
    }  # fmt: skip
    assert evaluate.choose_gallery([], 8) == []
