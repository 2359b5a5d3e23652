"""Run an application until Ctrl-C or SIGTERM, then finish what was accepted."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn
from fastapi import FastAPI

from closeup.core.errors import CloseupError, UsageError
from closeup.web.guard import LOOPBACK_NAMES, AccessPolicy

SHORTEST_TOKEN = 16
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or IP address, and a port; 0 for any that is free."""

    host: str = "127.0.0.1"
    port: int = 8000


def make_access_policy(
    name: str, host: str, token: str, allowed: tuple[str, ...] = ()
) -> AccessPolicy:
    """Who may enter an application that listens at `host`.

    On this machine alone any program may ask, and any page of the application's own. Whatever can
    be reached from elsewhere needs a token.

    Parameters
    ----------
    allowed
        Further host names under which it may be asked, such as a proxy's.

    Raises
    ------
    UsageError
        Where a token is needed but missing, or too short to be a secret.
    """
    allowed = tuple(name.lower() for name in allowed)
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(
            f"a token has {SHORTEST_TOKEN} or more plain characters; make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`"
        )
    if is_loopback(host):
        return AccessPolicy(
            name, token, tuple(dict.fromkeys((*LOOPBACK_NAMES, host.lower(), *allowed)))
        )
    if not token:
        raise UsageError(
            f"--host {host} can be reached from other machines: give --token (or CLOSEUP_TOKEN), "
            "which every request must then show"
        )
    return AccessPolicy(name, token, allowed)


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def make_server(app: FastAPI, grace: int, ready: Callable[[], None]) -> Server:
    """A server for `app` that on shutdown waits `grace` seconds at most for running requests."""
    config = uvicorn.Config(
        app, lifespan="on", ws="none", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=grace,
    )  # fmt: skip
    return Server(config, ready)


def serve_app(
    app: FastAPI, address: Address, *, announce: Callable[[str], None], grace: int = 30
) -> None:
    """Serve until Ctrl-C or SIGTERM; requests that were accepted are answered before it returns.

    Parameters
    ----------
    announce
        Called with the address, ``http://HOST:PORT``, once requests are answered.
    grace
        How many seconds requests may take to finish; a second Ctrl-C does not wait.

    Raises
    ------
    CloseupError
        Where the address cannot be had, or the application cannot start.
    """
    with listen(address) as listener:
        url = url_of(listener, address.host)
        server = make_server(app, grace, lambda: announce(url))
        with _quiet_signals():
            server.run(sockets=[listener])
        if not server.started:
            raise CloseupError("the service could not start; what was printed above says why")


def listen(address: Address) -> socket.socket:
    """A listening socket.

    Raises
    ------
    UsageError
        Where the host is not this machine's or the port is taken, naming both.
    """
    listener = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named, as `socket.create_server` does not: asyncio sends small answers
        # at once (TCP_NODELAY) for such sockets only, and else each would wait some 40 ms.
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
        return listener
    except (OSError, OverflowError) as err:
        if listener is not None:
            listener.close()
        reason = getattr(err, "strerror", None) or str(err)
        raise UsageError(
            f"cannot listen at {address.host}, port {address.port}: {reason}; choose another with "
            "--host or --port (0: any free one)"
        ) from err


def url_of(listener: socket.socket, host: str) -> str:
    """The address to open."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Let the process go on after a shutdown by signal: uvicorn raises the signal once more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def passed(_signal: int, _frame: FrameType | None) -> None:
        """The signal has done its work."""

    before = {s: signal.signal(s, passed) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
