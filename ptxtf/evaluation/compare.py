"""A grid of networks -> the study's Table 1 with what it left out: what `ptxtf.compare` does.

    cells ─► trained and scored, one after another ─► rows of each network ─► scores, differences ─► tables, report

A network's rows are those of all its folds. Whatever is compared is compared on the same images.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ptxtf import files, rundir
from ptxtf.config import CompareConfig
from ptxtf.data import shards
from ptxtf.data.dataset import readable
from ptxtf.errors import InputError
from ptxtf.evaluation import compare_report, gallery, grid, presence, results, scores, table1
from ptxtf.evaluation.tables import Table
from ptxtf.inference import cases
from ptxtf.training import history

_PICTURES_AT = 512
"""Height and width in pixels at which radiographs are read for the gallery."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` wrote.

    Attributes:
        directory: where to.
        tables: what was found.
        notes: what a reader must know, a line each.
        failed: names of the cells that could not be trained or scored.
    """

    directory: files.Path
    tables: Sequence[Table]
    notes: Sequence[str]
    failed: Sequence[str]


def compare(config: CompareConfig) -> Comparison:
    """Train and score all networks that are not yet, and compare them.

    Raises:
        InputError: as `grid.plan`; another process at work in the folder; not one network that was trained and scored
            on all folds; records that changed in between.
    """
    directory = files.path(config.output_dir)
    cells = grid.plan(config)
    directory.mkdir(parents=True, exist_ok=True)
    with files.locked(directory):
        failed = []
        for number, cell in enumerate(cells, start=1):
            print(f"{number}/{len(cells)} {cell.name}", flush=True)
            try:
                is_done = grid.run(cell)
            except InputError as error:
                print(error, flush=True)
                is_done = False
            if not is_done:
                failed.append(cell.name)
        done = [cell for cell in cells if cell.name not in failed]
        if not done:
            raise InputError(f"{directory}: expected a network that could be trained and scored. Received: none")
        return _conclude(directory, config, done, failed)


def _conclude(
    directory: files.Path, config: CompareConfig, cells: Sequence[grid.Cell], failed: Sequence[str]
) -> Comparison:
    """Write what follows from the networks that were scored."""
    kept = {cell.name: results.Kept.read(cell.test_dir) for cell in cells}
    networks = _networks(cells, kept, config)
    if not networks:
        raise InputError(f"{directory}: expected a network that was scored on all folds. Received: none")
    try:
        tables = [table for table in table1.of(networks, resamples=config.bootstrap, seed=config.seed) if table.rows]
    except ValueError as error:
        raise InputError(f"{directory}: the networks were scored on other records: {error}") from None
    notes = [f"{name} could not be trained or scored." for name in failed] + _notes(kept)
    pair = _pair(networks)
    files.write_csv(directory / "table1.csv", table1.COLUMNS, map(table1.plain, networks))
    files.write_text(directory / "report.md", compare_report.markdown(config, tables, notes))
    figures, drawn = _figures(config, cells, pair), [network.name for network in pair]
    files.write_text(directory / "report.html", compare_report.html(config, tables, notes, figures, drawn, cells))
    return Comparison(directory, tables, notes, failed)


def _notes(kept: Mapping[str, results.Kept]) -> list[str]:
    """Return each note once, with the networks that it is about."""
    about: dict[str, list[str]] = {}
    for name, found in kept.items():
        for note in found.notes:
            about.setdefault(note, []).append(name)
    return [f"{'All' if len(names) == len(kept) else ', '.join(names)}: {note}" for note, names in about.items()]


def _networks(
    cells: Sequence[grid.Cell], kept: Mapping[str, results.Kept], config: CompareConfig
) -> list[table1.Network]:
    """Gather the folds of each network that has all of them."""
    grouped: dict[tuple[str, str], list[grid.Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.backbone, cell.mode), []).append(cell)
    return [
        _network(parts, [kept[part.name] for part in parts], config)
        for parts in grouped.values()
        if len(parts) == max(config.folds, 1)
    ]


def _network(parts: Sequence[grid.Cell], kept: Sequence[results.Kept], config: CompareConfig) -> table1.Network:
    rows = [row for one in kept for row in one.rows]
    seconds = [row["seconds"] for part in parts for row in history.read(part.run_dir)]
    memory = [gib for part in parts if (gib := rundir.read_memory(part.run_dir)) is not None]
    return table1.Network(
        backbone=parts[0].backbone,
        mode=parts[0].mode,
        rows=rows,
        masks={image_id: mask for one in kept for image_id, mask in one.masks.items()},
        summary=scores.summarize(rows, resamples=config.bootstrap, seed=config.seed),
        auc=float(np.mean([presence.auc(one.rows) for one in kept])),
        hours=sum(seconds) / 3600,
        seconds_per_epoch=float(np.median(seconds)),
        memory_gib=max(memory, default=math.nan),
        seconds_per_image=float(np.median([one.seconds_per_image for one in kept])),
    )


def _pair(networks: Sequence[table1.Network]) -> list[table1.Network]:
    """Return the networks of the encoder that has the best one: by whole images, by patches, or both in this order."""
    backbone = table1.best(networks).backbone
    return [one for mode in ("whole", "patch") for one in networks if (one.backbone, one.mode) == (backbone, mode)]


def _figures(config: CompareConfig, cells: Sequence[grid.Cell], pair: Sequence[table1.Network]) -> list[gallery.Figure]:
    """Draw cases of one or two networks, chosen by the first."""
    splits = "+".join(dict.fromkeys(cell.split for cell in cells))
    size = shards.read_manifest(config.records_dir).image_size or _PICTURES_AT
    dataset = cases.read(config.records_dir, splits, image_size=size)
    with readable(config.records_dir):
        chosen = gallery.choose(pair[0].rows, config.gallery)
        return gallery.draw(dataset, chosen, pair[0].masks, pair[1].masks if len(pair) > 1 else {})
