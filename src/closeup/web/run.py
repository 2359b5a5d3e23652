"""Run an application until Ctrl-C or SIGTERM, then finish the requests that it has accepted."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from closeup.core.errors import CloseupError, UsageError
from closeup.web.guard import LOOPBACK_NAMES, AccessPolicy

SHORTEST_TOKEN = 16
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or IP address, and a port (0: any free one)."""

    host: str = "127.0.0.1"
    port: int = 8000


def make_access_policy(
    name: str, host: str, token: str, allowed: tuple[str, ...] = ()
) -> AccessPolicy:
    """The access policy of an application that listens at `host`.

    If only this machine can reach it, programs and the application's own pages need no token.
    Anything that other machines can reach does. `allowed` are further host names that it accepts,
    such as a proxy's.

    Raises
    ------
    UsageError
        If the token is missing where one is needed, or is too short to be a secret.
    """
    allowed = tuple(name.lower() for name in allowed)
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(
            f"the token must have {SHORTEST_TOKEN} or more plain (ASCII) characters; make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`"
        )
    if is_loopback(host):
        hosts = tuple(dict.fromkeys((*LOOPBACK_NAMES, host.lower(), *allowed)))
        return AccessPolicy(name, token, hosts)
    if not token:
        raise UsageError(
            f"other machines can reach --host {host}: set --token (or CLOSEUP_TOKEN), which every "
            "request must then carry"
        )
    return AccessPolicy(name, token, allowed)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server(uvicorn.Server):
    """uvicorn's server; calls `ready` once it answers, and waits `grace` seconds at shutdown."""

    def __init__(self, app: FastAPI, grace: int, ready: Callable[[], None]) -> None:
        super().__init__(uvicorn.Config(
            app, lifespan="on", ws="none", log_config=None, access_log=False, server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=grace,
        ))  # fmt: skip
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `ready`."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve_app(
    app: FastAPI, address: Address, *, announce: Callable[[str], None], grace: int = 30
) -> None:
    """Serve until Ctrl-C or SIGTERM; accepted requests are answered before it returns.

    Once the server is ready, `announce` is called with its address, ``http://HOST:PORT``. Running
    requests have `grace` seconds to finish; a second Ctrl-C does not wait. Raises a CloseupError if
    the address is not available or the application cannot start.
    """
    with listen(address) as listener:
        url = url_of(listener, address.host)
        server = Server(app, grace, lambda: announce(url))
        with _quiet_signals():
            server.run(sockets=[listener])
        if not server.started:
            raise CloseupError("the service could not start; see the messages above")


def listen(address: Address) -> socket.socket:
    """A listening socket; a UsageError if the host is not this machine's or the port is in use."""
    listener = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Unlike `socket.create_server`, this sets the protocol: only then does asyncio set
        # TCP_NODELAY, without which each small answer is delayed by some 40 ms.
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
        return listener
    except (OSError, OverflowError) as err:
        if listener is not None:
            listener.close()
        raise UsageError(
            f"cannot listen on {address.host}, port {address.port}: "
            f"{getattr(err, 'strerror', None) or err}; choose another with --host or --port "
            "(0: any free one)"
        ) from err


def url_of(listener: socket.socket, host: str) -> str:
    """The URL to open."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Keep the process alive after a shutdown by signal, which uvicorn raises once more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
