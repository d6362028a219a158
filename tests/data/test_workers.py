"""Results in order, whatever the number of processes, and errors that come through."""

import math
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import pytest

from ptxtf.data import workers
from ptxtf.data.workers import Workers
from ptxtf.errors import InputError


def results(function, items, *, workers: int, **options):
    with Workers(workers) as processes:
        return list(processes.map(function, items, title="t", **options))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    assert results(math.factorial, list(range(60)), workers=workers) == [math.factorial(n) for n in range(60)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_reaches_the_caller(workers):
    with pytest.raises(ValueError, match=r"math domain error|expected a nonnegative input"):
        results(math.sqrt, [4.0, -1.0, 9.0], workers=workers)


def test_nothing_to_do_is_done_at_once():
    assert results(math.sqrt, [], workers=0) == []


def test_the_same_workers_serve_one_task_after_another():
    own_pid = "__import__('os').getpid()"
    with Workers(2) as processes:
        pids = [set(processes.map(eval, [own_pid] * 20, title="t")) for _ in range(3)]
    assert len(set.union(*pids)) <= 2
    assert os.getpid() not in set.union(*pids)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """A parent that is killed can tell its workers nothing; they must see it themselves."""
    path = tmp_path / "parent.py"
    path.write_text(
        "import os, signal, time\n"
        "from ptxtf.data.workers import Workers\n"
        "workers = Workers(2)\n"
        "pids = set(workers.map(eval, ['__import__(\"os\").getpid()'] * 40, title='t'))\n"
        "results = workers.map(time.sleep, [*[0] * 40, *[60] * 40], title='t')\n"
        "next(results)\n"
        "print(*pids, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
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


def test_only_the_item_that_kills_its_worker_is_lost():
    """Of 40 items three end their process; every other one has its result, in its place."""
    deadly = {5, 6, 31}
    items = [f"import os; os._exit(1) if {n} in {deadly} else None" for n in range(40)]
    done = results(exec, items, workers=2, lost=lambda item: f"lost {item[22:40]}")
    assert [n for n, result in enumerate(done) if result is not None] == sorted(deadly)
    assert all(done[n].startswith("lost ") for n in deadly)


def test_a_killed_worker_is_one_clear_line():
    with pytest.raises(InputError, match="expected worker processes that live"):
        results(os._exit, [1, 1, 1], workers=2)


def test_a_script_that_starts_workers_is_not_run_again_by_them(tmp_path):
    """Without `if __name__ == "__main__"`, the standard library's processes would start processes."""
    path = tmp_path / "script.py"
    path.write_text(
        "import math\n"
        "from ptxtf.data.workers import Workers\n"
        "print('started')\n"
        "with Workers(2) as workers:\n"
        "    print(list(workers.map(math.factorial, [3, 4], title='t')))\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["started", "[6, 24]", ""]


def test_giving_up_half_way_does_not_wait_for_what_is_under_way():
    def give_up():
        with Workers(2) as processes:
            for _ in processes.map(time.sleep, [*[0] * 8, *[60] * 40], title="t"):
                raise InputError("enough")

    start = time.monotonic()
    with pytest.raises(InputError, match="enough"):
        give_up()
    assert time.monotonic() - start < 30


def test_large_items_and_large_results_do_not_block_one_another():
    """Both ways at once, more than a socket holds."""
    items = [bytes([n % 256]) * 3_000_000 for n in range(40)]
    with Workers(2) as processes:
        for item, result in zip(items, processes.map(bytes.swapcase, items, title="t"), strict=True):
            assert result == item.swapcase()


@pytest.mark.parametrize("function", [lambda item: item, "no function"])
def test_what_cannot_be_asked_for_is_an_error_and_no_wait(function):
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        results(function, [1, 2, 3], workers=2)


def test_a_result_that_cannot_travel_is_no_wait_either():
    with pytest.raises(InputError, match="expected worker processes that live"):
        results(eval, ["lambda: 1", "lambda: 2"], workers=2)


def test_a_function_that_workers_cannot_import_is_said_to_be_so(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        "from ptxtf.data.workers import Workers\n"
        "def double(item): return 2 * item\n"
        "with Workers(2) as workers:\n"
        "    list(workers.map(double, [3, 4], title='t', lost=lambda item: 'lost'))\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert "AttributeError" in done.stderr
    assert "double" in done.stderr


def test_one_item_alone_may_kill_its_worker_too():
    assert results(os._exit, [1], workers=2, lost=lambda item: f"lost {item}") == ["lost 1"]


def test_results_are_taken_while_there_are_workers():
    with Workers(2) as processes:
        late = processes.map(math.factorial, [1] * 100, title="t")
        next(late)
    with pytest.raises(RuntimeError, match="expected results to be taken within the with block"):
        list(late)


def test_processes_that_die_before_they_are_ready_are_no_fault_of_the_item(monkeypatch):
    """As when memory is short for a moment; three in a row are more than that."""
    real, started = workers._Process, []

    class Stillborn(real):
        def __init__(self):
            super().__init__()
            started.append(self)
            if len(started) in unlucky:
                self.kill()

    monkeypatch.setattr(workers, "_Process", Stillborn)
    unlucky = {1, 2, 3, 4}
    assert results(math.factorial, list(range(40)), workers=2) == [math.factorial(n) for n in range(40)]
    started.clear()
    unlucky = set(range(100))
    with pytest.raises(InputError, match=r"expected a worker process that starts\. Received: 3 that died at once"):
        results(math.factorial, [1, 2, 3], workers=2)
