"""Start the service and stop it well.

In: a store, an address, a token. Out: a running server, until a signal; JSON lines on stderr.
"""

import asyncio
import ipaddress
import json
import logging
import socket
import sys
from datetime import UTC, datetime

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from relatum.errors import RelatumError
from relatum.serve.app import create_app
from relatum.serve.guard import LIMITS, Limits, log
from relatum.store import Store

HEAD_SECONDS = 15  # to send a request's head
STOP_SECONDS = 30  # for requests that have begun
CONNECTIONS = 512  # open at once


class _Impatient(H11Protocol):
    """HTTP/1.1 that hangs up on who does not finish the head of a first request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


class _JsonLines(logging.Formatter):
    """One JSON object a line; whatever a request holds stays inside its string."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            facts["error"] = self.formatException(record.exc_info)
        return json.dumps(facts, default=str)


def serve(
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    limits: Limits = LIMITS,
) -> None:
    """Serve a store until SIGINT or SIGTERM; requests that have begun are finished first.

    Raises `RelatumError` where other machines could reach it and there is no token, or where the
    address is taken.
    """
    is_public = not _is_loopback(host)
    if is_public and not token:
        fix = "set RELATUM_TOKEN, or bind it to 127.0.0.1"
        raise RelatumError("other machines can reach it, so it needs a token", where=host, fix=fix)
    listener = _listen(host, port)
    _log_as_json()
    app = create_app(store, token=token, is_public=is_public, limits=limits)
    settings = uvicorn.Config(
        app,
        http=_Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    log.info("serving http://%s:%d", host, listener.getsockname()[1])
    uvicorn.Server(settings).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        what = f"cannot listen: {(error.strerror or str(error)).lower()}"
        raise RelatumError(what, where=f"{host}:{port}", fix="choose another --port") from error
    # Inherited by every connection: without it the body of an answer waits 40 ms for the client to
    # acknowledge its head. asyncio sets it only where a socket names its protocol, which none does
    # that Python accepted for us.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    >>> _is_loopback("localhost"), _is_loopback("127.0.0.1"), _is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name in ("relatum.serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
