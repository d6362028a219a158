"""CSV files -> what they say of each radiograph: its run-length rows, and its patient.

In: the label file of SIIM-ACR in any of the forms that go round (header with or without a space, other column
names, no header; fields parted by comma, semicolon or tab, quoted or not, with spaces around them or not; any line
ends; UTF-8 or UTF-16 with byte order mark; gzip); the public map from its images to patients, in the same forms.
Out: dictionaries by image id, in the order of first appearance; a healthy radiograph has no rows: ().

Some label files are damaged: `scan` goes on after a bad row and lists it, `read` stops at the first. What cannot be
seen is that a file is cut off at the end of a row, behind a pair of numbers, or inside the last length of a row: the
last image then has a mask too small, and images whose other rows came later lack these. Compare `summarize` with what
the file should hold.
"""

import codecs
import dataclasses
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence

from ptxtf import files
from ptxtf.data import rle
from ptxtf.errors import InputError

LONGEST_ID = 200
"""Bytes of an image id in UTF-8: it becomes part of file names, which end at 255 (a DICOM UID has 64 at most)."""

_NIH_NAME = re.compile(r"[0-9]{8}_[0-9]{3}\.png")  # patient_number.png
_UID = re.compile(r"[0-9.]+")
_NUMBER = re.compile(r"-?[0-9]+")


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


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts over the images that can be used.

    Attributes:
        rows: rows of the file; a healthy image counts one.
        images: image ids; positives + healthy.
        positives: images with run lengths.
        healthy: images without.
        several_rows: positives with more than one row.
        overlapping: those of them whose rows share pixels.
    """

    rows: int
    images: int
    positives: int
    healthy: int
    several_rows: int
    overlapping: int


@dataclasses.dataclass(frozen=True)
class PatientMap:
    """What `read_map` found.

    Attributes:
        patients: patient by image id.
        repeated: groups of two or more image ids that the map takes from one and the same NIH image.
    """

    patients: dict[str, str]
    repeated: tuple[tuple[str, ...], ...]


def read(path: files.Path | str) -> dict[str, tuple[str, ...]]:
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


def scan(path: files.Path | str) -> Annotations:
    """Read a label file and list its bad rows.

    A row is bad when it has not two columns, when its image id cannot be used (see `check_image_id`), when its run
    lengths are malformed, or when it calls healthy an image that has a mask in another row. Whether the runs fit into
    the image is left to `rle.decode`, which knows its size.

    The first line is taken for a header if there is no number where run lengths would be, and no DICOM UID where the
    image id would be.

    Args:
        path: CSV of two columns, image id and run lengths ("-1" when healthy); a header is optional.

    Returns:
        `Annotations`.

    Raises:
        InputError: the file cannot be read, has more columns, or no row that can be used.

    Example:
        >>> scan("train-rle.csv").problems
        (Problem(line=7, image_id='1.2.276.3', reason='RLE pair 2: expected whole numbers. Received: "x"'),)
    """
    rows: dict[str, list[str]] = {}
    problems = []
    for line, fields in _label_rows(path):
        image_id = fields[0]
        if reason := _fault(fields, rows.get(image_id)):
            problems.append(Problem(line, image_id, reason))
        else:
            rows.setdefault(image_id, []).extend(text for text in fields[1:] if text != rle.HEALTHY)
    bad = {problem.image_id for problem in problems}
    usable = {image_id: tuple(texts) for image_id, texts in rows.items() if image_id not in bad}
    if not usable:
        why = f" that can be used; line {problems[0].line}: {problems[0].reason}" if problems else ""
        raise InputError(f"{path}: expected rows of image id and run lengths. Received: none{why}")
    return Annotations(usable, tuple(problems))


def summarize(found: Annotations) -> Summary:
    """Count what a label file holds.

    Args:
        found: from `scan`.

    Returns:
        `Summary`. The full file of SIIM-ACR gives the figures of the example.

    Example:
        >>> summarize(scan("train-rle.csv"))
        Summary(rows=12954, images=12047, positives=2669, healthy=9378, several_rows=624, overlapping=183)
    """
    several = [texts for texts in found.rows.values() if len(texts) > 1]
    healthy = sum(not texts for texts in found.rows.values())
    return Summary(
        rows=sum(len(texts) or 1 for texts in found.rows.values()),
        images=len(found.rows),
        positives=len(found.rows) - healthy,
        healthy=healthy,
        several_rows=len(several),
        overlapping=sum(map(rle.overlap, several)),
    )


def check_image_id(image_id: str) -> str:
    r"""Return why an image id, from a CSV or a DICOM, cannot be used; "" when it can.

    Results are written to files that are named after it: it must not lead out of their folder, nor break a line.

    Args:
        image_id: SOP instance UID, or what takes its place.

    Returns:
        The reason in one line, or "".

    Example:
        >>> check_image_id("1.2.276.1"), check_image_id("../x")
        ('', 'expected an image id of printable characters without / \\ " or .., ... Received: "../x"')
    """
    is_usable = (
        image_id.isprintable()  # not so control characters, lone surrogates, and spaces that nobody sees
        and not any(part in image_id for part in ("/", "\\", '"', ".."))
        and 0 < len(image_id.encode()) <= LONGEST_ID
    )
    if is_usable:
        return ""
    return (
        'expected an image id of printable characters without / \\ " or .., of 1 to '
        f"{LONGEST_ID} bytes. Received: {_short(image_id)}"
    )


def read_map(path: files.Path | str) -> PatientMap:
    """Read which radiograph is whose, and which are one and the same.

    Args:
        path: CSV of two columns with a header that names image and patient, such as `image_id,patient_id`, or the
            public map of SIIM-ACR to NIH ChestX-ray14 with its header `Kaggle_ID,NIH_ID`. Of an NIH file name such as
            `00001234_005.png` the patient is the part before the underscore; a map without such names gives the
            patients themselves.

    Returns:
        `PatientMap`. Images repeat each other where they have the same NIH file name.

    Raises:
        InputError: the file or a row cannot be used, an image has two patients, or only some rows have NIH file names,
            as when the last is cut off; names file and line.

    Example:
        >>> read_map("nih_id.csv")
        PatientMap(patients={'1.2.276.1': '00001234', '1.2.276.2': '00000013'}, repeated=())
    """
    names: dict[str, str] = {}
    for line, image_id, name in _map_rows(path):
        first = names.setdefault(image_id, name)
        if first != name:
            raise InputError(
                f"{path}:{line}: expected one patient for image {_short(image_id)}. "
                f"Received: {_short(first)} and {_short(name)}"
            )
    if not names:
        raise InputError(f"{path}: expected rows of image id and patient. Received: none")
    if not all(map(_NIH_NAME.fullmatch, names.values())):
        return PatientMap(names, repeated=())
    images_of: dict[str, list[str]] = {}
    for image_id, name in names.items():
        images_of.setdefault(name, []).append(image_id)
    return PatientMap(
        patients={image_id: name.partition("_")[0] for image_id, name in names.items()},
        repeated=tuple(tuple(image_ids) for image_ids in images_of.values() if len(image_ids) > 1),
    )


def _rows(path: files.Path | str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each line that is not blank; the first one shows what parts the fields."""
    separator = ""
    text = _text(path).replace("\r\n", "\n").replace("\r", "\n")
    for line, row in enumerate(text.split("\n"), start=1):
        if row.strip():
            separator = separator or next((character for character in row if character in ",;\t"), ",")
            yield line, [_unquoted(field) for field in row.split(separator)]


