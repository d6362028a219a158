"""Scores against scikit-learn's and by hand; intervals and p-values against what they mean, written out."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from ptxtf.evaluation import conventions, resampling, rows, scores
from ptxtf.inference import masks


@pytest.fixture
def some(row, rng):
    """Return forty rows of ten patients, among them all four kinds of empty and not."""
    made = []
    for number in range(40):
        true = int(rng.integers(1, 200)) * (number % 3 > 0)
        predicted = int(rng.integers(1, 150)) * (number % 5 > 0)
        both = int(rng.integers(0, min(true, predicted) + 1))
        presence = float(rng.integers(0, 12)) / 11
        made.append(
            row(str(number), patient=f"p{number % 10}", true=true, predicted=predicted, both=both, presence=presence)
        )
    return made


def pixels(of):
    """Return true and predicted pixels of a row as scikit-learn wants them."""
    counts = [
        of.overlap_px,
        of.area_px - of.overlap_px,
        of.predicted_area_px - of.overlap_px,
        400 - of.area_px - of.predicted_area_px + of.overlap_px,
    ]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


@pytest.mark.parametrize(
    ("name", "theirs"), [("dice", sklearn.metrics.f1_score), ("iou", sklearn.metrics.jaccard_score)]
)
def test_every_convention_is_scikit_learn_s(some, name, theirs):
    found = getattr(scores.summarize(some, resamples=3, seed=0), name)
    each = {one.image_id: theirs(*pixels(one), zero_division=1.0) for one in some}
    together = [np.concatenate(parts) for parts in zip(*map(pixels, some), strict=True)]
    positives = [one for one in some if one.positive]
    filled = [one for one in some if one.positive or one.predicted_area_px]
    expected = {
        "all": (np.mean(list(each.values())), 40),
        "positives": (np.mean([each[one.image_id] for one in positives]), len(positives)),
        "non-empty": (np.mean([each[one.image_id] for one in filled]), len(filled)),
        "pooled": (theirs(*together), 40),
        "class mean": (theirs(*together, average="macro"), 40),
    }
    assert {kind: score.images for kind, score in found.items()} == {
        kind: count for kind, (_, count) in expected.items()
    }
    for kind, (value, _) in expected.items():
        assert found[kind].value == pytest.approx(value), kind
    assert len({len(positives), len(filled), 40}) == 3


def test_means_over_the_images_where_they_are_defined(some):
    found = scores.summarize(some, resamples=3, seed=0).others
    precision, recall = sklearn.metrics.precision_score, sklearn.metrics.recall_score
    predicted, true = [one for one in some if one.predicted_area_px], [one for one in some if one.positive]
    expected = {
        "precision": [precision(*pixels(one)) for one in predicted],
        "recall": [recall(*pixels(one)) for one in true],
        "area error": [one.predicted_area_px / one.area_px - 1 for one in true],
        "absolute area error": [abs(one.predicted_area_px / one.area_px - 1) for one in true],
    }
    for name, values in expected.items():
        assert (found[name].value, found[name].images) == (pytest.approx(np.mean(values)), len(values)), name
    assert math.isnan(found["precision"].all_empty)
    assert found["precision"].all_full == pytest.approx(np.mean([one.area_px / 400 for one in some]))
    assert (found["recall"].all_empty, found["recall"].all_full, found["area error"].all_empty) == (0, 1, -1)
    distances = [one.hausdorff_95 for one in some if one.positive and one.predicted_area_px]
    assert found["95 % Hausdorff distance (px)"].value == pytest.approx(np.mean(distances))
    assert "95 % Hausdorff distance (mm)" not in found


@pytest.mark.parametrize("full", [0, 1])
def test_baselines_are_what_empty_and_full_masks_score(some, row, full):
    found = scores.summarize(some, resamples=3, seed=0)
    without = [row(one.image_id, true=one.area_px, predicted=400 * full, both=one.area_px * full) for one in some]
    without = [one if not full else rows.Row(**{**vars(one), "overlap_px": one.area_px}) for one in without]
    for name, theirs in (("dice", sklearn.metrics.f1_score), ("iou", sklearn.metrics.jaccard_score)):
        each = [theirs(*pixels(one), zero_division=1.0) for one in without]
        together = [np.concatenate(parts) for parts in zip(*map(pixels, without), strict=True)]
        baseline = {kind: (one.all_empty, one.all_full)[full] for kind, one in getattr(found, name).items()}
        assert baseline["all"] == pytest.approx(np.mean(each))
        assert baseline["positives"] == pytest.approx(
            np.mean([s for s, one in zip(each, some, strict=True) if one.positive])
        )
        assert baseline["pooled"] == pytest.approx(theirs(*together))
        assert baseline["class mean"] == pytest.approx(theirs(*together, average="macro"))


def test_the_baseline_of_the_full_siim_label_file_is_what_kaggle_saw(row):
    healthy, positive = row("h", true=0), row("p", true=9)
    many = [rows.Row(**{**vars(positive), "image_id": str(i)}) for i in range(2669)]
    many += [rows.Row(**{**vars(healthy), "image_id": str(-i)}) for i in range(1, 9379)]
    found = scores.summarize(many, resamples=2, seed=0)
    assert found.dice["all"].all_empty == found.dice["all"].value == 9378 / 12047
    assert found.dice["positives"].all_empty == 0


def test_one_image_by_hand():
    mask = np.array([[1, 1, 0], [0, 0, 0]], np.uint8)
    predicted = np.array([[0, 1, 1], [0, 1, 0]], np.uint8)
    case = {"image_id": "a", "patient": "p", "view_position": "AP", "sex": "M", "age_years": 3, "mask": mask}
    found = rows.score(case | {"spacing_mm": (200, 300)}, predicted, presence=0.9)
    assert (found.dice, found.iou, found.precision, found.recall) == (2 / 5, 1 / 4, 1 / 3, 1 / 2)
    assert (found.area_px, found.predicted_area_px, found.overlap_px, found.area_error) == (2, 3, 1, 0.5)
    assert (found.unit, found.spacing_down_mm, found.spacing_along_mm) == ("mm", 200, 300)
    # outlines are the masks; (0, 0) and (0, 2) are a column from the other's, (1, 1) a row
    assert found.surface_distance == pytest.approx((300 + 0 + 0 + 300 + 200) / 5)


@pytest.mark.parametrize(
    ("true", "predicted", "dice", "precision", "recall", "error"),
    [(0, 0, 1, None, None, None), (5, 0, 0, None, 0, -1), (0, 5, 0, 0, None, None), (5, 5, 1, 1, 1, 0)],
)
def test_empty_masks(row, true, predicted, dice, precision, recall, error):
    found = row("a", true=true, predicted=predicted, both=min(true, predicted))
    assert found.dice == found.iou == dice
    for value, expected in ((found.precision, precision), (found.recall, recall), (found.area_error, error)):
        assert math.isnan(value) if expected is None else value == expected


def test_masks_of_two_sizes_are_refused():
    case = {"image_id": "", "patient": "", "spacing_mm": (1, 1), "mask": np.zeros((2, 2), np.uint8)}
    with pytest.raises(ValueError, match="expected masks of one shape"):
        rows.score(case, np.zeros((2, 3), np.uint8), presence=0)


def test_a_spacing_that_no_chest_fits_on_is_not_believed():
    mask = np.zeros((1024, 1024), np.uint8)
    case = {"image_id": "a", "patient": "p", "view_position": "", "sex": "", "age_years": 3, "mask": mask}
    case["spacing_mm"] = (0.143, 0.143)  # as in SIIM-ACR: a film of 146 mm
    assert rows.score(case, mask, presence=0.9).unit == "px"
    assert rows.score(case, mask, presence=0.9, spacing_factor=2.5).spacing_along_mm == pytest.approx(0.3575)


@pytest.mark.parametrize("min_area_px", [0, 1, 2, 7, 16, 99])
def test_presence_is_the_threshold_at_which_the_rule_turns(rng, min_area_px):
    probabilities = rng.random((4, 4))
    found = masks.presence(probabilities, masks.Rule(0.5, 0.5, min_area_px, origin=""), presence=0.25)
    wanted = min(max(min_area_px, 1), 16)
    assert np.count_nonzero(probabilities >= found) == wanted
    assert np.count_nonzero(probabilities > found) == wanted - 1
    gated = masks.Rule(0.5, 0.5, min_area_px, origin="", gate=0.1)
    assert masks.presence(probabilities, gated, presence=0.25) == 0.25


def test_presence_is_ranked_as_scikit_learn_does(some):
    found = scores.summarize(some, resamples=3, seed=0).presence
    positive, presence = [one.positive for one in some], [one.presence for one in some]
    assert len(set(presence)) < len(presence)  # some images are alike
    assert found["AUC"].value == pytest.approx(sklearn.metrics.roc_auc_score(positive, presence))
    expected = sklearn.metrics.average_precision_score(positive, presence)
    assert found["average precision"].value == pytest.approx(expected)
    predicted = [one.predicted_area_px > 0 for one in some]
    recall = sklearn.metrics.recall_score
    assert found["sensitivity"].value == pytest.approx(recall(positive, predicted))
    assert found["specificity"].value == pytest.approx(recall(positive, predicted, pos_label=False))
    assert (found["AUC"].all_empty, found["average precision"].all_full) == (0.5, np.mean(positive))


def test_the_interval_is_that_of_a_bootstrap_written_out(some, rng):
    found = scores.summarize(some, resamples=4000, seed=1)
    by_patient = [[one for one in some if one.patient == name] for name in sorted({one.patient for one in some})]
    drawn = [
        list(itertools.chain.from_iterable(by_patient[index] for index in rng.integers(0, 10, 10))) for _ in range(2000)
    ]
    over = lambda sample, of: np.percentile([of(images) for images in sample], [2.5, 97.5])  # noqa: E731

    def pooled(images):
        return 2 * sum(i.overlap_px for i in images) / sum(i.area_px + i.predicted_area_px for i in images)

    def auc(images):
        return sklearn.metrics.roc_auc_score([i.positive for i in images], [i.presence for i in images])

    for score, of in (
        (found.dice["all"], lambda images: np.mean([i.dice for i in images])),
        (found.dice["positives"], lambda images: np.mean([i.dice for i in images if i.positive])),
        (found.dice["pooled"], pooled),
        (found.presence["AUC"], auc),
    ):
        np.testing.assert_allclose([score.low, score.high], over(drawn, of), atol=0.02)


def test_a_share_of_all_or_none_has_the_interval_of_clopper_and_pearson(row):
    found = scores.summarize([row(str(i), true=9, predicted=9, both=9) for i in range(8)], resamples=20, seed=0)
    expected = scipy.stats.binomtest(8, 8).proportion_ci(0.95, "exact")
    sensitivity = found.presence["sensitivity"]
    assert (sensitivity.low, sensitivity.high) == pytest.approx((expected.low, expected.high))
    missed = scores.summarize([row(str(i), true=9) for i in range(8)], resamples=20, seed=0).presence["sensitivity"]
    expected = scipy.stats.binomtest(0, 8).proportion_ci(0.95, "exact")
    assert (missed.low, missed.high) == pytest.approx((expected.low, expected.high))
    same = [row(str(i), patient="one", true=9, predicted=9, both=9) for i in range(8)]
    found = scores.summarize([*same, row("h", patient="other")], resamples=20, seed=0).presence["sensitivity"]
    assert found.low == pytest.approx(scipy.stats.binomtest(1, 1).proportion_ci(0.95, "exact").low)


def test_a_single_patient_has_no_interval(row):
    found = scores.summarize(
        [row(str(i), patient="one", true=9, predicted=i, both=i) for i in range(4)], resamples=20, seed=0
    )
    assert math.isnan(found.dice["all"].low)
    assert found.dice["all"].value > 0


def test_images_of_nobody_known_are_patients_of_their_own(row):
    assert scores.summarize([row("a"), row("b")], resamples=2, seed=0).patients == 2


def test_means_over_no_image_are_nan(row):
    found = scores.summarize([row("a")], resamples=5, seed=0)
    assert math.isnan(found.dice["positives"].value)
    assert math.isnan(found.presence["sensitivity"].low)
    assert math.isnan(found.presence["AUC"].value)
    assert found.presence["specificity"].value == 1
    assert str(found.dice["positives"]) == "n/a"


def test_the_seed_fixes_the_intervals(some):
    first, again, other = (scores.summarize(some, resamples=100, seed=seed).dice["all"] for seed in (1, 1, 2))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_groups(row):
    wide = np.zeros((20, 20), np.uint8)
    wide[5:15, 5:15] = 1
    made = [
        row("a", true=3, predicted=3, both=3, view_position="AP", sex="M", age_years=17.9),
        row("b", true=4, view_position="PA", sex="", age_years=18.0),
        row("c", view_position="LL", sex="F", age_years=85.0),
        row("d", mask=wide, spacing_mm=(11.0, 11.0), view_position="", age_years=60.0),
        row("e", view_position="PA", sex="F"),
    ]
    found = {(one.group, one.name): one for one in scores.summarize(made, resamples=3, seed=0).strata}
    counts = {key: (one.images, one.positives) for key, one in found.items()}
    assert counts == {
        ("area of the mask", "small"): (1, 1),  # 3 of 400 pixels; the median of SIIM-ACR is 3.3
        ("area of the mask", "large"): (2, 2),
        ("width of the pneumothorax", "more than 2 cm"): (1, 1),
        ("width of the pneumothorax", "unknown"): (2, 2),
        ("view position", "PA"): (2, 1),
        ("view position", "AP"): (1, 1),
        ("view position", "LL"): (1, 0),
        ("view position", "unknown"): (1, 1),
        ("sex", "F"): (3, 1),
        ("sex", "M"): (1, 1),
        ("sex", "unknown"): (1, 1),
        ("age in years", "0 to 17"): (1, 1),
        ("age in years", "18 to 39"): (1, 1),
        ("age in years", "60 to 79"): (1, 1),
        ("age in years", "80 and more"): (1, 0),
        ("age in years", "unknown"): (1, 0),
    }
    young = found["age in years", "0 to 17"]
    assert (young.dice.value, young.positive_dice.value, young.sensitivity.value) == (1, 1, 1)
    assert found["sex", "F"].dice.all_empty == pytest.approx(2 / 3)
    assert found["sex", "F"].dice.all_full == pytest.approx(2 * 100 / 500 / 3)  # one of three is true, of 100 pixels


def test_a_group_of_which_nothing_is_known_is_left_out(row):
    groups = {one.group for one in scores.summarize([row("a", sex="", true=3)], resamples=2, seed=0).strata}
    assert groups == {"area of the mask", "view position"}


def test_a_difference_is_paired_by_image(row, some):
    other = [row(one.image_id, patient=one.patient, true=one.area_px, presence=0) for one in some]
    found = scores.compare(some, other[::-1], resamples=500, seed=0, positives=False)
    expected = np.mean([one.dice for one in some]) - np.mean([one.area_px == 0 for one in some])
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high
    swapped = scores.compare(other, some, resamples=500, seed=0, positives=False)
    assert (swapped.value, swapped.p_value) == (pytest.approx(-found.value), found.p_value)


def test_a_model_against_itself_differs_by_nothing(some):
    found = scores.compare(some, some, resamples=50, seed=0, positives=True)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_rows_with_another_truth_are_refused(row):
    with pytest.raises(ValueError, match=r"expected rows with the same true masks\. Received: another one of b"):
        scores.compare([row("a"), row("b", true=3)], [row("a"), row("b", true=4)], resamples=2, seed=0, positives=False)


@pytest.mark.parametrize("ids", [["a"], ["a", "c"]])
def test_rows_of_other_images_are_refused(row, ids):
    with pytest.raises(ValueError, match="expected rows of the same images"):
        scores.compare([row("a"), row("b")], list(map(row, ids)), resamples=2, seed=0, positives=False)


def test_the_p_value_is_that_of_all_turns_of_sign(rng):
    patients = [str(number // 3) for number in range(27)]
    differences = rng.normal(0.2, 0.5, 27)
    sums = differences.reshape(9, 3).sum(axis=1)
    turned = np.abs([np.dot(signs, sums) for signs in itertools.product((-1, 1), repeat=9)])
    exact = np.mean(turned >= abs(sums.sum()) - 1e-9)
    found = resampling.paired_p_value(differences, patients, permutations=200_000, seed=0)
    assert found == pytest.approx(exact, abs=0.005)
    assert 0.01 < exact < 0.9


def test_the_tables_and_the_docstring_name_the_same_conventions():
    listed = [line.split("|")[1].strip() for line in conventions.__doc__.splitlines() if line.startswith("| ")]
    assert listed[1:] == list(conventions.CONVENTIONS)


def test_rows_come_back_from_csv_as_they_were(some, tmp_path):
    rows.write(tmp_path / "images.csv", some)
    found = rows.read(tmp_path / "images.csv")
    assert list(map(repr, found)) == list(map(repr, some))
