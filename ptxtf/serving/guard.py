"""Who may ask, and what every answer says to a browser: an ASGI application around another.

A page elsewhere can make a visitor's browser send requests to this server. It cannot read the answers, unless its name
leads here of a sudden (DNS rebinding): so `Host` must be an address or a name that is ours. And it may not have files
examined: so where a browser tells whose page is asking (`Origin`, `Sec-Fetch-Site`), it must be ours.
"""

import ipaddress
import json
import logging
import traceback
import urllib.parse
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("ptxtf.serving")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def guarded(app: ASGIApp, *, names: Collection[str]) -> ASGIApp:
    """Return an application that answers whom it may, adds the headers above, and never fails with a traceback.

    Args:
        app: what answers.
        names: of this server, in small letters. Addresses and "localhost" are its own in any case.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        is_begun = False

        async def send_on(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        reason = _refusal(scope["method"], Headers(scope=scope), names)
        try:
            await (refusal(403, reason) if reason else app)(scope, receive, send_on)
        except ClientDisconnect:
            LOG.info("a client went away")
        except Exception as error:
            # neither the message nor the values: they may hold a file's name, or what is in it
            where = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("%s\n%s", type(error).__name__, where)  # noqa: TRY400
            if not is_begun:
                await refusal(500, f"this should not happen: {type(error).__name__}")(scope, receive, send_on)

    return answer


def refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that says in one line why there is no other."""
    return as_json({"error": text}, status, headers)


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON, in ASCII: texts need not be Unicode."""
    return Response(json.dumps(value), status, headers, "application/json")


def _refusal(method: str, headers: Headers, names: Collection[str]) -> str:
    """Return why a request is not to be answered; empty: it is."""
    host = headers.get("host", "")
    if not _is_ours(host, names):
        return f"expected a Host that is an address or a name of this server. Received: {host[:80]!r}"
    if method in ("GET", "HEAD"):
        return ""
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    if (origin is not None and _netloc(origin) != host.lower()) or site not in ("same-origin", "none"):
        return f"expected a request of this server's own page. Received: one of {(origin or site)[:80]!r}"
    return ""


def _netloc(origin: str) -> str:
    try:
        return urllib.parse.urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_ours(host: str, names: Collection[str]) -> bool:
    """Return whether a Host header leads here by itself. An address does: only names can be made to lead elsewhere."""
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
