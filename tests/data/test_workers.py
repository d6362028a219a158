"""Results in order, whatever the number of processes, and errors that come through."""

import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from ptxtf.data.workers import ordered_map
from ptxtf.errors import InputError


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    assert list(ordered_map(math.factorial, list(range(60)), workers=workers, title="t")) == [
        math.factorial(n) for n in range(60)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_reaches_the_caller(workers):
    results = ordered_map(math.sqrt, [4.0, -1.0, 9.0], workers=workers, title="t")
    assert next(results) == 2.0
    with pytest.raises(ValueError, match=r"math domain error|expected a nonnegative input"):
        list(results)


def test_nothing_to_do_is_done_at_once():
    assert list(ordered_map(math.sqrt, [], workers=0, title="t")) == []


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """A parent that is killed can tell its workers nothing; they must see it themselves."""
    path = tmp_path / "parent.py"
    path.write_text(
        "import os, signal, time\n"
        "from ptxtf.data.workers import ordered_map\n"
        "if __name__ == '__main__':\n"
        "    results = ordered_map(time.sleep, [0, *[60] * 40], workers=2, title='t')\n"
        "    next(results)\n"
        "    print(open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    children = [int(child) for child in done.stdout.split()]
    assert children
    deadline = time.monotonic() + 20
    while any(is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(is_alive(child) for child in children)


def is_alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_killed_worker_is_one_clear_line():
    with pytest.raises(InputError, match="expected worker processes that live"):
        list(ordered_map(os._exit, [1, 1, 1], workers=2, title="t"))
