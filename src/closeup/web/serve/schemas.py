"""What goes in and out, for the OpenAPI document; docs/formats.md says the same in words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from closeup.model.card import ModelCard
from closeup.web.refusal import ErrorInfo, Problem, problem

Share = Annotated[float, Field(ge=0, le=1)]
Corners = tuple[float, float, float, float]


class NearestAnswer(BaseModel):
    """A training close-up that the photo is like."""

    crop: Annotated[str, Field(description="its id in the project")]
    label: str
    similarity: Annotated[float, Field(ge=-1.001, le=1.001, description="cosine")]
    picture: Annotated[str | None, Field(description="where it can be seen, if anywhere")]


class ObjectAnswer(BaseModel):
    """One object of a photo; `label` is `unknown` where the answer is withheld for a `reason`."""

    box: Annotated[Corners, Field(description="x1, y1, x2, y2 in pixels of the photo as seen")]
    parent: Annotated[str, Field(description="what the detector took it for")]
    parent_score: Share
    label: str
    confidence: Share
    reason: str
    top: Annotated[list[tuple[str, Share]], Field(description="labels by falling probability")]
    likely: Annotated[list[str], Field(description="the true one is among these 9 times of 10")]
    nearest: Annotated[list[NearestAnswer], Field(description="with nearest=N only")] = []


class PhotoAnswer(BaseModel):
    """The answer for one photo: the same object as `closeup predict --json` prints."""

    photo: Annotated[str, Field(description="the file name that was sent")]
    found: Annotated[bool, Field(description="false where the whole photo stood in")]
    objects: list[ObjectAnswer]
    error: ErrorInfo | None


class ServiceLimits(BaseModel):
    """What one request may hold."""

    bytes: int
    photos: int
    pixels: Annotated[int, Field(description="of one photo, width x height")]


class ModelInfo(BaseModel):
    """The model that answers."""

    name: str
    card: ModelCard
    limits: ServiceLimits


Broken = PhotoAnswer | list[PhotoAnswer] | Problem
"""The body where photos cannot be used: their answers, each with its error, or a refusal."""


_BINARY = {"type": "string", "format": "binary"}
_RETRY = {
    "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}
}

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A picture file as it is, or one or many as the files of a form.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {"photo": {"type": "array", "items": _BINARY, "minItems": 1}},
                }
            },
            **{
                kind: {"schema": _BINARY}
                for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
            },
        },
    }
}

PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, a list of answers where several photos were sent, or the "
        "annotated photo. In a list, a photo that cannot be read has an `error`.",
        "content": {kind: {"schema": _BINARY} for kind in ("image/jpeg", "image/png")},
    },
    400: problem("The photo is broken or no picture, or the form is.", Broken),
    408: problem("The request did not arrive in time."),
    413: problem("Too many bytes, photos or pixels.", Broken),
    415: problem("A kind of file or picture that cannot be used.", Broken),
    422: problem("A parameter that is not understood."),
    500: problem("The model failed; the service's log says more."),
    503: problem("Too much to do at the moment.") | {"headers": _RETRY},
    504: problem("The answer took too long.") | {"headers": _RETRY},
}

PICTURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": _BINARY}}},
    404: problem("There is no such picture here."),
}

METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
