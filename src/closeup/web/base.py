"""What Closeup's web applications share: pages, static files, errors, sign-in, guard.

An application is a :class:`Site` (a name and a folder with ``templates/`` and ``static/``), and
the routes that it adds to what :func:`make_app` gives. Its static files lie at ``/static/NAME/``,
the shared ones at ``/static/base/``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from closeup._version import __version__
from closeup.core.errors import CloseupError
from closeup.web.guard import SECURITY_HEADERS, AccessPolicy, Guard
from closeup.web.limits import limited
from closeup.web.refusal import (
    Refusal,
    as_refusal,
    problem,
    refuse,
)

_log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
COOKIE_SECONDS = 30 * 24 * 3600

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Site:
    """One application.

    Attributes
    ----------
    title
        What its pages are headed with.
    folder
        Holds ``templates/`` and ``static/``, either of which may be absent.
    access
        Who may enter; `access.name` names the application.
    """

    title: str
    folder: Path
    access: AccessPolicy


class Pages:
    """Renders a site's templates; every value is escaped, an unknown name is an error."""

    def __init__(self, site: Site) -> None:
        self._site = site
        folders = [site.folder / "templates", FOLDER / "templates"]
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders), autoescape=True,
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """A page. Templates also see `title`, `name`, `path` and `signed_in`."""
        access = self._site.access
        known = {
            "title": self._site.title, "name": access.name, "path": request.url.path,
            "signed_in": bool(access.token) and access.admits(request.headers),
        }  # fmt: skip
        text = self._templates.get_template(template).render(known | values)
        return HTMLResponse(text, status, headers=headers)


class _Static(StaticFiles):
    """Files of the package: kept by browsers, but asked for again, as an upgrade changes them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\0" in path:
            raise HTTPException(404)
        return await super().get_response(path, scope)


def make_app(site: Site, *, lifespan: Lifespan | None = None) -> FastAPI:
    """An application without routes of its own, but guarded, with static files and error pages.

    Routes render pages by ``request.app.state.pages.render(request, "page.html", …)`` and refuse
    by raising :class:`closeup.web.refusal.Refusal`. It has ``/healthz``, and with a token
    ``/login`` and ``/logout``. The OpenAPI document lies at ``/openapi.json``; there is no page
    for it unless the site adds one, as the usual one loads scripts from elsewhere.
    """
    responses: dict[int | str, dict[str, Any]] = {
        403: problem("Sent by another site's page, or to another host name.")
    }
    needed = []
    if site.access.token:
        responses[401] = problem("No token, or a wrong one.")
        # For the document only: the guard has looked by then.
        needed = [Security(HTTPBearer(auto_error=False, description="The service's token."))]
    app = FastAPI(
        title=site.title, version=__version__, lifespan=lifespan, responses=responses,
        dependencies=needed, docs_url=None, redoc_url=None,
        middleware=[Middleware(Guard, access=site.access)],
    )  # fmt: skip
    app.state.pages = Pages(site)
    app.mount("/static/base", _Static(directory=FOLDER / "static"))
    if (site.folder / "static").is_dir():
        app.mount(f"/static/{site.access.name}", _Static(directory=site.folder / "static"))
    _add_errors(app)
    _add_health(app)
    if site.access.token:
        _add_login(app, site.access)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(request: Request, err: HTTPException) -> Response:
        return refuse(request, as_refusal(request, err))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, err: RequestValidationError) -> Response:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return refuse(request, Refusal(422, "invalid", f"{place}: {first['msg']}"))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, _err: ClientDisconnect) -> Response:
        return refuse(request, Refusal(400, "disconnected", "the request ended early"))

    @app.exception_handler(CloseupError)
    async def broken(request: Request, err: CloseupError) -> Response:
        _log.error("%s %s: %s", request.method, request.url.path, err)
        message = "what this service runs on has failed; its log says more"
        return refuse(request, Refusal(500, "failed", message))

    @app.exception_handler(500)
    async def failed(request: Request, _err: Exception) -> Response:
        # The one answer that does not pass the guard on its way out.
        message = "the service failed; its log says more"
        return refuse(request, Refusal(500, "internal", message, SECURITY_HEADERS))


def _add_health(app: FastAPI) -> None:
    # Open to all, whatever the rest asks for.
    @app.get("/healthz", summary="Is the service up?", tags=["service"],
             openapi_extra={"security": []})  # fmt: skip
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}


def _add_login(app: FastAPI, access: AccessPolicy) -> None:
    @app.get("/login", include_in_schema=False)
    async def form(request: Request) -> Response:
        return _login_page(request, request.query_params.get("next", "/"))

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        sent = limited(request, most_bytes=10_000, seconds=10)
        async with sent.form(max_files=0, max_fields=8) as fields:
            token, target = str(fields.get("token", "")), str(fields.get("next", "/"))
        if not access.is_token(token.strip()):
            return _login_page(request, target, status=403)
        response = RedirectResponse(_local(target), 303)
        response.set_cookie(
            access.cookie, access.pass_value, max_age=COOKIE_SECONDS, httponly=True,
            samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    @app.post("/logout", include_in_schema=False)
    async def logout() -> Response:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(access.cookie, httponly=True, samesite="strict")
        return response


def _login_page(request: Request, target: str, status: int = 200) -> Response:
    pages: Pages = request.app.state.pages
    return pages.render(request, "login.html", status=status, next=_local(target),
                        wrong=status != 200)  # fmt: skip


def _local(target: str) -> str:
    """A path of this site, whatever was asked for: the form must not send people elsewhere."""
    plain = target.isascii() and target.isprintable() and "\\" not in target
    return target if plain and target.startswith("/") and not target.startswith("//") else "/"
