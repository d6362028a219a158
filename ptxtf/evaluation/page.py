"""Texts, tables and pictures -> the parts of a report: a page that needs nothing but a browser, and Markdown.

Pictures, style and script are inside the page, and nothing else is loaded: a policy in its head forbids it. Every text
that came from outside is escaped.
"""

import base64
import html
import importlib.resources
from collections.abc import Sequence

from ptxtf.evaluation.gallery import Figure
from ptxtf.evaluation.tables import Table
from ptxtf.inference import findings

DISCLAIMER = f"{findings.DISCLAIMER} Do not use it to decide about a patient."
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(title: str, body: str) -> str:
    """Return a whole page, with the style and the script of all reports."""
    style, script = (
        importlib.resources.files("ptxtf.evaluation").joinpath(name).read_text("utf-8")
        for name in ("page.css", "page.js")
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{text(title)}</title><style>{style}</style></head><body>
<h1>{text(title)}</h1>{body}
<script>{script}</script></body></html>
"""


def table(of: Table) -> str:
    """Return a table whose rows can be sorted by each column."""
    kinds = ["number" if of.is_number(index) else "text" for index in range(len(of.columns))]
    head = "".join(
        f'<th class="{kind}" scope="col"><button type="button">{text(name)}</button></th>'
        for name, kind in zip(of.columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{text(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in of.rows
    )
    note = f'<p class="note">{text(of.note)}</p>' if of.note else ""
    return (
        f'<h3>{text(of.title)}</h3><div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def warnings(notes: Sequence[str]) -> str:
    """Return notes that a reader must not miss."""
    return "".join(f'<p class="warning">{text(note)}</p>' for note in notes)


def gallery(figures: Sequence[Figure], names: Sequence[str], *, in_panels: bool = False) -> str:
    """Return figures, each with all layers over one film, or with each layer over a film of its own.

    Args:
        figures: cases to look at.
        names: of the models whose masks are in them.
        in_panels: a film for each layer, and one without any.
    """
    if not figures:
        return '<p class="note">No case is shown.</p>'
    layers = [("truth", "truth"), ("predicted", names[0])]
    if any(figure.other is not None for figure in figures):
        layers.append(("other", names[1]))
    boxes = "".join(
        f'<label class="{name}"><input type="checkbox" value="{name}" checked> {text(label)}</label>'
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
    film = f'<img src="{_source(figure.image)}" alt="radiograph {text(row.image_id)}">'
    films = [film, *(film + image for image in images)] if in_panels else [film + "".join(images)]
    return (
        f'<figure><span class="films">{"".join(f"""<span class="film">{one}</span>""" for one in films)}</span>'
        f"<figcaption><b>{text(figure.why)}</b>, Dice {row.dice:.4f}<br>{text(row.image_id)}"
        "</figcaption></figure>"
    )


def _source(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def markdown_table(of: Table) -> str:
    """Return a table in Markdown, below its title."""
    rules = ["---:" if of.is_number(index) else "---" for index in range(len(of.columns))]
    rows = [list(of.columns), rules, *map(list, of.rows)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(["", f"## {of.title}", "", *lines, *(["", of.note] if of.note else []), ""])


def text(value: object) -> str:
    """Return anything as text within a page."""
    return html.escape(str(value))
