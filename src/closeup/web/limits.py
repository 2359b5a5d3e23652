"""Limits on the size and the duration of a request's body."""

from __future__ import annotations

import asyncio

from python_multipart.multipart import parse_options_header
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from closeup.web.refusal import Refusal


def limited(request: Request, *, most_bytes: int, seconds: float) -> Request:
    """The same request, whose body may have `most_bytes` and must arrive within `seconds`.

    Raises a Refusal: 400 if a form is not in UTF-8; later, when the body is read, 413 (at once if
    ``Content-Length`` is too large) or 408.
    """
    _check_charset(request.headers.get("content-type", ""))
    return Request(request.scope, _bounded(request, most_bytes, seconds))


class Bounded:
    """ASGI middleware: the limits of :func:`limited` on the body of every request."""

    def __init__(self, app: ASGIApp, most_bytes: int, seconds: float) -> None:
        self._app, self._most_bytes, self._seconds = app, most_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            receive = _bounded(Request(scope, receive), self._most_bytes, self._seconds)
        await self._app(scope, receive, send)


def _bounded(request: Request, most_bytes: int, seconds: float) -> Receive:
    """A ``receive`` that raises 413 when the body is too large, and 408 when it is too late."""
    most = f"a request may be at most {most_bytes / 1e6:g} MB; send fewer or smaller photos"
    too_large = Refusal(413, "too_large", most)
    declared = request.headers.get("content-length", "")
    too_long = declared.isascii() and declared.isdigit() and int(declared[:20]) > most_bytes
    deadline = asyncio.get_running_loop().time() + seconds
    received, complete = 0, False

    async def receive() -> Message:
        nonlocal received, complete
        if complete:  # the next message is the end of the connection
            return await request.receive()
        if too_long:
            raise too_large
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as err:
            late = f"the request did not arrive within {seconds:g} s; send it again"
            raise Refusal(408, "too_slow", late, {"connection": "close"}) from err
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if received > most_bytes:
            raise too_large
        return message

    return receive


def _check_charset(content_type: str) -> None:
    """Refuse forms in any encoding but UTF-8: some of Python's codecs cannot decode text."""
    kind, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if kind.startswith(b"multipart/") and charset not in ("utf-8", "utf8"):
        raise Refusal(400, "wrong_charset", "a form must be in UTF-8; leave `charset` out")
