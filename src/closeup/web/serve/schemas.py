"""Requests and responses for the OpenAPI document; docs/formats.md describes them in words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from closeup.model.card import ModelCard
from closeup.web.refusal import ErrorInfo, Problem, problem

Probability = Annotated[float, Field(ge=0, le=1)]
Corners = tuple[float, float, float, float]


class NearestAnswer(BaseModel):
    """A training close-up that is similar to the object."""

    crop: Annotated[str, Field(description="its id in the project")]
    label: str
    similarity: Annotated[float, Field(ge=-1.001, le=1.001, description="cosine")]
    picture: Annotated[str | None, Field(description="the path of its picture, if there is one")]


class ObjectAnswer(BaseModel):
    """One object in a photo; `label` is `unknown` if the model abstains, and `reason` says why."""

    box: Annotated[Corners, Field(description="x1, y1, x2, y2 in pixels of the upright photo")]
    parent: Annotated[str, Field(description="the category that the detector found")]
    parent_score: Probability
    label: str
    confidence: Probability
    reason: str
    top: Annotated[
        list[tuple[str, Probability]], Field(description="labels by decreasing probability")
    ]
    likely: Annotated[
        list[str], Field(description="labels that include the true one in 9 of 10 cases")
    ]
    nearest: Annotated[list[NearestAnswer], Field(description="only with nearest=N")] = []
    attributes: Annotated[
        dict[str, tuple[str, Probability]],
        Field(description="value and confidence by name; only of a model that knows attributes"),
    ] = {}


class PhotoAnswer(BaseModel):
    """The answer for one photo: the same object as `closeup predict --json` prints."""

    photo: Annotated[str, Field(description="the file name in the request")]
    found: Annotated[
        bool, Field(description="false if no object was found and the whole photo was classified")
    ]
    objects: list[ObjectAnswer]
    error: ErrorInfo | None


class ServiceLimits(BaseModel):
    """What one request may contain."""

    bytes: int
    photos: int
    pixels: Annotated[int, Field(description="of one photo, width x height")]


class ModelInfo(BaseModel):
    """The model that answers."""

    name: str
    card: ModelCard
    limits: ServiceLimits


class KeptPhoto(BaseModel):
    """A photo that was corrected, and is kept for the next training."""

    photo: Annotated[str, Field(description="its id in the project")]
    label: str
    place: Annotated[str, Field(description="the folder it is kept in")]


Broken = PhotoAnswer | list[PhotoAnswer] | Problem
"""The body if no photo can be used: one answer with an error for each, or one error."""

_BINARY = {"type": "string", "format": "binary"}
_RETRY = {
    "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}
}

PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A picture file as the body, one or more as the files of a form, or one in "
        "JSON, in base64 or as a `data:` URL.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
                }
            },
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
        "description": "The answer, a list of answers for several photos, or the annotated photo. "
        "In a list, a photo that cannot be read has an `error`.",
        "content": {kind: {"schema": _BINARY} for kind in ("image/jpeg", "image/png")},
    },
    400: problem("The photo is damaged or not a picture, or the form is malformed.", Broken),
    408: problem("The request did not arrive in time."),
    413: problem("Too many bytes, photos or pixels.", Broken),
    415: problem("This type of file or picture is not supported.", Broken),
    422: problem("A parameter is not valid."),
    500: problem("The model failed; see the service's log."),
    503: problem("The service is busy.") | {"headers": _RETRY},
    504: problem("The answer took too long.") | {"headers": _RETRY},
}

CORRECT_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: said for status, said in PREDICT_RESPONSES.items() if status not in (200, 400, 413)
} | {
    400: problem("The photo is damaged or not a picture, or the form is malformed."),
    409: problem("Whoever runs the service has already decided about this photo."),
    413: problem("Too many bytes, photos or pixels."),
    507: problem("No more photos can be kept."),
}

PICTURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": _BINARY}}},
    404: problem("There is no such picture."),
}

METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
