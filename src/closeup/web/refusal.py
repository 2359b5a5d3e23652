"""Refused requests: one JSON error for programs, one page for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.templating import Jinja2Templates


class ErrorInfo(BaseModel):
    """What went wrong: a stable code, and a sentence for a person."""

    code: str
    message: str


class Problem(BaseModel):
    """A refused request."""

    error: ErrorInfo


def problem(description: str, model: Any = Problem) -> dict[str, Any]:
    """An error response in the OpenAPI document."""
    return {"model": model, "description": description}


class Refusal(HTTPException):
    """A refused request: its HTTP status, a stable code, and a sentence for a person."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


def as_refusal(request: Request, err: HTTPException) -> Refusal:
    """The framework's own errors as a :class:`Refusal`."""
    if isinstance(err, Refusal):
        return err
    code = HTTPStatus(err.status_code).phrase.lower().replace(" ", "_")
    message = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.url.path} does not accept {request.method}",
    }.get(err.status_code, str(err.detail))
    return Refusal(err.status_code, code, message, err.headers)


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks for a page, rather than a program for JSON."""
    return "text/html" in request.headers.get("accept", "")


def refuse(request: Request, err: Refusal) -> Response:
    """The response to a refused request: a page for a browser, else ``{"error": {…}}``."""
    if wants_page(request):
        values = {"phrase": HTTPStatus(err.status_code).phrase, "message": err.detail,
                  "code": err.code, "number": err.status_code}  # fmt: skip
        templates: Jinja2Templates = request.app.state.templates
        return templates.TemplateResponse(
            request, "error.html", values, err.status_code, err.headers
        )
    body = {"error": {"code": err.code, "message": err.detail}}
    return JSONResponse(body, err.status_code, headers=err.headers)
