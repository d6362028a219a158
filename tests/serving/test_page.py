"""The page as a browser shows it, before the command as a user runs it, on a run that outlines what is dark."""

import base64
import contextlib
import csv
import http.client
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile

import cv2
import numpy as np
import pydicom
import pytest

from ptxtf import config, serve
from ptxtf.data import dicom, phantom
from ptxtf.errors import InputError

pytest.importorskip("uvicorn")
from ptxtf.serving import server

# Keras 3.15 with NumPy 2, when weights are saved
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SIZE = 256
DARK = 40
"""The grey level up to which a pixel has a probability of 0.5 or more."""
NASTY = '<img src=x onerror="document.title=1">'
START = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
START += "runpy.run_module('ptxtf.serve', run_name='__main__', alter_sys=True)"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> pathlib.Path:
    """Return a run whose logit falls with a pixel's grey level."""
    import keras

    from ptxtf import rundir

    folder = tmp_path_factory.mktemp("run")
    images = keras.Input((None, None, 1))
    convolution = keras.layers.Conv2D(1, 1)
    outputs = convolution(images)
    convolution.set_weights([np.full((1, 1, 1, 1), -255.0, np.float32), np.array([DARK + 0.5], np.float32)])
    keras.Model(images, outputs).save(folder / rundir.MODEL)
    inputs = config.InputConfig(records_dir="none", image_size=SIZE)
    plain = config.PreprocessConfig(clahe=False)
    others = [kind() for kind in config.RUN[3:]]
    rundir.write_flags(folder, config.RunConfig(inputs, config.TrainConfig(run_dir=str(folder)), plain, *others))
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> pathlib.Path:
    """Return a DICOM of a phantom with a pneumothorax; its id is HTML."""
    folder = tmp_path_factory.mktemp("film")
    uid = "1." + "2" * (len(NASTY) - 2)
    drawn = phantom.draw(5, positive=True, size=SIZE)
    path = folder / "film.dcm"
    dicom.write_secondary_capture(path, drawn.pixels, dicom.Header(image_id=uid), study_id="1.2", series_id="1.3")
    path.write_bytes(path.read_bytes().replace(uid.encode(), NASTY.encode()))
    assert dicom.read_header(path).image_id == NASTY
    return path


@pytest.fixture
def dark(film) -> np.ndarray:
    """Return what the run finds in the film, by NumPy: uint8 [H, W] of {0, 1}."""
    return (dicom.read(film).pixels <= DARK).astype(np.uint8)


@pytest.fixture(scope="module")
def served(run_dir):
    """Return the process of a server, and its address."""
    command = [sys.executable, "-c", START, f"--run_dir={run_dir}", "--port=0"]
    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet)
    try:
        line = process.stdout.readline()
        assert line.startswith("serving at http://127.0.0.1:"), process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=[("light", 1280), ("dark", 1280), ("dark", 390)], ids="{0[0]} {0[1]}".format)
def page(browser, served, request):
    """Return an open page, and what it asked for and complained of."""
    scheme, width = request.param
    made = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 860})
    made.problems, made.asked = [], []
    made.on("console", lambda message: made.problems.append(message.text))
    made.on("pageerror", lambda error: made.problems.append(str(error)))
    made.on("dialog", lambda dialog: made.problems.append(dialog.message))
    made.on("request", lambda asked: made.asked.append(asked.url))
    made.on("filechooser", lambda _: None)  # so that it is waited for before a key is pressed
    made.goto(served[1])
    yield made
    assert all(url.startswith(served[1]) for url in made.asked)
    made.close()


DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.querySelector("main").dispatchEvent(event);
  }
}"""


def test_a_film_is_dropped_looked_at_and_taken_along(page, film, dark):
    page.evaluate(DROP, [f"{NASTY}.dcm", base64.b64encode(film.read_bytes()).decode()])
    page.locator("#result").wait_for()
    count, _, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    areas = sorted(stats[1:, cv2.CC_STAT_AREA].tolist(), reverse=True)
    sentence = rf"pneumothorax on .*, {count - 1} regions, up to \d+ pixels wide, size unknown; presence [01]\.\d\d"
    assert re.fullmatch(sentence, page.inner_text("#sentence"))
    assert page.inner_text("#image_id") == NASTY
    cells = [line.locator("td").all_inner_texts() for line in page.locator("tbody tr").all()]
    assert [line[0] for line in cells] == [str(number) for number in range(1, min(count, 21))]
    assert [line[2] for line in cells] == [f"{100 * area / dark.size:.2f} %" for area in areas[:20]]
    assert page.locator("img").count() == 2
    assert page.title() == "ptxtf: find a pneumothorax"

    for name in ("#image", "#layer"):
        assert page.locator(name).evaluate("image => [image.naturalWidth, image.naturalHeight]") == [SIZE, SIZE]
    boxes = [page.locator(name).bounding_box() for name in ("#image", "#layer")]
    assert boxes[0] == boxes[1]
    opacity = "image => getComputedStyle(image).opacity"
    assert page.locator("#layer").evaluate(opacity) == "1"
    page.locator("#opacity").fill("30")
    assert page.locator("#layer").evaluate(opacity) == "0.3"
    assert page.locator("#image").evaluate(opacity) == "1"
    assert page.inner_text("output") == "30 %"

    with page.expect_download() as download:
        page.click("#zip")
    name = "img_src_x_onerror__document.title_1__"
    assert download.value.suggested_filename == f"{name}.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        found = {entry: archive.read(entry) for entry in archive.namelist()}
    assert set(found) == {f"{name}_mask.png", f"{name}_overlay.png", "findings.csv"}
    mask = cv2.imdecode(np.frombuffer(found[f"{name}_mask.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, dark * 255)
    rows = list(csv.DictReader(io.StringIO(found["findings.csv"].decode())))
    assert [int(row["area_px"]) for row in rows] == areas
    assert {row["image_id"] for row in rows} == {NASTY}
    assert not any("/" in row["file"] for row in rows)

    with page.expect_download() as download:
        page.click("#files a >> nth=0")
    assert download.value.suggested_filename == f"{name}_mask.png"
    assert pathlib.Path(download.value.path()).read_bytes() == found[f"{name}_mask.png"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.problems == []


def test_what_dicom_asks_for_comes_along(served, tmp_path):
    """Lengths in mm by the file's own spacing, and objects for its study."""
    drawn = phantom.draw(5, positive=True, size=SIZE)
    path, spacing = tmp_path / "film.dcm", (1.5, 1.5)
    header = dicom.Header(image_id="1.2.345", spacing_mm=spacing)
    dicom.write_secondary_capture(path, drawn.pixels, header, study_id="1.2", series_id="1.3")
    request = urllib.request.Request(f"{served[1]}/examine?name=film.dcm", path.read_bytes())
    with urllib.request.urlopen(request) as answer:
        said = json.loads(answer.read())
    dark = (dicom.read(path).pixels <= DARK).astype(np.uint8)
    assert re.search(r" cm wide, (large|small); presence", said["sentence"])
    assert said["rows"][0][3].endswith(" mm")
    addresses = {file["name"]: file["address"] for file in said["files"]}
    assert {"1.2.345_seg.dcm", "1.2.345_overlay.dcm"} < set(addresses)
    with urllib.request.urlopen(f"{served[1]}/{addresses['1.2.345_seg.dcm'].lstrip('/')}") as answer:
        mask = pydicom.dcmread(io.BytesIO(answer.read()))
    assert (mask.Modality, mask.StudyInstanceUID) == ("SEG", "1.2")
    np.testing.assert_array_equal(mask.pixel_array, dark)


def test_a_keyboard_is_enough(page, film):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(film)
    page.locator("#result").wait_for()
    assert page.evaluate("document.activeElement.id") == "sentence"  # so that it is read out
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#layer").evaluate("image => getComputedStyle(image).opacity") == "0.99"
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "zip":
            break
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".zip")
    assert page.problems == []


