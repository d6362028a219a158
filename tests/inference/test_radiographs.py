"""Files, folders and patterns -> radiographs: what is found, what is read, what is refused."""

import dataclasses
import os

import cv2
import numpy as np
import pytest

from ptxtf.data import dicom
from ptxtf.errors import InputError
from ptxtf.inference import radiographs


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
    found = radiographs.read(tmp_path / "green.png")
    assert (found.image_id, found.stated_mm, found.is_dicom) == ("green", None, False)
    assert set(found.pixels.ravel()) <= {58, 59}  # ITU-R 601: 0.587 of green


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_broken_picture_is_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.png: expected a PNG or JPEG picture"):
        radiographs.read(tmp_path / "bad.png")


def test_what_a_prediction_wrote_into_a_folder_is_not_read_again(tmp_path):
    for name in ("a.png", "a_mask.png", "a_overlay.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8), np.uint8))
    assert radiographs.find([str(tmp_path)]) == [tmp_path / "a.png"]


def test_odd_entries_of_a_folder_do_no_harm_and_links_that_lead_nowhere_are_told(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    os.mkfifo(tmp_path / "pipe.png")
    assert radiographs.find([str(tmp_path)]) == [tmp_path / "a.png", tmp_path / "broken.png"]
    with pytest.raises(InputError, match=r"broken\.png: "):
        radiographs.read(tmp_path / "broken.png")


def test_sixteen_bits_use_the_full_range(tmp_path):
    ramp = np.linspace(100, 4000, 10_000).reshape(100, 100).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), ramp)
    pixels = radiographs.read(tmp_path / "deep.png").pixels
    black, white = np.percentile(ramp, [0.5, 99.5])
    expected = np.clip((ramp - black) / (white - black), 0, 1) * 255
    assert pixels.dtype == np.uint8
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-6


def test_long_and_odd_image_ids_become_file_names(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    one = radiographs.read(tmp_path / "a.png")

    def name(image_id):
        return dataclasses.replace(one, image_id=image_id).name

    assert name("1.2.840.1-a_b") == "1.2.840.1-a_b"
    assert name("a b/c") == "a_b_c"
    long = [name("é" * 120 + end) for end in "xy"]
    assert long[0] != long[1]
    assert max(len(text.encode()) for text in long) < 160


def test_a_dicom_says_its_spacing(phantoms):
    film = dicom.find(phantoms / "dicom")[0]
    found = radiographs.read(film)
    assert (found.image_id, found.is_dicom) == (film.stem, True)
    assert found.stated_mm is not None
    assert found.stated_mm == dicom.read_header(film).spacing_mm
    np.testing.assert_array_equal(found.pixels, dicom.read(film).pixels)


def test_patterns_stand_for_files_at_any_depth(tmp_path):
    for name in ("a.png", "b.jpg", "deep/er/c.png", "deep/d.txt", "deep/e_mask.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    def found(pattern):
        return [str(path.relative_to(tmp_path)) for path in radiographs.find([str(tmp_path / pattern)])]

    assert found("*.png") == ["a.png"]
    assert found("[ab].*") == ["a.png", "b.jpg"]
    assert found("**/*.png") == ["a.png", "deep/er/c.png"]
    assert found("d*") == ["deep/er/c.png"]  # a folder
    (tmp_path / "y_mask.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"y\*\.png: .* Received: only files that end as a prediction's results do"):
        radiographs.find([str(tmp_path / "y*.png")])
    with pytest.raises(InputError, match=r"x\*\.png: expected a file or folder\. Received: no such file"):
        radiographs.find([str(tmp_path / "x*.png")])


def test_a_film_that_links_lead_to_in_many_ways_is_one(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "self").symlink_to(tmp_path)
    assert radiographs.find([str(tmp_path / "**" / "*.png")]) == [tmp_path / "a.png"]


def test_no_name_is_no_folder():
    with pytest.raises(InputError, match=r"expected a file or folder\. Received: an empty name"):
        radiographs.find([""])


def test_a_name_with_brackets_is_a_file_first(tmp_path):
    film = tmp_path / "film[1].png"
    film.write_bytes(b"")
    assert radiographs.find([str(film)]) == [film]
