"""Masks and findings by hand."""

import pathlib

import cv2
import numpy as np
import pytest

from ptxtf.data import dicom
from ptxtf.errors import InputError
from ptxtf.inference import findings, masks, radiographs, results


def test_the_threshold_counts_as_above():
    probabilities = np.array([[0.49, 0.5], [0.51, 0.0]], np.float32)
    np.testing.assert_array_equal(masks.decide(probabilities, masks.Rule(0.5, 0.5, 0, origin="")), [[0, 1], [1, 0]])


@pytest.mark.parametrize(("smallest", "kept"), [(3, True), (4, False)])
def test_a_mask_below_the_smallest_area_counts_as_none(smallest, kept):
    probabilities = np.zeros((5, 5), np.float32)
    probabilities[0, :3] = 0.9
    mask = masks.decide(probabilities, masks.Rule(0.5, 0.5, smallest, origin=""))
    assert mask.sum() == (3 if kept else 0)


@pytest.mark.parametrize(("smallest", "kept"), [(2, True), (3, False)])
def test_sure_pixels_decide_whether_there_is_a_mask_and_the_others_belong_to_it(smallest, kept):
    probabilities = np.array([[0.75, 0.8, 0.74], [0.3, 0.29, 0.0]], np.float32)
    mask = masks.decide(probabilities, masks.Rule(0.3, 0.75, smallest, origin=""))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]] if kept else np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (masks.Rule(0.5, 0.5, 0, origin="the default"), "threshold 0.5 (the default)"),
        (masks.Rule(0.5, 0.75, 0, origin="as given"), "threshold 0.5 (as given)"),
        (
            masks.Rule(0.2890625, 0.75, 600, origin="chosen on val"),
            "threshold 0.2890625, none below 600 px at 0.75 or more (chosen on val)",
        ),
    ],
)
def test_a_rule_in_words(rule, text):
    assert str(rule) == text


def test_a_finding_by_hand():
    mask = np.zeros((10, 20), np.uint8)
    mask[0, 0] = mask[1, 1] = 1  # these touch by a corner: one region
    mask[5:7, 3:6] = 1
    mask[9, 19] = 1
    probabilities = mask * 0.75 + 0.1
    found = findings.describe(mask, probabilities, image_id="x", path=pathlib.Path("x.dcm"))
    assert (found.pneumothorax, found.area_px, found.regions) == (True, 9, 3)
    assert found.area_percent == 4.5
    assert found.probability == pytest.approx(0.85)
    assert found.image_side == "left"


def test_nothing_found_has_no_side():
    empty = np.zeros((4, 4), np.uint8)
    found = findings.describe(empty, empty + 0.2, image_id="x", path=pathlib.Path("x.dcm"))
    assert (found.pneumothorax, found.regions, found.image_side) == (False, 0, "")


def test_files_and_folders_are_found_once_each(tmp_path, phantoms):
    picture = tmp_path / "b.PNG"
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "b.png").rename(picture)
    (tmp_path / "notes.txt").write_text("no picture")
    film = dicom.find(phantoms / "dicom")[0]
    assert radiographs.find([str(tmp_path), str(film), str(film)]) == [picture, film]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["/nowhere/x.dcm"], "/nowhere/x.dcm: expected a file or folder. Received: no such file"),
        ([], "expected DICOM, PNG or JPEG files. Received: no file names"),
    ],
)
def test_names_that_lead_nowhere(names, message):
    with pytest.raises(InputError, match=message):
        radiographs.find(names)


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(InputError, match="expected DICOM, PNG or JPEG files"):
        radiographs.find([str(tmp_path)])


def test_a_picture_is_read_as_grey(tmp_path):
    colour = np.zeros((6, 7, 3), np.uint8)
    colour[..., 1] = 100
    cv2.imwrite(str(tmp_path / "green.png"), colour)
    image_id, pixels = radiographs.read(tmp_path / "green.png")
    assert image_id == "green"
    assert set(pixels.ravel()) <= {58, 59}  # ITU-R 601: 0.587 of green


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_broken_picture_is_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.png: expected a PNG or JPEG picture"):
        radiographs.read(tmp_path / "bad.png")


def test_what_a_prediction_wrote_into_a_folder_is_not_read_again(tmp_path):
    for name in ("a.png", "a_mask.png", "a_overlay.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8), np.uint8))
    assert radiographs.find([str(tmp_path)]) == [tmp_path / "a.png"]


def test_odd_entries_of_a_folder_do_no_harm(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    assert radiographs.find([str(tmp_path)]) == [tmp_path / "a.png"]


def test_sixteen_bits_use_the_full_range(tmp_path):
    ramp = np.linspace(100, 4000, 10_000).reshape(100, 100).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), ramp)
    _, pixels = radiographs.read(tmp_path / "deep.png")
    black, white = np.percentile(ramp, [0.5, 99.5])
    expected = np.clip((ramp - black) / (white - black), 0, 1) * 255
    assert pixels.dtype == np.uint8
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-6


def test_long_and_odd_image_ids_become_file_names():
    assert results._file_name("1.2.840.1-a_b") == "1.2.840.1-a_b"
    assert results._file_name("a b/c") == "a_b_c"
    long = [results._file_name("é" * 120 + end) for end in "xy"]
    assert long[0] != long[1]
    assert max(len(name.encode()) for name in long) < 160
