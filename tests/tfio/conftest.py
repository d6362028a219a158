"""A local S3 server for the tests of remote paths; without the extra `tfio`, what needs it is skipped."""

import itertools
import os
import urllib.request
from collections.abc import Callable

import pytest

from ptxtf import files


@pytest.fixture(scope="session")
def endpoint():
    """Start a server. tensorflow-io asks for its address once, so that one has to do for the whole process."""
    pytest.importorskip("tensorflow_io")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    os.environ |= {
        "S3_ENDPOINT": address,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }
    yield address
    server.stop()


@pytest.fixture(scope="session")
def make_bucket(endpoint) -> Callable[[], files.Remote]:
    """Return a function that makes a bucket."""
    numbers = itertools.count()

    def make() -> files.Remote:
        name = f"bucket-{next(numbers)}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
        return files.path(f"s3://{name}")

    return make
