"""What the server gives, what it refuses, and that it stays well: a real server, and an `examine` that does nothing."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import logging
import pathlib
import re
import socket
import struct
import tempfile
import threading
import time
import urllib.parse
import weakref
import zipfile
import zlib

import cv2
import numpy as np
import pytest

from ptxtf.config import LimitConfig
from ptxtf.errors import InputError

pytest.importorskip("starlette")
from ptxtf.serving import app as app_module
from ptxtf.serving import server
from ptxtf.serving.results import Examined


class Asked:
    """A server that runs, and what it answers."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, **headers):
        """Return status, headers (names in small letters) and content of an answer; _ in a header's name means -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def send(self, content, *, name="film.png", **headers):
        """Return status and JSON of what the server says to a file."""
        status, _, answer = self.ask("POST", f"/examine?name={urllib.parse.quote(name)}", content, **headers)
        return status, json.loads(answer)

    def is_well(self):
        return self.ask("GET", "/healthz")[::2] == (200, b"ok\n")

    def is_full(self):
        """Return whether no place is left. To ask takes none: such a file is refused at once, 413, in any case."""
        with self.open(b"POST /examine HTTP/1.1\r\nHOST\r\nContent-Length: 99999999999\r\n\r\n") as connection:
            return connection.recv(12) == b"HTTP/1.1 503"

    def open(self, head: bytes) -> socket.socket:
        """Return a connection on which this was sent as it is."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(head.replace(b"HOST", f"Host: 127.0.0.1:{self.port}".encode()))
        return connection


@pytest.fixture(scope="module")
def serve():
    """Return a context in which an application of this `examine` and these limits is served."""

    @contextlib.contextmanager
    def run(examine, *, names=(), **limits):
        with server.bind("127.0.0.1", 0) as listening:
            running = server.of(app_module.app(examine, LimitConfig(**limits), names=names))
            thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                yield Asked(listening.getsockname()[1])
            finally:
                running.should_exit = True
                thread.join(20)
                assert not thread.is_alive()

    return run


@pytest.fixture(scope="module")
def plain(serve):
    """Return a server with the usual limits."""
    with serve(shown, names={"box.lan"}) as one:
        yield one


@pytest.fixture
def until():
    """Return a function that waits until something is true."""

    def wait(is_true, seconds=10.0):
        end = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < end, "it never was"
            time.sleep(0.01)

    return wait


@pytest.fixture
def film() -> bytes:
    """Return a PNG of 8 x 8 grey pixels."""
    return cv2.imencode(".png", np.full((8, 8), 99, np.uint8))[1].tobytes()


NASTY = '<img src=x onerror="alert(1)">\udcff'
DICOM = (
    bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, 4) + struct.pack("<HH2sH2s", 2, 2, b"UI", 2, b"1\0")
)


def shown(path: pathlib.Path, **changes) -> Examined:
    """Return what an examination gives: the file's name, its length and its bytes."""
    content = path.read_bytes()
    given = {
        "image_id": path.name,
        "sentence": f"{len(content)} bytes",
        "columns": ("what", "value"),
        "rows": (("ending", path.suffix),),
        "image_png": b"film",
        "layer_png": b"layer",
        "downloads": {"copy.bin": content, "findings.csv": b"a,b\n"},
    }
    return Examined(**given | changes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder that temporary files are made in, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_film_goes_in_and_its_results_come_out(serve, film, folder):
    with serve(shown) as one:
        status, found = one.send(film, name=b"A film.PNG")
        assert status == 200
        assert (found["image_id"], found["sentence"]) == ("A_film.PNG", f"{len(film)} bytes")
        assert (found["columns"], found["rows"]) == (["what", "value"], [["ending", ".PNG"]])
        assert [(file["name"], file["bytes"]) for file in found["files"]] == [
            ("copy.bin", len(film)), ("findings.csv", 4),
        ]  # fmt: skip
        assert one.ask("GET", f"/{found['image']}")[::2] == (200, b"film")
        status, headers, content = one.ask("GET", f"/{found['layer']}")
        assert (status, headers["content-type"], content) == (200, "image/png", b"layer")
        status, headers, content = one.ask("GET", f"/{found['files'][0]['address']}")
        assert (status, content) == (200, film)
        assert headers["content-disposition"] == "attachment; filename*=UTF-8''copy.bin"
        assert headers["content-type"] == "application/octet-stream"
        status, headers, content = one.ask("GET", f"/{found['zip']}")
        assert headers["content-disposition"] == "attachment; filename*=UTF-8''A_film.PNG.zip"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == {
                "copy.bin": film, "findings.csv": b"a,b\n",
            }  # fmt: skip
        assert list(folder.iterdir()) == []
        for gone in ("files/other", "files/", "other", "files/../image.png"):
            assert one.ask("GET", f"/results/{found['zip'].split('/')[1]}/{gone}")[0] == 404
        assert one.ask("GET", "/results/AAAA/image.png")[0] == 404


def test_the_first_bytes_tell_what_a_file_is(plain, film):
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    for content, ending in ((film, ".png"), (jpeg, ".jpg"), (DICOM, ".dcm"), (DICOM[132:], ".dcm")):
        found = plain.send(content, name=b"photo.txt")[1]
        assert found["rows"] == [["ending", ending]]
        assert found["image_id"] == f"photo.txt{ending}"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (b"../../../etc/passwd", "etc_passwd"),
        (b"..\\..\\x", "x"),
        (b"/abs/x.png", "abs_x"),
        (b".hidden", "hidden"),
        (b"<b>bold</b>", "b_bold__b_"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf_"),  # no UTF-8
        (b"x" * 3000, "x" * 100),
        ("\N{LUNGS}".encode() * 50 + "é".encode() * 300, "é" * 50),
        (b"a%00b", "a_00b"),
        (b"...", "radiograph"),
    ],
)
def test_a_name_is_a_label_and_nothing_more(serve, film, folder, name, stem):
    seen = []

    def examine(path):
        seen.append(path)
        return shown(path)

    with serve(examine) as one:
        assert one.send(film, name=name)[0] == 200
    (path,) = seen
    assert path.parent.parent == folder
    assert path.name == f"{stem}.png"
    assert not path.parent.exists()


