"""What an inventory finds: files matched with labels, and a note for everything that does not match."""

import shutil

import cv2
import numpy as np
import pydicom
import pytest
import tensorflow as tf

import ptxtf
from ptxtf.data import annotations, convert, dicom, inventory, rle
from ptxtf.data.workers import Workers
from ptxtf.errors import InputError


def take(config) -> inventory.Inventory:
    with Workers(1) as workers:
        return inventory.take(config, workers)


def by_kind(notes) -> dict[str, list[inventory.Note]]:
    kinds: dict[str, list[inventory.Note]] = {}
    for note in notes:
        kinds.setdefault(note.kind, []).append(note)
    return kinds


@pytest.fixture
def films(phantoms, tmp_path):
    """Return a folder with copies of six phantoms, which a test may spoil."""
    folder = tmp_path / "films"
    folder.mkdir()
    for path in dicom.find(phantoms / "dicom")[:6]:
        shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture
def found_in(films, conversion, phantoms):
    """Return a function that takes the inventory of the six films, labelled by the rows of their own ids."""

    def found(**settings) -> inventory.Inventory:
        csv = films.parent / "six.csv"
        if not csv.exists():
            rows = annotations.read(phantoms / "train-rle.csv")
            lines = [f"{path.stem},{text}" for path in sorted(films.iterdir()) for text in rows[path.stem] or ["-1"]]
            csv.write_text("\n".join(lines) + "\n")
        return take(conversion(dicom_dir=str(films), annotations=str(csv), **settings))

    return found


def change(path, **elements) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_files_that_fit_leave_no_note(films, found_in):
    found = found_in()
    assert {case.image_id for case in found.cases} == {path.stem for path in films.iterdir()}
    assert found.rejected == ()
    assert found.noticed == ()
    assert (found.found, found.labels.images) == (6, 6)


def test_the_same_file_twice_counts_once(films, found_in):
    found_in()
    first = sorted(films.iterdir())[0]
    shutil.copy(first, films / "z.dcm")
    found = found_in()
    assert len(found.cases) == 6
    assert [(note.kind, note.name) for note in found.rejected] == [("duplicate", str(films / "z.dcm"))]


def test_two_different_files_with_one_id_are_both_left_out(films, found_in):
    found_in()
    first = sorted(films.iterdir())[0]
    shutil.copy(first, films / "z.dcm")
    change(films / "z.dcm", ViewPosition="LL")
    found = found_in()
    assert len(found.cases) == 5
    assert {note.name for note in by_kind(found.rejected)["duplicate"]} == {str(first), str(films / "z.dcm")}
    assert first.stem not in found.paths


def test_an_id_that_leads_out_of_its_folder_is_refused(films, found_in):
    found_in()
    path = sorted(films.iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(path.stem.encode(), b"../../evil".ljust(len(path.stem), b"x")))
    notes = by_kind(found_in().rejected)
    assert [note.name for note in notes["unusable id"]] == [str(path)]
    assert "../../evil" in notes["unusable id"][0].reason


def test_several_frames_and_oblong_pixels_are_noticed(films, found_in):
    found_in()
    many, oblong = sorted(films.iterdir())[:2]
    change(many, NumberOfFrames=3)
    change(oblong, PixelSpacing=[0.2, 0.1])
    noticed = by_kind(found_in().noticed)
    assert [(note.name, note.reason.split()[0]) for note in noticed["several frames"]] == [(str(many), "3")]
    assert [note.name for note in noticed["oblong pixels"]] == [str(oblong)]
    assert "2 times as high as wide" in noticed["oblong pixels"][0].reason


def test_a_map_brings_repeated_images_and_mixed_patients_to_notice(films, found_in, phantoms):
    rows = annotations.read(phantoms / "train-rle.csv")
    positive = [path.stem for path in films.iterdir() if rows[path.stem]]
    healthy = [path.stem for path in films.iterdir() if not rows[path.stem]]
    pairs = {positive[0]: "00000001_000.png", healthy[0]: "00000001_000.png", healthy[1]: "00000002_000.png"}
    path = films.parent / "map.csv"
    path.write_text("\n".join(["Kaggle_ID,NIH_ID", *(f"{a},{b}" for a, b in pairs.items())]) + "\n")
    found = found_in(patient_map=str(path))
    noticed = by_kind(found.noticed)
    assert "labelled both with and without pneumothorax" in noticed["same image"][0].reason
    assert noticed["mixed labels"][0].reason == (
        f"images of one patient: with pneumothorax {positive[0]}; without {healthy[0]}"
    )
    patients = {case.image_id: case.patient for case in found.cases}
    assert patients[positive[0]] == patients[healthy[0]] == "00000001"


