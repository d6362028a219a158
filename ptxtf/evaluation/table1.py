"""Networks with their rows -> the study's Table 1, what it left out, and which differences are more than chance.

The study (Dašić et al.) gives IoU and Dice in percent, without intervals, and without the mean over positives alone.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from ptxtf.evaluation import scores
from ptxtf.evaluation.ratios import Score
from ptxtf.evaluation.rows import Row
from ptxtf.evaluation.tables import Table, interval, number

STUDY = {
    ("vgg16", "whole"): (70.33, 72.41),
    ("vgg16", "patch"): (71.02, 72.96),
    ("resnet34", "whole"): (73.54, 75.36),
    ("resnet34", "patch"): (72.23, 73.47),
    ("resnet50", "whole"): (74.28, 76.21),
    ("resnet50", "patch"): (72.45, 74.12),
    ("densenet121", "whole"): (76.92, 78.81),
    ("densenet121", "patch"): (75.73, 77.24),
    ("inceptionv3", "whole"): (74.92, 77.12),
    ("inceptionv3", "patch"): (75.26, 77.89),
}
"""IoU and Dice of the study's Table 1, in percent, over all test images, empty-empty = 1; VGG19 is not in it."""

COLUMNS = [
    *("backbone", "mode", "images", "positives"),
    *("iou", "iou_low", "iou_high", "study_iou", "dice", "dice_low", "dice_high", "study_dice"),
    *("positive_dice", "positive_dice_low", "positive_dice_high", "all_empty_dice", "all_full_dice"),
    *("sensitivity", "specificity", "auc", "hours", "seconds_per_epoch", "memory_gib", "seconds_per_image"),
]
"""Of table1.csv; scores are 0..1."""