def test_texts_from_files_are_passed_on_as_they_are_in_ascii(serve, film):
    rows = ((NASTY, "2"),)
    with serve(lambda path: shown(path, image_id=NASTY, sentence=NASTY, rows=rows)) as one:
        status, found = one.send(film)
        assert (status, found["image_id"], found["rows"]) == (200, NASTY, [[NASTY, "2"]])
        headers = one.ask("GET", f"/{found['zip']}")[1]
        assert headers["content-disposition"] == "attachment; filename*=UTF-8''img_src_x_onerror__alert_1____.zip"


def png_of(width: int, height: int) -> bytes:
    """Return the start of a PNG that says that it is so large."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def jpeg_of(width: int, height: int) -> bytes:
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "with something in it. Received: an empty one"),
        (b"PK\3\4" + bytes(500), 415, "expected a DICOM, PNG or JPEG file"),
        (b"%PDF-1.7", 415, "expected a DICOM, PNG or JPEG file"),
        (bytes(4000), 415, "expected a DICOM, PNG or JPEG file"),
        (png_of(2**14, 2**14), 422, "at most 67108864 pixels. Received: 16384 x 16384"),
        (png_of(2**31, 2**31), 422, "Received: 2147483648 x 2147483648"),
        (png_of(0, 5), 422, "at least 1 x 1 pixels"),
        (b"\x89PNG\r\n\x1a\n", 422, "expected a PNG header"),
        (jpeg_of(65535, 65535), 422, "Received: 65535 x 65535"),
        (b"\xff\xd8\xff", 422, "without a frame header"),
    ],
)
def test_what_cannot_be_examined_never_is(serve, content, status, message):
    def examine(_):
        raise AssertionError("it was")

    with serve(examine) as one:
        got, answer = one.send(content)
        assert (got, list(answer)) == (status, ["error"])
        assert message in answer["error"]
        assert "\n" not in answer["error"]
        assert one.is_well()


def test_a_file_that_cannot_be_used_is_a_line_that_names_no_path(serve, film, folder):
    def examine(path):
        raise InputError(f"{path}: expected a film. Received: {path} of\nnothing")

    with serve(examine) as one:
        status, answer = one.send(film)
        assert (status, answer) == (422, {"error": "expected a film. Received: the file of nothing"})
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, MemoryError, KeyError, OSError])
def test_a_fault_of_ours_is_a_line_too_and_tells_nothing_of_the_file(serve, film, folder, caplog, error):
    def examine(path):
        raise error(f"Jane Doe in {path}")

    with serve(examine) as one, caplog.at_level(logging.DEBUG):
        status, answer = one.send(film, name=b"jane-doe.png")
        assert (status, answer) == (500, {"error": f"this should not happen: {error.__name__}"})
        assert one.is_well()
        assert list(folder.iterdir()) == []
    assert re.search(r"test_app.py\", line \d+, in examine", caplog.text)  # for whoever mends it
    assert "jane" not in caplog.text.lower().replace('raise error(f"jane doe in {path}")', "")


def test_what_is_logged_names_no_file(serve, film, caplog):
    with caplog.at_level(logging.DEBUG), serve(shown) as one:
        token = one.send(film, name=b"jane-doe.png")[1]["zip"].split("/")[1]
        one.send(b"PK", name=b"jane-doe.zip")
    assert re.search(r"examined a file in \d+\.\d s", caplog.text)
    assert "refused: 415" in caplog.text
    assert "jane" not in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "x" * 5000, "image/png; charset=\xe9"])
def test_what_a_client_says_that_a_file_is_does_not_matter(plain, film, kind):
    assert plain.send(film, Content_Type=kind)[1]["rows"] == [["ending", ".png"]]


@pytest.mark.parametrize(
    "query", ["", "?", "?name", "?name=", "?other=x", "?name=%", "?name=%ff%00", "?" + "a&" * 9000]
)
def test_a_file_needs_no_name(plain, film, query):
    status, _, content = plain.ask("POST", f"/examine{query}", film)
    assert status == 200
    assert json.loads(content)["image_id"] == "radiograph.png"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/examine", 405), ("PUT", "/examine", 405), ("DELETE", "/", 405), ("POST", "/", 405),
        ("POST", "/healthz", 405), ("TRACE", "/", 405), ("GET", "/nothing", 404), ("GET", "/../app.py", 404),
        ("GET", "/results/x", 404), ("GET", "/page.html", 404), ("GET", "/%00", 404), ("GET", "/docs", 404),
    ],
)  # fmt: skip
def test_other_ways_and_places_are_a_line_each(plain, method, path, status):
    got, headers, content = plain.ask(method, path)
    assert got == status
    assert headers["content-type"] == "application/json"
    assert list(json.loads(content)) == ["error"]
    assert ("allow" in headers) == (status == 405)


def test_every_answer_forbids_browsers_what_they_need_not_do(serve, film):
    def examine(path):
        if path.stem == "bad":
            raise RuntimeError
        return shown(path)

    with serve(examine) as one:
        found = one.send(film)[1]
        places = ["/", "/page.js", "/page.css", "/report.css", "/icon.svg", "/healthz", "/nothing", "/results/a/b"]
        places += [f"/{found[key]}" for key in ("image", "layer", "zip")] + [f"/{found['files'][0]['address']}"]
        answers = [one.ask("GET", path)[1] for path in places]
        answers.append(one.ask("POST", "/examine?name=bad", film)[1])
        answers.append(one.ask("GET", "/", Host="evil.example")[1])
    for headers in answers:
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
        assert {policy[f"{kind}-src"] for kind in ("img", "style", "script", "connect")} == {"'self'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1", True), ("127.0.0.1:9000", True), ("localhost:9000", True), ("[::1]:8080", True),
        ("192.168.1.7:8080", True), ("box.lan", True), ("BOX.LAN:8080", True), ("evil.example", False),
        ("127.0.0.1.evil.example", False), ("localhost.evil.example:80", False), ("", False), ("evil.example@", False),
        ("[::1", False), ("1270.0.0.1", False), ("otherbox.lan", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_a_name_that_was_made_to_lead_here_is_not_answered(plain, host, is_ours):
    assert plain.ask("GET", "/", Host=host)[0] == (200 if is_ours else 403)


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),  # no browser
        ({"Origin": "http://localhost:9000", "Host": "localhost:9000"}, True),
        ({"Origin": "https://LOCALHOST:9000", "Host": "localhost:9000"}, True),  # a proxy may speak TLS
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost:9001", "Host": "localhost:9000"}, False),  # another program's page
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Origin": "http://localhost:9000", "Host": "localhost:9000", "Sec_Fetch_Site": "cross-site"}, False),
    ],
)
def test_a_page_elsewhere_has_nothing_examined(serve, film, headers, is_ours):
    seen = []
    with serve(lambda path: seen.append(path) or shown(path)) as one:
        assert one.send(film, **headers)[0] == (200 if is_ours else 403)
    assert len(seen) == is_ours


def test_a_file_that_says_it_is_too_large_is_refused_before_it_comes(serve, folder):
    with serve(shown, max_mib=1) as one:
        head = b"POST /examine HTTP/1.1\r\nHOST\r\n"
        with one.open(head + b"Content-Length: 1048576000\r\n\r\n--0") as connection:
            assert connection.recv(20).startswith(b"HTTP/1.1 413 ")
        assert one.is_well()
        assert list(folder.iterdir()) == []


def chunks(content: bytes, size: int = 2**16):
    """Yield a body as HTTP's chunks, which do not say how long it will be."""
    for at in range(0, len(content), size):
        piece = content[at : at + size]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


