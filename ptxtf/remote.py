"""Files that TensorFlow reaches and the operating system does not: gs://, s3://, az://, hdfs://, ram:// and their like.

Flows in: names "scheme://…". Flows out: `Remote`, which does for them what pathlib.Path does for local ones, as far as
ptxtf needs it, over tf.io.gfile. What goes wrong is the same kind of OSError in both, so that no caller needs to know
which of the two it holds. TensorFlow is imported when the first remote file is touched, not before.

s3:// needs the most care, as tensorflow-io gives it: its gfile makes no folders, says nothing when there is no file to
remove or rename, and renames every file along whose name begins with the one that was meant. Where no server answers,
it tells after a minute that there is no such file; one that S3_ENDPOINT names is asked beforehand.
"""
# ruff: noqa: D102 - methods without a docstring do what pathlib's of that name do

import contextlib
import ctypes
import dataclasses
import errno
import fnmatch
import functools
import importlib
import io
import os
import pathlib
import socket
import urllib.parse
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from ptxtf.errors import InputError

_TFIO = {"s3", "az", "hdfs", "viewfs", "har", "http", "https"}
"""Schemes that tensorflow-io adds to TensorFlow as it is imported."""

_ERRNO = {
    "NotFoundError": errno.ENOENT,
    "AlreadyExistsError": errno.EEXIST,
    "PermissionDeniedError": errno.EACCES,
    "UnauthenticatedError": errno.EACCES,
    "ResourceExhaustedError": errno.ENOSPC,
    "InvalidArgumentError": errno.EINVAL,
    "UnimplementedError": errno.ENOTSUP,
    "DeadlineExceededError": errno.ETIMEDOUT,
}
"""TensorFlow's error -> the operating system's number for it; any other is an input/output error."""


class Status(NamedTuple):
    """What `Remote.stat` tells: bytes, and nanoseconds since 1970 (0 where a file system keeps no times)."""

    st_size: int
    st_mtime_ns: int


