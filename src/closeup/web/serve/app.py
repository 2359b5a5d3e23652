"""The routes of ``closeup serve``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi import Path as PathParam
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from closeup.model.model import Model
from closeup.model.prediction import Prediction
from closeup.web.base import Site, make_app, render
from closeup.web.guard import AccessPolicy, local_path
from closeup.web.refusal import Refusal, refuse, wants_page
from closeup.web.serve import schemas
from closeup.web.serve.corrections import Corrections
from closeup.web.serve.examples import Examples, Samples
from closeup.web.serve.metrics import METRICS_TYPE, Metrics, RequestCounter
from closeup.web.serve.schemas import KeptPhoto, ModelInfo, PhotoAnswer
from closeup.web.serve.service import MOST_NEAREST, Limits, QueueFull, Service
from closeup.web.serve.uploads import UploadLimits, read_photos

_STATUS = {"too_large": 413, "unsupported": 415}
"""Of a photo that cannot be used, by its error code; 400 for all others."""
_PAGES = {"/": "ask.html", "/about": "about.html", "/docs": "docs.html"}


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How a model is served: its `name` for people, and the `seconds` that an answer may take.

    `project` is where the pictures of training close-ups and the sample photos are; None shows
    none. `corrections` is the project that photos with corrected answers are kept in, None if they
    are not. `root` is what a proxy puts before every path.
    """

    name: str
    access: AccessPolicy
    limits: Limits = field(default_factory=Limits)
    uploads: UploadLimits = field(default_factory=UploadLimits)
    seconds: float = 30
    project: Path | None = None
    corrections: Path | None = None
    root: str = ""


@dataclass(frozen=True, slots=True)
class _Served:
    """What the routes share."""

    config: ServeConfig
    service: Service
    metrics: Metrics
    examples: Examples
    samples: Samples
    corrections: Corrections | None


def make_serve_app(model: Model, config: ServeConfig) -> FastAPI:
    """An application that answers for `model`; see docs/serve.md.

    It runs the model once before it accepts requests, and finishes the requests that it has
    accepted before it ends.
    """
    metrics = Metrics(lambda: service.pending)
    service = Service(model, config.limits, metrics.batch)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(model.predict, np.full((64, 64, 3), 127, np.uint8))
        yield
        await asyncio.to_thread(service.close, config.seconds)

    site = Site(config.name, Path(__file__).parent, config.access, config.root)
    app = make_app(site, lifespan=lifespan)
    app.add_middleware(RequestCounter, metrics=metrics)
    app.state.served = _Served(
        config, service, metrics, Examples(config.project), Samples(config.project),
        Corrections(config.corrections) if config.corrections else None,
    )  # fmt: skip

    @app.exception_handler(QueueFull)
    async def busy(request: Request, err: QueueFull) -> Response:
        return refuse(request, Refusal(503, "busy", str(err), {"retry-after": str(err.seconds)}))

    app.include_router(api)
    if config.corrections:
        app.include_router(corrected)
    for path in _PAGES:
        app.add_api_route(path, page, include_in_schema=False)
    return app


def _served(request: Request) -> _Served:
    served: _Served = request.app.state.served
    return served


Shared = Annotated[_Served, Depends(_served)]
api = APIRouter()
corrected = APIRouter()


@api.post("/predict", summary="Where is the object, and what is it?", tags=["answers"],
          response_model=PhotoAnswer | list[PhotoAnswer], responses=schemas.PREDICT_RESPONSES,
          openapi_extra=schemas.PREDICT_BODY)  # fmt: skip
async def predict(
    request: Request,
    served: Shared,
    draw: Annotated[bool, Query(description="Return the annotated photo, as a JPEG, or as a PNG "
                                "if `Accept` asks for one. For one photo only.")] = False,
    nearest: Annotated[int, Query(ge=0, le=MOST_NEAREST, description="How many of the most "
                                  "similar training close-ups to list for each object.")] = 0,
) -> Response:  # fmt: skip
    # No docstring: FastAPI would show it in the OpenAPI document.
    service, seconds = served.service, served.config.seconds
    with service.reserve():
        photos = await read_photos(request, served.config.uploads)
    if draw and len(photos) != 1:
        raise Refusal(400, "too_many", f"draw=1 takes one photo, not {len(photos)}")
    form = request.headers.get("content-type", "").lower().startswith("multipart/")
    answers = await _within(seconds, service.submit(photos, nearest))
    for answer in answers:
        served.metrics.answer(answer)
    if draw and answers[0].error_code and wants_page(request):
        raise Refusal(_status(answers), answers[0].error_code, answers[0].error_message)
    if draw and not answers[0].error_code:
        kind = "PNG" if "image/png" in request.headers.get("accept", "") else "JPEG"
        (data,) = await _within(seconds, [service.draw(photos[0][1], answers[0], kind)])
        return Response(data, media_type=f"image/{kind.lower()}")
    bodies = [_to_json(answer, nearest, served) for answer in answers]
    return JSONResponse(bodies if form and len(bodies) > 1 else bodies[0], _status(answers))