def _text(path: files.Path | str) -> str:
    """Return the text of a file, whichever of the encodings that a CSV may have it is in."""
    try:
        content = files.path(path).read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a CSV in UTF-8. Received: {error.reason} at byte {error.start}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: expected a CSV that can be read. Received: {reason}") from error
    if "\0" in text:
        raise InputError(f"{path}: expected a CSV in UTF-8. Received: a zero byte, as in UTF-16 without its mark")
    return text


def _unquoted(field: str) -> str:
    """Return a field without the spaces and the pair of quotes around it; half a pair stays, and is a fault."""
    field = field.strip()
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].strip()
    return field


def _label_rows(path: files.Path | str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each row below the header, if there is one."""
    for place, (line, fields) in enumerate(_rows(path)):
        if place == 0 and len(fields) > 2:
            raise InputError(
                f"{path}: expected two columns, image id and run lengths. Received: {len(fields)}, {_short(fields)}"
            )
        if place > 0 or not _is_header(fields):
            yield line, fields


def _is_header(fields: Sequence[str]) -> bool:
    """Return whether the first line of a label file names its columns; see `scan` for the rule."""
    if len(fields) != 2 or not fields[1]:
        return False
    return not _UID.fullmatch(fields[0]) and not any(map(_NUMBER.fullmatch, fields[1].split()))


def _fault(fields: Sequence[str], earlier: list[str] | None) -> str:
    """Return what is wrong with a row, by itself or beside the `earlier` rows of its image; nothing: ""."""
    if len(fields) != 2 or not all(fields):
        # An empty value is not taken for healthy: it is what is left of a row cut off behind its comma.
        return f"expected an image id and run lengths. Received: {_short(fields)}"
    image_id, text = fields
    if reason := check_image_id(image_id):
        return reason
    try:
        is_healthy = len(rle.parse(text)) == 0
    except InputError as error:
        return str(error)
    if earlier is not None and is_healthy == bool(earlier):
        return f"expected {rle.HEALTHY} or run lengths for an image. Received: both for image_id={image_id!r}"
    return ""


def _map_rows(path: files.Path | str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, image id, patient or NIH file name) of each row of a patient map."""
    rows = _rows(path)
    _, header = next(rows, (1, []))
    image_column = _image_column(header, path)
    first_name = ""
    for line, fields in rows:
        if len(fields) != 2 or not all(fields):
            raise InputError(f"{path}:{line}: expected an image id and a patient. Received: {_short(fields)}")
        name = fields[1 - image_column]
        first_name = first_name or name
        if bool(_NIH_NAME.fullmatch(name)) != bool(_NIH_NAME.fullmatch(first_name)):
            raise InputError(
                f"{path}:{line}: expected NIH file names such as 00001234_005.png in all rows or in none. "
                f"Received: {_short(name)}"
            )
        yield line, fields[image_column], name


def _image_column(header: Sequence[str], path: files.Path | str) -> int:
    """Return which of the two columns of a patient map is the image, judged by their names."""
    is_image = [any(word in name.lower() for word in ("image", "kaggle")) for name in header]
    is_patient = [any(word in name.lower() for word in ("patient", "nih")) for name in header]
    for column in (0, 1):
        if len(header) == 2 and is_image[column] and is_patient[1 - column]:
            return column
    raise InputError(
        f"{path}: expected a header that names image and patient, such as image_id,patient_id. "
        f"Received: {_short(header)}"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
