"""The whole way in a bucket, films included, against the same way on a disk: the same records, weights and scores."""

import csv
import io
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = {
    "tools.make_tfrecords": ("--image_size=64", "--fractions=0.5,0.25,0.25", "--num_shards=2", "--workers=2"),
    "ptxtf.train": ("--flagfile=demo.flags", "--epochs=1", "--image_size=64", "--batch_size=4"),
    "ptxtf.evaluate": ("--bootstrap=20",),
    "ptxtf.predict": ("--threshold=0.2",),
}


def command(name: str, *arguments: object) -> str:
    """Run a command line; return the last line that it says."""
    line = [sys.executable, "-m", name, *FLAGS.get(name, ()), *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def go(films, root) -> dict[str, str]:
    """Go the whole way below `root`; return command -> what it said last."""
    records, run = root / "records", root / "run"
    return {
        "convert": command(
            "tools.make_tfrecords", f"--dicom_dir={films / 'dicom'}", f"--annotations={films / 'train-rle.csv'}",
            f"--patient_map={films / 'patient-map.csv'}", f"--output_dir={records}",
        ),
        "check": command("tools.check_tfrecords", records),
        "train": command("ptxtf.train", f"--records_dir={records}", f"--run_dir={run}"),
        "evaluate": command(
            "ptxtf.evaluate", f"--run_dir={run}", f"--records_dir={records}", f"--output_dir={root / 'scores'}"
        ),
        "predict": command("ptxtf.predict", f"--run_dir={run}", f"--output_dir={root / 'found'}", films / "dicom"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def bucket(make_bucket):
    return make_bucket()


@pytest.fixture(scope="module")
def s3(endpoint):
    """Return a client that knows no TensorFlow."""
    return pytest.importorskip("boto3").client("s3", endpoint_url=endpoint)


@pytest.fixture(scope="module")
def ways(phantoms, s3, bucket, tmp_path_factory):
    """Return what was said in the bucket, the bucket's objects, and the folder on the disk."""
    folder = tmp_path_factory.mktemp("way")
    go(phantoms, folder)
    name = bucket.key.name
    for path in filter(pathlib.Path.is_file, phantoms.rglob("*")):
        s3.upload_file(str(path), name, f"films/{path.relative_to(phantoms)}")
    said = go(bucket / "films", bucket)
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=name)["Contents"]]
    return said, {key: s3.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}, folder


def test_each_command_ends_with_what_it_made(ways, bucket):
    said, objects, _ = ways
    made = {
        "convert": "records",
        "check": "records/contact_sheet.png",
        "train": "run",
        "evaluate": "scores/report.html",
        "predict": "found",
    }
    assert said == {command: f"{bucket}{key}" for command, key in made.items()}
    assert all(any(key.startswith(made) for key in objects) for made in made.values())


def test_the_same_files_lie_there_and_nothing_else(ways):
    _, objects, folder = ways
    there = {key for key in objects if not key.startswith("films/") and not key.endswith("/") and "events" not in key}
    here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {key for key in here if "events" not in key}


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        ("records/*.tfrecord", 6),
        ("records/contact_sheet.png", 1),
        ("records/rejected.csv", 1),
        ("run/epochs/epoch-00001.weights.h5", 1),
        ("run/checkpoints/ckpt-*", 2),
        ("run/curves.png", 1),
        ("scores/images.csv", 1),
        ("found/*_mask.png", 24),
        ("found/*_seg.dcm", 24),
        ("found/*_overlay.dcm", 24),
    ],
)
def test_the_same_bytes(ways, pattern, least):
    _, objects, folder = ways
    paths = list(folder.glob(pattern))
    assert len(paths) >= least
    for path in paths:
        assert objects[str(path.relative_to(folder))] == path.read_bytes(), path


def test_the_same_scores_and_losses(ways):
    _, objects, folder = ways

    def losses(content: bytes) -> list[dict[str, str]]:
        rows = csv.DictReader(io.StringIO(content.decode()))
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    history, scores = "run/history.csv", "scores/scores.json"
    assert losses(objects[history]) == losses((folder / history).read_bytes())
    assert json.loads(objects[scores])["summary"] == json.loads((folder / scores).read_bytes())["summary"]


@pytest.mark.usefixtures("ways")
def test_a_finished_conversion_is_left_alone(s3, bucket):
    def stamps() -> dict[str, object]:
        listing = s3.list_objects_v2(Bucket=bucket.key.name, Prefix="records/")["Contents"]
        return {found["Key"]: found["LastModified"] for found in listing if found["Key"].endswith(".tfrecord")}

    before = stamps()
    films = bucket / "films"
    command(
        "tools.make_tfrecords", f"--dicom_dir={films / 'dicom'}", f"--annotations={films / 'train-rle.csv'}",
        f"--patient_map={films / 'patient-map.csv'}", f"--output_dir={bucket / 'records'}",
    )  # fmt: skip
    assert before
    assert stamps() == before
