import pytest

from ptxtf.data import annotations
from ptxtf.errors import InputError

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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(text("ImageId, EncodedPixels"), id="as downloaded"),
        pytest.param(text("ImageId, EncodedPixels", between=", "), id="leading space"),
        pytest.param(text("ImageId,EncodedPixels"), id="no space in header"),
        pytest.param("\ufeff" + text("fname,mask"), id="byte order mark"),
        pytest.param("\ufeff" + text(None), id="byte order mark, no header"),
        pytest.param(text(None), id="no header"),
        pytest.param(text("ImageId, EncodedPixels", end="\r\n"), id="CRLF"),
        pytest.param(text("ImageId,EncodedPixels").rstrip("\n"), id="no newline at the end"),
        pytest.param(text("ImageId,EncodedPixels").replace("\n", "\n\n"), id="blank lines"),
        pytest.param(text('"ImageId","EncodedPixels"', between='","').replace("1.2.", '"1.2.'), id="quotes"),
    ],
)
def test_every_form_reads_alike(write, content):
    found = annotations.read(write(content))
    assert found == FOUND
    assert list(found) == ["1.2.3", "1.2.5", "1.2.4"]  # first appearance


BAD_ROWS = [
    ("1.2.9,0 3 4", "RLE pair 2: expected a gap and a length. Received: '4' alone"),
    ("1.2.9,0 3 x 1", "RLE pair 2: expected whole numbers. Received: 'x'"),
    ("1.2.9,0 0", "RLE pair 1: expected 0 <= gap, 1 <= length, both < 2^31. Received: gap=0, length=0"),
    ("1.2.9,1 2,3 4", "RLE pair 1: expected whole numbers. Received: '2,3'"),
    ("1.2.9,", "expected an image id and run lengths. Received: image_id='1.2.9', run lengths=''"),
    ("1.2.9", "expected an image id and run lengths. Received: image_id='1.2.9', run lengths=''"),
    (",0 3", "expected an image id and run lengths. Received: image_id='', run lengths='0 3'"),
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
    name = row.partition(",")[0]
    assert found.problems == (annotations.Problem(6, name, reason),)
    assert found.rows == {key: rows for key, rows in {**FOUND, "1.2.8": ("4 4",)}.items() if key != name}


def test_scan_leaves_an_image_out_whichever_of_its_rows_is_bad(write):
    found = annotations.scan(write("1.2.3,0 3\n1.2.3,0\n1.2.3,5 1\n1.2.4,-1\n"))
    assert found.rows == {"1.2.4": ()}
    assert [problem.line for problem in found.problems] == [2]


def test_two_healthy_rows_are_healthy(write):
    assert annotations.read(write("1.2.3,-1\n1.2.3,-1\n")) == {"1.2.3": ()}


@pytest.mark.parametrize("row", ["1.2.3,", "1.2.3", "1.2.3,x"])
def test_a_bad_first_row_is_not_taken_for_a_header(write, row):
    with pytest.raises(InputError, match=r"labels\.csv:1: .*expected "):
        annotations.read(write(f"{row}\n1.2.4,-1\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "labels.csv: expected rows of image id and run lengths. Received: none"),
        (b"ImageId,EncodedPixels\n", "labels.csv: expected rows of image id and run lengths"),
        (b",ImageId,EncodedPixels\n0,1.2.3,-1\n", "labels.csv: expected two columns, .* Received: header="),
        (b"\x1f\x8b\x08\x00\xff\xfe", "labels.csv: expected a CSV in UTF-8. Received: invalid"),
    ],
)
def test_a_file_that_is_no_label_file(write, content, message):
    with pytest.raises(InputError, match=message):
        annotations.scan(write(content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv: expected a CSV that can be read\. Received: No such file"):
        annotations.read(tmp_path / "labels.csv")


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
    ],
)
def test_patient_map(write, content, patients):
    assert annotations.read_patient_map(write(content)) == patients


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"expected a header that names image and patient, .* Received: header=''"),
        ("1.2.3,00001234_005.png\n", "expected a header that names image and patient"),
        ("image_id,patient_id,age\n1.2.3,p7,80\n", "expected a header that names image and patient"),
        ("image_id,patient_id\n", "expected rows of image id and patient. Received: none"),
        ("image_id,patient_id\n1.2.3\n", r"labels.csv:2: expected an image id and a patient. Received: row='1.2.3'"),
        ("image_id,patient_id\n1.2.3,\n", r"labels.csv:2: expected an image id and a patient"),
        (
            "image_id,patient_id\n1.2.3,a\n\n1.2.3,b\n",
            r"labels.csv:4: expected one patient for image 1.2.3\. Received: 'a' and 'b'",
        ),
    ],
)
def test_bad_patient_map(write, content, message):
    with pytest.raises(InputError, match=message):
        annotations.read_patient_map(write(content))
