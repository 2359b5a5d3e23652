"""A request that is not answered: one shape of error for programs, one page for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class ErrorInfo(BaseModel):
    """Why there is no answer: a stable code, and a sentence for a person."""

    code: str
    message: str


class Problem(BaseModel):
    """A refused request."""

    error: ErrorInfo


def problem(description: str, model: Any = Problem) -> dict[str, Any]:
    """A response with an error, for the OpenAPI document."""
    return {"model": model, "description": description}


class Refusal(HTTPException):
    """Why a request is not answered.

    Parameters
    ----------
    status
        The HTTP status, 400 to 599.
    code
        Stable machine-readable reason.
    message
        One sentence for a person: what was found, and what to do.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


def as_refusal(request: Request, err: HTTPException) -> Refusal:
    """The framework's own refusals in our shape."""
    if isinstance(err, Refusal):
        return err
    code = HTTPStatus(err.status_code).phrase.lower().replace(" ", "_")
    message = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not possible at {request.url.path}",
    }.get(err.status_code, str(err.detail))
    return Refusal(err.status_code, code, message, err.headers)


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks for a page, rather than a program for JSON."""
    return "text/html" in request.headers.get("accept", "")


def refuse(request: Request, err: Refusal) -> Response:
    """The answer to a refused request: a page for a browser, for others ``{"error": {…}}``."""
    if wants_page(request):
        pages = request.app.state.pages
        phrase = HTTPStatus(err.status_code).phrase
        page: Response = pages.render(
            request, "error.html", status=err.status_code, headers=err.headers, phrase=phrase,
            message=err.detail, code=err.code, number=err.status_code,
        )  # fmt: skip
        return page
    body = {"error": {"code": err.code, "message": err.detail}}
    return JSONResponse(body, err.status_code, headers=err.headers)
