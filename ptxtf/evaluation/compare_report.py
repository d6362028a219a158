"""A comparison of networks -> report.html and report.md."""

import urllib.parse
from collections.abc import Sequence

from ptxtf.config import CompareConfig
from ptxtf.evaluation import page
from ptxtf.evaluation.gallery import Figure
from ptxtf.evaluation.grid import Cell
from ptxtf.evaluation.tables import Table

_TITLE = "Pneumothorax segmentation: networks compared"


def html(
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
        f'<li><a href="{page.text(urllib.parse.quote(cell.name))}/test/report.html">{page.text(cell.name)}</a></li>'
        for cell in cells
    )
    return page.document(
        _TITLE,
        f"""
<p>{page.text(_compared(config))}</p>
<p class="note">{page.DISCLAIMER}</p>
{page.warnings(notes)}
{page.table(shown[0])}
<h2>Cases</h2>
<p class="note">The encoder with the best Dice over positives: radiograph, truth, {page.text(" and ".join(drawn))}.
Chosen by the Dice of {page.text(drawn[0])}, which stands below.</p>
{page.gallery(figures, drawn, in_panels=True)}
<h2>Which differences are more than chance, and what it cost</h2>
{"".join(map(page.table, shown[1:]))}
<h2>Each network's own report</h2>
<ul>{links}</ul>
""",
    )


def markdown(config: CompareConfig, shown: Sequence[Table], notes: Sequence[str]) -> str:
    """Return the same in Markdown, without pictures."""
    lines = [f"# {_TITLE}", "", _compared(config), "", page.DISCLAIMER, "", *(f"- **{note}**" for note in notes)]
    return "\n".join(lines) + "\n" + "".join(map(page.markdown_table, shown))


def _compared(config: CompareConfig) -> str:
    images = f"{config.folds} folds" if config.folds else f"split {config.split}"
    return (
        f"{', '.join(config.backbones)}; {' and '.join(config.modes)}; trained by {config.recipe}, scored on {images} "
        f"of {config.records_dir}. Intervals: 95 %, by bootstrap over patients."
    )
