"""The addresses of the page, and the desk at which one file after another is examined.

    GET  /                              the page; its style, script and icon beside it
    GET  /healthz                       ok
    POST /examine?name=LABEL            a file -> what was found, as JSON
    GET  /results/TOKEN/image.png       the film; layer.png: what was found, to lie over it
    GET  /results/TOKEN/files/NAME      a file to take along
    GET  /results/TOKEN/results.zip     all of them

Whatever goes wrong is a status and {"error": one line}.
"""

import contextlib
import importlib.resources
import io
import pathlib
import time
import urllib.parse
import zipfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import IO, Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ptxtf.config import LimitConfig
from ptxtf.errors import InputError
from ptxtf.serving import guard, uploads
from ptxtf.serving.results import Examined, Store, file_name

Examine = Callable[[pathlib.Path], Examined]
"""A file -> what is shown of it. It blocks, and raises InputError for a file that cannot be used."""

_PARTS = {
    "/": ("ptxtf.serving", "page.html", "text/html"),
    "/page.css": ("ptxtf.serving", "page.css", "text/css"),
    "/page.js": ("ptxtf.serving", "page.js", "text/javascript"),
    "/icon.svg": ("ptxtf.serving", "icon.svg", "image/svg+xml"),
    "/report.css": ("ptxtf.evaluation", "page.css", "text/css"),  # one look for all pages
}
_RETRY_S = 10
_SWEEP_S = 30


class _Desk:
    """Where files are examined, one after another; a few more may wait, or be on their way in."""

    def __init__(self, examine: Examine, limits: LimitConfig) -> None:
        self._examine, self._limits = examine, limits
        self._taken = 0
        self._turn = anyio.Lock()
        self.store = Store(count=limits.keep, max_bytes=limits.keep_mib * 2**20, seconds=60 * limits.keep_minutes)

    async def take(self, request: Request) -> tuple[str, Examined]:
        """Return what is in the file of a request, and the token that it is kept under."""
        if self._taken > self._limits.max_waiting:
            text = f"expected at most {self._taken} files at a time. Received: one more; try again in a while"
            raise HTTPException(503, text, {"Retry-After": str(_RETRY_S)})
        self._taken += 1
        try:
            async with uploads.received(request, self._limits) as upload, self._turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                label = request.query_params.get("name", "")
                # who stops the server need not wait for it
                examined = await to_thread.run_sync(self._examined, upload, label, abandon_on_cancel=True)
        finally:
            self._taken -= 1
        return self.store.put(examined), examined

    def _examined(self, upload: IO[bytes], label: str) -> Examined:
        with uploads.stored(upload, label) as path:
            try:
                return self._examine(path)
            except InputError as error:
                text = str(error).replace(f"{path}: ", "").replace(str(path), "the file")
                raise HTTPException(422, text) from None


def app(examine: Examine, limits: LimitConfig | None = None, *, names: Collection[str] = ()) -> Starlette:
    """Return the application.

    Args:
        examine: makes of a file what is shown. It is called in a thread, never twice at a time.
        limits: what a visitor may use up.
        names: of this server beside its addresses and "localhost", in small letters.
    """
    limits = limits or LimitConfig()
    desk = _Desk(examine, limits)

    async def take(request: Request) -> Response:
        start = time.monotonic()
        token, examined = await desk.take(request)
        guard.LOG.info("examined a file in %.1f s", time.monotonic() - start)
        return guard.as_json(_described(token, examined))

    async def give(request: Request) -> Response:
        examined = desk.store.get(request.path_params["token"])
        if examined is None:
            raise HTTPException(404, "expected a result that is still kept. Received: another, or one that is too old")
        return await _part(examined, request.path_params["name"])

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_sweep, desk.store)
            yield
            tasks.cancel_scope.cancel()

    page = Starlette(
        routes=[
            *(Route(path, _page_part(*part, limits)) for path, part in _PARTS.items()),
            Route("/healthz", _healthz),
            Route("/examine", take, methods=["POST"]),
            Route("/results/{token}/{name:path}", give),
        ],
        middleware=[Middleware(guard.guarded, names=names)],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )
    page.router.redirect_slashes = False  # to an address made of the request's Host
    return page


async def _sweep(store: Store) -> None:
    """Forget old results in time, whether somebody asks or not."""
    while True:
        await anyio.sleep(_SWEEP_S)
        store.sweep()


def _page_part(package: str, name: str, kind: str, limits: LimitConfig) -> Callable[[Request], Any]:
    content = importlib.resources.files(package).joinpath(name).read_text("utf-8")
    content = content.replace("MAX_MIB", str(limits.max_mib))

    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _refused(_: Request, error: Exception) -> Response:
    """Return an HTTPException as an answer, Starlette's own (404, 405) among them."""
    assert isinstance(error, HTTPException)
    guard.LOG.info("refused: %d", error.status_code)
    return guard.refusal(error.status_code, error.detail, error.headers)


def _described(token: str, examined: Examined) -> dict[str, Any]:
    """Return what the page shows of a result."""
    here = f"results/{token}"
    return {
        "image_id": examined.image_id,
        "sentence": examined.sentence,
        "columns": list(examined.columns),
        "rows": [list(row) for row in examined.rows],
        "image": f"{here}/image.png",
        "layer": f"{here}/layer.png",
        "zip": f"{here}/results.zip",
        "files": [
            {"name": name, "bytes": len(content), "address": f"{here}/files/{urllib.parse.quote(name)}"}
            for name, content in examined.downloads.items()
        ],
    }


async def _part(examined: Examined, name: str) -> Response:
    if name == "image.png":
        return Response(examined.image_png, media_type="image/png")
    if name == "layer.png":
        return Response(examined.layer_png, media_type="image/png")
    if name == "results.zip":
        content = await to_thread.run_sync(_zipped, examined.downloads)
        return _to_save(content, f"{file_name(examined.image_id)}.zip")
    folder, _, name = name.partition("/")
    if folder != "files" or name not in examined.downloads:
        raise HTTPException(404, "expected a file of this result. Received: another")
    return _to_save(examined.downloads[name], name)


def _to_save(content: bytes, name: str) -> Response:
    """Return a file that a browser saves and never shows."""
    disposition = f"attachment; filename*=UTF-8''{urllib.parse.quote(name)}"
    return Response(content, headers={"Content-Disposition": disposition}, media_type="application/octet-stream")


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return zipped.getvalue()
