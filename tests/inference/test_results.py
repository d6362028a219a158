"""Predictions of files: what is written, of what, in which order, and that it goes on where it was stopped."""

import csv
import dataclasses
import json
import os
import shutil
import threading

import cv2
import keras
import numpy as np
import pydicom
import pytest

from ptxtf import config, rundir
from ptxtf import predict as predict_command
from ptxtf.config import InferenceConfig, MaskConfig, PredictConfig
from ptxtf.data import dicom, phantom, rle, spacing
from ptxtf.errors import InputError
from ptxtf.inference import findings, kept, radiographs, reports, results

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DARK = 90
"""The grey level up to which the network takes a pixel for pneumothorax."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run whose logit falls with a pixel's grey level; its images are as large as its films."""
    folder = tmp_path_factory.mktemp("dark")
    images = keras.Input((None, None, 1))
    outputs = keras.layers.Rescaling(-255.0, offset=DARK + 0.5)(images)
    keras.Model(images, outputs).save(folder / rundir.MODEL)
    rundir.write_flags(
        folder,
        config.RunConfig(
            config.InputConfig(records_dir="none", image_size=64),
            config.TrainConfig(run_dir=str(folder)),
            config.PreprocessConfig(clahe=False),
        ),
    )
    return folder


@pytest.fixture
def films(tmp_path):
    """Return a folder of a DICOM, six pictures of 64², and two files that are none."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"p{number}.png"), phantom.draw(number, positive=True, size=64).pixels)
    drawn = phantom.draw(9, positive=True, size=64)
    header = dicom.Header(image_id="1.2.9", spacing_mm=(5.0, 6.0))
    dicom.write_secondary_capture(folder / "a.dcm", drawn.pixels, header, study_id="1.2", series_id="1.3")
    (folder / "bad.png").write_bytes(b"nothing")
    (folder / "cut.dcm").write_bytes((folder / "a.dcm").read_bytes()[:900])
    return folder


@pytest.fixture
def predict(run, films, tmp_path):
    """Return a function that predicts the films into a folder."""

    def call(name="out", *, names=None, rule=None, **settings):
        given = PredictConfig(run_dir=str(run), output_dir=str(tmp_path / name), **settings)
        return results.predict(given, rule or MaskConfig(), names or [str(films)], InferenceConfig())

    return call


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written_and_says_the_same(predict, films):
    done = predict()
    folder = done.directory
    names = ["1.2.9", *(f"p{number}" for number in range(6))]
    pictures = {f"{name}{ending}" for name in names for ending in ("_mask.png", "_overlay.png")}
    tables = {"findings.csv", "submission.csv", "rejected.csv"}
    assert {path.name for path in folder.iterdir()} == pictures | tables | {"1.2.9_seg.dcm", "1.2.9_overlay.dcm"}
    submission = rows_of(folder / "submission.csv")
    assert [row["ImageId"] for row in submission] == names
    told = rows_of(folder / "findings.csv")
    assert list(dict.fromkeys(row["image_id"] for row in told)) == names
    for row in submission:
        name = row["ImageId"]
        source = films / "a.dcm" if name == "1.2.9" else films / f"{name}.png"
        pixels = radiographs.read(source).pixels
        mask = (pixels <= DARK).astype(np.uint8)
        np.testing.assert_array_equal(cv2.imread(str(folder / f"{name}_mask.png"), cv2.IMREAD_UNCHANGED), mask * 255)
        np.testing.assert_array_equal(rle.decode(row["EncodedPixels"], mask.shape), mask)
        regions = [one for one in told if one["image_id"] == name]
        assert sum(int(one["area_px"]) for one in regions) == mask.sum()
        assert {one["file"] for one in regions} == {str(source)}
    of_dicom = next(row for row in told if row["image_id"] == "1.2.9")
    assert (of_dicom["unit"], of_dicom["spacing_source"]) == ("mm", "stated")
    assert float(of_dicom["area_cm2"]) == pytest.approx(int(of_dicom["area_px"]) * 5 * 6 / 100, abs=0.01)
    assert {row["unit"] for row in told if row["image_id"] != "1.2.9"} == {"px"}
    rejected = rows_of(folder / "rejected.csv")
    assert [row["file"] for row in rejected] == [str(films / "bad.png"), str(films / "cut.dcm")]
    assert all("expected" in row["reason"] for row in rejected)


def test_dicom_objects_belong_to_the_film_s_study_and_hold_its_mask(predict, films):
    folder = predict(with_identity=True).directory
    mask = (dicom.read(films / "a.dcm").pixels <= DARK).astype(np.uint8)
    segmentation = pydicom.dcmread(folder / "1.2.9_seg.dcm")
    np.testing.assert_array_equal(segmentation.pixel_array, mask)
    overlay = pydicom.dcmread(folder / "1.2.9_overlay.dcm")
    drawn = cv2.cvtColor(cv2.imread(str(folder / "1.2.9_overlay.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(overlay.pixel_array, drawn)
    assert {one.StudyInstanceUID for one in (segmentation, overlay)} == {"1.2"}


@pytest.mark.parametrize(("factor", "shape", "expected"), [(0.0, (64, 64), [5.0, 6.0]), (2.0, (64, 64), [10.0, 12.0]),
                                                         (0.0, (1024, 1024), None)])  # fmt: skip
def test_an_overlay_has_the_spacing_that_its_bar_is_drawn_by(predict, tmp_path, factor, shape, expected):
    """What is assumed, as of files like SIIM-ACR's, is not written."""
    header = dicom.Header(image_id="1.2.7", spacing_mm=(0.1, 0.1) if expected is None else (5.0, 6.0))
    path = tmp_path / "film.dcm"
    dicom.write_secondary_capture(path, np.full(shape, 50, np.uint8), header, study_id="1.2", series_id="1.3")
    folder = predict(names=[str(path)], spacing_factor=factor).directory
    overlay = pydicom.dcmread(folder / "1.2.7_overlay.dcm")
    assert overlay.get("PixelSpacing") == expected
    ((told, *_),) = [rows_of(folder / "findings.csv")]
    source = {5.0: "stated", 10.0: "given factor", None: "assumed"}[expected and expected[0]]
    assert told["spacing_source"] == source