@corrected.post("/correct", summary="Keep a photo with its right label, for the next training",
                tags=["answers"], responses=schemas.CORRECT_RESPONSES,
                openapi_extra=schemas.PREDICT_BODY)  # fmt: skip
async def correct(
    request: Request,
    served: Shared,
    label: Annotated[str, Query(description="The right label, one of the model's.")],
) -> KeptPhoto:
    corrections, service = served.corrections, served.service
    assert corrections is not None
    if label not in service.model.labels:
        raise Refusal(422, "invalid", f"label: the model has no label {label!r}")
    with service.reserve():
        photos = await read_photos(request, served.config.uploads)
    if len(photos) != 1:
        raise Refusal(400, "too_many", f"a correction is about one photo, not {len(photos)}")
    # The model looks once more: what is kept is known to be a photo that can be used.
    answers = await _within(served.config.seconds, service.submit(photos))
    if answers[0].error_code:
        raise Refusal(_status(answers), answers[0].error_code, answers[0].error_message)
    name, data = photos[0]
    kept = await asyncio.to_thread(corrections.keep, name, data, answers[0], label)
    return KeptPhoto(photo=kept, label=label, place=corrections.place)


@api.get("/samples/{number}", include_in_schema=False)
async def sample(served: Shared, number: Annotated[int, PathParam(ge=0)]) -> Response:
    """A test photo to try the model on."""
    data = await asyncio.to_thread(served.samples.picture, number)
    if data is None:
        raise Refusal(404, "no_picture", f"there is no sample photo {number} here")
    return Response(data, media_type="image/jpeg",
                    headers={"cache-control": "private, max-age=3600"})  # fmt: skip


@api.get("/training/{crop}", summary="A training close-up, small", tags=["answers"],
         response_class=Response, responses=schemas.PICTURE_RESPONSES)  # fmt: skip
async def training(served: Shared, crop: str) -> Response:
    data = await asyncio.to_thread(served.examples.picture, crop)
    if data is None:
        raise Refusal(404, "no_picture", f"there is no picture of close-up {crop} here")
    return Response(data, media_type="image/jpeg",
                    headers={"cache-control": "private, max-age=3600"})  # fmt: skip


@api.get("/model", summary="The model: classes, scores, settings", tags=["answers"])
async def model_info(served: Shared) -> ModelInfo:
    config = served.config
    limits = {"bytes": config.uploads.most_bytes, "photos": config.uploads.most_photos,
              "pixels": config.limits.max_pixels}  # fmt: skip
    return ModelInfo.model_validate(
        {"name": config.name, "card": served.service.model.card, "limits": limits}
    )


@api.get("/metrics", summary="Metrics for Prometheus", tags=["service"],
         response_class=Response, responses=schemas.METRICS_RESPONSES)  # fmt: skip
async def metrics_text(served: Shared) -> Response:
    return Response(served.metrics.text(), media_type=METRICS_TYPE)


async def page(request: Request, served: Shared) -> Response:
    """One of the pages for people."""
    config = served.config
    return render(
        request, _PAGES[local_path(request)], card=served.service.model.card, limits=config.limits,
        uploads=config.uploads, url=str(request.base_url).rstrip("/"),
        token=bool(config.access.token), samples=served.samples.rows,
        kept_in=served.corrections.place if served.corrections else "",
    )  # fmt: skip


def _to_json(answer: Prediction, nearest: int, served: _Served) -> dict[str, Any]:
    """The answer as JSON, each object with the training close-ups most similar to it."""
    body, root = answer.to_dict(), served.config.root
    for one, described in zip(answer.objects, body["objects"], strict=True):
        if nearest:
            described["nearest"] = [
                {"crop": near.crop, "label": near.label, "similarity": round(near.similarity, 4),
                 "picture": f"{root}/training/{quote(near.crop, safe='')}"
                 if near.crop in served.examples else None}
                for near in one.alike[:nearest]
            ]  # fmt: skip
    return body


async def _within(seconds: float, answers: Sequence[Future[Any]]) -> list[Any]:
    """The results in order; what has not begun when time is up is not computed."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.gather(*(asyncio.wrap_future(answer) for answer in answers))
    except TimeoutError as err:
        raise Refusal(504, "timeout", f"the answer took more than {seconds:g} s; send fewer photos "
                      "at once, or try again later", {"retry-after": "5"}) from err  # fmt: skip


def _status(answers: Sequence[Prediction]) -> int:
    """200 if any photo could be used, else the status for the first one's error."""
    codes = [answer.error_code for answer in answers]
    return 200 if not all(codes) else _STATUS.get(codes[0], 400)
