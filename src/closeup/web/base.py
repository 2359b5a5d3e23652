"""What Closeup's web applications share: pages, static files, errors, sign-in, access checks.

Static files of an application are at ``/static/NAME/``, the shared ones at ``/static/base/``.
"""

from __future__ import annotations

import asyncio
import logging
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
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import Lifespan, Scope

from closeup._version import __version__
from closeup.core.errors import CloseupError
from closeup.web.guard import AccessPolicy, Guard, local_path, root_of
from closeup.web.limits import limited
from closeup.web.refusal import Refusal, as_refusal, problem, refuse

_log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
COOKIE_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Site:
    """One application: the title of its pages, its name (`access.name`), and who may use it.

    `folder` holds its ``templates/`` and ``static/``, either of which may be absent. `root` is what
    a proxy puts before every path, ``""`` for nothing.
    """

    title: str
    folder: Path
    access: AccessPolicy
    root: str = ""

    def templates(self) -> Jinja2Templates:
        """Its templates; they also see `title`, `name`, `root`, `path` below it, `signed_in`."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([self.folder / "templates", FOLDER / "templates"]),
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip

        def context(request: Request) -> dict[str, Any]:
            signed_in = bool(self.access.token) and self.access.admits(request.headers)
            return {"title": self.title, "name": self.access.name, "path": local_path(request),
                    "root": root_of(request), "signed_in": signed_in}  # fmt: skip

        return Jinja2Templates(env=environment, context_processors=[context])


class _Static(StaticFiles):
    """Files of the package: browsers keep them but revalidate, because an upgrade changes them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\0" in path:
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def render(request: Request, template: str, status_code: int = 200, **values: Any) -> Response:
    """A page of the application that answers `request`; an unknown name is an error."""
    templates: Jinja2Templates = request.app.state.templates
    return templates.TemplateResponse(request, template, values, status_code)


def make_app(site: Site, *, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """An application with access checks, static files and error pages, but no routes of its own.

    Routes answer with :func:`render`, and refuse by raising a :class:`Refusal`. It has
    ``/healthz``, and with a token ``/login`` and ``/logout``. The OpenAPI document is at
    ``/openapi.json``; FastAPI's page for it is off because it loads scripts from other sites.
    """
    responses: dict[int | str, dict[str, Any]] = {
        403: problem("Sent by another site's page, or to another host name.")
    }
    dependencies = []
    if site.access.token:
        responses[401] = problem("The token is missing or wrong.")
        # For the OpenAPI document only: Guard has already checked the token.
        dependencies = [Security(HTTPBearer(auto_error=False, description="The service's token."))]
    app = FastAPI(
        title=site.title, version=__version__, lifespan=lifespan, responses=responses,
        dependencies=dependencies, docs_url=None, redoc_url=None,
        middleware=[Middleware(Guard, access=site.access, root=site.root)],
    )  # fmt: skip
    app.state.templates = site.templates()
    shared = _Static(directory=FOLDER / "static", packages=[("closeup.report", "static")])
    app.mount("/static/base", shared)
    if (site.folder / "static").is_dir():
        app.mount(f"/static/{site.access.name}", _Static(directory=site.folder / "static"))
    _add_errors(app, site.access)
    app.state.root = site.root
    if site.access.token:
        _add_login(app, site.access, site.root)

    @app.get("/healthz", summary="Is the service up?", tags=["service"],
             openapi_extra={"security": []})  # fmt: skip
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _add_errors(app: FastAPI, access: AccessPolicy) -> None:
    @app.exception_handler(HTTPException)
    async def refused(request: Request, err: HTTPException) -> Response:
        return refuse(request, as_refusal(request, err))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, err: RequestValidationError) -> Response:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return refuse(request, Refusal(422, "invalid", f"{place}: {first['msg']}"))

    @app.exception_handler(ClientDisconnect)
    async def disconnected(request: Request, _err: ClientDisconnect) -> Response:
        return refuse(request, Refusal(400, "disconnected", "the request ended early"))

    @app.exception_handler(CloseupError)
    async def failed(request: Request, err: CloseupError) -> Response:
        _log.error("%s %s: %s", request.method, request.url.path, err)
        message = "the model or the project failed; see the service's log"
        return refuse(request, Refusal(500, "failed", message))

    @app.exception_handler(500)
    async def crashed(request: Request, _err: Exception) -> Response:
        # The only answer that does not pass Guard on its way out.
        message = "the service failed; see its log"
        headers = access.headers(local_path(request), request.headers)
        return refuse(request, Refusal(500, "internal", message, headers))


def _add_login(app: FastAPI, access: AccessPolicy, root: str) -> None:
    linked = access.key is not None

    @app.get("/login", include_in_schema=False)
    async def form(request: Request) -> Response:
        target = _local(request.query_params.get("next", ""), root)
        return render(request, "login.html", next=target, wrong="", linked=linked)

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        bounded = limited(request, most_bytes=10_000, seconds=10)
        async with bounded.form(max_files=0, max_fields=8) as fields:
            given = {name: str(fields.get(name, "")) for name in ("token", "key", "next")}
        target = _local(given["next"], root)
        if given["key"]:
            key = access.key
            good = access.admits(request.headers)  # opened again, or in two tabs
            if not good and key is not None:
                # In a thread: the next link is shown, which a terminal may hold up.
                good = await asyncio.to_thread(key.redeem, given["key"])
            wrong = "" if good else "link"
        else:
            wrong = "" if access.is_token(given["token"].strip()) else "token"
        if wrong:
            return render(request, "login.html", 403, next=target, wrong=wrong, linked=linked)
        response = RedirectResponse(target, 303)
        response.set_cookie(
            access.cookie, access.pass_value, max_age=COOKIE_SECONDS, path=root or "/",
            httponly=True, samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    @app.post("/logout", include_in_schema=False)
    async def logout() -> Response:
        response = RedirectResponse(f"{root}/login", 303)
        response.delete_cookie(access.cookie, path=root or "/", httponly=True, samesite="strict")
        return response


def _local(target: str, root: str) -> str:
    """`target` if it is a path of this site, else its start: the form sends nobody elsewhere."""
    plain = target.isascii() and target.isprintable() and "\\" not in target
    here = target.startswith(f"{root}/") and not target.startswith("//")
    return target if plain and here else f"{root}/"