@dataclasses.dataclass(frozen=True, order=True)
class Remote:
    """A path "scheme://key" with the part of pathlib.Path's interface that ptxtf uses; `ptxtf.files.path` makes it.

    There is no `__fspath__`: a function that knows local files only would take the name for one and write into a folder
    "gs:". Such a function raises TypeError instead; give it `ptxtf.files.local` or `ptxtf.files.atomic_local`.

    Raises:
        OSError: as pathlib does, with errno, strerror and filename.
        InputError: nothing that is installed knows the scheme.

    Example:
        >>> (Remote("ram", pathlib.PurePosixPath("runs/demo")) / "history.csv").parent
        ram://runs/demo
    """

    scheme: str
    key: pathlib.PurePosixPath

    def __str__(self) -> str:
        if self._is_bucket:
            return f"{self.scheme}://{self.key}/"  # which is not found by its name alone
        return f"{self.scheme}://{'' if self.key == pathlib.PurePosixPath() else self.key}"

    __repr__ = __str__

    def __truediv__(self, name: str) -> "Remote":
        return self._with(self.key / name)

    def _with(self, key: pathlib.PurePosixPath) -> "Remote":
        return dataclasses.replace(self, key=key)

    @property
    def _is_bucket(self) -> bool:
        return self.scheme == "s3" and len(self.key.parts) == 1

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def stem(self) -> str:
        return self.key.stem

    @property
    def suffix(self) -> str:
        return self.key.suffix

    @property
    def parent(self) -> "Remote":
        return self._with(self.key.parent)

    def with_name(self, name: str) -> "Remote":
        return self._with(self.key.with_name(name))

    def with_suffix(self, suffix: str) -> "Remote":
        return self._with(self.key.with_suffix(suffix))

    def is_absolute(self) -> bool:
        """Return True: a name with a scheme depends on no working folder."""
        return True

    def resolve(self) -> "Remote":
        """Return the path itself: there are no links."""
        return self

    def exists(self) -> bool:
        with self._gfile() as gfile:
            return gfile.exists(str(self))

    def is_dir(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._stat().is_directory  # fewer requests than gfile.isdir, which hides errors, too
        return False

    def is_file(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return not self._stat().is_directory
        return False

    def stat(self) -> Status:
        found = self._stat()
        return Status(found.length, found.mtime_nsec)

    def _stat(self) -> Any:
        with self._gfile() as gfile:
            return gfile.stat(str(self))

    def iterdir(self) -> Iterator["Remote"]:
        with self._gfile() as gfile:
            names = gfile.listdir(str(self))  # some file systems end a folder's name in a slash
        return iter([self / name.rstrip("/") for name in names])

    def glob(self, pattern: str) -> Iterator["Remote"]:
        """Yield the files and folders right below whose name matches; `pattern` has no slash."""
        with contextlib.suppress(FileNotFoundError):
            yield from [path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern)]

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder, which object stores do not need but take.

        On s3:// it is an empty object "folder/", as S3's own console makes it; a bucket is never made.
        """
        if self.is_dir():
            if not exist_ok:
                raise _error(errno.EEXIST, self)
            return
        if self._is_bucket or not (parents or self.parent.is_dir()):
            raise _error(errno.ENOENT, self)
        if self.exists():
            raise _error(errno.EEXIST, self)
        with self._gfile() as gfile:
            if self.scheme == "s3":
                _write_empty(gfile, f"{self}/")
            else:
                gfile.makedirs(str(self))

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            if not missing_ok:
                self._stat()  # raises, where removing nothing is taken for done
            with self._gfile() as gfile:
                gfile.remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: "str | Remote") -> None:
        """Rename a file within its file system, over one that has the name already; `files.atomic` says how safe."""
        if str(target) == str(self):
            return
        with self._gfile() as gfile:
            if self.scheme == "s3":
                _rename_on_s3(gfile, str(self), str(target))
            else:
                gfile.rename(str(self), str(target), overwrite=True)

    def open(
        self, mode: str = "r", *, encoding: str = "utf-8", errors: str | None = None, newline: str | None = None
    ) -> IO[Any]:
        """Open to read or write ("r", "rb", "w", "wb"); an object store shows what was written once it is closed."""
        if mode not in ("r", "rb", "w", "wb"):
            raise ValueError(f"expected mode r, rb, w or wb. Received: mode={mode!r}")
        with self._gfile() as gfile:
            file = gfile.GFile(str(self), f"{mode[0]}b")  # which opens nothing yet
        buffered = io.BufferedReader(_Reader(self, file)) if mode[0] == "r" else io.BufferedWriter(_Writer(self, file))
        return buffered if mode[1:] else io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline=newline)

    def read_bytes(self) -> bytes:
        with self.open("rb") as file:
            return file.read()

    def write_bytes(self, content: bytes) -> int:
        with self.open("wb") as file:
            return file.write(content)

    def read_text(self, encoding: str = "utf-8", errors: str | None = None) -> str:
        with self.open(encoding=encoding, errors=errors) as file:
            return file.read()

    def write_text(self, text: str, encoding: str = "utf-8", errors: str | None = None) -> int:
        with self.open("w", encoding=encoding, errors=errors) as file:
            return file.write(text)

    @contextlib.contextmanager
    def _gfile(self) -> Iterator[Any]:
        """Give tf.io.gfile; what TensorFlow raises inside becomes the OSError that pathlib would raise."""
        tensorflow = _tensorflow(self.scheme)
        try:
            yield tensorflow.io.gfile
        except tensorflow.errors.OpError as error:
            number = _ERRNO.get(type(error).__name__, errno.EIO)
            raise _error(number, self, " ".join(error.message.split())) from None


class _RawFile(io.RawIOBase):
    """A GFile as the lowest layer of Python's io, so that buffering, text and newlines are Python's own."""

    def __init__(self, path: Remote, file: Any) -> None:
        self.name = str(path)  # where an open file tells its path
        self._path = path
        self._file = file

    def close(self) -> None:
        if not self.closed:
            try:
                with self._path._gfile():
                    self._file.close()
            finally:
                super().close()


class _Reader(_RawFile):
    def __init__(self, path: Remote, file: Any) -> None:
        super().__init__(path, file)
        with path._gfile() as gfile:
            status = gfile.stat(self.name)
        if status.is_directory:
            raise _error(errno.EISDIR, path)
        self._size = status.length
        self._position = 0  # of its own, as a GFile cannot stand behind the end of its file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise _error(errno.EINVAL, self._path)
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        content = self._read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        return self._read(self._size)

    def _read(self, count: int) -> bytes:
        count = min(count, self._size - self._position)
        if count <= 0:
            return b""
        with self._path._gfile():
            if self._file.tell() != self._position:
                self._file.seek(self._position)
            content = self._file.read(count)
        self._position += len(content)
        return content


class _Writer(_RawFile):
    def __init__(self, path: Remote, file: Any) -> None:
        super().__init__(path, file)
        if path.scheme == "ram" and path.is_file():
            path.unlink()  # TensorFlow's ram:// would append
        with path._gfile():
            self._file.write(b"")  # makes the file, though nothing may follow

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        with self._path._gfile():
            self._file.write(bytes(content))
        return len(content)


def _rename_on_s3(gfile: Any, source: str, target: str) -> None:
    """Rename one file; gfile.rename takes all along whose names begin alike, and like gfile.copy no empty ones."""
    if gfile.stat(source).length:
        gfile.copy(source, target, overwrite=True)
    else:
        _write_empty(gfile, target)
    gfile.remove(source)


def _write_empty(gfile: Any, name: str) -> None:
    with gfile.GFile(name, "wb") as file:
        file.write(b"")


def _error(number: int, path: Remote, reason: str = "") -> OSError:
    """Return the kind of OSError that belongs to an error number."""
    return OSError(number, reason or os.strerror(number), str(path))


@functools.cache
def _tensorflow(scheme: str) -> Any:
    """Return TensorFlow, with tensorflow-io where the scheme needs it.

    Raises:
        InputError: neither knows the scheme, or no server is where S3_ENDPOINT says.
    """
    tensorflow = importlib.import_module("tensorflow")
    known = tensorflow.io.gfile.get_registered_schemes
    if scheme not in known() and scheme in _TFIO:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorflow_io")
    if scheme not in known():
        cure = "; install 'ptxtf[tfio]' for this one" if scheme in _TFIO else ""
        raise InputError(
            f"{scheme}://: expected a path that TensorFlow opens ({', '.join(sorted(filter(None, known())))}){cure}. "
            f"Received: scheme={scheme!r}"
        )
    if scheme == "s3":
        _ask_s3_server()
        _leave_at_once_when_done()
    return tensorflow


def _ask_s3_server() -> None:
    """Make sure that there is a server at S3_ENDPOINT ("http://127.0.0.1:9000"), where that is set.

    Raises:
        InputError: there is none.
    """
    if not (endpoint := os.environ.get("S3_ENDPOINT")):
        return
    try:
        url = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        port = url.port or {"http": 80}.get(url.scheme, 443)
        socket.create_connection((url.hostname, port), timeout=10).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"s3://: expected S3_ENDPOINT to name a server that answers ({error}). Received: S3_ENDPOINT={endpoint!r}"
        ) from None


def _leave_at_once_when_done() -> None:
    """Have the process end with its exit status before C++ takes tensorflow-io apart.

    That aborts with "pure virtual method called" once s3:// was touched, so that each command would fail in the end
    (tensorflow/io issues 1912 and 2039). Python has flushed and closed its files by then.
    """
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # GNU's libc has it, and tensorflow-io is made for that one
        libc.on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None)