def test_the_disclaimer_is_always_in_sight_and_colours_follow_the_scheme(page, film, request):
    scheme = request.node.callspec.params["page"][0]

    def is_in_sight():
        box = page.locator("footer").bounding_box()
        return 0 < box["y"] < box["y"] + box["height"] <= 860

    assert is_in_sight()
    page.set_input_files("#file", film)
    page.locator("#result").wait_for()
    assert is_in_sight()
    page.mouse.wheel(0, 5000)
    assert is_in_sight()
    colour = page.evaluate("getComputedStyle(document.querySelector('footer')).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 382) == (scheme == "light")


def test_what_goes_wrong_is_said_and_the_last_findings_are_gone(page, film, tmp_path):
    page.set_input_files("#file", film)
    page.locator("#result").wait_for()
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(film.read_bytes()[:3000])
    page.set_input_files("#file", cut)
    page.locator("#problem").wait_for()
    assert re.search("expected .*Received: ", page.inner_text("#problem"))
    assert str(pathlib.Path("/tmp")) not in page.inner_text("#problem")
    assert page.locator("#result").is_hidden()
    page.set_input_files("#file", film)  # and it goes on
    page.locator("#result").wait_for()
    assert page.locator("#problem").is_hidden()

    asked = len(page.asked)
    page.evaluate(
        "take([new File([new Uint8Array(64 * 2 ** 20 + 1)], 'large'), new File([], 'other')])"
    )  # two, and then a large one
    assert "one file at a time; these were 2" in page.inner_text("#problem")
    page.evaluate("take([new File([new Uint8Array(64 * 2 ** 20 + 1)], 'large')])")
    assert page.inner_text("#problem") == "This file is larger than 64 MiB."
    assert len(page.asked) == asked


def test_texts_are_never_html(page, film):
    page.set_input_files("#file", film)
    page.locator("#result").wait_for()
    page.evaluate(
        """async (text) => {
          const [image, layer] = [find("#image").src, find("#layer").src];
          const files = [{ name: text, bytes: 1, address: "x" }];
          const texts = { image_id: text, sentence: text, columns: [text, text], rows: [[text, text]] };
          await show({ ...texts, image, layer, zip: "x", files });
          say(text);
        }""",
        NASTY,
    )
    assert page.inner_text("body").count(NASTY) == 8
    page.evaluate("(text) => say('', text)", NASTY)
    assert page.inner_text("#problem") == NASTY
    assert page.locator("img").count() == 2
    assert page.title() == "ptxtf: find a pneumothorax"
    assert page.problems == []


def test_the_page_has_the_disclaimer_of_the_reports_and_nothing_from_elsewhere(served):
    from ptxtf.evaluation.page import DISCLAIMER

    for name in ("", "page.css", "report.css", "page.js"):
        with urllib.request.urlopen(f"{served[1]}/{name}") as answer:
            text = answer.read().decode()
        assert "://" not in text
        assert (f"<footer>{DISCLAIMER}</footer>" in text) == (name == "")


@pytest.mark.parametrize(("host", "lines"), [("127.0.0.1", 1), ("0.0.0.0", 2)])
def test_who_opens_it_to_others_is_warned(monkeypatch, capsys, host, lines):
    runs = []
    monkeypatch.setattr("ptxtf.serving.examine.load", lambda *_: None)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, sockets: runs.append(sockets[0].getsockname()[1]))
    serve.main(
        config.ServeConfig(run_dir="r", host=host, port=0),
        config.LimitConfig(),
        config.MaskConfig(),
        config.InferenceConfig(),
    )
    *warnings, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"serving at http://.*:{runs[0]}", last)
    assert ["no login" in warning for warning in warnings] == [True] * (lines - 1)


def test_a_film_that_comes_late_is_not_shown_beside_another_s_error(browser, served, film):
    made = browser.new_page()
    made.goto(served[1])
    held = []
    made.route("**/layer.png", lambda route: held.append(route))  # noqa: PLW0108 (of Playwright: no built-in)
    made.evaluate(DROP, ["a.dcm", base64.b64encode(film.read_bytes()).decode()])
    for _ in range(300):
        if held:
            break
        made.wait_for_timeout(100)
    made.evaluate(DROP, ["b.txt", base64.b64encode(b"no film").decode()])
    made.locator("#problem").wait_for()
    with made.expect_response("**/layer.png"):
        held[0].continue_()
    made.wait_for_timeout(300)
    assert made.locator("#problem").is_visible()
    assert not made.locator("#result").is_visible()
    made.close()


