"""Evaluation and pictures -> report.html, one page that needs nothing but a browser, and report.md.

Pictures, charts, style and script are inside the page, and nothing else is loaded: a policy in its head forbids it.
Every text that came from outside is escaped.
"""

import base64
import html
import importlib.resources
import math
import urllib.parse
from collections.abc import Sequence

import numpy as np

from ptxtf import files, rundir
from ptxtf.config import CompareConfig
from ptxtf.evaluation import calibration, charts, presence, strata, tables
from ptxtf.evaluation.gallery import Figure
from ptxtf.evaluation.grid import Cell
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.results import Evaluation
from ptxtf.evaluation.tables import Table
from ptxtf.training import history

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_COMPARISON = "Pneumothorax segmentation: networks compared"
_DISCLAIMER = "Research software, no medical device. Do not use it to decide about a patient."


def page(evaluation: Evaluation, figures: Sequence[Figure]) -> str:
    """Return report.html."""
    return document(
        _title(evaluation),
        f"""
<p>{_text(_subject(evaluation))}</p>
<p class="note">{_DISCLAIMER}</p>
{_warnings(evaluation.notes)}
<h2>Summary</h2>
<div class="cards">{"".join(_cards(evaluation))}</div>
<h2>Cases</h2>
{_gallery(figures, ("prediction", "the other run's prediction"))}
<h2>Curves</h2>
<div class="charts">{"".join(_charts(evaluation))}</div>
<h2>Scores</h2>
{"".join(map(table, tables.of(evaluation)))}
{table(tables.of_images(evaluation.rows))}
""",
    )


def comparison(
    config: CompareConfig,
    shown: Sequence[Table],
    notes: Sequence[str],
    figures: Sequence[Figure],
    drawn: Sequence[str],
    cells: Sequence[Cell],
) -> str:
    """Return the report of a comparison.

    Args:
        config: what was compared.
        shown: the tables, Table 1 first.
        notes: what a reader must know, a line each.
        figures: cases to look at.
        drawn: names of the one or two networks whose masks are in them.
        cells: to whose own reports it points.
    """
    links = "".join(
        f'<li><a href="{_text(urllib.parse.quote(cell.name))}/test/report.html">{_text(cell.name)}</a></li>'
        for cell in cells
    )
    return document(
        _COMPARISON,
        f"""
<p>{_text(_compared(config))}</p>
<p class="note">{_DISCLAIMER}</p>
{_warnings(notes)}
{table(shown[0])}
<h2>Cases</h2>
<p class="note">The encoder with the best Dice over positives: radiograph, truth, {_text(" and ".join(drawn))}. Chosen
by the Dice of {_text(drawn[0])}, which stands below.</p>
{_gallery(figures, drawn, in_panels=True)}
<h2>Which differences are more than chance, and what it cost</h2>
{"".join(map(table, shown[1:]))}
<h2>Each network's own report</h2>
<ul>{links}</ul>
""",
    )


def comparison_markdown(config: CompareConfig, shown: Sequence[Table], notes: Sequence[str]) -> str:
    """Return the same in Markdown, without pictures."""
    lines = [f"# {_COMPARISON}", "", _compared(config), "", _DISCLAIMER, "", *(f"- **{note}**" for note in notes)]
    return "\n".join(lines) + "\n" + "".join(map(markdown_table, shown))


def _compared(config: CompareConfig) -> str:
    images = f"{config.folds} folds" if config.folds else f"split {config.split}"
    return (
        f"{', '.join(config.backbones)}; {' and '.join(config.modes)}; trained by {config.recipe}, scored on {images} "
        f"of {config.records_dir}. Intervals: 95 %, by bootstrap over patients."
    )


