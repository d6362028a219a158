"""Files appear whole or not at all; a walk finds them all. What holds for remote ones, too, is in test_remote.py."""

import errno
import inspect
import os
import socket
import subprocess
import sys
import time

import pytest

from ptxtf import files


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half():
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="plug"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    def write():
        with files.atomic(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.atomic(path) as temporary:
        temporary.write_text("x")
        assert not path.exists()
    assert path.read_text() == "x"


def test_csv_quotes_what_needs_it(tmp_path):
    files.write_csv(tmp_path / "a.csv", ["name", "reason"], [("a,b", 'say "no"')])
    assert (tmp_path / "a.csv").read_text() == 'name,reason\n"a,b","say ""no"""\n'


def test_walk_follows_links_and_goes_through_a_loop_once(tmp_path):
    below = tmp_path / "top" / "b"
    below.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (tmp_path / "top" / "a.txt", tmp_path / "top" / "c.txt", below / "z.txt", elsewhere / "far.txt"):
        path.write_text("x")
    (below / "up").symlink_to(tmp_path / "top")  # a loop
    (below / "self").symlink_to(below / "self")  # a loop of links alone
    (below / "gone.dcm").symlink_to(tmp_path / "nowhere")
    (below / "file").symlink_to(elsewhere / "far.txt")
    (tmp_path / "top" / "link").symlink_to(elsewhere)
    (tmp_path / "top" / "twin").symlink_to(elsewhere)
    os.mkfifo(below / "pipe")  # to open it would wait for ever
    found = [str(path.relative_to(tmp_path / "top")) for path in files.walk(tmp_path / "top")]
    assert found == ["a.txt", "b/file", "b/gone.dcm", "b/self", "b/z.txt", "c.txt", "link/far.txt"]


def test_walk_goes_deeper_than_python_calls_functions(tmp_path):
    folder = tmp_path
    for _ in range(200):
        folder = folder / "d"
        folder.mkdir()
    (folder / "a").write_text("x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = list(files.walk(tmp_path))
    finally:
        sys.setrecursionlimit(limit)
    assert found == [folder / "a"]
    (folder / "a").unlink()  # for what removes old temporary folders, which does call functions
    while folder != tmp_path:
        folder.rmdir()
        folder = folder.parent


def test_walk_gives_the_order_of_paths(tmp_path):
    names = ["b/a", "b.txt", "a-b/c", "a/z", "a/b/c", "a.d/x", "B/x", "é/x"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(files.walk(tmp_path)) == sorted(tmp_path / name for name in names)


def test_sweep_leaves_what_may_live(tmp_path):
    host, day_s = socket.gethostname().replace(".", "-"), 24 * 3600
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    expected = {
        f".a.csv.{host}.{os.getppid()}.part": True,
        f".a.csv.{host}.1.part": True,  # init: not ours to signal, but alive
        f".a.csv.{host}.{gone.pid}.part": False,
        f".a.weights.h5.{host}.{gone.pid}.part.weights.h5": False,
        f".a.tar.csv.{host}.{gone.pid}.part": False,
        f".a.csv.other.{gone.pid}.part": True,
        f".a.csv.another.{gone.pid}.part": False,  # made old below
        f".my.csv.{host}.part": True,  # of another making
        ".a.csv.1.part": True,
        "a.csv": True,
        "a.part.csv": True,
        ".hidden.csv": True,
    }
    for name in expected:
        (tmp_path / name).write_text("x")
    old = time.time() - day_s - 60
    for name in (f".a.csv.another.{gone.pid}.part", ".hidden.csv", "a.part.csv"):
        os.utime(tmp_path / name, (old, old))
    files.sweep(tmp_path)
    assert {name: (tmp_path / name).exists() for name in expected} == expected


@pytest.mark.parametrize("name", ["train-00000-of-00001.tfrecord", "dataset.json", "1.2.840.10008_mask.png", "a"])
def test_what_is_half_written_looks_like_no_finished_file(tmp_path, name):
    path = tmp_path / name
    with files.atomic(path) as temporary:
        temporary.write_text("half")
        assert list(tmp_path.rglob(f"*{path.suffix or name}")) == []
        assert list(tmp_path.glob("[!.]*")) == []
    assert list(tmp_path.iterdir()) == [path]


def test_sweeping_what_is_not_there_is_no_error(tmp_path):
    files.sweep(tmp_path / "none")
