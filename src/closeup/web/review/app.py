"""The routes of ``closeup review``."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, Depends, FastAPI, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from closeup.core.errors import ProjectError, UsageError
from closeup.core.project import Project
from closeup.core.types import Photo, PhotoState
from closeup.crops.cut import content_key
from closeup.decisions.fold import live
from closeup.decisions.log import Appended
from closeup.model.history import read_history
from closeup.web.base import COOKIE_SECONDS, Site, make_app, render
from closeup.web.guard import AccessPolicy
from closeup.web.limits import Bounded
from closeup.web.refusal import Refusal, refuse
from closeup.web.review.entries import entries_of
from closeup.web.review.pairs import groups_of
from closeup.web.review.pictures import SIZES, Pictures, version_of
from closeup.web.review.schemas import DecisionRequest, UndoRequest
from closeup.web.review.session import (
    ONLY,
    QUEUES,
    SORTS,
    STATES,
    Filter,
    Item,
    ReviewSession,
    counts_of,
)
from closeup.web.review.training import Trainer

WHO_COOKIE = "closeup-review-who"
LONGEST_NAME = 60
GROUPS = 20
LOG_ENTRIES = 200
MOST_BYTES = 8_000_000
LONGEST_SECONDS = 30.0
"""Limits of a request; many decisions at once fit well within them."""
ALL = "/?sort=photo"
"""Where all close-ups are listed."""
FOREVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """Which project is reviewed, who may do so, and the name of people who give none."""

    folder: Path
    access: AccessPolicy
    who: str = "somebody"


def make_review_app(config: ReviewConfig) -> FastAPI:
    """An application to go through a project's close-ups and decide; see docs/review.md.

    Raises a ProjectError if the folder is no project with close-ups.
    """
    session = ReviewSession(config.folder)
    review = Review(config, session, Trainer(session))

    @asynccontextmanager
    async def until_closed(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(review.trainer.stop)

    site = Site(config.folder.resolve().name, Path(__file__).parent, config.access)
    app = make_app(site, lifespan=until_closed)
    app.add_middleware(Bounded, most_bytes=MOST_BYTES, seconds=LONGEST_SECONDS)
    app.state.review = review
    app.state.templates.env.globals |= {
        "closeup_url": review.closeup_url, "photo_url": review.photo_url, "queues": QUEUES
    }  # fmt: skip

    @app.exception_handler(UsageError)
    async def invalid(request: Request, err: UsageError) -> Response:
        return refuse(request, Refusal(422, "invalid", str(err)))

    app.include_router(pages)
    return app


@dataclass(frozen=True, slots=True)
class Review:
    """What the routes share."""

    config: ReviewConfig
    session: ReviewSession
    trainer: Trainer
    pictures: Pictures = field(default_factory=Pictures)

    def who(self, request: Request) -> str:
        """The name under which decisions are saved."""
        given = _plain_name(unquote(request.cookies.get(WHO_COOKIE, "")))
        return given or self.config.who

    def render(self, request: Request, template: str, **values: Any) -> Response:
        """A page, with what all of them show."""
        now = self.session.snapshot()
        known: dict[str, Any] = {
            "who": self.who(request), "counts": self.counts(), "size": GROUPS,
            "train": f"closeup train {shlex.quote(str(self.config.folder))}",
            "decided": len(live(now.rows)), "waiting": bool(now.data.waiting),
            "collected": bool(now.data.collected),
        }  # fmt: skip
        return render(request, template, **known, **values)

    def counts(self) -> dict[str, int]:
        """How many close-ups or groups each page has for review."""
        now = self.session.snapshot()
        groups = sum(group.open for group in groups_of(now))
        return counts_of(now.all_items) | {"groups": groups}

    def closeup_url(self, item: Item, size: int) -> str:
        """The address of the picture of a close-up with pixels."""
        photo = self.session.snapshot().data.photos[item.crop.photo_id]
        version = version_of(content_key(photo, item.crop))
        return f"/closeup/{quote(item.crop.id, safe='')}?v={version}&size={size}"

    def photo_url(self, photo: Photo, size: int) -> str:
        """The address of the picture of a readable photo."""
        return f"/photo/{quote(photo.id, safe='')}?v={version_of(photo.sha256)}&size={size}"

    def similar(self, item: Item) -> list[Item]:
        """The training close-ups most similar to this one that are there and in use."""
        now, found = self.session.snapshot(), []
        for name in now.data.similar(item.crop.id):
            with suppress(Refusal):
                found.append(self.session.item(name))
        return [one for one in found if one.crop.side and not one.verdict.rejected]

    def saved(self, request: Request, appended: Appended) -> dict[str, Any]:
        """The answer to new decisions, with the new tiles of every photo that they concern."""
        now = self.session.snapshot()
        tile = request.app.state.templates.get_template("_tile.html")
        names = dict.fromkeys(
            [n for row in appended.rows for n in (row.decision.photo, row.decision.other) if n]
            + sorted(appended.overtaken)
        )
        return {
            "numbers": [row.number for row in appended.rows],
            "overtaken": sorted(appended.overtaken),
            "photos": {
                name: {item.crop.id: tile.render(item=item) for item in now.items.get(name, ())}
                for name in names if name in now.data.photos
            },
            "seen": {name: now.seen.get(name, 0) for name in names},
            "counts": self.counts(),
            "decided": len(live(now.rows)),
        }  # fmt: skip


def _plain_name(text: str) -> str:
    plain = " ".join(text.split())[:LONGEST_NAME]
    return plain if plain.isprintable() else ""


def _review(request: Request) -> Review:
    review: Review = request.app.state.review
    return review


def _only_json(request: Request) -> None:
    """Refuse what another site's form could send, even if the browser sends no ``Origin``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "unsupported", "send decisions as application/json")


