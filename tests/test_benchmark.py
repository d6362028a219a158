"""The benchmark compares what it says; figures are no matter of tests."""

import re
import subprocess
import sys

import pytest


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_converting_is_compared_with_the_usual_script():
    done = benchmark("convert", "--files=6", "--turns=1", "--workers=1", "--image_size=64")
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^(.+?) +([0-9]+) files/s +([0-9.]+)x the usual script$", done.stdout, flags=re.MULTILINE)
    assert [name for name, _, _ in lines] == ["the usual script", "ptxtf, source", "ptxtf, raw"]
    assert lines[0][2] == "1.0"
    assert all(int(speed) > 0 for _, speed, _ in lines)


@pytest.mark.parametrize("name", ["image_size", "batch_size", "repeats", "files", "turns"])
def test_there_is_something_to_time(name):
    done = benchmark("clahe", f"--{name}=0")
    assert done.returncode == 2
    assert done.stderr.endswith(f"expected {name} of at least 1. Received: {name}=0\n")
