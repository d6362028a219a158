import contextlib
import gzip
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from ptxtf.data import annotations, rle
from ptxtf.errors import InputError

PROPERTY = hypothesis.settings(
    deadline=None,
    max_examples=100,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],  # each example writes the one file anew
)

# One healthy image, one with one region, one with two whose rows are not adjacent.
ROWS = [("1.2.3", "-1"), ("1.2.5", "0 3"), ("1.2.4", "7 2 5 1"), ("1.2.5", "9 4 1 1")]
FOUND = {"1.2.3": (), "1.2.5": ("0 3", "9 4 1 1"), "1.2.4": ("7 2 5 1",)}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def text(header, *, between=",", end="\n"):
    lines = [*([header] if header else []), *(f"{name}{between}{runs}" for name, runs in ROWS)]
    return end.join(lines) + end


def quoted(content):
    return "".join(f'"{line}"\n' for line in content.replace(",", '","').splitlines())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(text("ImageId, EncodedPixels"), id="as downloaded"),
        pytest.param(text("ImageId, EncodedPixels", between=", "), id="leading space"),
        pytest.param(text("ImageId,EncodedPixels"), id="no space in header"),
        pytest.param(text("image_1,rle_2"), id="digits in header"),
        pytest.param("\ufeff" + text("fname,mask"), id="byte order mark"),
        pytest.param("\ufeff" + text(None), id="byte order mark, no header"),
        pytest.param(text(None), id="no header"),
        pytest.param(text("ImageId, EncodedPixels", end="\r\n"), id="CRLF"),
        pytest.param(text("ImageId, EncodedPixels", end="\r"), id="CR"),
        pytest.param(text("ImageId,EncodedPixels").rstrip("\n"), id="no newline at the end"),
        pytest.param("\n \n" + text("ImageId,EncodedPixels").replace("\n", "\n\t\n\n"), id="blank lines"),
        pytest.param(quoted(text("ImageId,EncodedPixels")), id="quotes"),
        pytest.param(quoted(text(None, between=", ")), id="quotes, space within, no header"),
        pytest.param(text("ImageId;EncodedPixels", between=";"), id="semicolon"),
        pytest.param(text(None, between=" ; "), id="semicolon between spaces, no header"),
        pytest.param(text("ImageId\tEncodedPixels", between="\t"), id="tab"),
        pytest.param(text(None, between="\t "), id="tab and space, no header"),
        pytest.param(text("ImageId\tEncodedPixels", between="\t", end="\r\n").encode("utf-16"), id="UTF-16"),
        pytest.param(("\ufeff" + text("Id,Kodierung für Ä")).encode("utf-16-be"), id="UTF-16, big-endian"),
        pytest.param(gzip.compress(text("ImageId,EncodedPixels").encode(), mtime=0), id="gzip"),
    ],
)
def test_every_form_reads_alike(write, content):
    found = annotations.read(write(content))
    assert found == FOUND
    assert list(found) == ["1.2.3", "1.2.5", "1.2.4"]  # first appearance


RUNS = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=1, max_size=4).map(
    lambda pairs: " ".join(f"{gap} {length}" for gap, length in pairs)
)


