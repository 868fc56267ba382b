"""What every request passes before and after its route.

In: an ASGI application and the limits.
Out: the same behind a door: host and token checked, the body read within its limits, a request id,
security headers, one log line and the counts. This file does not know of stores.
"""

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("relatum.serve")
READS = {"/v1/search", "/v1/embed", "/v1/relations-between"}  # asked by POST, change nothing
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}
LOCAL = {"localhost", "127.0.0.1", "::1"}
CLOSED = 499  # the client went away: nobody sees this status but the log
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Bytes of a body and of all bodies held at once; seconds to send a body; pixels of a picture.
    """

    body: int = 12_000_000
    bodies: int = 128_000_000
    body_seconds: float = 20
    pixels: int = 30_000_000


LIMITS = Limits()


class Refusal(Exception):
    """A request that is answered with an error: HTTP status, kind, message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


def problem(kind: str, message: str, request_id: str) -> dict[str, object]:
    """Return the one error model of the service.

    >>> problem("not_found", "no item 'x'", "7f")
    {'error': {'kind': 'not_found', 'message': "no item 'x'", 'request_id': '7f'}}
    """
    return {"error": {"kind": kind, "message": message, "request_id": request_id}}


class Counts:
    """What `/metrics` shows, in a registry of its own."""

    def __init__(self) -> None:
        """Make the counters."""
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        self.requests = Counter(
            "relatum_requests", "Requests answered", names, registry=self.registry
        )
        self.seconds = Histogram(
            "relatum_request_seconds", "Seconds to answer", ("route",), registry=self.registry
        )
        sizes = (1, 2, 4, 8, 16, 32)
        self.batches = Histogram(
            "relatum_batch_size", "Searches in a call", buckets=sizes, registry=self.registry
        )


class Guard:
    """ASGI middleware. `is_public`: bound to more than loopback, so that reads need the token."""

    def __init__(
        self, app: ASGIApp, limits: Limits, token: str | None, is_public: bool, counts: Counts
    ) -> None:
        """Wrap `app`."""
        self.app, self.limits, self.counts = app, limits, counts
        self.token, self.is_public = token, is_public
        self._held = 0  # bytes of bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        seen = _Seen(scope, send)
        try:
            self._admit(scope)
            await self._read(seen, receive)
            await self.app(scope, seen.receive(receive), seen.send)
        except Refusal as refusal:
            await seen.refuse(refusal)
        except Exception:  # a bug: the log has all of it, the client nothing
            log.exception("request %s failed", seen.id)
            await seen.refuse(Refusal(500, "internal", "the service failed; its log says why"))
        finally:
            self._held -= len(seen.body)
            seen.finish(self.counts)

    def _admit(self, scope: Scope) -> None:
        headers, path = dict(scope["headers"]), scope["path"]
        host = headers.get(b"host", b"").decode("latin-1")
        name = re.sub(r":\d+$", "", host).strip("[]").lower()
        if not self.is_public and name not in LOCAL:  # a page elsewhere that rebinds its name
            raise Refusal(421, "wrong_host", f"this service answers to localhost, not {name!r}")
        is_write = scope["method"] not in ("GET", "HEAD", "OPTIONS") and path not in READS
        is_private = path.startswith("/v1/") or path in ("/metrics", "/openapi.json")
        if not is_write and not (self.is_public and is_private):
            return
        if self.token is None:
            fix = "start it with --token or RELATUM_TOKEN to allow them"
            raise Refusal(403, "read_only", f"writes are off; {fix}")
        given = headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
            raise Refusal(401, "unauthorized", "send the token as 'Authorization: Bearer TOKEN'")

    async def _read(self, seen: "_Seen", receive: Receive) -> None:
        """Read the whole body within the limits, before anything is made of it."""
        large = Refusal(413, "too_large", f"a body holds at most {self.limits.body} bytes")
        length = dict(seen.scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limits.body:
            raise large
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(CLOSED, "closed", "the client went away")
                    chunk = message.get("body", b"")
                    seen.body += chunk
                    self._held += len(chunk)
                    if len(seen.body) > self.limits.body:
                        raise large
                    if self._held > self.limits.bodies:
                        raise Refusal(503, "busy", "too many uploads at once; try again")
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            what = f"the body took more than {self.limits.body_seconds:g} s"
            raise Refusal(408, "timeout", what) from None


class _Seen:
    """One request: its id, its body, how it was answered."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.body = bytearray()
        self.status = 0
        self._start = time.perf_counter()
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        self.id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex

    def receive(self, rest: Receive) -> Receive:
        """Give the body once more, then what the connection says."""
        is_given = False

        async def receive() -> Message:
            nonlocal is_given
            if is_given:
                return await rest()
            is_given = True
            return {"type": "http.request", "body": bytes(self.body), "more_body": False}

        return receive

    async def send(self, message: Message) -> None:
        """Pass an answer on with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in (HEADERS | {"x-request-id": self.id}).items():
                headers.setdefault(name, value)
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error, unless an answer has begun or nobody listens."""
        if self.status or refusal.status == CLOSED:
            self.status = self.status or CLOSED
            return
        body = json.dumps(problem(refusal.kind, refusal.message, self.id)).encode()
        headers = [(b"content-type", b"application/json")]
        if refusal.status in (408, 413):  # the rest of the body is not read
            headers.append((b"connection", b"close"))
        extra = {401: (b"www-authenticate", b"Bearer"), 503: (b"retry-after", b"1")}
        headers += [extra[refusal.status]] if refusal.status in extra else []
        await self.send(
            {"type": "http.response.start", "status": refusal.status, "headers": headers}
        )
        await self.send({"type": "http.response.body", "body": body})

    def finish(self, counts: Counts) -> None:
        """Count the request and write its line in the log."""
        seconds = time.perf_counter() - self._start
        route = getattr(self.scope.get("route"), "path", "none")
        known = self.scope["method"] if self.scope["method"] in METHODS else "other"
        counts.requests.labels(known, route, self.status).inc()
        counts.seconds.labels(route).observe(seconds)
        facts = {
            "request_id": self.id,
            "method": self.scope["method"],
            "path": self.scope["path"],
            "status": self.status,
            "ms": round(seconds * 1000, 1),
            "bytes_in": len(self.body),
            "client": (self.scope.get("client") or ("",))[0],
        }
        log.info("request", extra={"facts": facts})
