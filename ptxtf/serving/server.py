"""An address -> a server there."""

import asyncio
import ipaddress
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ptxtf.errors import InputError

_FIRST_REQUEST_S = 20.0
_LAST_ANSWERS_S = 3


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; a port of 0 is any that is free.

    Raises:
        InputError: a host that is not there, or a port that is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise InputError(
            f"expected --host of this machine, and a --port that is free. Received: {host}, {port} ({reason})"
        ) from None


def address(listening: socket.socket) -> str:
    """Return where a browser finds a socket."""
    host, port = listening.getsockname()[:2]
    ip = ipaddress.ip_address(host)
    shown = socket.gethostname() if ip.is_unspecified else f"[{host}]" if ip.version == 6 else host
    return f"http://{shown}:{port}"


def is_private(listening: socket.socket) -> bool:
    """Return whether nobody but this machine reaches a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def of(app: ASGIApp) -> uvicorn.Server:
    """Return a server, to be run as `of(app).run(sockets=[bind(…)])` until it is interrupted."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="critical",  # `guard` says what is wrong, and nothing of whose film it was with
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
        )
    )


class _Protocol(H11Protocol):
    """Closes a connection that has not asked for anything in a while; by itself uvicorn waits for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(_FIRST_REQUEST_S, self._close_if_unused)

    def _close_if_unused(self) -> None:
        if self.cycle is None:
            self.transport.close()