def test_objects_of_an_earlier_prediction_do_not_stay_beside_other_masks(predict):
    assert len(list(predict().directory.glob("*.dcm"))) == 2
    assert not list(predict(dicom=False).directory.glob("*.dcm"))


@pytest.mark.parametrize("name", ["findings.csv", "submission.csv", "rejected.csv", "x_mask.png"])
def test_a_folder_with_tables_or_pictures_of_somebody_else_is_left_alone(predict, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(InputError, match=rf"{name}: expected an --output_dir of a prediction.* no prediction wrote"):
        predict()
    assert [path.read_text() for path in (tmp_path / "out").iterdir() if path.name[0] != "."] == ["mine"]


def test_a_file_is_no_place_for_results(predict, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match=r"out: expected a folder as --output_dir\. Received: a file"):
        predict()


def test_results_are_not_written_over_what_is_read(predict, films):
    folder = predict().directory
    shutil.copy(films / "p1.png", folder / "a.png")
    shutil.copy(films / "p2.png", folder / "a_overlay.png")
    done = predict(names=[str(folder / "a.png"), str(folder / "a_overlay.png")])
    ((path, reason),) = done.rejected
    assert path == str(folder / "a.png")
    assert reason.endswith(
        f"a.png: expected results that are written over none of the files. Received: {folder}/a_overlay.png"
    )
    assert (folder / "a_overlay.png").read_bytes() == (films / "p2.png").read_bytes()


def test_of_several_frames_the_first_is_looked_at_and_that_is_told(run, films, tmp_path, capsys):
    dataset = pydicom.dcmread(films / "a.dcm")
    dataset.decompress(generate_instance_uid=False)
    dataset.PixelData += bytes(len(dataset.PixelData))
    dataset.NumberOfFrames = 2
    dataset.save_as(tmp_path / "two.dcm")
    settings = PredictConfig(run_dir=str(run), output_dir=str(tmp_path / "out"))
    predict_command.main(settings, MaskConfig(), InferenceConfig(), [str(tmp_path / "two.dcm")])
    assert f"{tmp_path / 'two.dcm'}: of 2 frames the first was looked at\n1 radiographs" in capsys.readouterr().out
    found = cv2.imread(str(tmp_path / "out" / "1.2.9_mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found > 0, dataset.pixel_array[0] <= DARK)


def test_without_dicom_there_are_none(predict):
    assert not list(predict(dicom=False).directory.glob("*.dcm"))


def test_a_dicom_whose_study_is_not_known_is_predicted_and_told(predict, films):
    dataset = pydicom.dcmread(films / "a.dcm")
    del dataset.StudyInstanceUID
    dataset.save_as(films / "a.dcm")
    done = predict()
    assert len(done.findings) == 7
    ((path, reason),) = done.without_dicom
    assert path == str(films / "a.dcm")
    assert "StudyInstanceUID" in reason
    assert (done.directory / "1.2.9_mask.png").exists()
    assert not list(done.directory.glob("*.dcm"))


def test_the_batch_size_changes_no_byte(predict):
    folders = [predict(f"by {size}", batch_size=size).directory for size in (1, 3, 8)]
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1] == contents[2]


def test_a_folder_that_is_read_may_be_written_and_is_read_alike_again(predict, films):
    first = predict("films")
    before = {path.name: path.read_bytes() for path in films.iterdir()}
    second = predict("films")
    assert str(second.findings) == str(first.findings)  # with nan
    assert {path.name: path.read_bytes() for path in films.iterdir()} == before


def test_masks_that_somebody_drew_are_not_written_over(predict, films):
    cv2.imwrite(str(films / "p0_mask.png"), np.full((64, 64), 255, np.uint8))
    before = (films / "p0_mask.png").read_bytes()
    with pytest.raises(InputError, match=r"p0_mask\.png: expected an --output_dir of a prediction, or without files"):
        predict("films")
    assert (films / "p0_mask.png").read_bytes() == before
    assert len(predict().findings) == 7


def test_a_file_that_goes_while_it_is_looked_at_stops_nothing(predict, films, monkeypatch):
    real = radiographs.read

    def read(path):
        found = real(path)
        if path.name == "p2.png":
            path.unlink()
        return found

    monkeypatch.setattr(radiographs, "read", read)
    assert len(predict().findings) == 7
    assert not (films / "p2.png").exists()


def test_what_was_rejected_is_tried_again(predict, films):
    with pytest.raises(InputError, match="expected at least one readable file"):
        predict(names=[str(films / "bad.png")])
    stamp = (films / "bad.png").stat()
    cv2.imwrite(str(films / "bad.png"), phantom.draw(1, positive=True, size=64).pixels)
    os.utime(films / "bad.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert len(predict(names=[str(films / "bad.png")]).findings) == 1


@pytest.mark.parametrize("shape", [(1, 70), (70, 1), (3, 200)])
def test_thin_films_are_films(predict, films, shape):
    cv2.imwrite(str(films / "thin.png"), np.zeros(shape, np.uint8))
    (found,) = predict(names=[str(films / "thin.png")]).findings
    assert found[0].area_px == shape[0] * shape[1]


def test_a_second_film_of_one_id_is_rejected(predict, films):
    shutil.copy(films / "a.dcm", films / "b.dcm")
    done = predict()
    assert [path for path, _ in done.rejected] == [str(films / name) for name in ("b.dcm", "bad.png", "cut.dcm")]
    assert done.rejected[0][1] == (
        f"{films / 'b.dcm'}: expected results of another name than those of {films / 'a.dcm'}. Received: 1.2.9"
    )


def test_not_one_readable_file_is_one_clear_line(predict, films):
    with pytest.raises(InputError, match=r"expected at least one readable file\. Received: .*bad\.png"):
        predict(names=[str(films / "bad.png")])


@pytest.fixture
def stopped(predict, monkeypatch):
    """Return a function that stops a prediction after some radiographs and tells which were examined."""
    monkeypatch.setattr(kept, "_CHUNK", 2)
    examined, real = [], reports.examine

    def run(after, **settings):
        examined.clear()

        def examine(radiograph, *args, **options):
            if len(examined) == after:
                raise KeyboardInterrupt
            examined.append(radiograph.path.name)
            return real(radiograph, *args, **options)

        monkeypatch.setattr(reports, "examine", examine)
        try:
            return predict(**settings), list(examined)
        except KeyboardInterrupt:
            return None, list(examined)

    return run


def test_what_was_stopped_goes_on_and_ends_in_the_same_bytes(stopped, predict, films):
    whole = {path.name: path.read_bytes() for path in predict("whole").directory.iterdir()}
    assert stopped(5) == (None, ["a.dcm", "p0.png", "p1.png", "p2.png", "p3.png"])
    done, rest = stopped(99)
    assert rest == ["p4.png", "p5.png"]
    assert {path.name: path.read_bytes() for path in done.directory.iterdir()} == whole
    assert len(done.rejected) == 2
    assert films.exists()


def test_what_has_changed_meanwhile_is_looked_at_again(stopped, films):
    _, first = stopped(5)
    cv2.imwrite(str(films / "p0.png"), phantom.draw(50, positive=False, size=64).pixels)
    done, rest = stopped(99)
    assert "p0.png" in rest
    assert "a.dcm" not in rest
    mask = (radiographs.read(films / "p0.png").pixels <= DARK).astype(np.uint8)
    assert rows_of(done.directory / "submission.csv")[1]["EncodedPixels"] == rle.encode(mask)
    assert first


def test_what_is_damaged_or_gone_meanwhile_is_written_again(stopped, predict, tmp_path):
    whole = {path.name: path.read_bytes() for path in predict("whole").directory.iterdir()}
    stopped(5)
    (tmp_path / "out" / "p0_mask.png").unlink()
    (tmp_path / "out" / "1.2.9_seg.dcm").write_bytes(b"")
    done, rest = stopped(99)
    assert rest == ["a.dcm", "p0.png", "p4.png", "p5.png"]
    assert {path.name: path.read_bytes() for path in done.directory.iterdir()} == whole


def test_other_settings_begin_anew(stopped):
    stopped(5)
    _, rest = stopped(99, rule=MaskConfig(threshold=0.25))
    assert len(rest) == 7


def test_notes_of_other_settings_are_gone_once_their_results_are_written_over(stopped, tmp_path):
    stopped(5)
    stopped(0, rule=MaskConfig(threshold=0.25))
    assert len(list((tmp_path / "out").glob(".predicted-*"))) == 1
    _, rest = stopped(99)
    assert len(rest) == 7


def test_damaged_notes_of_a_stopped_prediction_are_as_good_as_none(stopped, tmp_path):
    stopped(5)
    notes = list((tmp_path / "out").glob(".predicted-*"))
    assert notes
    for path in notes:
        path.write_text("{")
    _, rest = stopped(99)
    assert len(rest) == 7


def test_two_at_once_in_one_folder_are_kept_apart(predict, monkeypatch):
    entered, leave = threading.Event(), threading.Event()
    real = reports.examine

    def examine(*args, **options):
        entered.set()
        leave.wait(60)
        return real(*args, **options)

    monkeypatch.setattr(reports, "examine", examine)
    other = threading.Thread(target=predict)
    other.start()
    try:
        assert entered.wait(60)
        with pytest.raises(InputError, match=r"expected a folder that no other process is writing"):
            predict()
    finally:
        leave.set()
        other.join()


def test_findings_are_kept_as_they_are():
    """What stands in the hidden files comes back, nan too."""
    found = findings.describe(
        np.zeros((4, 4), np.uint8), np.zeros((4, 4)), image_id="x", path="p", presence=0.1, spacing=spacing.UNKNOWN
    )
    image = kept.Image(name="x", findings=found, mask="-1")
    again = kept._image(json.loads(json.dumps(dataclasses.asdict(image))))
    assert str(again) == str(dataclasses.replace(image, findings=list(found)))
