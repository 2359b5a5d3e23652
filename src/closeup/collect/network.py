"""Connections to public addresses only, each to the very address that was checked.

A name is resolved here, its addresses are checked, and the connection goes to one of these: a name
that answers otherwise a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore2

from closeup.collect.outcome import NotFetched
from closeup.collect.record import Status

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The IP addresses of a host's name; raises OSError where there are none."""
IsPublic = Callable[[str], bool]
"""Whether an IP address is one that a stranger's list may lead to."""

_PRIVATE = (
    "this leads to a private address; to fetch from your own network, add --allow-private "
    "--retry refused"
)
_NAMES = ("localhost", "local", "internal", "home.arpa", "intranet", "lan")
# Not public, although `ipaddress` calls them global, at least in older versions of Python.
_MORE = tuple(
    ipaddress.ip_network(net)
    for net in (
        *("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"),
        *("64:ff9b:1::/48", "5f00::/16", "3fff::/20"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also one of IPv4 inside one of IPv6.

    >>> [is_public(one) for one in ("8.8.8.8", "127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254")]
    [True, False, False, False]
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or found.is_site_local:
            return False
    if found.is_multicast or found.is_reserved or not found.is_global:
        return False
    return not any(found in net for net in _MORE)


def anything(_: str) -> bool:
    """Let every address through, as `--allow-private` asks."""
    return True


def check_host(host: str, allowed: IsPublic) -> None:
    """Raise NotFetched where a host is private by its name or number alone."""
    if allowed is anything:
        return
    name = host.strip("[]").rstrip(".").lower()
    if any(name == private or name.endswith(f".{private}") for private in _NAMES):
        raise NotFetched(_PRIVATE, Status.REFUSED)
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return
    if not allowed(name):
        raise NotFetched(_PRIVATE, Status.REFUSED)


class Resolver:
    """Names by the operating system, in threads of its own: a lookup may take half a minute."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="closeup-dns")

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a name, in the order to try them."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(place[0]) for *_, place in found))

    def close(self) -> None:
        """Wait for no lookup that is still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to an address of a host that `allowed` lets through, and to no other."""

    def __init__(self, resolve: Resolve, allowed: IsPublic) -> None:
        self._resolve, self._allowed = resolve, allowed
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first of the allowed addresses that answers."""
        last: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in await self._addresses(host, port, timeout):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as err:
                last = err
        raise last or httpcore2.ConnectError("no address")

    async def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        name = host.strip("[]")
        try:
            ipaddress.ip_address(name)
            found = [name]
        except ValueError:
            try:
                found = await asyncio.wait_for(self._resolve(name, port), timeout)
            except TimeoutError as err:
                raise NotFetched("looking up the host's name took too long", again=True) from err
            except (OSError, UnicodeError) as err:
                raise NotFetched("the host's name is not known", again=True) from err
        public = [address for address in found if self._allowed(address)]
        if found and not public:
            raise NotFetched(_PRIVATE, Status.REFUSED)
        return public[:4]

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def connections(resolve: Resolve, allowed: IsPublic, most: int) -> httpcore2.AsyncConnectionPool:
    """A pool that keeps no cookies, follows no redirect and asks no proxy of the environment."""
    return httpcore2.AsyncConnectionPool(
        max_connections=most,
        keepalive_expiry=10.0,
        network_backend=CheckedBackend(resolve, allowed),
    )
