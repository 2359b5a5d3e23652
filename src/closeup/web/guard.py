"""Who may ask: the checks that every request passes, and the headers that every answer carries.

A service on this machine can be reached by any web page that the user's browser shows. Two things
keep such pages out: a request must name this service in ``Host`` (a page that points its own name
at this machine does not: DNS rebinding), and whatever changes or computes something must come from
this service's own pages or from no page at all (``Origin``, ``Sec-Fetch-Site``).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from closeup.web.refusal import Refusal, refuse, wants_page

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/healthz", "/login")
"""What can be had without the token, beside ``/static/``, where the package's own files lie."""

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": with it, browsers say `Origin: null` for forms of our own.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Set on every answer that does not set them itself; neither script nor style may be inline."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may enter.

    Attributes
    ----------
    name
        Of the application: part of its cookie's name, as cookies do not tell ports apart.
    token
        The secret that every request must show; ``""`` for none.
    hosts
        Host names under which the service may be asked, without port; empty for any, which is
        safe with a token only.
    """

    name: str
    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK_NAMES

    @property
    def cookie(self) -> str:
        """The name of the cookie that stands for the token, another one for another token."""
        return f"closeup-{self.name}-{self._derived(b'closeup cookie name')[:8]}"

    @property
    def pass_value(self) -> str:
        """The cookie's value: made from the token, which itself never lies in a browser."""
        return self._derived(b"closeup cookie")

    def _derived(self, purpose: bytes) -> str:
        return hmac.new(self.token.encode(), purpose, hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Whether `given` is the token, in constant time."""
        return hmac.compare_digest(given.encode("utf8", "surrogatepass"), self.token.encode())

    def admits(self, headers: Headers) -> bool:
        """Whether a request shows the token, or its cookie; always True where there is no token."""
        if not self.token:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        value = "" if morsel is None else morsel.value
        return hmac.compare_digest(value.encode("utf8", "replace"), self.pass_value.encode())

    def check_origin(self, method: str, headers: Headers) -> None:
        """Refuse what is addressed to another host, or sent by another site's page.

        Raises
        ------
        Refusal
            403.
        """
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            raise Refusal(
                403, "wrong_host",
                f"this service does not answer for {host or 'no host'}, only for "
                f"{', '.join(self.hosts)}; add a name with --allow-host",
            )  # fmt: skip
        if method in _READING:
            return
        origin = headers.get("origin")
        if (origin is not None and not _same(origin, host)) or headers.get(
            "sec-fetch-site", "none"
        ) not in {"same-origin", "none"}:
            raise Refusal(403, "wrong_origin", "another site's page may not send this request")


def _name(host: str) -> str:
    """The name in a ``Host`` header, without its port; ``""`` where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


class Guard:
    """ASGI middleware that keeps the :class:`AccessPolicy`, and sets :data:`SECURITY_HEADERS`."""

    def __init__(self, app: ASGIApp, access: AccessPolicy) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # websockets: no page of ours opens any
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        try:
            self._access.check_origin(request.method, request.headers)
            if not self._is_open(scope["path"]) and not self._access.admits(request.headers):
                await self._ask_for_token(request)(scope, receive, guarded)
                return
        except Refusal as err:
            await refuse(request, err)(scope, receive, guarded)
            return
        if scope["method"] == "HEAD":  # the server sends the answer's head alone
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, guarded)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in OPEN_PATHS or path.startswith("/static/")

    def _ask_for_token(self, request: Request) -> ASGIApp:
        if request.method == "GET" and wants_page(request):
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)
        return refuse(request, Refusal(
            401, "token_needed", "give the token: `Authorization: Bearer TOKEN`",
            {"www-authenticate": "Bearer"},
        ))  # fmt: skip