Shared = Annotated[Review, Depends(_review)]
pages = APIRouter(include_in_schema=False)


@pages.get("/")
@pages.get("/tiles")
def grid(request: Request, review: Shared, filters: Annotated[Filter, Query()]) -> Response:
    """The close-ups; as ``/tiles`` the next of them, for a page that is scrolled.

    Without any parameter it leads to the first list of doubtful cases in which one is open.
    """
    if request.url.path == "/" and not request.query_params:
        return RedirectResponse(_place_of(review.session.first_queue()), 303)
    page = review.session.page(filters)
    following = filters.model_copy(update={"after": page.after, "at": ""})
    more = f"/tiles?{_query(following)}" if page.after else ""
    if request.url.path == "/tiles":
        return render(request, "_tiles.html", page=page, more=more)
    return review.render(
        request, "grid.html", page=page, more=more, filters=filters,
        labels=review.session.labels(), sorts=SORTS, states=STATES, only=ONLY,
        no_issues=review.session.snapshot().data.no_issues,
        whole=f"/?{_query(filters.model_copy(update={'at': page.top}))}" if page.top else "",
        here=filters.only if filters.only in QUEUES else "all",
    )  # fmt: skip


def _query(filters: Filter) -> str:
    return urlencode(filters.model_dump(exclude_defaults=True))


def _place_of(queue: str) -> str:
    return f"/?only={queue}&sort={QUEUES[queue][1]}" if queue else ALL


@pages.get("/detail/{crop_id}")
def detail(request: Request, review: Shared, crop_id: str) -> Response:
    """The panel that shows one close-up in its photo."""
    item, now = review.session.item(crop_id), review.session.snapshot()
    photo = now.data.photos[item.crop.photo_id]
    history = [row for row in live(now.rows)
               if photo.id in (row.decision.photo, row.decision.other)]  # fmt: skip
    return render(
        request, "_detail.html", item=item, photo=photo, history=history[::-1],
        siblings=now.items[photo.id], candidates=now.data.candidates(photo.id), data=now.data,
        similar=review.similar(item), readable=photo.state is PhotoState.READABLE,
    )  # fmt: skip