@st.composite
def forms(draw, table):
    """Write a table down as somebody's tool might."""
    separator = draw(st.sampled_from([",", ";", "\t"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quote = draw(st.sampled_from(["", '"']))
    space = st.sampled_from(["", " ", "  "])
    header = draw(st.sampled_from([None, ("ImageId", "EncodedPixels"), ("fname", "mask"), ("image_1", "rle 2x")]))
    lines = [
        separator.join(f"{draw(space)}{quote}{draw(space)}{field}{draw(space)}{quote}{draw(space)}" for field in row)
        for row in [*([header] if header else []), *table]
    ]
    content = end.join(lines) + draw(st.sampled_from(["", end, end + end]))
    encoded = content.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    return gzip.compress(encoded, mtime=0) if draw(st.booleans()) else encoded


@PROPERTY
@hypothesis.given(
    st.dictionaries(st.integers(0, 999).map("1.2.{}".format), st.lists(RUNS, max_size=3), min_size=1, max_size=6),
    st.randoms(),
    st.data(),
)
def test_every_form_of_any_table_reads_alike(write, truth, shuffler, data):
    table = [(image_id, row) for image_id, rows in truth.items() for row in rows or [rle.HEALTHY]]
    shuffler.shuffle(table)
    found = annotations.scan(write(data.draw(forms(table))))
    assert found.problems == ()
    assert {image_id: sorted(rows) for image_id, rows in found.rows.items()} == {
        image_id: sorted(rows) for image_id, rows in truth.items()
    }


BAD_ROWS = [
    ("1.2.9,0 3 4", "RLE pair 2: expected a gap and a length. Received: 4 alone"),
    ("1.2.9,0 3 x 1", "RLE pair 2: expected whole numbers. Received: 'x'"),
    ("1.2.9,0 0", "RLE pair 1: expected 0 <= gap, 1 <= length, both < 2^31. Received: gap=0, length=0"),
    ("1.2.9,1 2,3 4", "expected an image id and run lengths. Received: ['1.2.9', '1 2', '3 4']"),
    ("1.2.9;1 2", "expected an image id and run lengths. Received: ['1.2.9;1 2']"),
    ("1.2.9,", "expected an image id and run lengths. Received: ['1.2.9', '']"),
    ("1.2.9", "expected an image id and run lengths. Received: ['1.2.9']"),
    (",0 3", "expected an image id and run lengths. Received: ['', '0 3']"),
    ('1.2.9,"0 3 4 1', "RLE pair 1: expected whole numbers. Received: '\"0'"),  # cut off: the quote is not closed
    ("1.2.9,ImageId", "RLE pair 1: expected whole numbers. Received: 'ImageId'"),
    (
        "../9,0 3",
        "expected an image id of printable characters without / \\ \" or .., of 1 to 200 bytes. Received: '../9'",
    ),
    ("1.2.3,0 3", "expected -1 or run lengths for an image. Received: both for image_id='1.2.3'"),
    ("1.2.4, -1", "expected -1 or run lengths for an image. Received: both for image_id='1.2.4'"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_read_names_file_and_line_of_a_bad_row(write, row, reason):
    path = write(text("ImageId,EncodedPixels") + row)
    with pytest.raises(InputError) as caught:
        annotations.read(path)
    assert str(caught.value) == f"{path}:6: {reason}"


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_scan_goes_on_after_a_bad_row_and_leaves_its_image_out(write, row, reason):
    found = annotations.scan(write(f"{text('ImageId,EncodedPixels')}{row}\n1.2.8,4 4\n"))
    name = row if row == "1.2.9;1 2" else row.partition(",")[0]
    assert found.problems == (annotations.Problem(6, name, reason),)
    assert found.rows == {key: rows for key, rows in {**FOUND, "1.2.8": ("4 4",)}.items() if key != name}


def test_scan_leaves_an_image_out_whichever_of_its_rows_is_bad(write):
    found = annotations.scan(write("1.2.3,0 3\n1.2.3,0\n1.2.3,5 1\n1.2.4,-1\n"))
    assert found.rows == {"1.2.4": ()}
    assert [problem.line for problem in found.problems] == [2]


@pytest.mark.parametrize("header", [None, "ImageId,EncodedPixels"])
def test_a_file_cut_off_anywhere_keeps_the_rows_before(write, header):
    content = text(header)
    for length in range(len(content)):
        whole_rows = content[:length].count("\n") - bool(header)
        rows: dict[str, list[str]] = {}
        for image_id, runs in ROWS[: max(whole_rows, 0)]:
            rows.setdefault(image_id, []).extend([] if runs == "-1" else [runs])
        cut = content[:length].rpartition("\n")[2]
        try:
            found = annotations.scan(write(content[:length]))
        except InputError:
            assert not rows  # nothing that could be kept
            continue
        cut_id = cut.partition(",")[0]
        assert {problem.line for problem in found.problems} <= {whole_rows + bool(header) + 1}
        kept = {image_id: tuple(runs) for image_id, runs in rows.items() if image_id != cut_id}
        assert {image_id: runs for image_id, runs in found.rows.items() if image_id != cut_id} == kept
        pairs = cut.partition(",")[2].split()
        if cut and not found.problems:  # what cannot be seen
            assert len(pairs) % 2 == 0 or pairs == ["-1"]


def test_two_healthy_rows_are_healthy(write):
    assert annotations.read(write("1.2.3,-1\n1.2.3,-1\n")) == {"1.2.3": ()}


@pytest.mark.parametrize("row", ["1.2.3,", "1.2.3", "1.2.3,x", "img,0 3 x", "ImageId,"])
def test_a_bad_first_row_is_not_taken_for_a_header(write, row):
    with pytest.raises(InputError, match=r"labels\.csv:1: .*expected "):
        annotations.read(write(f"{row}\n1.2.4,-1\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"labels\.csv: expected rows of image id and run lengths\. Received: none"),
        (b"ImageId,EncodedPixels\n", r"labels\.csv: expected rows of image id and run lengths\. Received: none"),
        (
            b"ImageId,EncodedPixels\n\n1.2.3,0 x\n1.2.4,0\n",
            r"labels\.csv: expected rows of .* Received: none that can be used; line 3: RLE pair 1: expected whole",
        ),
        (b"1.2.3,-1\n1.2.3,0 3\n", r"labels\.csv: expected rows of .* Received: none that can be used; line 2: "),
        (b"Runs,Id\n0 3,1.2.3\n-1,1.2.4\n", r"labels\.csv: expected rows of .* Received: none that can be used; "),
        (
            b",ImageId,EncodedPixels\n0,1.2.3,-1\n",
            r"labels\.csv: expected two columns, image id and run lengths\. Received: 3, \['', 'ImageId', 'EncodedP",
        ),
        (b"0;1.2.3;-1\n", r"labels\.csv: expected two columns, image id and run lengths\. Received: 3, \['0', "),
        (b"1.2.3,\xff\n", r"labels\.csv: expected a CSV in UTF-8\. Received: invalid start byte at byte 6"),
        ("1.2.3,-1\n".encode("utf-16-le"), r"labels\.csv: expected a CSV in UTF-8\. Received: a zero byte, "),
        ("1.2.3,-1\n".encode("utf-32"), r"labels\.csv: expected a CSV in UTF-8\. Received: a zero byte, "),
        (b"\xff\xfe1", r"labels\.csv: expected a CSV in UTF-8\. Received: truncated data at byte"),
        (
            gzip.compress(b"1.2.3,-1\n", mtime=0)[:-9],
            r"labels\.csv: expected a CSV that can be read\. Received: Compressed",
        ),
        (b"\x1f\x8b\x08\x00\xff\xfe", r"labels\.csv: expected a CSV that can be read\. Received: "),
        (
            gzip.compress(b"1.2.3,-1\n", mtime=0)[:10] + b"\xff" * 20,
            r"labels\.csv: expected a CSV that can be read\. Received: Error -3 while decompressing",
        ),
        (
            b"\x1f\x8bno gzip at all",
            r"labels\.csv: expected a CSV that can be read\. Received: Unknown compression method",
        ),
    ],
)
def test_a_file_that_is_no_label_file(write, content, message):
    with pytest.raises(InputError, match=message) as caught:
        annotations.scan(write(content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv: expected a CSV that can be read\. Received: No such file"):
        annotations.read(tmp_path / "labels.csv")


def test_a_folder_is_no_label_file(tmp_path):
    with pytest.raises(InputError, match=r"expected a CSV that can be read\. Received: Is a directory"):
        annotations.read(tmp_path)


def test_summary_by_hand(write):
    rows = [
        ("a", "0 3"),  # pixels 0-2
        ("b", "0 3"),
        ("a", "2 1"),  # pixel 2 again
        ("b", "3 1"),  # pixel 3: touches only
        ("c", "-1"),
        ("d", "5 5"),
        ("e", "1 1 5 1"),  # pixels 1, 7
        ("e", "4 1"),
        ("e", "6 2"),  # pixels 6, 7
        ("f", "-1"),
        ("g", "0 1 x"),  # of no use
    ]
    found = annotations.scan(write("".join(f"{image_id}, {runs}\n" for image_id, runs in rows)))
    assert annotations.summarize(found) == annotations.Summary(
        rows=10, images=6, positives=4, healthy=2, several_rows=3, overlapping=2
    )


@pytest.mark.parametrize("image_id", ["1.2.826.0.1.3680043.8.498.1", "a b", "Ä", "-", ".", "x" * 200])
def test_an_image_id_that_can_be_used(image_id):
    assert annotations.check_image_id(image_id) == ""


@pytest.mark.parametrize(
    "image_id",
    ["", "..", "../1", "/etc/passwd", "a/b", "a\\b", "1..2", "a\nb", "a\x1b[0m", "a\u200bb", "\ud800", '"1', "ä" * 101],
)
def test_an_image_id_that_cannot_be_used(image_id):
    reason = annotations.check_image_id(image_id)
    assert reason.startswith("expected an image id of printable characters without / ")
    assert reason.isprintable()
    assert len(reason) < 200


@PROPERTY
@hypothesis.given(st.text(max_size=40))
def test_a_usable_image_id_names_a_file_in_its_folder(tmp_path, image_id):
    if not annotations.check_image_id(image_id):
        (tmp_path / f"{image_id}_mask.png").touch()
        assert f"{image_id}_mask.png" in [path.name for path in tmp_path.iterdir()]


# Bytes that look like a CSV reach further into the readers than any bytes do.
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda content: content.encode("utf-8", "surrogatepass")),
    st.text(alphabet='012- ,;\t\n\r".aI_\ufeff\0', max_size=200).map(str.encode),
    st.lists(st.sampled_from([b"1.2", b",", b";", b"\t", b" ", b"\n", b"-1", b"0 3", b"9", b'"', b"x"])).map(b"".join),
    st.binary(max_size=60).map(lambda content: b"\x1f\x8b\x08" + content),
    st.binary(max_size=60).map(lambda content: gzip.compress(content, mtime=0)),
    st.text(max_size=60).map(lambda content: b"Kaggle_ID,NIH_ID\n" + content.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(["1.2", ",", "\n", "00001234_005.png", "p7", '"'])).map(
        lambda words: b"image_id,patient_id\n" + "".join(words).encode()
    ),
)


def check_found(found):
    for image_id, rows in found.rows.items():
        assert annotations.check_image_id(image_id) == ""
        assert all(rle.parse(row).size for row in rows)
    assert not found.rows.keys() & {problem.image_id for problem in found.problems}
    assert all("\n" not in problem.reason for problem in found.problems)


@hypothesis.settings(PROPERTY, max_examples=400)
@hypothesis.given(CONTENT)
def test_of_any_bytes_there_comes_a_result_or_one_line(write, content):
    path = write(content)
    try:
        found = annotations.scan(path)
    except InputError:
        with pytest.raises(InputError, match=rf"^{re.escape(str(path))}.*: expected .* Received: .*\Z"):
            annotations.read(path)
    else:
        check_found(found)
        with pytest.raises(InputError) if found.problems else contextlib.nullcontext():
            assert annotations.read(path) == found.rows
    with contextlib.suppress(InputError):
        assert all(annotations.read_map(path).patients.values())


@pytest.mark.parametrize(
    ("content", "patients"),
    [
        (
            "Kaggle_ID,NIH_ID\n1.2.3,00001234_005.png\n1.2.4,00000013_000.png\n",
            {"1.2.3": "00001234", "1.2.4": "00000013"},
        ),
        ("image_id,patient_id\n1.2.3,p7\n1.2.4,a_b.png\n", {"1.2.3": "p7", "1.2.4": "a_b.png"}),
        ("\ufeffPatient, Image\r\np7, 1.2.3\r\n", {"1.2.3": "p7"}),
        ('"ImageId","PatientID"\n"1.2.3","7"\n"1.2.3","7"\n', {"1.2.3": "7"}),
        ("\ufeffimage;patient\r1.2.3;p7\r1.2.4;p7\r", {"1.2.3": "p7", "1.2.4": "p7"}),
        ("patient\timage\np7\t1.2.3\n".encode("utf-16"), {"1.2.3": "p7"}),
        (gzip.compress(b"image,patient\n1.2.3,p7\n", mtime=0), {"1.2.3": "p7"}),
    ],
)
def test_patient_map(write, content, patients):
    path = write(content)
    assert annotations.read_map(path) == annotations.PatientMap(patients, repeated=())
    assert annotations.read_map(path).patients == patients


def test_images_of_one_original(write):
    rows = ["a,1_000", "b,2_000", "c,1_000", "d,1_001", "e,2_000", "d,1_001"]  # the same row twice repeats no image
    content = "".join(row.replace(",", ",0000000") + ".png\n" for row in rows)
    found = annotations.read_map(write(f"Kaggle_ID,NIH_ID\n{content}"))
    assert found.repeated == (("a", "c"), ("b", "e"))
    assert found.patients == {"a": "00000001", "b": "00000002", "c": "00000001", "d": "00000001", "e": "00000002"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"expected a header that names image and patient, .* Received: \[\]"),
        ("1.2.3,00001234_005.png\n", "expected a header that names image and patient"),
        ("image_id,patient_id,age\n1.2.3,p7,80\n", "expected a header that names image and patient"),
        ("image_id,patient_id\n", "expected rows of image id and patient. Received: none"),
        ("image_id,patient_id\n1.2.3\n", r"labels.csv:2: expected an image id and a patient. Received: \['1.2.3'\]"),
        ("image_id,patient_id\n1.2.3,\n", r"labels.csv:2: expected an image id and a patient"),
        (
            "image_id,patient_id\n1.2.3,a\n\n1.2.3,b\n",
            r"labels.csv:4: expected one patient for image '1.2.3'\. Received: 'a' and 'b'",
        ),
        (
            "Kaggle_ID,NIH_ID\n1.2.3,00001234_005.png\n1.2.3,00001234_006.png\n",
            r"labels.csv:3: expected one patient for image '1.2.3'\. Received: '00001234_005.png' and '00001234_006",
        ),
        (
            "Kaggle_ID,NIH_ID\n1.2.3,00001234_005.png\n1.2.4,00001234_0",
            r"labels.csv:3: expected NIH file names such as .* in all rows or in none\. Received: '00001234_0'",
        ),
        (
            "Kaggle_ID,NIH_ID\n1.2.3,00001234_005.png\n1.2.4,00001234_005.png2\n",
            r"labels.csv:3: expected NIH file names such as ",
        ),
        ("image_id,patient_id\n1.2.3,a\n1.2.4,00001234_005.png", r"labels.csv:3: expected NIH file names such as "),
    ],
)
def test_bad_patient_map(write, content, message):
    with pytest.raises(InputError, match=message):
        annotations.read_map(write(content))
