"""Files appear whole or not at all."""

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


def test_the_file_is_not_there_before_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.atomic(path) as temporary:
        temporary.write_text("x")
        assert not path.exists()
    assert path.read_text() == "x"


def test_csv_quotes_what_needs_it(tmp_path):
    files.write_csv(tmp_path / "a.csv", ["name", "reason"], [("a,b", 'say "no"')])
    assert (tmp_path / "a.csv").read_text() == 'name,reason\n"a,b","say ""no"""\n'
