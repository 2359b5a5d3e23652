"""Access checks on every request, and security headers on every response.

Any web page that the user's browser shows can send requests to a service on this machine. Two
checks keep such pages out: ``Host`` must name this service (which stops DNS rebinding, where a page
points its own name at this machine), and every request that changes or computes something must
come from one of the service's own pages or from no page at all (``Origin``, ``Sec-Fetch-Site``).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from closeup.web.refusal import Refusal, refuse, wants_page

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/healthz", "/login")
"""Paths that need no token, besides the package's own files under ``/static/``."""
SHARED_PATHS = ("/predict", "/training/", "/model", "/healthz", "/openapi.json")
"""What pages of the origins in `AccessPolicy.cors` may use; those that end in ``/`` are folders."""

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": with it, browsers send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Set on every response that does not set them itself; inline scripts and styles are forbidden."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "accept, authorization, content-type",
    "access-control-max-age": "600",
}


class OneTimeKey:
    """A key that signs in once, within `seconds`; :meth:`renew` makes the next one.

    :meth:`redeem` calls `on_spent` after a key was used, or came too late. It cannot be guessed:
    it has 128 random bits.
    """

    def __init__(self, seconds: float = 600, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.on_spent: Callable[[bool], None] = lambda _used: None
        self._clock, self._lock = clock, threading.Lock()
        self._key, self._ends = "", 0.0

    def renew(self) -> str:
        """A new key; the one before is worth nothing any more."""
        with self._lock:
            self._key, self._ends = secrets.token_urlsafe(16), self._clock() + self.seconds
            return self._key

    def redeem(self, given: str) -> bool:
        """Whether `given` is the key and still valid; either way that key is spent."""
        with self._lock:
            same = hmac.compare_digest(given.encode("utf8", "surrogatepass"), self._key.encode())
            if not (same and self._key):
                return False
            used, self._key = self._clock() < self._ends, ""
        self.on_spent(used)
        return used


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may use the application `name`, which its cookie is named after: cookies ignore ports.

    Every request must carry the secret `token`, unless that is ``""``. `hosts` are the names that
    the service accepts, without port; none for any, which is safe only with a token. Pages of the
    origins in `cors` may use :data:`SHARED_PATHS`, with the token but never with a cookie. `key`
    signs a browser in as the token does.
    """

    name: str
    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK_NAMES
    cors: tuple[str, ...] = ()
    key: OneTimeKey | None = field(default=None, compare=False)

    @property
    def cookie(self) -> str:
        """The name of the sign-in cookie; it depends on the token."""
        return f"closeup-{self.name}-{self._derived(b'closeup cookie name')[:8]}"

    @property
    def pass_value(self) -> str:
        """The cookie's value, derived from the token, which no browser ever stores."""
        return self._derived(b"closeup cookie")

    def _derived(self, purpose: bytes) -> str:
        return hmac.new(self.token.encode(), purpose, hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Whether `given` is the token, in constant time."""
        return hmac.compare_digest(given.encode("utf8", "surrogatepass"), self.token.encode())

    def admits(self, headers: Headers) -> bool:
        """Whether a request carries the token or its cookie; always True if there is no token."""
        if not self.token:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        if headers.get("origin", "") in self.cors:
            return False  # a cookie shows who the visitor is, not that the page may ask
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        value = "" if morsel is None else morsel.value
        return hmac.compare_digest(value.encode("utf8", "replace"), self.pass_value.encode())

    def shares(self, path: str, headers: Headers) -> bool:
        """Whether the request comes from a page of `cors`, for a path that it may use."""
        return headers.get("origin", "") in self.cors and _is_shared(path)

    def headers(self, path: str, headers: Headers) -> dict[str, str]:
        """The headers of every answer, an error's too; a page of `cors` may read it with them."""
        if not self.cors:
            return dict(SECURITY_HEADERS)
        allowed = {"access-control-allow-origin": headers.get("origin", "")}
        return SECURITY_HEADERS | {"vary": "Origin"} | (
            allowed if self.shares(path, headers) else {}
        )  # fmt: skip

    def check_origin(self, method: str, path: str, headers: Headers) -> None:
        """Raise a 403 Refusal for requests for another host, or from another site's page."""
        host = headers.get("host", "")
        if self.hosts and (_split(f"//{host}").hostname or "") not in self.hosts:
            message = (
                f"this service does not accept requests for {host or 'no host'}, only for "
                f"{', '.join(self.hosts)}; add a name with --allow-host"
            )
            raise Refusal(403, "wrong_host", message)
        if method in _READING or self.shares(path, headers):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        same = origin is None or (host and _split(origin).netloc.lower() == host.lower())
        if not same or site not in {"same-origin", "none"}:
            raise Refusal(403, "wrong_origin", "pages of other sites may not send this request")


def _is_shared(path: str) -> bool:
    return any(path.startswith(one) if one.endswith("/") else path == one for one in SHARED_PATHS)


def local_path(request: Request) -> str:
    """The path of a request below the root path, as routes name it."""
    path, root = str(request.scope["path"]), root_of(request)
    return path.removeprefix(root) or "/" if path.startswith(f"{root}/") else path


def root_of(request: Request) -> str:
    """What a proxy puts before the paths of this service, ``""`` for nothing."""
    return str(request.scope.get("app_root_path", request.scope.get("root_path", "")))


def _split(url: str) -> SplitResult:
    """The parts of a URL, all of them empty if it is not valid."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


class Guard:
    """ASGI middleware: enforces the :class:`AccessPolicy` and sets :data:`SECURITY_HEADERS`.

    A proxy may take the `root` off a request's path or leave it on: from here on it is there.
    """

    def __init__(self, app: ASGIApp, access: AccessPolicy, root: str = "") -> None:
        self._app, self._access, self._root = app, access, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket, which none of our pages opens
            await send({"type": "websocket.close", "code": 1008})
            return
        if self._root:  # in place: others read the route from it
            scope["root_path"] = self._root
            if not f"{scope['path']}/".startswith(f"{self._root}/"):
                scope["path"] = self._root + scope["path"]
        request = Request(scope)
        path = local_path(request)
        added = self._access.headers(path, request.headers)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._access.check_origin(request.method, path, request.headers)
            if self._is_preflight(path, request):
                await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, guarded)
                return
            is_open = path in OPEN_PATHS or path.startswith("/static/")
            if not is_open and not self._access.admits(request.headers):
                await _ask_for_token(request)(scope, receive, guarded)
                return
        except Refusal as err:
            await refuse(request, err)(scope, receive, guarded)
            return
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, guarded)

    def _is_preflight(self, path: str, request: Request) -> bool:
        """Whether a browser asks what a page may send; it never has the token with it."""
        asks = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        return asks and self._access.shares(path, request.headers)


def _ask_for_token(request: Request) -> ASGIApp:
    if request.method == "GET" and wants_page(request):
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{root_of(request)}/login?next={quote(wanted, safe='/')}", 303)
    message = "this service needs its token; send `Authorization: Bearer TOKEN`"
    return refuse(request, Refusal(401, "token_needed", message, {"www-authenticate": "Bearer"}))
