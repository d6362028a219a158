"""CSV files -> what they say of each radiograph: its run-length rows, and its patient.

In: the label file of SIIM-ACR in any of the forms that go round (header with or without a space, other column
names, no header, byte order mark, CRLF, values with a leading space); the public map from its images to
patients.
Out: dictionaries by image id, in the order of first appearance; a healthy radiograph has no rows: ().

Some label files are damaged: `scan` goes on after a bad row and lists it, `read` stops at the first. Neither
can see that a file is cut off at the end of a row, or inside the last length of a row.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from ptxtf.data import rle
from ptxtf.errors import InputError

_NIH_NAME = re.compile(r"(\d{8})_\d{3}\.png")  # patient_number.png


@dataclasses.dataclass(frozen=True)
class Problem:
    """A row that cannot be used: its line (from 1), the image id as far as it is there, and what is wrong."""

    line: int
    image_id: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Annotations:
    """What `scan` found: run-length rows by image id, healthy (), and the rows that cannot be used.

    An image with a bad row is not in `rows` at all: a part of a mask would be a wrong mask.
    """

    rows: dict[str, tuple[str, ...]]
    problems: tuple[Problem, ...]


def read(path: pathlib.Path | str) -> dict[str, tuple[str, ...]]:
    """Read a label file and stop at the first bad row.

    Args:
        path: CSV of two columns, image id and run lengths ("-1" when healthy); a header is optional.

    Returns:
        Run-length rows by image id, for `rle.union`; healthy: ().

    Raises:
        InputError: the file cannot be read, or a row cannot be used; names file and line.

    Example:
        >>> read("train-rle.csv")
        {'1.2.276.1': (), '1.2.276.2': ('2100 3 1020 5', '9000 4')}
    """
    found = scan(path)
    if found.problems:
        first = found.problems[0]
        raise InputError(f"{path}:{first.line}: {first.reason}")
    return found.rows


def scan(path: pathlib.Path | str) -> Annotations:
    """Read a label file and list its bad rows.

    A row is bad when it has not two columns, when its run lengths are malformed, or when it calls healthy an
    image that has a mask in another row. Whether the runs fit into the image is left to `rle.decode`, which
    knows its size.

    Args:
        path: CSV of two columns, image id and run lengths ("-1" when healthy); a header is optional.

    Returns:
        `Annotations`.

    Raises:
        InputError: the file as a whole cannot be used.

    Example:
        >>> scan("train-rle.csv").problems
        (Problem(line=7, image_id='1.2.276.3', reason='RLE pair 2: expected whole numbers. Received: "x"'),)
    """
    rows: dict[str, list[str]] = {}
    problems = []
    for line, image_id, text in _labels(path):
        if reason := _fault(image_id, text, rows.get(image_id)):
            problems.append(Problem(line, image_id, reason))
        else:
            rows.setdefault(image_id, []).extend([] if text == rle.HEALTHY else [text])
    if not rows and not problems:
        raise InputError(f"{path}: expected rows of image id and run lengths. Received: none")
    bad = {problem.image_id for problem in problems}
    return Annotations({name: tuple(texts) for name, texts in rows.items() if name not in bad}, tuple(problems))


def read_patient_map(path: pathlib.Path | str) -> dict[str, str]:
    """Read which radiograph is whose.

    Args:
        path: CSV of two columns with a header that names image and patient, such as `image_id,patient_id`, or the
            public map of SIIM-ACR to NIH ChestX-ray14 with its header `Kaggle_ID,NIH_ID`. Of an NIH file name such as
            `00001234_005.png` the patient is the part before the underscore; other values stay.

    Returns:
        Patient by image id.

    Raises:
        InputError: the file or a row cannot be used, or an image has two patients; names file and line.

    Example:
        >>> read_patient_map("nih_id.csv")
        {'1.2.276.1': '00001234', '1.2.276.2': '00000013'}
    """
    patients: dict[str, str] = {}
    lines = _lines(path)
    _, header = next(lines, (1, ""))
    image_first = _is_image_first(header, path)
    for line, row in lines:
        fields = [field.strip(' "') for field in row.split(",")]
        if len(fields) != 2 or not all(fields):
            raise InputError(f"{path}:{line}: expected an image id and a patient. Received: row={_short(row)}")
        image_id, patient = fields if image_first else reversed(fields)
        nih_name = _NIH_NAME.fullmatch(patient)
        patient = nih_name[1] if nih_name else patient
        if patients.setdefault(image_id, patient) != patient:
            raise InputError(
                f"{path}:{line}: expected one patient for image {image_id}. "
                f"Received: {patients[image_id]!r} and {patient!r}"
            )
    if not patients:
        raise InputError(f"{path}: expected rows of image id and patient. Received: none")
    return patients


def _lines(path: pathlib.Path | str) -> Iterator[tuple[int, str]]:
    """Yield (line number, stripped line) of a text file, blank lines left out."""
    try:
        with pathlib.Path(path).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if stripped := line.strip():
                    yield number, stripped
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a CSV in UTF-8. Received: {error.reason}") from error
    except OSError as error:
        raise InputError(f"{path}: expected a CSV that can be read. Received: {error.strerror}") from error


def _labels(path: pathlib.Path | str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, image id, run-length text) of each row below the header, if there is one."""
    for place, (number, row) in enumerate(_lines(path)):
        image_id, _, text = (field.strip(' "') for field in row.partition(","))
        if place == 0 and not any(map(str.isdigit, row)):  # every row has a digit, if only that of -1
            if "," in text:
                raise InputError(f"{path}: expected two columns, image id and run lengths. Received: header={row!r}")
            continue
        yield number, image_id, text


def _fault(image_id: str, text: str, earlier: list[str] | None) -> str:
    """Return what is wrong with a row, by itself or beside the `earlier` rows of its image; nothing: ""."""
    if not image_id or not text:
        # An empty value is not taken for healthy: it is what is left of a row cut off behind its comma.
        return f"expected an image id and run lengths. Received: image_id={image_id!r}, run lengths={text!r}"
    try:
        is_healthy = len(rle.parse(text)) == 0
    except InputError as error:
        return str(error)
    if earlier is not None and is_healthy == bool(earlier):
        return f"expected {rle.HEALTHY} or run lengths for an image. Received: both for image_id={image_id!r}"
    return ""


def _is_image_first(header: str, path: pathlib.Path | str) -> bool:
    """Return whether the first of the two columns is the image, judged by their names."""
    names = [name.strip(' "').lower() for name in header.split(",")]
    is_image = [any(word in name for word in ("image", "kaggle")) for name in names]
    is_patient = [any(word in name for word in ("patient", "nih")) for name in names]
    for image_column in (0, 1):
        if len(names) == 2 and is_image[image_column] and is_patient[1 - image_column]:
            return image_column == 0
    raise InputError(
        f"{path}: expected a header that names image and patient, such as image_id,patient_id. "
        f"Received: header={_short(header)}"
    )


def _short(row: str) -> str:
    return repr(row if len(row) <= 80 else row[:77] + "...")
