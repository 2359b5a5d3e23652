"""How much a request may send, and for how long."""

from __future__ import annotations

import asyncio

from python_multipart.multipart import parse_options_header
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from closeup.web.refusal import Refusal


def limited(request: Request, *, most_bytes: int, seconds: float) -> Request:
    """The same request, whose body can be read no further than its limits.

    Parameters
    ----------
    most_bytes
        The most that the body may hold, by ``Content-Length`` and counted while it comes.
    seconds
        How long it may take to arrive, from now.

    Raises
    ------
    Refusal
        400 where a form is not in UTF-8. Reading the body of what is returned raises 413, at once
        where ``Content-Length`` says too much, and 408.
    """
    _check_charset(request.headers.get("content-type", ""))
    return Request(request.scope, _bounded(request, most_bytes, seconds))


class Bounded:
    """ASGI middleware: no request's body can be read further than this.

    Whoever reads it gets the refusal, 413 or 408.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            receive = _bounded(Request(scope, receive), self._most_bytes, self._seconds)
        await self._app(scope, receive, send)


def _bounded(request: Request, most_bytes: int, seconds: float) -> Receive:
    """What is received, until it is too much or too late."""
    too_large = Refusal(
        413, "too_large",
        f"a request may hold {megabytes(most_bytes)} at most; send a smaller photo, or fewer",
    )  # fmt: skip
    said = request.headers.get("content-length", "")
    too_long = said.isascii() and said.isdigit() and int(said[:20]) > most_bytes
    deadline = asyncio.get_running_loop().time() + seconds
    came, complete = 0, False

    async def receive() -> Message:
        nonlocal came, complete
        if complete:  # what is waited for now is the end of the connection
            return await request.receive()
        if too_long:
            raise too_large
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as err:
            raise Refusal(
                408, "too_slow", f"the request did not arrive within {seconds:g} s; send it again",
                {"connection": "close"},
            ) from err  # fmt: skip
        came += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if came > most_bytes:
            raise too_large
        return message

    return receive


def _check_charset(content_type: str) -> None:
    """Refuse forms in any other encoding: Python knows some that no text can be read from."""
    kind, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if kind.startswith(b"multipart/") and charset not in ("utf-8", "utf8"):
        raise Refusal(400, "wrong_charset", "a form is sent in UTF-8; leave `charset` out")


def megabytes(count: int) -> str:
    """Bytes for a person.

    >>> megabytes(20_000_000), megabytes(1500)
    ('20 MB', '1.5 kB')
    """
    return f"{count / 1e6:g} MB" if count >= 1_000_000 else f"{count / 1e3:g} kB"
