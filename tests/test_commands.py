"""The command lines as a user runs them: a way from nothing to masks, and what they say when something is wrong."""

import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ptxtf.data import dicom, rle

ROOT = pathlib.Path(__file__).parents[1]


def command(*argv: object, status: int = 0) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, argv)], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    """Go the whole way once: phantoms, records, run, scores, predictions."""
    folder = tmp_path_factory.mktemp("way")
    films = folder / "phantoms"
    said = {
        "make_phantoms": command(
            "tools.make_phantoms", f"--output_dir={films}", "--count=16", "--phantom_size=256", "--workers=1"
        ),
        "make_tfrecords": command(
            "tools.make_tfrecords", f"--dicom_dir={films / 'dicom'}", f"--annotations={films / 'train-rle.csv'}",
            f"--patient_map={films / 'patient-map.csv'}", f"--output_dir={folder / 'records'}", "--image_size=64",
            "--fractions=0.5,0.25,0.25",
        ),
        "check_tfrecords": command("tools.check_tfrecords", folder / "records"),
        "train": command(
            "ptxtf.train", "--flagfile=demo.flags", f"--records_dir={folder / 'records'}",
            f"--run_dir={folder / 'run'}", "--epochs=2", "--image_size=64", "--batch_size=4",
        ),
        "evaluate": command(
            "ptxtf.evaluate", f"--run_dir={folder / 'run'}", f"--records_dir={folder / 'records'}",
            f"--output_dir={folder / 'scores'}", "--bootstrap=20",
        ),
    }  # fmt: skip
    bad = folder / "broken.dcm"
    bad.write_text("no DICOM")
    said["predict"] = command(
        "ptxtf.predict", f"--run_dir={folder / 'run'}", f"--output_dir={folder / 'found'}", "--threshold=0.2",
        films / "dicom", bad,
    )  # fmt: skip
    return folder, said


def test_every_command_ends_with_the_path_of_what_it_made(way):
    folder, said = way
    ends = {
        "make_phantoms": folder / "phantoms",
        "make_tfrecords": folder / "records",
        "check_tfrecords": folder / "records" / "contact_sheet.png",
        "train": folder / "run",
        "evaluate": folder / "scores" / "report.html",
        "predict": folder / "found",
    }
    for name, path in ends.items():
        assert said[name].stdout.splitlines()[-1] == str(path)
        assert path.exists()


def test_no_command_writes_what_its_user_did_not_ask_for(way):
    for name, done in way[1].items():
        assert done.stderr == "", name


def test_the_counts_that_were_printed_add_up(way):
    lines = way[1]["make_tfrecords"].stdout
    counts = [int(number) for number in re.findall(r"^\w+: (\d+) images, ", lines, flags=re.MULTILINE)]
    assert sum(counts) == 16
    shares = re.findall(r"(\d+) of \d+ \(0\.0%\) images and (\d+) of \d+ \(0\.0%\) positives share", lines)
    assert shares == [("0", "0"), ("0", "0")]


def test_looking_before_converting_needs_no_radiographs(tmp_path):
    """Six images of four patients; b's rows overlap in a pixel, c's do not; the study's split trains on five."""
    (tmp_path / "labels.csv").write_text("id,rle\na,-1\nb,5 3\nc,1 1\nb,6 3\nc,9 1\nd,-1\ne,-1\nf,0 9\nbad,5\n")
    (tmp_path / "map.csv").write_text("image,patient\na,1\nb,1\nc,2\nd,2\ne,3\nf,4\n")
    done = command(
        "tools.make_tfrecords", f"--annotations={tmp_path / 'labels.csv'}", f"--patient_map={tmp_path / 'map.csv'}",
        f"--output_dir={tmp_path / 'records'}", "--split=paper", "--balance=0", "--dry_run",
    )  # fmt: skip
    assert "labels: 8 rows of 6 images, 3 with pneumothorax, 3 healthy; 2 images have several rows, " in done.stdout
    assert "which overlap in 1\n" in done.stdout
    assert "train: 5 images" in done.stdout
    assert "labels.csv:10: RLE pair 1: expected a gap and a length" in done.stdout
    shares = re.search(r"test: (\d) of 1 \((0|100)\.0%\) images", done.stdout)
    assert shares
    assert not (tmp_path / "records").exists()


def test_training_prints_a_line_per_epoch(way):
    lines = way[1]["train"].stdout.splitlines()
    assert re.fullmatch(r".*run: --precision=float32, --xla=(on|off), \d+ devices?", lines[0])
    assert [line.split("  ")[0] for line in lines[1:-2]] == ["epoch 1/2", "epoch 2/2"]
    assert "rule.json: threshold " in lines[-2]


def test_scores_stand_beside_the_baseline(way):
    folder, said = way
    summary = json.loads((folder / "scores" / "scores.json").read_text())["summary"]
    assert f"predicting nothing: Dice {summary['dice']['all']['all_empty']:.5f}\n" in said["evaluate"].stdout
    images = len((folder / "scores" / "images.csv").read_text().splitlines()) - 1
    assert summary["dice"]["all"]["images"] == summary["images"] == images


