"""A folder that appears whole or not at all, on a local disk and on ram://, which TensorFlow has built in."""

import itertools
import pathlib

import pytest

from ptxtf import files
from ptxtf.errors import InputError
from ptxtf.exporting import folder

ENTRIES = {"a", "inner", "last"}
numbers = itertools.count()


@pytest.fixture(params=["local", "ram"])
def target(request, tmp_path):
    return (
        tmp_path / "made" / "target" if request.param == "local" else files.path(f"ram://export-{next(numbers)}/target")
    )


def write(target, **texts):
    with folder.whole(target, entries=ENTRIES, last="last") as directory:
        for name, text in texts.items():
            place = directory.joinpath(*name.split("__"))
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)


def content(target):
    found = {str(path).removeprefix(f"{target}/"): path.read_text() for path in files.walk(target)}
    assert sum(1 for _ in target.parent.iterdir()) == 1, "nothing else is left beside it"
    return found


def test_what_was_written_is_there_and_replaces_what_was(target):
    write(target, a="1", last="1")
    assert content(target) == {"a": "1", "last": "1"}
    write(target, inner__b="2", last="2")
    assert content(target) == {"inner/b": "2", "last": "2"}


def test_a_failure_leaves_the_earlier_one(target):
    write(target, a="1", last="1")
    with pytest.raises(FileNotFoundError):
        write(target, a="2", missing__inner__b="2")
    assert content(target) == {"a": "1", "last": "1"}


def interrupt(monkeypatch, place, name, *, after):
    """Let a function's calls be interrupted after some of them."""
    real, calls = getattr(place, name), itertools.count()

    def call(*args):
        if next(calls) == after:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(place, name, call)


@pytest.mark.parametrize("before", [False, True])
def test_what_was_stopped_between_files_is_replaced(before, monkeypatch):
    target = files.path(f"ram://export-{next(numbers)}/target")
    if before:
        write(target, a="0", last="0")
    with monkeypatch.context() as patched:
        interrupt(patched, files, "write_bytes", after=2)
        with pytest.raises(KeyboardInterrupt):
            write(target, a="1", last="1")
    assert not (target / "last").is_file()
    write(target, a="2", last="2")
    assert content(target) == {"a": "2", "last": "2"}


def test_what_was_stopped_between_two_renamings_is_as_before(tmp_path, monkeypatch):
    write(tmp_path / "target", a="1", last="1")
    with monkeypatch.context() as patched:
        interrupt(patched, pathlib.Path, "rename", after=1)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "target", a="2", last="2")
    assert content(tmp_path / "target") == {"a": "1", "last": "1"}


def test_a_folder_with_something_else_is_left_alone(target):
    for texts, found in (({"a": "1"}, "no last"), ({"last": "1", "thesis": "1"}, "thesis")):
        for name, text in texts.items():
            files.write_text(target / name, text)
        with pytest.raises(InputError, match=rf"an earlier export\. Received: {found} in it"):
            write(target, a="2", last="2")
        assert content(target) == texts | {"a": "1"}


def test_a_last_file_of_another_kind_is_somebody_else_s(target):
    files.write_text(target / "last", "mine")
    with (
        pytest.raises(InputError, match=r"last: expected .*\. Received: another last"),
        folder.whole(target, entries=ENTRIES, last="last", title="# ours"),
    ):
        pass
    assert content(target) == {"last": "mine"}


def test_an_empty_folder_will_do_and_what_a_killed_process_left_goes(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / ".target.new" / "inner").mkdir(parents=True)
    (tmp_path / ".target.new" / "inner" / "half").write_text("x")
    (tmp_path / ".target.old").mkdir()
    write(tmp_path / "target", last="1")
    assert content(tmp_path / "target") == {"last": "1"}


def test_two_processes_do_not_write_one_folder(tmp_path):
    with folder.whole(tmp_path / "target", entries=ENTRIES, last="last") as directory:
        (directory / "last").write_text("1")
        with pytest.raises(InputError, match=r"a folder that no other process is writing"):
            write(tmp_path / "target", last="2")
    assert content(tmp_path / "target") == {"last": "1"}


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(".", last="1")
    assert content(tmp_path / "here") == {"last": "1"}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "target").write_text("x")
    with pytest.raises(InputError, match=r"expected a folder\. Received: a file"):
        write(tmp_path / "target", last="1")
