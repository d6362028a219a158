"""Downloads from a server of the test's own: whole, interrupted and resumed, damaged, impossible."""

import concurrent.futures
import fcntl
import hashlib
import http.server
import threading
import time

import numpy as np
import pytest

from ptxtf.errors import InputError
from ptxtf.models import unet
from ptxtf.models.download import fetch

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Sends CONTENT; may hang up after some bytes, and may know nothing of parts."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hang_up_after = None
        self.knows_parts = True
        self.asked = []
        self.pause = None  # a barrier, waited for twice before anything is sent

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/weights.h5"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        for _ in range(2 if self.server.pause else 0):
            self.server.pause.wait(timeout=30)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.knows_parts else 0
        if self.path != "/weights.h5":
            self.send_error(404)
        elif start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
        else:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:][: self.server.hang_up_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.mark.parametrize("checksum", [MD5, SHA256, None])
def test_a_file_is_fetched_once_into_keras_folder(server, tmp_path, checksum):
    path = fetch(server.url, checksum=checksum)
    assert path == tmp_path / "keras" / "models" / "weights.h5"
    assert path.read_bytes() == CONTENT
    assert fetch(server.url, checksum=checksum) == path
    assert server.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == ["weights.h5"]


@pytest.mark.parametrize("knows_parts", [True, False])
def test_what_was_interrupted_goes_on(server, knows_parts):
    server.hang_up_after, server.knows_parts = 100_000, knows_parts
    with pytest.raises(
        InputError, match=r"weights\.h5: expected to download it; .*Received: the connection ended after"
    ):
        fetch(server.url, checksum=MD5)
    server.hang_up_after = None
    assert fetch(server.url, checksum=MD5).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_part_that_is_already_all_of_it_is_taken(server, tmp_path):
    part = tmp_path / "keras" / "models" / "weights.h5.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(server.url, checksum=MD5).read_bytes() == CONTENT


def test_two_that_want_it_at_once_fetch_it_once(server):
    server.pause = threading.Barrier(2)  # the first is still receiving when the second asks
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, server.url, checksum=MD5)
        server.pause.wait()
        second = pool.submit(fetch, server.url, checksum=MD5)
        time.sleep(0.3)
        assert not second.done()
        server.pause.wait()
        assert first.result() == second.result()
    assert first.result().read_bytes() == CONTENT
    assert server.asked == [None]
    assert [file.name for file in first.result().parent.iterdir()] == ["weights.h5"]


def hold(part):
    """Open and lock a part as another process would, until it is let go; return what lets go of it."""
    holder = part.open("ab")
    fcntl.flock(holder, fcntl.LOCK_EX)
    return holder


@pytest.mark.parametrize("checksum", [MD5, MD5.upper(), None])
def test_what_another_process_got_before_it_died_counts(server, tmp_path, checksum):
    part = tmp_path / "keras" / "models" / "weights.h5.part"
    part.parent.mkdir(parents=True)
    holder = hold(part)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fetch, server.url, checksum=checksum)
        time.sleep(0.3)  # it has opened the file by now, which was empty
        holder.write(CONTENT[:100_000])
        holder.close()
        assert waiting.result().read_bytes() == CONTENT
    assert server.asked == ["bytes=100000-"]


def test_a_part_that_another_process_took_away_is_begun_anew(server, tmp_path):
    part = tmp_path / "keras" / "models" / "weights.h5.part"
    part.parent.mkdir(parents=True)
    holder = hold(part)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fetch, server.url, checksum=MD5)
        time.sleep(0.3)
        part.unlink()
        holder.close()
        assert waiting.result().read_bytes() == CONTENT
    assert [file.name for file in part.parent.iterdir()] == ["weights.h5"]


def test_a_part_longer_than_the_file_is_another_file_s(server, tmp_path):
    part = tmp_path / "keras" / "models" / "weights.h5.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(CONTENT) + 1))
    assert fetch(server.url, checksum=None).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_anew_and_another_one_refused(server, tmp_path):
    path = tmp_path / "keras" / "models" / "weights.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert fetch(server.url, checksum=MD5).read_bytes() == CONTENT
    path.unlink()
    with pytest.raises(InputError, match=rf"expected a file of checksum {'0' * 32}\. Received: {MD5}; try again"):
        fetch(server.url, checksum="0" * 32)
    assert not list(path.parent.iterdir())


def test_what_is_not_there_says_what_to_do(server, tmp_path):
    with pytest.raises(InputError, match=r"other: expected to download it; .*--weights=FILE.*Received: HTTP Error 404"):
        fetch(server.url.replace("weights.h5", "other"), checksum=MD5)
    assert not list((tmp_path / "keras" / "models").iterdir())


def test_without_a_network_the_error_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"^https://.*resnet34_imagenet_1000_no_top\.h5: expected .*--weights=FILE"):
        unet("resnet34")