def test_predictions_say_the_same_in_every_form(way):
    folder, _ = way
    with (folder / "found" / "findings.csv").open(newline="") as file:
        findings = list(csv.DictReader(file))
    with (folder / "found" / "submission.csv").open(newline="") as file:
        runs = {row["ImageId"]: row["EncodedPixels"] for row in csv.DictReader(file)}
    films = {dicom.read_header(path).image_id: path for path in dicom.find(folder / "phantoms" / "dicom")}
    assert {row["image_id"] for row in findings} == set(runs) == set(films)
    for image_id, run in runs.items():
        of_image = [row for row in findings if row["image_id"] == image_id]
        mask = cv2.imread(str(folder / "found" / f"{image_id}_mask.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (256, 256)
        assert set(np.unique(mask)) <= {0, 255}
        np.testing.assert_array_equal(rle.decode(run, shape=(256, 256)), mask // 255)
        assert sum(int(row["area_px"]) for row in of_image) == np.count_nonzero(mask)
        assert {row["pneumothorax"] for row in of_image} == {str(bool(mask.any()))}
        assert cv2.imread(str(folder / "found" / f"{image_id}_overlay.png")).shape == (256, 256, 3)
    assert any(row["pneumothorax"] == "True" for row in findings)


def test_an_unreadable_file_is_listed_and_skipped(way):
    folder, said = way
    with (folder / "found" / "rejected.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == str(folder / "broken.dcm")
    assert "Received" in row["reason"]
    assert "16 radiographs" in said["predict"].stdout
    assert "1 not readable" in said["predict"].stdout


def test_training_again_finds_it_finished(way):
    folder, _ = way
    done = command(
        "ptxtf.train", "--flagfile=demo.flags", f"--records_dir={folder / 'records'}", f"--run_dir={folder / 'run'}",
        "--epochs=2", "--image_size=64", "--batch_size=4",
    )  # fmt: skip
    assert "going on after epoch 2 of 2" in done.stdout


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["ptxtf.train", "--records_dir=nowhere", "--run_dir=r"], "nowhere/dataset.json: expected a record directory"),
        (
            ["ptxtf.evaluate", "--run_dir=nowhere", "--records_dir=r", "--output_dir=o"],
            "nowhere/run.flags: expected a run",
        ),
        (["ptxtf.predict", "--run_dir=r", "--output_dir=o", "nowhere.dcm"], "nowhere.dcm: expected a file or folder"),
        (["tools.make_tfrecords", "--dicom_dir=nowhere", "--annotations=a.csv"], "nowhere: expected a folder"),
        (["tools.make_tfrecords", "--annotations=nowhere.csv", "--dry_run"], "nowhere.csv: expected "),
        (["tools.check_tfrecords"], "expected one record directory"),
    ],
)
def test_what_is_not_there_is_one_line_and_status_2(argv, start):
    done = command(*argv, status=2)
    assert done.stderr.startswith(f"{argv[0]}: {start}")
    assert done.stderr.count("\n") == 1
    assert "Received: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["tools.make_phantoms", "tools.make_tfrecords"])
def test_an_output_folder_that_is_a_file_is_one_line(way, tmp_path, module):
    films = way[0] / "phantoms"
    (tmp_path / "file").write_text("x")
    given = [f"--dicom_dir={films / 'dicom'}", f"--annotations={films / 'train-rle.csv'}", "--image_size=64"]
    given = ["--count=1", "--phantom_size=64"] if module == "tools.make_phantoms" else given
    done = command(module, *given, "--workers=1", f"--output_dir={tmp_path / 'file' / 'below'}", status=2)
    assert done.stderr.count("\n") == 1
    assert "expected a path that can be used. Received: " in done.stderr


def test_a_file_name_that_is_not_utf_8_does_no_harm(way, tmp_path):
    films = way[0] / "phantoms"
    folder = tmp_path / "films"
    shutil.copytree(films / "dicom", folder)
    (folder / os.fsdecode(b"bad\xe9.dcm")).write_bytes(b"no DICOM")
    command(
        "tools.make_tfrecords", f"--dicom_dir={folder}", f"--annotations={films / 'train-rle.csv'}", "--workers=1",
        f"--output_dir={tmp_path / 'records'}", "--image_size=64", "--num_shards=1",
    )  # fmt: skip
    assert "bad\\udce9.dcm" in (tmp_path / "records" / "rejected.csv").read_text()


@pytest.mark.slow
def test_the_installed_package_works_in_another_project(tmp_path):
    """Install into a folder of its own and build a model from elsewhere; recipes come along, tests and tools do not."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "ptxtf", source / "ptxtf")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", f"--target={target}", str(source)]
    subprocess.run([sys.executable, "-m", *install], check=True, cwd=tmp_path)
    assert (target / "ptxtf" / "recipes" / "densenet121_whole.flags").exists()
    assert (target / "ptxtf" / "py.typed").exists()
    assert {path.name for path in target.iterdir() if "dist-info" not in path.name} == {"ptxtf"}
    probe = "import ptxtf, ptxtf.models; print(ptxtf.__file__, ptxtf.models.unet('tiny', weights=None).output.shape)"
    environment = os.environ | {"PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout == f"{target / 'ptxtf' / '__init__.py'} (None, None, None, 1)\n"