@pages.get("/duplicates")
def duplicates(
    request: Request, review: Shared, start: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """Groups of near duplicates, some on each page."""
    now = review.session.snapshot()
    groups = groups_of(now)
    return review.render(
        request, "duplicates.html", groups=groups[start : start + GROUPS], start=start,
        total=len(groups), seen=now.seen, here="groups",
    )  # fmt: skip


@pages.get("/label")
def label(request: Request, review: Shared, start: Annotated[int, Query(ge=0)] = 0) -> Response:
    """Suggested photos to give labels to, group by group of look-alikes."""
    groups, now = review.session.batches(), review.session.snapshot()
    return review.render(
        request, "label.html", batches=groups[start : start + GROUPS], start=start,
        total=len(groups), rows=now.data.waiting, photos=now.data.photos,
        labels=review.session.labels(), here="suggested",
    )  # fmt: skip


@pages.get("/log")
def log(request: Request, review: Shared) -> Response:
    """The newest decisions; what was decided in one step is one entry."""
    now = review.session.snapshot()
    paths = {name: photo.path for name, photo in now.data.photos.items()}
    return review.render(request, "log.html", entries=entries_of(now.rows, LOG_ENTRIES),
                         most=LOG_ENTRIES, paths=paths, here="log")  # fmt: skip


@pages.get("/train")
@pages.get("/train/state")
def training(request: Request, review: Shared) -> Response:
    """The button that trains, what it does and what came of it, and all trainings.

    As ``/train/state`` what changes while it trains.
    """
    run = review.trainer.run
    if request.url.path == "/train/state":  # asked every two seconds: nothing else is counted
        part = render(request, "_training.html", run=run)
        if run is not None and run.state != "running":
            part.headers["hx-refresh"] = "true"  # all of the page is new
        return part
    history = read_history(Project(review.config.folder))
    return review.render(request, "train.html", history=history, run=run, here="train")


@pages.post("/train", dependencies=[Depends(_only_json)])
def train(review: Shared) -> dict[str, bool]:
    """Begin to train, as ``closeup train`` does."""
    review.trainer.start()
    return {"running": True}


@pages.post("/train/stop", dependencies=[Depends(_only_json)])
def stop(review: Shared) -> dict[str, bool]:
    """End the training that runs."""
    review.trainer.stop()
    return {"running": False}


@pages.post("/who")
def set_name(who: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """Remember in a cookie under which name this browser's decisions are saved."""
    answer = RedirectResponse("/log", 303)
    answer.set_cookie(WHO_COOKIE, quote(_plain_name(who)), max_age=COOKIE_SECONDS, httponly=True,
                      samesite="strict")  # fmt: skip
    return answer


@pages.get("/closeup/{crop_id}")
def closeup(review: Shared, crop_id: str, size: int = SIZES[0], v: str = "") -> Response:
    """The picture of a close-up."""
    crop, data = review.session.item(crop_id).crop, review.session.snapshot().data
    if not crop.side:
        raise Refusal(404, "no_pixels", f"{crop_id} has no close-up: {crop.reason}")
    photo = data.photos[crop.photo_id]
    version = version_of(content_key(photo, crop))
    return _picture(lambda: review.pictures.closeup(data, photo, crop, size), size, v == version)


@pages.get("/photo/{photo_id}")
def photo(review: Shared, photo_id: str, size: int = SIZES[-1], v: str = "") -> Response:
    """The picture of a photo."""
    found = review.session.snapshot().data.photos.get(photo_id)
    if found is None or found.state is not PhotoState.READABLE:
        raise Refusal(404, "gone", f"there is no readable photo {photo_id}")
    version = version_of(found.sha256)
    return _picture(lambda: review.pictures.photo(found, size), size, v == version)


def _picture(make: Callable[[], bytes], size: int, current: bool) -> Response:
    if size not in SIZES:
        raise Refusal(422, "size", f"pictures come in the sizes {SIZES}, not {size}")
    try:
        data = make()
    except ProjectError as err:
        raise Refusal(404, "changed", str(err)) from err
    # A current address names the picture's content, so the browser may keep it for good.
    headers = {"cache-control": FOREVER if current else "no-store"}
    return Response(data, media_type="image/jpeg", headers=headers)


@pages.post("/decisions", dependencies=[Depends(_only_json)])
def decide(request: Request, review: Shared, body: DecisionRequest) -> dict[str, Any]:
    """Write decisions."""
    decisions = body.decisions(review.session)
    appended = review.session.log.append(review.who(request), decisions, body.seen)
    return review.saved(request, appended)


@pages.post("/undo", dependencies=[Depends(_only_json)])
def undo(request: Request, review: Shared, body: UndoRequest) -> dict[str, Any]:
    """Undo decisions."""
    return review.saved(request, review.session.undo(review.who(request), body.numbers))