CHUNKED = b"POST /examine HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_file_that_does_not_say_it_is_too_large_breaks_off(serve, film, folder):
    with serve(shown, max_mib=1) as one:
        with one.open(CHUNKED) as connection:
            for chunk in chunks(film + bytes(2**21)[: -(2**19)]):  # and its end never comes
                connection.sendall(chunk.removesuffix(b"0\r\n\r\n"))
            answer = connection.recv(2000)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert one.is_well()
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("more", "status"), [(0, b"200"), (1, b"413")])
def test_the_largest_file_is_taken_and_not_a_byte_more(serve, film, more, status):
    with serve(shown, max_mib=1) as one, one.open(CHUNKED) as connection:
        connection.sendall(b"".join(chunks(film + bytes(2**20 - len(film) + more))))
        assert connection.recv(2000).startswith(b"HTTP/1.1 " + status)


def test_a_file_that_trickles_in_does_not_hold_a_place(serve, film, folder, until):
    with serve(shown, upload_seconds=0.5, max_waiting=0) as one:
        with one.open(CHUNKED + b"5\r\n--012\r\n") as connection:
            until(one.is_full)
            answer = b"".join(iter(lambda: connection.recv(2000), b""))  # until the server closes
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"within 0.5 seconds" in answer
        assert one.send(film)[0] == 200
        assert list(folder.iterdir()) == []


