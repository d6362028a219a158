"""Results in order, whatever the number of processes, and errors that come through."""

import math

import pytest

from ptxtf.data.workers import ordered_map


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
