"""A run and its validation split -> rule.json; and rule.json and a user's wishes -> the rule that masks are made by."""

import dataclasses
import json

import numpy as np

from ptxtf import files, rundir
from ptxtf.config import MaskConfig, check_fields
from ptxtf.data.dataset import readable
from ptxtf.errors import InputError
from ptxtf.inference import cases, rules
from ptxtf.inference.masks import Rule
from ptxtf.inference.predictor import Found, Predictor

_GAIN = 0.01
"""A rule that beats leaving all masks empty by less than this hardly finds anything; then 0.5 is kept."""

_HALF = (rules.HALF, 0, rules.HALF)
"""Where a threshold of 0.5 and nothing else stands in a grid."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What rule.json holds: the numbers of a `masks.Rule`, and how they came about."""

    threshold: float
    top_threshold: float
    min_area_px: int
    split: str
    """That the rule was chosen on."""
    images: int
    """How many it has."""
    dice: float
    """Mean over them (empty-empty = 1) by this rule; the highest of many, so too high for other images."""
    half_dice: float
    """Mean Dice by a threshold of 0.5 and nothing else."""
    all_empty_dice: float
    """What predicting nothing would score."""
    gate: float = 0.0
    """Of presence; 0: none."""

    @property
    def rule(self) -> Rule:
        """The rule itself."""
        origin = f"chosen on {self.split}"
        return Rule(self.threshold, self.top_threshold, self.min_area_px, origin=origin, gate=self.gate)

    def __str__(self) -> str:
        scores = f"Dice {self.dice:.4f} there; threshold 0.5: {self.half_dice:.4f}; nothing: {self.all_empty_dice:.4f}"
        return f"{self.rule}: {scores}"


def choose_rule(run_dir: files.Name, records_dir: files.Name, split: str, *, batch_size: int = 8) -> Choice:
    """Choose the rule that gives the highest mean Dice on a split at the original size; write rule.json to the folder.

    Where the networks say whether there is a pneumothorax, a gate is chosen too. To have none is tried as well, so that
    on this split a gate never lowers the score.

    A weak network's best rule is to find next to nothing. One that does not beat that by 0.01 keeps a threshold of 0.5.

    Args:
        run_dir: the folder of a finished run or of an ensemble.
        records_dir: record directory made by tools.make_tfrecords.
        split: name of a split that the run was not trained on and will not be judged by; several are joined by "+".
        batch_size: images that are computed together.

    Raises:
        InputError: no finished run, no records, an unknown or empty split, a model that gives no numbers.

    Example:
        >>> ptxtf.inference.choose_rule("runs/densenet121", "tfrecords", "val").rule
    """
    predictor = Predictor.load(run_dir)
    dataset = cases.read(records_dir, split, image_size=predictor.image_size)
    with readable(records_dir):
        found = cases.predict(predictor, dataset, batch_size=batch_size, title="choosing a rule")
        parts = [_count(one, case["mask"], files.path(run_dir)) for case, one in found]
    choice = _choose(rules.merge(parts), split)
    files.write_json(files.path(run_dir) / rundir.RULE, dataclasses.asdict(choice))
    return choice


def _count(found: Found, mask: np.ndarray, run_dir: files.Path) -> rules.Counts:
    try:
        return rules.count(found.probabilities, mask, presence=found.presence)
    except ValueError as error:
        raise InputError(f"{run_dir}: {error}") from None


def _choose(counts: rules.Counts, split: str) -> Choice:
    areas_px = rules.areas_to_try(counts)
    means, gate = rules.mean_dice(counts, areas_px), 0.0
    half_dice, place = float(means[_HALF]), rules.best(means)
    dice = float(means[place])
    for other in rules.gates_to_try(counts):
        means = rules.mean_dice(counts, areas_px, gate=other)
        there = rules.best(means)
        if means[there] > dice:
            dice, gate, place = float(means[there]), other, there
    all_empty_dice = float(np.mean(counts.area_px == 0))
    if dice < all_empty_dice + _GAIN:
        dice, gate, place = half_dice, 0.0, _HALF
    top, area, bottom = place
    return Choice(
        threshold=float(rules.THRESHOLDS[bottom]),
        top_threshold=float(rules.THRESHOLDS[top]),
        min_area_px=int(areas_px[area]),
        split=split,
        images=len(counts.area_px),
        dice=dice,
        half_dice=half_dice,
        all_empty_dice=all_empty_dice,
        gate=gate,
    )


def complete(config: MaskConfig, run_dir: files.Name) -> Rule:
    """Return the rule that a user means: what is given, else what the run chose, else a threshold of 0.5.

    Raises:
        InputError: a damaged rule.json; a given threshold that does not go with a chosen one.
    """
    given = {name: value for name, value in vars(config).items() if value != getattr(MaskConfig, name)}
    if config.threshold:
        base = Rule(config.threshold, config.threshold, 0, origin="as given")
    else:
        base = _of_run(run_dir)
        given["origin"] = f"{base.origin}, but {' and '.join(given)} as given" if given else base.origin
    try:
        rule = dataclasses.replace(base, **given)
    except ValueError as error:
        raise InputError(str(error)) from None
    if config.top_threshold and not rule.min_area_px:
        raise InputError(
            "expected --min_area_px above 0 with --top_threshold, as the run's rule has none. "
            f"Received: --top_threshold={config.top_threshold}"
        )
    return rule


def _of_run(run_dir: files.Name) -> Rule:
    choice = read(run_dir)
    folder = files.path(run_dir)
    if choice is None and (folder / rundir.ENSEMBLE).is_file():
        raise InputError(f"{folder / rundir.RULE}: expected a finished ensemble or --threshold. Received: no file")
    return choice.rule if choice else Rule(0.5, 0.5, 0, origin="the default")


def read(run_dir: files.Name) -> Choice | None:
    """Return what rule.json holds; None where the run has none.

    Raises:
        InputError: the file holds something else.
    """
    path = files.path(run_dir) / rundir.RULE
    if not path.is_file():
        return None
    try:
        choice = Choice(**json.loads(path.read_text(encoding="utf-8")))
        check_fields(choice)
        _ = choice.rule
    except (OSError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise InputError(f"{path}: expected a rule as ptxtf.train writes it. Received: {error}") from None
    return choice
