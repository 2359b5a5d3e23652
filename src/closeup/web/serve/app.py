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
from fastapi import APIRouter, FastAPI, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from closeup.core.types import Prediction
from closeup.model.answers import to_json
from closeup.model.model import Model
from closeup.web.base import Site, make_app
from closeup.web.guard import AccessPolicy
from closeup.web.refusal import Refusal, refuse, wants_page
from closeup.web.serve.examples import Examples
from closeup.web.serve.metrics import METRICS_TYPE, Counted, Metrics
from closeup.web.serve.schemas import (
    METRICS_RESPONSES,
    PICTURE_RESPONSES,
    PREDICT_BODY,
    PREDICT_RESPONSES,
    ModelInfo,
    PhotoAnswer,
)
from closeup.web.serve.service import (
    MOST_NEAREST,
    Limits,
    QueueFull,
    Service,
)
from closeup.web.serve.uploads import UploadLimits, read_photos

_STATUS = {"too_large": 413, "unsupported": 415}
"""For a photo that cannot be used, by its code; 400 for all others."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How a model is served.

    Attributes
    ----------
    name
        Of the model, for people.
    seconds
        How long an answer may take.
    project
        Where the pictures of training close-ups are; None shows none.
    """

    name: str
    access: AccessPolicy
    limits: Limits = field(default_factory=Limits)
    uploads: UploadLimits = field(default_factory=UploadLimits)
    seconds: float = 30
    project: Path | None = None


def make_serve_app(model: Model, config: ServeConfig) -> FastAPI:
    """An application that answers for `model`; see docs/serve.md.

    It runs the model once before it answers anyone, and finishes what it accepted before it ends.
    """

    def on_batch(photos: int, seconds: float) -> None:
        metrics.batch(photos, seconds)

    examples = Examples(config.project)
    service = Service(model, config.limits, on_batch)
    metrics = Metrics(lambda: service.pending)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(model.predict, np.full((64, 64, 3), 127, np.uint8))
        yield
        await asyncio.to_thread(service.close, config.seconds)

    app = make_app(Site(config.name, Path(__file__).parent, config.access), lifespan=lifespan)
    app.add_middleware(Counted, metrics=metrics)

    @app.exception_handler(QueueFull)
    async def full(request: Request, err: QueueFull) -> Response:
        return refuse(request, Refusal(503, "busy", str(err), {"retry-after": str(err.seconds)}))

    app.include_router(_api(config, service, metrics, examples))
    app.include_router(_pages(config, model))
    return app


def _api(config: ServeConfig, service: Service, metrics: Metrics, examples: Examples) -> APIRouter:
    api = APIRouter()
    card = service.model.card

    @api.post("/predict", summary="Where is the object, and what is it?", tags=["answers"],
              response_model=PhotoAnswer | list[PhotoAnswer], responses=PREDICT_RESPONSES,
              openapi_extra=PREDICT_BODY)  # fmt: skip
    async def predict(
        request: Request,
        draw: Annotated[bool, Query(description="Answer with the photo, annotated: a JPEG, or a "
                                    "PNG where `Accept` asks for one. For one photo.")] = False,
        nearest: Annotated[int, Query(ge=0, le=MOST_NEAREST, description="How many training "
                                      "close-ups to name that each object is like.")] = 0,
    ) -> Response:  # fmt: skip
        with service.place():
            photos = await read_photos(request, config.uploads)
        if draw and len(photos) != 1:
            raise Refusal(400, "too_many", f"draw=1 draws one photo, not {len(photos)}")
        form = request.headers.get("content-type", "").lower().startswith("multipart/")
        answers = await _within(config.seconds, service.submit(photos, nearest))
        for answer in answers:
            metrics.answer(answer)
        if draw and answers[0].error_code and wants_page(request):
            raise Refusal(_status(answers), answers[0].error_code, answers[0].error_message)
        if draw and not answers[0].error_code:
            kind = "PNG" if "image/png" in request.headers.get("accept", "") else "JPEG"
            drawing = service.draw(photos[0][1], answers[0], kind)
            (data,) = await _within(config.seconds, [drawing])
            return Response(data, media_type=f"image/{kind.lower()}")
        many = form and len(answers) > 1
        told = [_with_nearest(answer, nearest, examples) for answer in answers]
        return JSONResponse(told if many else told[0], _status(answers))

    @api.get("/training/{crop}", summary="A training close-up, small", tags=["answers"],
             response_class=Response, responses=PICTURE_RESPONSES)  # fmt: skip
    async def training(crop: str) -> Response:
        data = await asyncio.to_thread(examples.picture, crop)
        if data is None:
            raise Refusal(404, "no_picture", f"there is no picture of the close-up {crop} here")
        return Response(data, media_type="image/jpeg",
                        headers={"cache-control": "private, max-age=3600"})  # fmt: skip

    @api.get("/model", summary="The model: labels, scores, recipe", tags=["answers"])
    async def model() -> ModelInfo:
        limits = {"bytes": config.uploads.most_bytes, "photos": config.uploads.most_photos,
                  "pixels": config.limits.max_pixels}  # fmt: skip
        return ModelInfo.model_validate({"name": config.name, "card": card, "limits": limits})

    @api.get("/metrics", summary="Counters for Prometheus", tags=["service"],
             response_class=Response, responses=METRICS_RESPONSES)  # fmt: skip
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=METRICS_TYPE)

    return api


def _with_nearest(answer: Prediction, count: int, examples: Examples) -> dict[str, Any]:
    """The answer as JSON, each object with the training close-ups that it is like."""
    said = to_json(answer)
    for one, told in zip(answer.objects, said["objects"], strict=True):
        if count:
            told["nearest"] = [
                {"crop": near.crop, "label": near.label, "similarity": round(near.similarity, 4),
                 "picture": f"/training/{quote(near.crop, safe='')}" if near.crop in examples
                 else None}
                for near in one.alike[:count]
            ]  # fmt: skip
    return said


def _pages(config: ServeConfig, model: Model) -> APIRouter:
    pages = APIRouter(include_in_schema=False)
    facts = {"card": model.card, "limits": config.limits, "uploads": config.uploads}

    @pages.get("/")
    async def ask(request: Request) -> Response:
        page: Response = request.app.state.pages.render(request, "ask.html", **facts)
        return page

    @pages.get("/about")
    async def about(request: Request) -> Response:
        page: Response = request.app.state.pages.render(request, "about.html", **facts)
        return page

    @pages.get("/docs")
    async def docs(request: Request) -> Response:
        url = str(request.base_url).rstrip("/")
        page: Response = request.app.state.pages.render(
            request, "docs.html", url=url, token=bool(config.access.token), **facts
        )
        return page

    return pages


async def _within(seconds: float, answers: Sequence[Future[Any]]) -> list[Any]:
    """The results in order; what has not begun when time is up is not computed."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.gather(*(asyncio.wrap_future(answer) for answer in answers))
    except TimeoutError as err:
        raise Refusal(504, "timeout", f"the answer took more than {seconds:g} s; send fewer photos "
                      "at once, or try again later", {"retry-after": "5"}) from err  # fmt: skip


def _status(answers: Sequence[Prediction]) -> int:
    """200 where any photo could be used, else what is wrong with the first."""
    codes = [answer.error_code for answer in answers]
    return 200 if not all(codes) else _STATUS.get(codes[0], 400)
