"""How much a request may send, and for how long."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import Message

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
        413 at once where ``Content-Length`` says too much. Reading the body of what is returned
        raises 413 and 408.
    """
    too_large = Refusal(
        413, "too_large",
        f"a request may hold {megabytes(most_bytes)} at most; send a smaller photo, or fewer",
    )  # fmt: skip
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:20]) > most_bytes:
        raise too_large
    deadline = asyncio.get_running_loop().time() + seconds
    came = 0

    async def receive() -> Message:
        nonlocal came
        try:
            async with asyncio.timeout_at(deadline):
                message = await request.receive()
        except TimeoutError as err:
            raise Refusal(
                408, "too_slow", f"the request did not arrive within {seconds:g} s; send it again",
                {"connection": "close"},
            ) from err  # fmt: skip
        came += len(message.get("body", b""))
        if came > most_bytes:
            raise too_large
        return message

    return Request(request.scope, receive)


def megabytes(count: int) -> str:
    """Bytes for a person.

    >>> megabytes(20_000_000), megabytes(1500)
    ('20 MB', '1.5 kB')
    """
    return f"{count / 1e6:g} MB" if count >= 1_000_000 else f"{count / 1e3:g} kB"
