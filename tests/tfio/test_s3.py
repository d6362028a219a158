"""The whole way on s3://: records written to, trained on and evaluated from a bucket are those of a local disk."""

import os
import pathlib
import subprocess
import sys

import boto3
import pytest

ROOT = pathlib.Path(__file__).parents[2]


def command(*argv: object, status: int = 0) -> str:
    """Run a command line; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, argv)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def way(phantoms, bucket, tmp_path_factory) -> pathlib.Path:
    """Go the same way on a disk and in a bucket; return the folder on the disk."""
    folder = tmp_path_factory.mktemp("way")
    for root in (folder, bucket):
        command(
            "tools.make_tfrecords", f"--dicom_dir={phantoms / 'dicom'}", f"--annotations={phantoms / 'train-rle.csv'}",
            f"--patient_map={phantoms / 'patient-map.csv'}", f"--output_dir={root / 'records'}", "--image_size=64",
            "--fractions=0.5,0.25,0.25", "--num_shards=2", "--workers=2",
        )  # fmt: skip
        command(
            "ptxtf.train", "--flagfile=demo.flags", f"--records_dir={root / 'records'}", f"--run_dir={root / 'run'}",
            "--epochs=1", "--image_size=64", "--batch_size=4",
        )  # fmt: skip
        command(
            "ptxtf.evaluate", f"--run_dir={root / 'run'}", f"--records_dir={root / 'records'}",
            f"--output_dir={root / 'scores'}", "--bootstrap=20",
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def objects(way, bucket, endpoint) -> dict[str, bytes]:
    """Return what lies in the bucket, asked from the server without TensorFlow."""
    client = boto3.client("s3", endpoint_url=endpoint)
    name = bucket.key.parts[0]
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=name)["Contents"]]
    return {key: client.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}
