"""What a reader of scores must know besides: images that the run was trained on, lengths that cannot be true."""

from collections.abc import Sequence

from ptxtf.config import EvaluateConfig
from ptxtf.data.spacing import NARROWEST_MM
from ptxtf.evaluation.rows import Row
from ptxtf.inference import choice, masks, members
from ptxtf.inference.system import System


def of(rows: Sequence[Row], config: EvaluateConfig, system: System) -> list[str]:
    """Return what is to be known, a line each."""
    return [*_leakage(rows, config, system.members), *_chosen_here(config, system.rule), *_lengths(rows)]


def _leakage(rows: Sequence[Row], config: EvaluateConfig, found: members.Members) -> list[str]:
    """Return which of the images, or of their patients, the run has learnt from."""
    trained_on = members.trained_on(found)
    if trained_on is None:
        return [
            f"{config.run_dir} does not tell what it was trained on: whether it has seen these patients is not known."
        ]
    lines = []
    for used, kind in (("trained on", "train"), ("chosen by", "val")):
        known = [case for case in trained_on if case.used == kind]
        image_ids, patients = {case.image_id for case in known}, {case.patient for case in known} - {""}
        same = sum(row.image_id in image_ids for row in rows)
        others = [row for row in rows if row.image_id not in image_ids and row.patient in patients]
        if same:
            lines.append(f"Leakage: the run was {used} {same} of these {len(rows)} images.")
        if others:
            count = len({row.patient for row in others})
            lines.append(
                f"Leakage: the run was {used} other images of the patients of {len(others)} of these {len(rows)} "
                f"images ({count} patients)."
            )
    return lines


def _chosen_here(config: EvaluateConfig, rule: masks.Rule) -> list[str]:
    chosen = choice.read(config.run_dir)
    if chosen and chosen.rule.origin in rule.origin and set(chosen.split.split("+")) & set(config.split.split("+")):
        return ["The rule for masks was chosen on these very images: scores are too high for others."]
    return []


def _lengths(rows: Sequence[Row]) -> list[str]:
    unknown = sum(row.unit == "px" for row in rows)
    if not unknown:
        return []
    line = (
        f"The pixel spacing of {unknown} of {len(rows)} images is not known, or is that of larger originals, as it "
        f"makes films narrower than {NARROWEST_MM / 10:.0f} cm: their lengths are in pixels. See --spacing_factor."
    )
    return [line]