def test_a_connection_on_which_nobody_asks_is_closed(serve, monkeypatch):
    monkeypatch.setattr(server, "_FIRST_REQUEST_S", 0.2)
    with serve(shown) as one:
        for head in (b"", b"GET / HT"):
            with one.open(head) as connection:
                assert connection.recv(10) == b""


@pytest.mark.parametrize("cut", [40, 200_000])
def test_a_client_that_goes_away_leaves_nothing_behind(serve, film, folder, until, caplog, cut):
    caplog.set_level(logging.INFO)
    with serve(shown, max_waiting=0) as one:
        body = film + bytes(2**21)
        connection = one.open(CHUNKED + b"%x\r\n" % len(body) + body[:cut])
        until(one.is_full)  # it has its place
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as a killed one
        connection.close()
        until(lambda: one.send(film)[0] == 200)
        assert list(folder.iterdir()) == []
    assert "a client went away" in caplog.text
    assert "Error" not in caplog.text


def test_one_after_another_and_no_more_than_may_wait(serve, film, until):
    begun, go_on = threading.Semaphore(0), threading.Event()
    at_once, most = [], []

    def examine(path):
        at_once.append(path)
        most.append(len(at_once))
        begun.release()
        assert go_on.wait(20)
        at_once.pop()
        return shown(path)

    with serve(examine, max_waiting=2) as one, concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(one.send, film)
        assert begun.acquire(timeout=20)
        others = [pool.submit(one.send, film) for _ in range(2)]
        until(one.is_full)
        status, headers, content = one.ask("POST", "/examine", film)
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert b"expected at most 3 files at a time" in content
        assert one.is_well()  # it answers others while it examines
        assert one.ask("GET", "/")[0] == 200
        go_on.set()
        assert [asked.result()[0] for asked in (first, *others)] == [200] * 3
    assert max(most) == 1
    assert len(most) == 3


def test_nobody_examines_for_a_client_that_went_away_while_it_waited(serve, film, until):
    begun, go_on, count = threading.Event(), threading.Event(), []

    def examine(path):
        count.append(path.stem)
        begun.set()
        assert go_on.wait(20)
        return shown(path)

    with serve(examine, max_waiting=1) as one, concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(one.send, film, name=b"first")
        assert begun.wait(20)
        connection = one.open(CHUNKED.replace(b"examine", b"examine?name=second") + b"".join(chunks(film)))
        until(one.is_full)
        connection.close()
        go_on.set()
        assert first.result()[0] == 200
        until(lambda: one.send(film, name=b"third")[0] == 200)
    assert count == ["first", "third"]


@pytest.mark.parametrize(
    "head",
    [b"\0\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"X" * 70_000, b"\x16\x03\x01\2\0\1\0"],
)
def test_what_is_no_http_is_refused(plain, head):
    with plain.open(head) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(2000)
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert plain.is_well()


def test_no_temporary_file_has_a_name_while_a_file_comes_in(serve, film, folder, until):
    with serve(shown, max_waiting=0) as one:
        body = film + bytes(2**22)
        with one.open(CHUNKED + b"%x\r\n" % len(body) + body[:-100]):
            until(lambda: any(str(folder) in link for link in open_files()))  # it is on the disk
            assert list(folder.iterdir()) == []


def test_results_are_forgotten_though_nobody_asks(serve, film, until, monkeypatch):
    monkeypatch.setattr(app_module, "_SWEEP_S", 0.05)
    made = []

    def examine(path):
        examined = shown(path)
        made.append(weakref.ref(examined))
        return examined

    with serve(examine, keep_minutes=0.3 / 60) as one:
        found = one.send(film)[1]
        assert one.ask("GET", f"/{found['image']}")[0] == 200
        until(lambda: made[0]() is None)
        assert one.ask("GET", f"/{found['image']}")[0] == 404


def open_files():
    for number in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            yield str(number.readlink())
