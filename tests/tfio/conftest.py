"""A local S3 server for the tests of remote paths; without the extra `tfio`, what needs it is skipped."""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import pytest

from ptxtf import files


@pytest.fixture(scope="session")
def endpoint():
    """Start a server; tensorflow-io asks for its address once, so that one has to do for the whole process.

    It is a process of its own, as TensorFlow holds Python's lock while it waits for some of the answers.
    """
    pytest.importorskip("tensorflow_io")
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        address = f"http://127.0.0.1:{port}"
        os.environ |= {
            "S3_ENDPOINT": address,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "us-east-1",
        }
        yield address
        server.terminate()


@pytest.fixture(scope="session")
def make_bucket(endpoint) -> Callable[[], files.Remote]:
    """Return a function that makes a bucket."""
    numbers = itertools.count()

    def make() -> files.Remote:
        name = f"bucket-{next(numbers)}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
        return files.path(f"s3://{name}")

    return make
