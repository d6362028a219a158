"""A request's body as it comes in -> one file, neither too large nor too slow, of a kind that can be examined.

The file's own name is a label and nothing more: the first bytes tell DICOM, PNG and JPEG apart.
"""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ptxtf.config import LimitConfig
from ptxtf.data import dicom_bytes, dicom_header, jpeg, png
from ptxtf.errors import InputError
from ptxtf.serving import results

_IN_MEMORY = 2**20
"""Bytes of an upload beyond which it goes to the disk."""


@contextlib.asynccontextmanager
async def received(request: Request, limits: LimitConfig) -> AsyncIterator[IO[bytes]]:
    """Read a body into a temporary file that has no name and is gone with this context.

    Raises:
        HTTPException: 413 too large, as soon as that is known, 408 too slow, 400 empty.
    """
    max_bytes = limits.max_mib * 2**20
    too_large = HTTPException(413, f"expected a file of at most {limits.max_mib} MiB. Received: a larger one")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > max_bytes:
        raise too_large
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            with anyio.fail_after(limits.upload_seconds):
                async for chunk in request.stream():
                    if file.tell() + len(chunk) > max_bytes:
                        raise too_large
                    file.write(chunk)
        except TimeoutError:
            message = f"expected a file within {limits.upload_seconds:g} seconds. Received: a part of one"
            raise HTTPException(408, message, {"Connection": "close"}) from None
        if not file.tell():
            raise HTTPException(400, "expected a file with something in it. Received: an empty one")
        file.seek(0)
        yield file


@contextlib.contextmanager
def stored(upload: IO[bytes], label: str) -> Iterator[pathlib.Path]:
    """Give a file that has a name to read it by: the label's, with an ending that says what it is. It blocks.

    Raises:
        HTTPException: 415 none of the kinds, 422 a picture that is damaged or has too many pixels.
    """
    ending, name = _ending(upload), results.file_name(label)
    with tempfile.TemporaryDirectory(prefix="ptxtf-") as folder:
        path = pathlib.Path(folder) / (name if name.lower().endswith(ending) else name + ending)
        with path.open("wb") as file:
            shutil.copyfileobj(upload, file)
        yield path


def _ending(upload: IO[bytes]) -> str:
    """Return the ending that `ptxtf.inference.radiographs` wants for what the file is."""
    head = upload.read(dicom_bytes.HEAD)
    upload.seek(0)
    try:
        if head.startswith(png.SIGNATURE):
            _check_size(*png.size(head))
            return ".png"
        if head.startswith(jpeg.START):
            _check_size(*jpeg.size(upload.read()))
            upload.seek(0)
            return ".jpg"
    except InputError as error:
        raise HTTPException(422, str(error)) from None
    if dicom_bytes.is_dicom(head):
        return ".dcm"
    raise HTTPException(415, "expected a DICOM, PNG or JPEG file. Received: something else")


def _check_size(height: int, width: int) -> None:
    if height * width > dicom_header.MAX_PIXELS:
        raise InputError(
            f"expected a picture of at most {dicom_header.MAX_PIXELS} pixels. Received: {height} x {width}"
        )
