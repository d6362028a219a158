"""Scores, rows and overlay pictures -> report.html: one page that needs nothing but a browser.

Pictures are inside the page as PNG, styles too; there is no script. Every text that came from outside is escaped.
"""

import base64
import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ptxtf.evaluation.scores import ImageScore, Mean
from ptxtf.inference.masks import Rule

_NAMES = {
    "dice": "Dice, all images (empty-empty = 1, as on Kaggle and in the study)",
    "iou": "IoU, all images (empty-empty = 1)",
    "positive_dice": "Dice, images with pneumothorax",
    "positive_iou": "IoU, images with pneumothorax",
    "sensitivity": "Sensitivity by image",
    "specificity": "Specificity by image",
}

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; }
.note { color: #888; } .truth { color: #3d9bd1; } .predicted { color: #c98700; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; display: block; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
.scroll { max-height: 32rem; overflow: auto; font-size: .85rem; }
"""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One picture of the gallery: PNG bytes, the case's scores, and why it was chosen."""

    png: bytes
    row: ImageScore
    why: str


def page(
    summary: Mapping[str, Any],
    rows: Sequence[ImageScore],
    gallery: Sequence[Figure],
    settings: Mapping[str, Any],
    rule: Rule,
) -> str:
    """Return the page.

    Args:
        summary: of `scores.summarize`.
        rows: one per image.
        gallery: pictures to show.
        settings: of `ptxtf.config.EvaluateConfig`.
        rule: that made the masks.
    """
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ptxtf: {_text(settings["run_dir"])} on {_text(settings["split"])}</title><style>{_STYLE}</style></head><body>
<h1>Pneumothorax segmentation: {_text(settings["run_dir"])}</h1>
<p>Split <b>{_text(settings["split"])}</b> of {_text(settings["records_dir"])}: {summary["images"]} radiographs,
{summary["positives"]} with pneumothorax. Scored at the original size, masks by
{_text(rule)}. <span class="note">Research software, no medical device.</span></p>
<h2>Scores</h2>
{_score_table(summary)}
<p class="note">Predicting no pneumothorax at all would score a Dice of {summary["all_empty_dice"]:.4f} over all images.
Intervals: 95 %, bootstrap over patients.</p>
<h2>Cases</h2>
<p><span class="truth">Truth blue</span>, <span class="predicted">prediction orange</span>.</p>
<div class="gallery">{"".join(map(_figure, gallery))}</div>
<h2>All images</h2>
<div class="scroll">{_row_table(rows)}</div>
</body></html>
"""


def _score_table(summary: Mapping[str, Any]) -> str:
    lines = [
        f'<tr><td>{label}</td><td class="number">{_number(summary[name].value)}</td>'
        f'<td class="number">{_interval(summary[name])}</td></tr>'
        for name, label in _NAMES.items()
    ]
    head = '<tr><th>Score</th><th class="number">mean</th><th class="number">95 % interval</th></tr>'
    return f"<table>{head}{''.join(lines)}</table>"


def _figure(figure: Figure) -> str:
    encoded = base64.b64encode(figure.png).decode()
    row = figure.row
    return (
        f'<figure><img src="data:image/png;base64,{encoded}" alt="radiograph {_text(row.image_id)} with outlines">'
        f"<figcaption><b>{_text(figure.why)}</b>, Dice {_number(row.dice)}<br>{_text(row.image_id)}</figcaption>"
        "</figure>"
    )


def _row_table(rows: Sequence[ImageScore]) -> str:
    lines = [
        f"<tr><td>{_text(row.image_id)}</td><td>{'yes' if row.positive else 'no'}</td>"
        f'<td class="number">{row.area_px}</td><td class="number">{row.predicted_area_px}</td>'
        f'<td class="number">{row.probability:.3f}</td><td class="number">{_number(row.dice)}</td>'
        f'<td class="number">{_number(row.iou)}</td></tr>'
        for row in sorted(rows, key=lambda row: row.dice)
    ]
    head = (
        '<tr><th>image</th><th>pneumothorax</th><th class="number">area (px)</th><th class="number">predicted (px)</th>'
        '<th class="number">probability</th><th class="number">Dice</th><th class="number">IoU</th></tr>'
    )
    return f"<table>{head}{''.join(lines)}</table>"


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def _interval(mean: Mean) -> str:
    return "n/a" if math.isnan(mean.low) else f"{mean.low:.4f} … {mean.high:.4f}"


def _text(value: object) -> str:
    return html.escape(str(value))
