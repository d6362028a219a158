"""Evaluation and pictures -> report.html and report.md."""

import math
from collections.abc import Sequence

import numpy as np

from ptxtf import files
from ptxtf.errors import InputError
from ptxtf.evaluation import calibration, charts, page, presence, strata, tables
from ptxtf.evaluation.gallery import Figure
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.results import Evaluation
from ptxtf.training import history


def html(evaluation: Evaluation, figures: Sequence[Figure]) -> str:
    """Return report.html."""
    return page.document(
        _title(evaluation),
        f"""
<p>{page.text(_subject(evaluation))}</p>
<p class="note">{page.DISCLAIMER}</p>
{page.warnings(evaluation.notes)}
<h2>Summary</h2>
<div class="cards">{"".join(_cards(evaluation))}</div>
<h2>Cases</h2>
{page.gallery(figures, ("prediction", "the other run's prediction"))}
<h2>Curves</h2>
<div class="charts">{"".join(_charts(evaluation))}</div>
<h2>Scores</h2>
{"".join(map(page.table, tables.of(evaluation)))}
{page.table(tables.of_images(evaluation.rows))}
""",
    )


def markdown(evaluation: Evaluation) -> str:
    """Return report.md."""
    notes = [f"- **{note}**" for note in evaluation.notes]
    lines = [f"# {_title(evaluation)}", "", _subject(evaluation), "", page.DISCLAIMER, "", *notes]
    return "\n".join(lines) + "\n" + "".join(map(page.markdown_table, tables.of(evaluation)))


def _title(evaluation: Evaluation) -> str:
    return f"Pneumothorax segmentation: {evaluation.settings.run_dir}"


def _subject(evaluation: Evaluation) -> str:
    summary, settings = evaluation.summary, evaluation.settings
    return (
        f"Split {settings.split} of {settings.records_dir}: {summary.images} radiographs of {summary.patients} "
        f"patients, {summary.positives} with pneumothorax. Scored at the original size, masks by {evaluation.rule}. "
        "Intervals: 95 %, by bootstrap over patients."
    )


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
    return f'<div class="card">{page.text(label)}<b>{value}</b><span class="note">{page.text(faint)}</span></div>'


def _charts(evaluation: Evaluation) -> list[str]:
    return [
        *_history(evaluation),
        _roc(evaluation),
        _by_size(evaluation),
        _reliability("Calibration of pixels", evaluation.pixels),
        _reliability("Calibration by image", evaluation.presence),
    ]


def _history(evaluation: Evaluation) -> list[str]:
    """Return the curves of the training, if its history is there and whole."""
    try:
        rows = [row for row in history.read(files.path(evaluation.settings.run_dir)) if math.isfinite(row["epoch"])]
    except InputError:  # which is the training's to mend
        return []
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
    drawn = [charts.Line(presence.roc(evaluation.rows), f"AUC {tables.number(rule['AUC'].value, 3)}")]
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