_SIGNIFICANT = 0.05


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that was trained and scored.

    Attributes:
        backbone: its encoder.
        mode: "whole" or "patch".
        rows: of all test images.
        masks: the network's, as run-length text by image id.
        summary: what the rows say together.
        auc: is there a pneumothorax, by image: mean over folds of the area under the ROC curve, as networks of other
            folds are sure in other ways.
        hours: of all epochs.
        seconds_per_epoch: median.
        memory_gib: the most that an epoch has taken; nan: not known.
        seconds_per_image: median time of prediction.
    """

    backbone: str
    mode: str
    rows: Sequence[Row]
    masks: Mapping[str, str]
    summary: scores.Summary
    auc: float
    hours: float
    seconds_per_epoch: float
    memory_gib: float
    seconds_per_image: float

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.backbone}, {self.mode}"


def of(networks: Sequence[Network], *, resamples: int, seed: int) -> list[Table]:
    """Return the tables; those that compare have no rows where there is nothing to compare.

    Args:
        networks: at least one.
        resamples: of the bootstrap behind a difference's interval.
        seed: of the bootstrap.
    """
    pairs = [(patch, whole) for whole in networks for patch in networks if _is_pair(whole, patch)]
    rivals = [
        (first, other)
        for mode in dict.fromkeys(one.mode for one in networks)
        for first in [best([one for one in networks if one.mode == mode])]
        for other in networks
        if other.mode == mode and other is not first
    ]
    return [
        _scores(networks),
        _differences("Patches less whole images", pairs, resamples, seed),
        _differences("The best of each mode less the others", rivals, resamples, seed),
        _costs(networks),
    ]


def best(networks: Sequence[Network]) -> Network:
    """Return the network with the highest Dice over positives; of equal ones, and without positives, the first."""
    return max(networks, key=lambda one: -math.inf if math.isnan(_positive(one).value) else _positive(one).value)


def plain(network: Network) -> list[object]:
    """Return a row of table1.csv."""
    dice, iou = network.summary.dice["all"], network.summary.iou["all"]
    study_iou, study_dice = (percent / 100 for percent in _of_study(network))
    positive, presence = _positive(network), network.summary.presence
    values = [
        *(iou.value, iou.low, iou.high, study_iou, dice.value, dice.low, dice.high, study_dice),
        *(positive.value, positive.low, positive.high, dice.all_empty, dice.all_full),
        *(presence["sensitivity"].value, presence["specificity"].value, network.auc),
        *(network.hours, network.seconds_per_epoch, network.memory_gib, network.seconds_per_image),
    ]
    counts = [network.backbone, network.mode, network.summary.images, network.summary.positives]
    return [*counts, *("" if math.isnan(value) else f"{value:.6g}" for value in values)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values as several tests at once ask for (Holm 1979, https://www.jstor.org/stable/4615733)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def _is_pair(whole: Network, patch: Network) -> bool:
    return (whole.backbone, whole.mode, patch.mode) == (patch.backbone, "whole", "patch")


def _positive(network: Network) -> Score:
    return network.summary.dice["positives"]


def _of_study(network: Network) -> tuple[float, float]:
    return STUDY.get((network.backbone, network.mode), (math.nan, math.nan))


def _scores(networks: Sequence[Network]) -> Table:
    rows = []
    for network in networks:
        iou, dice, positive, *finds = _of_table(network)
        study_iou, study_dice = _of_study(network)
        rows.append(
            [
                *(network.backbone, network.mode),
                *(*_percent(iou), number(study_iou, 2)),
                *(*_percent(dice), number(study_dice, 2)),
                *_percent(positive),
                *(number(100 * score.value, 2) for score in finds),
            ]
        )
    for label, kind in (("predicting nothing", "all_empty"), ("predicting all", "all_full")):
        cells = [number(100 * getattr(score, kind), 2) for score in _of_table(networks[0])]
        rows.append([label, "", cells[0], "", "", cells[1], "", "", cells[2], "", *cells[3:]])
    summary = networks[0].summary
    return Table(
        title="Table 1: IoU and Dice in percent",
        columns=[
            *("encoder", "mode", "IoU", "95 % interval", "IoU, study"),
            *("Dice", "95 % interval", "Dice, study", "Dice, positives", "95 % interval"),
            *("sensitivity", "specificity"),
        ],
        rows=rows,
        note=f"Over {summary.images} images of {summary.patients} patients, {summary.positives} with pneumothorax, at "
        "the original size; IoU and Dice over all of them, empty-empty = 1, as in the study, whose test images are "
        "others: SIIM-ACR's, split at random by image.",
    )


def _of_table(network: Network) -> list[Score]:
    summary = network.summary
    return [
        *(summary.iou["all"], summary.dice["all"], summary.dice["positives"]),
        *(summary.presence["sensitivity"], summary.presence["specificity"]),
    ]


def _differences(title: str, pairs: Sequence[tuple[Network, Network]], resamples: int, seed: int) -> Table:
    """Return the table of differences in Dice, over all images, and over positives if there are any."""
    found = []
    for one, other in pairs:
        for label, positives in (("all images", False), ("positives", True)):
            if not positives or any(row.positive for row in one.rows):
                difference = scores.compare(one.rows, other.rows, resamples=resamples, seed=seed, positives=positives)
                found.append((one, other, label, difference))
    adjusted = holm([difference.p_value for *_, difference in found])
    return Table(
        title=title,
        columns=["this", "less that", "over", "Dice", "95 % interval", "p", "p, all at once", "more than chance"],
        rows=[
            [
                one.name,
                other.name,
                label,
                f"{100 * difference.value:+.2f}",
                f"{100 * difference.low:+.2f} … {100 * difference.high:+.2f}",
                f"{difference.p_value:.4f}",
                f"{p_value:.4f}",
                "yes" if p_value < _SIGNIFICANT else "no",
            ]
            for (one, other, label, difference), p_value in zip(found, adjusted, strict=True)
        ],
        note="In points of percent, paired by image; interval by bootstrap, p by turning signs, both by patient; all "
        f"rows of this table at once by Holm, and more than chance below {_SIGNIFICANT:g}: the chance of which "
        "patients were tested. How these very networks came out of training, and that the best was chosen here, is not "
        "in it.",
    )


def _costs(networks: Sequence[Network]) -> Table:
    return Table(
        title="Time and memory",
        columns=["encoder", "mode", "hours", "seconds an epoch", "memory (GiB)", "ms an image"],
        rows=[
            [
                one.backbone,
                one.mode,
                f"{one.hours:.2f}",
                f"{one.seconds_per_epoch:.1f}",
                number(one.memory_gib, 2),
                f"{1000 * one.seconds_per_image:.1f}",
            ]
            for one in networks
        ],
        note="Training with validation; memory of the first GPU, or without one of the process; prediction in batches.",
    )


def _percent(score: Score) -> list[str]:
    return [number(100 * score.value, 2), interval(score, scale=100, digits=2)]