def document(title: str, body: str) -> str:
    """Return a whole page, with the style and the script of all reports."""
    style, script = (
        importlib.resources.files("ptxtf.evaluation").joinpath(name).read_text("utf-8")
        for name in ("page.css", "page.js")
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{_text(title)}</title><style>{style}</style></head><body>
<h1>{_text(title)}</h1>{body}
<script>{script}</script></body></html>
"""


def table(of: Table) -> str:
    """Return a table whose rows can be sorted by each column."""
    kinds = ["number" if of.is_number(index) else "text" for index in range(len(of.columns))]
    head = "".join(
        f'<th class="{kind}" scope="col"><button type="button">{_text(name)}</button></th>'
        for name, kind in zip(of.columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{_text(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in of.rows
    )
    note = f'<p class="note">{_text(of.note)}</p>' if of.note else ""
    return (
        f'<h3>{_text(of.title)}</h3><div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def markdown(evaluation: Evaluation) -> str:
    """Return report.md."""
    notes = [f"- **{note}**" for note in evaluation.notes]
    lines = [f"# {_title(evaluation)}", "", _subject(evaluation), "", _DISCLAIMER, "", *notes]
    return "\n".join(lines) + "\n" + "".join(map(markdown_table, tables.of(evaluation)))


def markdown_table(of: Table) -> str:
    """Return a table in Markdown, below its title."""
    rules = ["---:" if of.is_number(index) else "---" for index in range(len(of.columns))]
    rows = [list(of.columns), rules, *map(list, of.rows)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(["", f"## {of.title}", "", *lines, *(["", of.note] if of.note else []), ""])


def _title(evaluation: Evaluation) -> str:
    return f"Pneumothorax segmentation: {evaluation.settings.run_dir}"


def _subject(evaluation: Evaluation) -> str:
    summary, settings = evaluation.summary, evaluation.settings
    return (
        f"Split {settings.split} of {settings.records_dir}: {summary.images} radiographs of {summary.patients} "
        f"patients, {summary.positives} with pneumothorax. Scored at the original size, masks by {evaluation.rule}. "
        "Intervals: 95 %, by bootstrap over patients."
    )


def _warnings(notes: Sequence[str]) -> str:
    return "".join(f'<p class="warning">{_text(note)}</p>' for note in notes)


def _cards(evaluation: Evaluation) -> list[str]:
    summary = evaluation.summary
    return [
        _card("Dice, images with pneumothorax", summary.dice["positives"]),
        _card("Dice, all images", summary.dice["all"], f"predicting nothing: {summary.dice['all'].all_empty:.5f}"),
        _card("Sensitivity by image", summary.presence["sensitivity"]),
        _card("Specificity by image", summary.presence["specificity"]),
        _card("AUC by image", summary.presence["AUC"]),
    ]


def _card(label: str, score: Score, note: str = "") -> str:
    faint = " · ".join(part for part in (tables.interval(score, digits=3), note) if part)
    value = tables.number(score.value, 4)
    return f'<div class="card">{_text(label)}<b>{value}</b><span class="note">{_text(faint)}</span></div>'


def _gallery(figures: Sequence[Figure], names: Sequence[str], *, in_panels: bool = False) -> str:
    """Return the figures, each with all layers over one film, or with each layer over a film of its own."""
    if not figures:
        return (
            '<p class="note">No case is shown.</p><div class="gallery"></div><input id="opacity" type="range" hidden>'
        )
    layers = [("truth", "truth"), ("predicted", names[0])]
    if any(figure.other is not None for figure in figures):
        layers.append(("other", names[1]))
    boxes = "".join(
        f'<label class="{name}"><input type="checkbox" value="{name}" checked> {_text(label)}</label>'
        for name, label in layers
    )
    return (
        '<div class="controls"><label>Outlines <input id="opacity" type="range" min="0" max="100" value="100" '
        f'aria-label="opacity of the outlines"></label>{boxes}</div>'
        f'<div class="gallery{" panels" * in_panels}">'
        f"{''.join(_figure(one, in_panels=in_panels) for one in figures)}</div>"
    )


def _figure(figure: Figure, *, in_panels: bool) -> str:
    row = figure.row
    layers = [("truth", figure.truth), ("predicted", figure.predicted)]
    if figure.other is not None:
        layers.append(("other", figure.other))
    images = [f'<img class="layer {name}" src="{_source(content)}" alt="">' for name, content in layers]
    film = f'<img src="{_source(figure.image)}" alt="radiograph {_text(row.image_id)}">'
    films = [film, *(film + image for image in images)] if in_panels else [film + "".join(images)]
    return (
        f'<figure><span class="films">{"".join(f"""<span class="film">{one}</span>""" for one in films)}</span>'
        f"<figcaption><b>{_text(figure.why)}</b>, Dice {row.dice:.4f}<br>{_text(row.image_id)}"
        "</figcaption></figure>"
    )


def _source(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _charts(evaluation: Evaluation) -> list[str]:
    return [
        *_history(evaluation),
        _roc(evaluation),
        _by_size(evaluation),
        _reliability("Calibration of pixels", evaluation.pixels),
        _reliability("Calibration by image", evaluation.presence),
    ]


def _history(evaluation: Evaluation) -> list[str]:
    """Return the curves of the training, if its history is there."""
    run_dir = files.path(evaluation.settings.run_dir)
    rows = history.read(run_dir) if (run_dir / rundir.HISTORY).is_file() else []
    if not rows:
        return []
    epochs = charts.Axis("epoch", 1.0, max(rows[-1]["epoch"], 2.0))
    found = []
    for title, names in (
        ("Loss", {"loss": "training", "val_loss": "validation"}),
        ("Dice in validation", {"val_dice": "all images", "val_positive_dice": "positives"}),
    ):
        drawn = [
            charts.Line(
                [(row["epoch"], row[name]) for row in rows if math.isfinite(row[name])],
                label,
                style,
            )
            for (name, label), style in zip(names.items(), ("first", "second"), strict=True)
            if name in rows[0]
        ]
        top = max((value for line in drawn for _, value in line.points), default=1.0)
        if drawn:
            found.append(
                charts.lines(title, epochs, charts.Axis("", 0.0, max(top, 1e-6) if title == "Loss" else 1.0), drawn)
            )
    return found


def _roc(evaluation: Evaluation) -> str:
    rule = evaluation.summary.presence
    drawn = [charts.Line(presence.roc(evaluation.rows), f"AUC {rule['AUC'].value:.3f}")]
    if not math.isnan(rule["specificity"].value + rule["sensitivity"].value):
        at = (1 - rule["specificity"].value, rule["sensitivity"].value)
        drawn.append(charts.Line([at], "by the rule", "second", has_dots=True))
    return charts.lines(
        "Is there a pneumothorax?", charts.Axis("1 - specificity"), charts.Axis("sensitivity"), drawn, diagonal=True
    )


def _by_size(evaluation: Evaluation) -> str:
    """Return how often which Dice was reached, by size of the true mask."""
    bins = np.linspace(0, 1, 11)
    groups = []
    for name in ("small", "large"):
        dice = [row.dice for row in evaluation.rows if strata.by_area(row) == name]
        groups.append((f"{name} ({len(dice)})", np.histogram(dice, bins)[0].astype(float).tolist()))
    most = max(max(values) for _, values in groups)
    return charts.bars("Dice of positives by size", charts.Axis("Dice"), charts.Axis("images", 0, max(most, 1)), groups)


def _reliability(title: str, bins: calibration.Bins) -> str:
    drawn = charts.Line(
        [(probability, frequency) for probability, frequency, _ in calibration.points(bins)],
        f"expected calibration error {calibration.error(bins):.3f}",
        has_dots=True,
    )
    return charts.lines(title, charts.Axis("probability"), charts.Axis("frequency"), [drawn], diagonal=True)


def _text(value: object) -> str:
    return html.escape(str(value))
