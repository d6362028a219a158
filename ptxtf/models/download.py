"""Published weight files, downloaded once, into Keras' own cache folder.

Flows in: a URL and a checksum. Flows out: the path of a whole file, or one InputError that says what to do without a
network.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import BinaryIO

import tqdm

from ptxtf.errors import InputError

_TIMEOUT_S = 60.0
_A_PART, _ALL_THERE = 206, 416
"""What a server answers that sends what was asked for, or has nothing behind the last byte (RFC 9110, section 15)."""


def fetch(url: str, *, checksum: str | None) -> pathlib.Path:
    """Download a file unless it is there; what an earlier try has left goes on where it stopped.

    Args:
        url: of the file.
        checksum: MD5 or SHA-256, hexadecimal, that the file must have; None: any file will do.

    Returns:
        The file in the folder "models" of $KERAS_HOME, by default ~/.keras, where Keras puts and finds such files too.

    Raises:
        InputError: it cannot be fetched, or is another file.
    """
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    path = pathlib.Path(home, "models", url.rsplit("/", 1)[1])
    if path.is_file() and _is_right(path, checksum):
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened_alone(part) as file:
            if not (path.is_file() and _is_right(path, checksum)):  # another process may have fetched it meanwhile
                _download(url, file)
                _check(part, url, checksum)
                part.replace(path)
    except OSError as error:  # URLError and timeouts are such
        raise InputError(
            f"{url}: expected to download it; get it elsewhere and pass weights=FILE (--weights=FILE), or start from "
            f"random weights by weights=None (--weights=none). Received: {error}"
        ) from error
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def _opened_alone(part: pathlib.Path) -> Iterator[BinaryIO]:
    """Open a file to append to, once no other process does."""
    while True:
        with part.open("ab") as file:
            with contextlib.suppress(OSError):  # some network file systems know no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            # who had it may have taken the file away, whose name another one has now, or none
            if part.exists() and part.stat().st_ino == os.fstat(file.fileno()).st_ino:
                file.seek(0, os.SEEK_END)  # whoever had it may have added to it
                yield file
                return


def _download(url: str, file: BinaryIO) -> None:
    """Append what is missing, or begin anew where the server does not know parts."""
    there = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            if response.status != _A_PART:
                file.truncate(there := 0)
            expected = response.headers.get("Content-Length")
            size = expected and int(expected)
            with tqdm.tqdm.wrapattr(response, "read", total=size, desc=f"fetching {url}", disable=None) as source:
                shutil.copyfileobj(source, file)
    except urllib.error.HTTPError as error:
        if error.code != _ALL_THERE:
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] not in ("", "*", str(there)):
            file.truncate(0)  # of another file, as it is longer
            file.seek(0)
            _download(url, file)
        return
    file.flush()
    received = os.fstat(file.fileno()).st_size - there
    if size is not None and received < size:
        raise OSError(f"the connection ended after {received} of {expected} bytes; a new try goes on from there")


def _check(part: pathlib.Path, url: str, checksum: str | None) -> None:
    if not _is_right(part, checksum):
        received = _digest(part, checksum or "")
        part.unlink()
        raise InputError(f"{url}: expected a file of checksum {checksum}. Received: {received}; try again")


def _is_right(path: pathlib.Path, checksum: str | None) -> bool:
    return checksum is None or _digest(path, checksum) == checksum.lower()


def _digest(path: pathlib.Path, checksum: str) -> str:
    """Return the checksum of the kind that another one is."""
    digest = hashlib.sha256() if len(checksum) == 64 else hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
