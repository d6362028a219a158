"""s3:// does what pathlib does, as test_remote.py says of ram://; through tensorflow-io, on a local server (moto)."""

import os
import pathlib
import runpy
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from ptxtf import files

pytest.importorskip("tensorflow_io")

SAME = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "test_remote.py"))
"""The operations that every kind of path has, and how their outcomes are compared."""


@pytest.fixture
def bucket(make_bucket) -> files.Remote:
    return make_bucket()


@pytest.mark.parametrize("folder", ["", "folder"])
def test_every_operation_gives_the_same_and_fails_alike(tmp_path, bucket, folder):
    remote = bucket / folder
    remote.mkdir(parents=True, exist_ok=True)
    for name, operation in SAME["OPERATIONS"]:
        assert SAME["outcome"](operation, remote) == SAME["outcome"](operation, tmp_path), name


def test_a_bucket_is_a_folder(bucket):
    assert str(bucket).endswith("/")
    assert files.path(str(bucket)) == bucket == (bucket / "a").parent
    assert (bucket.exists(), bucket.is_dir(), bucket.is_file()) == (True, True, False)
    assert list(bucket.iterdir()) == list(files.walk(bucket)) == []


@pytest.mark.usefixtures("endpoint")
def test_no_bucket_is_made():
    missing = files.path("s3://nobody-made-this-one")
    assert not missing.exists()
    for write in (missing.mkdir, lambda: files.write_text(missing / "a", "x")):
        with pytest.raises(FileNotFoundError, match="No such file or directory: 's3://nobody-made-this-one/'"):
            write()
    with pytest.raises(FileNotFoundError, match="NoSuchBucket: The specified bucket does not exist"):
        (missing / "folder").mkdir(parents=True)
    assert not missing.exists()


def test_folders_need_not_be_made(bucket):
    (bucket / "a" / "b" / "c.txt").write_text("x")
    assert [path.is_dir() for path in (bucket / "a", bucket / "a" / "b")] == [True, True]
    assert list(files.walk(bucket)) == [bucket / "a" / "b" / "c.txt"]
    (bucket / "a" / "b" / "c.txt").unlink()
    assert not (bucket / "a").exists()
    files.sweep(bucket / "a")


def test_files_of_many_pages_are_listed_once(bucket):
    for number in range(250):  # a hundred fill a page
        with tf.io.gfile.GFile(f"{bucket}many/{number:03}", "wb") as file:
            file.write(b"x")
    assert [path.name for path in files.walk(bucket)] == [f"{number:03}" for number in range(250)]


def test_what_takes_several_requests_comes_whole(bucket, rng):
    content = rng.bytes(60_000_000)  # more than 50 MiB go in parts
    with files.atomic(bucket / "large") as temporary:
        temporary.write_bytes(content)
        assert list(bucket.glob("large*")) == []
    assert list(bucket.iterdir()) == [bucket / "large"]
    assert (bucket / "large").read_bytes() == content


def test_a_failure_leaves_the_old_file_and_nothing_else(bucket):
    def write_half():
        with files.atomic(bucket / "a.csv") as temporary:
            temporary.write_text("half")
            raise RuntimeError("pulled the plug")

    files.write_text(bucket / "a.csv", "old")
    with pytest.raises(RuntimeError, match="plug"):
        write_half()
    assert (bucket / "a.csv").read_text() == "old"
    assert list(bucket.iterdir()) == [bucket / "a.csv"]


def test_what_a_killed_writer_left_is_swept(bucket):
    kill = (
        "import os, sys; from ptxtf import files\n"
        "with files.atomic(sys.argv[1]) as temporary: temporary.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", kill, f"{bucket}a.csv"], check=False).returncode == 9
    assert len(list(bucket.iterdir())) == 1
    files.sweep(bucket)
    assert list(bucket.iterdir()) == []


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(7)", 7), ("raise ValueError", 1)])
def test_a_process_ends_as_it_means_to(bucket, end, code):
    """tensorflow-io's own end would be an abort (134)."""
    probe = (
        "import sys, atexit; from ptxtf import files; atexit.register(print, 'the end')\n"
        f"print(files.path('{bucket}a').exists())\n{end}"
    )
    done = subprocess.run([sys.executable, "-c", probe], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "False\nthe end\n")


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "127.0.0.1:{}", "http://127.0.0.1:{}0000", "http://:{}"])
def test_a_server_that_is_not_there_is_one_clear_line(form):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(free.getsockname()[1])
    probe = (
        "from ptxtf import files, errors\n"
        "try: files.path('s3://bucket/a').exists()\n"
        "except errors.InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], stdout=subprocess.PIPE, text=True, env=os.environ | {"S3_ENDPOINT": address},
        check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.startswith("s3://: expected S3_ENDPOINT to name a server that answers (")
    assert done.stdout.endswith(f"Received: S3_ENDPOINT='{address}'\n")
