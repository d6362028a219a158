"""Phantoms: what their pictures must show and hide, and the SIIM-like folder they are written to."""

import csv
import hashlib
import itertools
import pathlib
import re

import cv2
import numpy as np
import pydicom
import pytest
import scipy.ndimage

from ptxtf.data import phantom

SIZE = 256


@pytest.fixture(scope="module")
def positives():
    return [phantom.draw(seed, positive=True, size=SIZE) for seed in range(60)]


@pytest.fixture(scope="module")
def healthy():
    return [phantom.draw(seed, positive=False, size=SIZE) for seed in range(60)]


def decoded_by_hand(text, size):
    """Decode SIIM's run lengths pixel by pixel, sharing nothing with ptxtf.data.rle."""
    flat, position = [0] * (size * size), 0
    numbers = [int(word) for word in text.split()]
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        position += gap
        for _ in range(length):
            flat[position] = 1
            position += 1
    return np.array([flat[column * size : (column + 1) * size] for column in range(size)], np.uint8).T


def digests(directory):
    """One digest per file below a folder."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


# --- One phantom ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [True, False])
def test_same_seed_same_phantom(positive):
    once, again = (phantom.draw(11, positive=positive, size=SIZE) for _ in range(2))
    np.testing.assert_array_equal(once.pixels, again.pixels)
    np.testing.assert_array_equal(once.mask, again.mask)
    assert once.width_mm == again.width_mm
    other = phantom.draw(12, positive=positive, size=SIZE)
    assert np.abs(once.pixels.astype(int) - other.pixels).mean() > 5


def test_numpys_global_state_is_neither_read_nor_changed():
    np.random.seed(0)  # noqa: NPY002 - the global generator is what is tested
    once = phantom.draw(4, positive=True, size=64)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002
    np.testing.assert_array_equal(once.pixels, phantom.draw(4, positive=True, size=64).pixels)


def test_mask_is_the_union_of_its_components(positives):
    for drawn in positives:
        assert drawn.positive
        assert drawn.pixels.dtype == drawn.mask.dtype == np.uint8
        assert drawn.pixels.shape == drawn.mask.shape == (SIZE, SIZE)
        assert 1 <= len(drawn.components) <= 4
        for component in drawn.components:
            assert set(np.unique(component)) == {0, 1}
        np.testing.assert_array_equal(drawn.mask, np.sum(drawn.components, axis=0) > 0)
    counts = [len(drawn.components) for drawn in positives]
    assert {1, 2} <= set(counts)
    overlaps = [np.sum(drawn.components, axis=0).max() > 1 for drawn in positives]
    assert 0.1 < np.mean(overlaps) < 0.9


def test_healthy_ones_have_no_mask(healthy):
    for drawn in healthy:
        assert not drawn.positive
        assert not drawn.mask.any()
        assert drawn.components == ()
        assert drawn.width_mm == 0.0


def test_a_pneumothorax_changes_its_lung_and_nothing_else():
    """One seed is one patient. Where no skin fold was added or left out, the films agree outside that lung field."""
    agreed = 0
    for seed in range(20):
        sick, well = (phantom._Subject.drawn(seed, positive=positive) for positive in (True, False))
        if len(sick.extras.folds) != len(well.extras.folds):
            continue
        difference = np.abs(sick.pixels(SIZE).astype(int) - well.pixels(SIZE)) > 2
        mask = np.any(sick.components(SIZE), axis=0)
        fields = [field for field in lung_fields(seed) if (field & mask).any()]
        assert not (difference & ~scipy.ndimage.binary_dilation(np.any(fields, axis=0), iterations=5)).any()
        assert difference[mask].mean() > 0.5
        agreed += 1
    assert agreed >= 8


def lung_fields(seed, size=SIZE):
    """Fill the outlines of the chest's halves and cut out heart and mediastinum; bool [S, S], one per half."""
    anatomy = phantom._Subject.drawn(seed, positive=True).anatomy

    def filled(curve):
        sheet = np.zeros((size, size), np.uint8)
        return cv2.fillPoly(sheet, [np.round(anatomy.to_film(curve) * size - 0.5).astype(np.int32)], 1) > 0

    middle = filled(anatomy.heart) | filled(anatomy.mediastinum)
    return [filled(side.wall) & ~middle for side in anatomy.sides]


