"""Run an application until Ctrl-C or SIGTERM, then finish the requests that it has accepted."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from closeup.core.errors import CloseupError, UsageError
from closeup.web.guard import LOOPBACK_NAMES, AccessPolicy

SHORTEST_TOKEN = 16
_PORTS = {"http": 80, "https": 443}
_ROOT = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or IP address, and a port (0: any free one)."""

    host: str = "127.0.0.1"
    port: int = 8000


def make_access_policy(
    name: str, host: str, token: str, allowed: tuple[str, ...] = (), cors: tuple[str, ...] = ()
) -> AccessPolicy:
    """The access policy of an application that listens at `host`.

    If only this machine can reach it, programs and the application's own pages need no token.
    Anything that other machines can reach does. `allowed` are further host names that it accepts,
    such as a proxy's; `cors` origins whose pages may use it, ``https://shop.example``.

    Raises
    ------
    UsageError
        If the token is missing where one is needed, or is too short to be a secret; if one of
        `cors` is no origin.
    """
    allowed = tuple(name.lower() for name in allowed)
    origins = tuple(dict.fromkeys(map(_origin, cors)))
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(
            f"the token must have {SHORTEST_TOKEN} or more plain (ASCII) characters; make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`"
        )
    if is_loopback(host):
        hosts = tuple(dict.fromkeys((*LOOPBACK_NAMES, host.lower(), *allowed)))
        return AccessPolicy(name, token, hosts, origins)
    if not token:
        raise UsageError(
            f"other machines can reach --host {host}: set --token (or CLOSEUP_TOKEN), which every "
            "request must then carry"
        )
    return AccessPolicy(name, token, allowed, origins)


def _origin(given: str) -> str:
    """An origin as browsers send it; a UsageError for anything else, ``*`` too."""
    try:
        url = urlsplit(given.strip().lower().removesuffix("/"))
        port, host = url.port, url.hostname
    except ValueError:
        port = host = None
    plain = host and given.isascii() and given.isprintable()
    if not plain or url.scheme not in _PORTS or url.geturl() != f"{url.scheme}://{url.netloc}":
        raise UsageError(
            f"--cors {given}: expected the origin of a site, such as https://shop.example or "
            "http://localhost:3000; there is no wildcard"
        )
    if "@" in url.netloc or "*" in url.netloc:
        raise UsageError(f"--cors {given}: name one site, without a user name or a wildcard")
    name = f"[{host}]" if ":" in str(host) else host
    return f"{url.scheme}://{name}" + (f":{port}" if port not in (None, _PORTS[url.scheme]) else "")


def checked_root(given: str) -> str:
    """A root path in its normal form, ``/a/b`` or ``""``; a UsageError if it cannot be one."""
    root = given.strip().rstrip("/")
    if root and not _ROOT.fullmatch(root):
        raise UsageError(
            f"--root-path {given}: expected a path such as /apples, of letters, digits, and any of "
            "- . _ ~ between slashes"
        )
    return root


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
    app: FastAPI, address: Address, *, announce: Callable[[list[str]], None], grace: int = 30
) -> None:
    """Serve until Ctrl-C or SIGTERM; accepted requests are answered before it returns.

    Once the server is ready, `announce` is called with what :func:`urls_of` gives. Running requests
    have `grace` seconds to finish; a second Ctrl-C does not wait. Raises a CloseupError if the
    address is not available or the application cannot start.
    """
    with listen(address) as listener:
        urls = [url + app.state.root for url in urls_of(listener, address.host)]
        server = Server(app, grace, lambda: announce(urls))
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


def urls_of(listener: socket.socket, host: str) -> list[str]:
    """The URLs to open, the most useful first.

    Where it listens on all of this machine's addresses, those at which other machines reach it,
    IPv4 first, and last the one for this machine.
    """
    bound = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    if not bound.is_unspecified:
        return [url_of(listener, host)]
    families = [socket.AF_INET] if listener.family == socket.AF_INET else [socket.AF_INET6]
    if families == [socket.AF_INET6] and not _only_ipv6(listener):
        families = [socket.AF_INET, socket.AF_INET6]
    here = "127.0.0.1" if socket.AF_INET in families else "::1"
    return [url_of(listener, one) for one in (*_addresses(families), here)]


def _only_ipv6(listener: socket.socket) -> bool:
    return bool(listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation: asking for the way there sends nothing, and tells our own address."""


def _addresses(families: list[socket.AddressFamily]) -> list[str]:
    """This machine's addresses in its networks, of each family that of the way out first."""
    found: dict[str, None] = {}
    for family in families:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((_ELSEWHERE[family], 9))
            found[asked.getsockname()[0]] = None
        with suppress(OSError):
            for *_, place in socket.getaddrinfo(socket.gethostname(), None, family):
                found[str(place[0])] = None
    return [one for one in found if _is_reachable(one)]


def _is_reachable(address: str) -> bool:
    """Whether other machines can open it in a browser; these know no zones (``fe80::1%eth0``)."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (known.is_loopback or known.is_link_local or known.is_unspecified)


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