def test_labels_alone_are_enough_to_plan(conversion, phantoms):
    found = take(conversion(dicom_dir="", dry_run=True))
    rows = annotations.read(phantoms / "train-rle.csv")
    assert {case.image_id: case.positive for case in found.cases} == {name: bool(texts) for name, texts in rows.items()}
    assert len({case.patient for case in found.cases}) == len(
        set(annotations.read_map(phantoms / "patient-map.csv").patients.values())
    )


@pytest.fixture
def pictures(phantoms, tmp_path):
    """Return the phantoms as folders of pictures: images/ (PNG and JPEG) and masks/ (PNG)."""
    rows = annotations.read(phantoms / "train-rle.csv")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for number, path in enumerate(dicom.find(phantoms / "dicom")):
        film = dicom.read(path)
        ending, name = (".png", ".png") if number % 2 else (".jpg", "_mask.png")
        stem = f"film{number:02d}"
        cv2.imwrite(str(tmp_path / "images" / f"{stem}{ending}"), film.pixels)
        mask = 255 * rle.union(rows[path.stem], shape=film.pixels.shape)
        cv2.imwrite(str(tmp_path / "masks" / f"{stem}{name}"), mask)
    return tmp_path


def from_pictures(conversion, pictures, **settings):
    given = {
        "dicom_dir": "",
        "annotations": "",
        "patient_map": "",
        "balance": 0,
        "image_dir": str(pictures / "images"),
        "mask_dir": str(pictures / "masks"),
    }
    return conversion(**given | settings)


def test_folders_of_pictures_convert_to_what_is_in_them(conversion, pictures):
    done = convert.convert(from_pictures(conversion, pictures, image_size=0, encoding="png"))
    assert done.rejected == ()
    cases = {
        case["image_id"].decode(): case
        for case in ptxtf.data.examples(done.directory, "train+val+test", full_mask=True).as_numpy_iterator()
    }
    assert len(cases) == 24
    for path in (pictures / "images").iterdir():
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(cases[path.stem]["image"][..., 0], expected)
        mask = next((pictures / "masks").glob(f"{path.stem}*"))
        truth = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0
        np.testing.assert_array_equal(cases[path.stem]["mask"][..., 0], truth)
        assert cases[path.stem]["positive"] == truth.any()


def test_the_jpeg_stream_of_a_picture_is_copied(conversion, pictures):
    done = convert.convert(from_pictures(conversion, pictures, encoding="source"))
    streams = set()
    for path in done.directory.glob("*.tfrecord"):
        for record in tf.data.TFRecordDataset(str(path)):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            streams.add(features["image"].bytes_list.value[0])
    jpegs = [path.read_bytes() for path in (pictures / "images").glob("*.jpg")]
    assert len(jpegs) == 12
    scan = b"\xff\xda"  # what follows is the picture itself; before it stand tables and, perhaps, comments
    scans = {stream.partition(scan)[2] for stream in streams}
    assert {jpeg.partition(scan)[2] for jpeg in jpegs} <= scans


def test_pictures_without_a_mask_or_with_a_bad_one_are_left_out(conversion, pictures):
    masks = sorted((pictures / "masks").iterdir())
    masks[0].unlink()
    masks[1].write_bytes(b"no picture")
    cv2.imwrite(str(masks[2]), np.zeros((8, 8), np.uint8))
    done = convert.convert(from_pictures(conversion, pictures))
    left_out = {note.name.rsplit("/", 1)[1].split(".")[0].removesuffix("_mask"): note for note in done.rejected}
    assert left_out["film00"].kind == "no label"
    assert {note.kind for note in done.rejected if "film01" in note.name} == {"bad label", "no label"}
    assert "film02" in left_out
    assert sum(part.images for parts in done.manifest.splits.values() for part in parts) == 21


def test_pictures_may_be_labelled_by_a_csv(conversion, pictures, tmp_path):
    csv = tmp_path / "labels.csv"
    csv.write_text("image,mask\nfilm00,-1\nfilm01,5 3\n")
    found = take(from_pictures(conversion, pictures, mask_dir="", annotations=str(csv)))
    assert {case.image_id: case.positive for case in found.cases} == {"film00": False, "film01": True}
    assert len(by_kind(found.rejected)["no label"]) == 22


def test_a_folder_without_pictures_is_one_clear_line(conversion, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: expected PNG or JPEG files at any depth\. Received: none"):
        take(from_pictures(conversion, pictures, image_dir=str(tmp_path / "empty")))