def test_ctrl_c_ends_it_with_one_line(served):
    process, address = served  # the last test of the module
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    *log, last = said.splitlines()
    assert last == "ptxtf.serve: stopped; what was finished is kept"
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d (examined a file in .* s|refused: \d+)", line) for line in log)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


@pytest.mark.slow
@pytest.mark.long
def test_who_ends_it_while_a_film_is_examined_leaves_no_file(run_dir, tmp_path):
    command = [sys.executable, "-m", "ptxtf.serve", f"--run_dir={run_dir}", "--port=0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as process:
        host, _, port = process.stdout.readline().rpartition("/")[2].strip().partition(":")
        noise = np.random.default_rng(0).integers(0, 256, (1000, 1000)).astype(np.uint8)
        _, film = cv2.imencode(".png", np.kron(noise, np.ones((8, 8), np.uint8)))
        with contextlib.closing(http.client.HTTPConnection(host, int(port))) as connection:
            connection.request("POST", "/examine?name=a.png", film.tobytes(), {"Sec-Fetch-Site": "same-origin"})
            for _ in range(600):
                if list(tmp_path.glob("ptxtf-*")):
                    break
                time.sleep(0.05)
            assert list(tmp_path.glob("ptxtf-*"))
            process.terminate()
            assert process.wait(60) == 0
    assert not list(tmp_path.glob("ptxtf-*"))


def test_a_port_that_is_taken_is_one_line():
    with server.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        message = rf"expected .* --port that is free\. Received: 127\.0\.0\.1, {port} \(Address already in use\)$"
        with pytest.raises(InputError, match=message):
            serve.main(
                config.ServeConfig(run_dir="r", port=port),
                config.LimitConfig(),
                config.MaskConfig(),
                config.InferenceConfig(),
            )


def test_a_host_that_is_elsewhere_is_one_line():
    with pytest.raises(InputError, match=r"Received: 192\.0\.2\.1, 0 \("):
        server.bind("192.0.2.1", 0)
    with pytest.raises(InputError, match=r"Received: a\.\.b, 0 \("):
        server.bind("a..b", 0)


@pytest.mark.parametrize(
    ("host", "is_private", "address"),
    [("127.0.0.1", True, "127.0.0.1"), ("localhost", True, ".*"), ("0.0.0.0", False, re.escape(socket.gethostname()))],
)
def test_it_knows_who_reaches_it(host, is_private, address):
    with server.bind(host, 0) as listening:
        assert server.is_private(listening) == is_private
        assert re.fullmatch(rf"http://{address}:{listening.getsockname()[1]}", server.address(listening))


def test_packages_that_are_missing_are_named_with_what_brings_them(monkeypatch):
    known = serve.importlib.util.find_spec
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else known(name))
    with pytest.raises(InputError, match=r"pip install 'ptxtf\[serve\]'\. Received: no uvicorn"):
        serve.main(config.ServeConfig(run_dir="r"), config.LimitConfig(), config.MaskConfig(), config.InferenceConfig())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 65536}, "port in 0..65535"), ({"port": -1}, "port in 0..65535"), ({"host": ""}, "host, a name"),
        ({"max_mib": 0}, "max_mib above 0"), ({"keep": 0}, "keep above 0"), ({"max_waiting": -1}, "max_waiting of 0"),
        ({"upload_seconds": float("nan")}, "upload_seconds above 0"), ({"keep_minutes": 0}, "keep_minutes above 0"),
    ],
)  # fmt: skip
def test_settings_are_checked(settings, message):
    is_serve = settings.keys() <= {"port", "host"}
    with pytest.raises(ValueError, match=f"expected {message}"):
        config.ServeConfig(run_dir="r", **settings) if is_serve else config.LimitConfig(**settings)
