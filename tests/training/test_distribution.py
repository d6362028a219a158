"""What a machine's environment may say of others and of TPUs, and what is said where it is wrong."""

import os
import subprocess
import sys

import pytest

from ptxtf.errors import InputError
from ptxtf.training import distribution


@pytest.mark.parametrize(
    "text",
    [
        "{", "5", '"text"', "[]", '{"clusters": {"worker": ["localhost:1"]}}',
        '{"cluster": {"worker": ["localhost:1"]}}',
        '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "nurse", "index": 0}}',
    ],
)  # fmt: skip
def test_a_cluster_that_is_none_is_one_clear_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"^expected TF_CONFIG as {.*}\. Received: .+$"):
        distribution.strategy()


def test_a_tpu_that_is_not_there_is_one_clear_line(records, tmp_path):
    command = [sys.executable, "-m", "ptxtf.train", f"--records_dir={records}", f"--run_dir={tmp_path / 'run'}"]
    environment = os.environ | {"TPU_NAME": "local"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ptxtf.train: TPU_NAME=local: expected a TPU. Received: ")
    assert not (tmp_path / "run").exists()
