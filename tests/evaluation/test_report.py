"""The report as a browser shows it, and what is in it."""

import html.parser

import numpy as np
import pytest

from ptxtf import config
from ptxtf.evaluation import calibration, charts, gallery, report, results, scores, tables
from ptxtf.inference.masks import Rule

NASTY = '<script>alert("x")</script>|'


@pytest.fixture
def evaluation(row, tmp_path):
    """Return an evaluation of twelve rows, four of them healthy, whose names are nasty."""
    made = [
        row(
            f"{NASTY}{number}",
            patient=str(number),
            true=10 * (number % 3),
            predicted=number,
            both=min(number, 10 * (number % 3)),
            presence=number / 12,
            age_years=10.0 * number if number else float("nan"),
            view_position=NASTY if number == 2 else "PA",
        )
        for number in range(12)
    ]
    settings = config.EvaluateConfig(run_dir=str(tmp_path / NASTY.replace("/", "-")), records_dir=NASTY, output_dir="o")
    presence = np.array([one.presence for one in made])
    return results.Evaluation(
        directory=tmp_path,
        rows=made,
        summary=scores.summarize(made, resamples=20, seed=0),
        pixels=calibration.bins(presence, presence > 0.4),
        presence=calibration.bins(presence, presence > 0.4),
        rule=Rule(0.5, 0.5, 0, origin=f"chosen on {NASTY}"),
        notes=[f"Leakage: {NASTY}"],
        seconds_per_image=0.1,
        difference={"all": scores.Difference(0.1, 0.0, 0.2, 0.03)},
        settings=settings,
    )


@pytest.fixture
def figures(evaluation):
    """Return three figures: a black film, a layer of truth, one of the prediction, one of another."""
    from ptxtf import pictures

    film = pictures.png(np.zeros((40, 40), np.uint8))
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    layers = [
        pictures.png(pictures.outline_layer(mask, mask.shape, colour))
        for colour in ((0, 0, 255), (255, 0, 0), (0, 255, 0))
    ]
    return [gallery.Figure(one, "worst", film, *layers) for one in evaluation.rows[:3]]


class Page(html.parser.HTMLParser):
    """Collects tags, the addresses they point to, and whether every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_whole_page_that_loads_nothing(evaluation, figures):
    text = report.html(evaluation, figures)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.tags.count("img") == 12
    assert page.tags.count("script") == 1
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert f"{evaluation.summary.dice['positives'].value:.4f}" in text
    assert "no medical device" in text


def test_what_comes_from_outside_is_escaped(evaluation, figures):
    text = report.html(evaluation, figures)
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;") > 15


def test_every_table_of_scores_has_the_baselines(evaluation):
    made = {table.title: table for table in tables.of(evaluation)}
    for title in ("Dice", "IoU", "Is there a pneumothorax?", "Outlines and areas", "By group"):
        assert {"predicting nothing", "predicting all"} < set(made[title].columns)
    assert made["Dice"].rows[0][-2:] == ["0.33333", f"{(4 * 20 / 410 + 4 * 40 / 420) / 12:.5f}"]  # four are empty
    for table in made.values():
        assert all(len(cells) == len(table.columns) for cells in table.rows)


def test_markdown_has_the_same_tables(evaluation):
    text = report.markdown(evaluation)
    for table in tables.of(evaluation):
        assert f"\n## {table.title}\n" in text
        for cells in table.rows:
            assert "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" in text
    assert "- **Leakage" in text


def test_the_gallery_shows_each_kind_once(row):
    positives = [row(f"p{i}", true=100, predicted=100 if i else 0, both=10 * i) for i in range(10)]
    healthy = [row(f"h{i}", predicted=i) for i in range(4)]
    chosen = [(one.image_id, why) for one, why in gallery.choose(positives + healthy, 8)]
    assert chosen == [
        ("p0", "missed"), ("p1", "worst"), ("p4", "median"), ("p5", "median"), ("p9", "best"), ("p8", "best"),
        ("h3", "false alarm"), ("h2", "false alarm"),
    ]  # fmt: skip
    assert [why for _, why in gallery.choose(positives + healthy, 5)] == [
        "missed", "worst", "median", "best", "false alarm",
    ]  # fmt: skip
    assert len(gallery.choose(positives + healthy, 99)) == 13  # the healthy one left empty is no case
    assert gallery.choose([], 8) == []


def test_a_chart_puts_points_where_they_belong():
    axis = charts.Axis("a", 0, 10)
    drawn = charts.lines("t", axis, axis, [charts.Line([(0, 0), (10, 10)], "", has_dots=True)])
    left, right = 44, 340 - 12
    top, bottom = 44, 260 - 40
    assert f'<circle cx="{left:.1f}" cy="{bottom:.1f}"' in drawn
    assert f'<circle cx="{right:.1f}" cy="{top:.1f}"' in drawn
    bars = charts.bars("t", charts.Axis("x"), charts.Axis("n", 0, 4), [("one", [1, 4]), ("two", [0, 2])])
    assert bars.count("<rect") == 4
    assert f'y="{top:.1f}"' in bars


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_tables_sort_and_outlines_fade(browser, evaluation, figures, tmp_path, scheme):
    path = tmp_path / "report.html"
    path.write_text(report.html(evaluation, figures), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme)
    problems, asked = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())

    images = page.locator("table").last
    heading = images.get_by_role("button", name="predicted (px)")
    column = [one.inner_text() for one in images.locator("th").all()].index("predicted (px)")

    def shown():
        return [int(line.locator("td").nth(column).inner_text()) for line in images.locator("tbody tr").all()]

    assert sorted(shown()) == list(range(12)) != shown()
    heading.click()
    assert shown() == list(range(12))
    heading.press("Enter")  # by keyboard
    assert shown() == list(range(12))[::-1]
    ages = images.locator("th button").nth(4)
    ages.click()
    assert images.locator("tbody tr").last.locator("td").nth(4).inner_text() == "n/a"
    ages.click()
    assert images.locator("tbody tr").last.locator("td").nth(4).inner_text() == "n/a"

    layer = page.locator("img.layer.truth").first
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "1"
    page.locator("#opacity").fill("40")
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "0.4"
    page.locator("#opacity").press("ArrowLeft")
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "0.39"
    page.get_by_label("truth").uncheck()
    assert layer.evaluate("image => getComputedStyle(image).visibility") == "hidden"
    assert page.locator("img.layer.predicted").first.evaluate("i => getComputedStyle(i).visibility") == "visible"
    sizes = page.locator("figure img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert sizes == [40] * 12

    ink, paper = page.evaluate(
        "() => [getComputedStyle(document.body).color, getComputedStyle(document.querySelector('th')).backgroundColor]"
    )
    is_bright = [sum(map(int, colour.strip("rgba() ").split(",")[:3])) > 382 for colour in (ink, paper)]
    assert is_bright == ([False, True] if scheme == "light" else [True, False])
    assert problems == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()