def test_mask_lies_in_the_lung_fields(positives):
    for seed, drawn in enumerate(positives):
        left, right = lung_fields(seed)
        outside = (drawn.mask > 0) & ~scipy.ndimage.binary_dilation(left | right)
        assert not outside.any()
    heat = np.mean([drawn.mask for drawn in positives], axis=0)
    ratio = heat[:, : SIZE // 2].sum() / heat[:, SIZE // 2 :].sum()
    assert 0.4 < ratio < 2.5  # both sides occur
    assert heat[: SIZE // 2].sum() > heat[SIZE // 2 :].sum()  # air rises


def test_areas_reach_from_a_rim_to_a_collapse():
    subjects = [phantom._Subject.drawn(seed, positive=True) for seed in range(300)]
    areas_px = np.array([np.any(s.components(SIZE), axis=0).sum() * (1024 / SIZE) ** 2 for s in subjects])
    least, low, median, high, most = np.quantile(areas_px, [0, 0.1, 0.5, 0.9, 1])
    assert 200 < least < 4_000
    assert 4_000 < low < 14_000
    assert 10_000 < median < 27_000
    assert 45_000 < high < 90_000
    assert 110_000 < most < 200_000


def test_smaller_sizes_show_the_same_patient():
    for seed in range(4):
        large = phantom.draw(seed, positive=True, size=1024)
        small = phantom.draw(seed, positive=True, size=SIZE)
        shrunk = cv2.resize(large.pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(shrunk.ravel(), small.pixels.ravel())[0, 1] > 0.99
        shrunk_mask = cv2.resize(large.mask * 255, (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 127
        assert 2 * (shrunk_mask & (small.mask > 0)).sum() / (shrunk_mask.sum() + small.mask.sum()) > 0.9
        assert small.width_mm == pytest.approx(large.width_mm, abs=4.0)
        assert small.spacing_mm[0] == pytest.approx(4 * large.spacing_mm[0])


def test_every_positive_has_a_pixel_at_the_smallest_size():
    assert all(phantom._Subject.drawn(seed, positive=True).components(phantom.SMALLEST) for seed in range(300))


def test_width_is_that_of_the_largest_disc(positives):
    """Oracle: SciPy's Euclidean distance transform."""
    for drawn in positives:
        radius_px = scipy.ndimage.distance_transform_edt(drawn.mask).max()
        assert drawn.width_mm == pytest.approx(2 * radius_px * drawn.spacing_mm[0], abs=0.5)
    widths_mm = [drawn.width_mm for drawn in positives]
    assert min(widths_mm) < 15
    assert max(widths_mm) > 40
    assert 0.25 < np.mean(np.array(widths_mm) > 20) < 0.9  # 2 cm parts small from large


def test_view_positions_and_spacing(positives):
    views = [drawn.view_position for drawn in positives]
    assert set(views) == {"PA", "AP"}
    for drawn in positives:
        assert 340 <= drawn.spacing_mm[0] * SIZE <= 400  # a 14 x 17 inch detector has 355 to 430 mm
        assert drawn.spacing_mm[0] == drawn.spacing_mm[1]


# --- Hard to find, and yet there --------------------------------------------------------------------------------


def test_no_grey_value_finds_it(positives):
    """Oracle: the Dice of all 256 thresholds, and even each picture's own best, stays low."""
    scores = []
    for drawn in positives:
        inside = np.bincount(drawn.pixels[drawn.mask > 0], minlength=256).cumsum()
        below = np.bincount(drawn.pixels.ravel(), minlength=256).cumsum()
        scores.append(2 * inside / (below + drawn.mask.sum()))
    assert np.mean(scores, axis=0).max() < 0.3
    assert np.max(scores, axis=1).mean() < 0.35


def test_no_window_of_grey_values_finds_it(positives):
    """As above with a lower bound as well: a lung's grey, but not the black outside the patient."""
    best = 0.0
    for low in range(0, 160, 20):
        for high in range(low + 20, 200, 20):
            chosen = [(drawn.pixels >= low) & (drawn.pixels < high) for drawn in positives]
            dice = [
                2 * (c & (d.mask > 0)).sum() / (c.sum() + d.mask.sum()) for c, d in zip(chosen, positives, strict=True)
            ]
            best = max(best, float(np.mean(dice)))
    assert best < 0.35


def test_brightness_alone_does_not_tell_the_classes(positives, healthy):
    means = np.array([[sick.pixels.mean(), well.pixels.mean()] for sick, well in zip(positives, healthy, strict=True)])
    assert abs(np.diff(means, axis=1).mean()) < 0.1 * means.std()


REACH = 10  # pixels: four standard deviations of the wider filter below


def fine_detail(pixels, region):
    """Return the root mean square, within a region, of what two Gaussians of 1 and 2.5 pixels tell apart."""
    narrow, wide = (scipy.ndimage.gaussian_filter(pixels.astype(np.float32), sigma, truncate=4) for sigma in (1, 2.5))
    return float(np.sqrt(((narrow - wide)[region] ** 2).mean()))


def test_markings_are_missing_where_the_air_is():
    """Compare air with the lung beside it, both farther from any edge than the filter reaches.

    Nearer, the pleural line and the chest wall would count as markings. The same two places in the patient's healthy
    film are the control: there they are alike.
    """
    in_sick, in_well = [], []
    for seed in range(16):
        sick, well = (phantom.draw(seed, positive=positive, size=1024) for positive in (True, False))
        fields = [field for field in lung_fields(seed, 1024) if (field & (sick.mask > 0)).any()]
        field = np.any(fields, axis=0)
        air = cv2.erode(sick.mask, np.ones((2 * REACH + 1,) * 2)) > 0
        lung = cv2.erode((field & (sick.mask == 0)).astype(np.uint8), np.ones((2 * REACH + 1,) * 2)) > 0
        if air.sum() < 500:
            continue
        in_sick.append(fine_detail(sick.pixels, air) / fine_detail(sick.pixels, lung))
        in_well.append(fine_detail(well.pixels, air) / fine_detail(well.pixels, lung))
    assert len(in_sick) >= 12
    assert np.median(in_sick) < 0.65
    assert np.mean(np.array(in_sick) < 0.9) > 0.9
    assert 0.8 < np.median(in_well) < 1.25


def test_air_is_hardly_to_clearly_darker(positives, healthy):
    darker = [
        float(well.pixels[sick.mask > 0].mean()) - float(sick.pixels[sick.mask > 0].mean())
        for sick, well in zip(positives, healthy, strict=True)
    ]
    assert np.quantile(darker, 0.05) < 20
    assert np.quantile(darker, 0.95) > 30
    assert np.mean(np.array(darker) > 0) > 0.95


# --- The data set -----------------------------------------------------------------------------------------------

COUNT = 14


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("phantoms")
    path = phantom.write_dataset(directory, COUNT, seed=5, size=SIZE, workers=1)
    assert path == directory / "train-rle.csv"
    return directory


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_labels_are_in_siims_form(dataset):
    header, *rows = read_rows(dataset / "train-rle.csv")
    assert (dataset / "train-rle.csv").read_text().startswith("ImageId, EncodedPixels\n")
    assert header == ["ImageId", " EncodedPixels"]
    by_image = {}
    for image_id, text in rows:
        by_image.setdefault(image_id, []).append(text)
    assert len(by_image) == COUNT
    healthy = {text for texts in by_image.values() for text in texts if text.strip() == "-1"}
    assert healthy == {"-1", " -1"}
    positives = [texts for texts in by_image.values() if texts[0].strip() != "-1"]
    assert len(positives) == COUNT // 2
    assert max(map(len, positives)) >= 2
    ids = [image_id for image_id, _ in rows]
    assert all(one != other for one, other in itertools.pairwise(ids))  # rows of one image never touch


def test_files_hold_the_phantoms_that_were_drawn(dataset):
    """Every label row decodes to a component of the picture in its DICOM file, found again by its seed."""
    rows = read_rows(dataset / "train-rle.csv")[1:]
    written = {path.stem: path for path in (dataset / "dicom").rglob("*.dcm")}
    entries = phantom._entries(*_plan(5), seed=5, size=SIZE)
    assert {entry.image_id for entry in entries} == set(written)
    of_patient: dict[str, set] = {}
    for entry in entries:
        drawn = phantom.draw(entry.seed, positive=entry.positive, size=SIZE)
        texts = [text for image_id, text in rows if image_id == entry.image_id]
        if not drawn.positive:
            assert [text.strip() for text in texts] == ["-1"]
        else:
            masks = {decoded_by_hand(text, SIZE).tobytes() for text in texts}
            assert masks == {component.tobytes() for component in drawn.components}
        read = pydicom.dcmread(written[entry.image_id])
        assert read.ViewPosition == drawn.view_position
        of_patient.setdefault(entry.nih_name.split("_")[0], set()).add((read.PatientSex, read.PatientAge))
        np.testing.assert_allclose(np.array(read.PixelSpacing, float), drawn.spacing_mm, rtol=1e-6)
        error = np.abs(read.pixel_array.astype(int) - drawn.pixels)
        assert error.mean() < 3
        assert np.quantile(error, 0.999) < 24
    assert all(len(found) == 1 for found in of_patient.values())  # whose images are all of one sex and age
    assert {sex for ((sex, _),) in of_patient.values()} == {"F", "M"}


def _plan(seed):
    rng = np.random.default_rng((seed, COUNT))
    return phantom._classes(COUNT, 0.5, rng), phantom._nih_names(COUNT, (1, 3), rng)


def test_folders_and_identifiers(dataset):
    paths = list((dataset / "dicom").glob("*/*/*.dcm"))
    assert len(paths) == COUNT == sum(1 for path in dataset.rglob("*.dcm"))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)
        assert uids == (path.parts[-3], path.parts[-2], path.stem)
        for uid in uids:
            assert re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid)
    assert len({header.PatientID for header in headers}) == COUNT  # groups nothing, as in SIIM-ACR


def test_patient_map_groups_the_images(dataset):
    header, *rows = read_rows(dataset / "patient-map.csv")
    assert header == ["Kaggle_ID", "NIH_ID"]
    assert {image_id for image_id, _ in rows} == {path.stem for path in dataset.rglob("*.dcm")}
    images = {}
    for _, name in rows:
        patient, number = re.fullmatch(r"(\d{8})_(\d{3})\.png", name).groups()
        images.setdefault(patient, []).append(int(number))
    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in images.values())
    assert {len(numbers) for numbers in images.values()} <= {1, 2, 3}
    assert 1 < len(images) < COUNT


def test_two_processes_write_the_same_bytes(dataset, tmp_path):
    phantom.write_dataset(tmp_path, COUNT, seed=5, size=SIZE, workers=2)
    assert digests(tmp_path) == digests(dataset)


def test_goes_on_where_it_was_stopped(dataset, tmp_path, monkeypatch):
    real, calls = phantom.dicom.write_secondary_capture, []

    def broken(path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 6:
            raise KeyboardInterrupt
        real(path, *args, **kwargs)

    monkeypatch.setattr(phantom.dicom, "write_secondary_capture", broken)
    with pytest.raises(KeyboardInterrupt):
        phantom.write_dataset(tmp_path, COUNT, seed=5, size=SIZE, workers=1)
    assert not (tmp_path / "train-rle.csv").exists()
    assert sum(1 for path in tmp_path.rglob("*") if path.is_file()) == 5
    phantom.write_dataset(tmp_path, COUNT, seed=5, size=SIZE, workers=1)
    assert len(calls) == 6 + COUNT - 5  # none of the first five again
    assert digests(tmp_path) == digests(dataset)


def test_arguments_shape_the_data_set(tmp_path):
    phantom.write_dataset(tmp_path, 5, positive_share=0.2, size=64, images_per_patient=(2, 2), workers=1)
    rows = read_rows(tmp_path / "train-rle.csv")[1:]
    assert len({image_id for image_id, text in rows if text.strip() != "-1"}) == 1
    assert len({name[:8] for _, name in read_rows(tmp_path / "patient-map.csv")[1:]}) == 3
    before = {path.name for path in tmp_path.rglob("*.dcm")}
    phantom.write_dataset(tmp_path, 5, positive_share=0.2, size=96, images_per_patient=(2, 2), workers=1)
    assert {path.name for path in tmp_path.rglob("*.dcm")} > before  # another size is another image


# --- Wrong arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "size", "message"),
    [
        (-1, 64, r"expected seed of 0 or more\. Received: seed=-1"),
        (0, 63, r"expected size of at least 64 pixels\. Received: size=63"),
    ],
)
def test_draw_refuses(seed, size, message):
    with pytest.raises(ValueError, match=message):
        phantom.draw(seed, positive=True, size=size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, r"expected count of 1 or more.*Received: count=0"),
        ({"seed": -1}, r"expected .* seed and workers of 0 or more.*seed=-1"),
        ({"workers": -1}, r"expected .* seed and workers of 0 or more.*workers=-1"),
        ({"positive_share": 1.1}, r"expected positive_share in 0\.\.1\. Received: positive_share=1\.1"),
        ({"positive_share": float("nan")}, r"Received: positive_share=nan"),
        ({"images_per_patient": (0, 2)}, r"1 <= least <= most\. Received: images_per_patient=\(0, 2\)"),
        ({"images_per_patient": (3, 2)}, r"Received: images_per_patient=\(3, 2\)"),
        ({"size": 8}, r"Received: size=8"),
    ],
)
def test_write_dataset_refuses_before_it_writes(tmp_path, options, message):
    count = options.pop("count", 3)
    with pytest.raises(ValueError, match=message):
        phantom.write_dataset(tmp_path / "out", count, **options)
    assert not pathlib.Path(tmp_path / "out").exists()
