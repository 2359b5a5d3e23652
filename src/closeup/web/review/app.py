"""The routes of ``closeup review``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, FastAPI, Form, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from closeup.core.errors import ProjectError, UsageError
from closeup.core.types import PhotoState
from closeup.decisions import live
from closeup.decisions.log import Appended
from closeup.web.base import Pages, Site, make_app
from closeup.web.guard import AccessPolicy
from closeup.web.limits import Bounded
from closeup.web.refusal import Refusal, refuse
from closeup.web.review.pairs import groups_of
from closeup.web.review.pictures import (
    SIZES,
    Pictures,
    closeup_version,
    version_of,
)
from closeup.web.review.sent import Sent, Undo, decisions_of
from closeup.web.review.session import (
    ONLY,
    SORTS,
    STATES,
    Filter,
    Item,
    ReviewSession,
    counts_of,
)

WHO_COOKIE = "closeup-review-who"
LONGEST_NAME = 60
GROUPS = 20
LOG_ROWS = 200
MOST_BYTES = 8_000_000
LONGEST_SECONDS = 30.0
"""Of a request; many decisions at once fit well in."""
FOREVER = "private, max-age=31536000, immutable"
Text = Annotated[str, Query(max_length=1000)]


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """Which project is reviewed, who may, and what people are called who give no name."""

    folder: Path
    access: AccessPolicy
    who: str = "somebody"


def make_review_app(config: ReviewConfig) -> FastAPI:
    """An application to go through a project's close-ups and decide; see docs/review.md.

    Raises
    ------
    ProjectError
        Where the folder is no project with close-ups.
    """
    session, pictures = ReviewSession(config.folder), Pictures()
    name = config.folder.resolve().name
    app = make_app(Site(name, Path(__file__).parent, config.access))
    app.add_middleware(Bounded, most_bytes=MOST_BYTES, seconds=LONGEST_SECONDS)

    @app.exception_handler(UsageError)
    async def wrong(request: Request, err: UsageError) -> Response:
        return refuse(request, Refusal(422, "invalid", str(err)))

    view = _View(session, config)
    app.include_router(_pages(session, view), include_in_schema=False)
    app.include_router(_pictures(session, pictures), include_in_schema=False)
    app.include_router(_decisions(session, view), include_in_schema=False)
    return app


class _View:
    """What templates need beside what they show."""

    def __init__(self, session: ReviewSession, config: ReviewConfig) -> None:
        self._session = session
        self._config = config

    def who(self, request: Request) -> str:
        """The name that decisions are signed with."""
        given = _name(unquote(request.cookies.get(WHO_COOKIE, "")))
        return given or self._config.who

    def render(self, request: Request, template: str, **values: Any) -> Response:
        """A page, or a part of one."""
        pages: Pages = request.app.state.pages
        return pages.render(request, template, **self._known(request), **values)

    def tile(self, request: Request, item: Item) -> str:
        """The tile of an item, as in the grid."""
        pages: Pages = request.app.state.pages
        page = pages.render(request, "_tile.html", item=item, closeup_url=self.closeup_url)
        return bytes(page.body).decode()

    def _known(self, request: Request) -> dict[str, Any]:
        folder = shlex.quote(str(self._config.folder))
        now = self._session.now()
        return {
            "closeup_url": self.closeup_url, "photo_url": self.photo_url, "who": self.who(request),
            "train": f"closeup train {folder}", "counts": self.counts(),
            "decided": len(live(now.rows)), "size": GROUPS,
        }  # fmt: skip

    def counts(self) -> dict[str, int]:
        """How many there are to look at."""
        now = self._session.now()
        groups = groups_of(now.catalogue, now.decisions, {})
        counts = counts_of(item for mine in now.items.values() for item in mine)
        return counts | {"groups": sum(group.open for group in groups)}

    def closeup_url(self, item: Item, size: int) -> str:
        """Where the picture of a close-up with pixels is."""
        photo = self._session.now().catalogue.photos[item.crop.photo_id]
        version = closeup_version(photo, item.crop)
        return f"/closeup/{quote(item.crop.id, safe='')}?v={version}&size={size}"

    def photo_url(self, photo: Any, size: int) -> str:
        """Where the picture of a readable photo is."""
        return f"/photo/{quote(photo.id, safe='')}?v={version_of(photo.sha256)}&size={size}"


def _name(text: str) -> str:
    plain = " ".join(text.split())[:LONGEST_NAME]
    return plain if plain.isprintable() else ""


def _pages(session: ReviewSession, view: _View) -> APIRouter:
    pages = APIRouter()

    @pages.get("/")
    @pages.get("/tiles")
    def grid(request: Request, state: Text = "", only: Text = "", label: Text = "",
             words: Text = "", sort: Text = "photo", after: Text = "", at: Text = "",
             ) -> Response:  # fmt: skip
        filters = Filter(state, only, label, words.strip(), sort if sort in SORTS else "photo")
        page = session.page(filters, after, at)
        given = {"state": state, "only": only, "label": label, "words": filters.words,
                 "sort": filters.sort}  # fmt: skip
        kept = {key: value for key, value in given.items() if value and value != "photo"}
        more = f"/tiles?{urlencode({**kept, 'after': page.after})}" if page.after else ""
        if request.url.path == "/tiles":
            return view.render(request, "_tiles.html", page=page, more=more)
        return view.render(
            request, "grid.html", page=page, more=more, filters=filters, at=at,
            labels=session.labels(), sorts=SORTS, states=STATES, only=ONLY,
            here=("only=" + only if only in ("doubted", "mistakes", "unsure") else
                  "state=not_found" if state == "not_found" else "all"),
        )  # fmt: skip

    @pages.get("/detail/{crop_id}")
    def detail(request: Request, crop_id: str) -> Response:
        item = _item(session, crop_id)
        now = session.now()
        photo = now.catalogue.photos[item.crop.photo_id]
        about = [row for row in live(now.rows) if photo.id in (row.decision.photo,
                                                               row.decision.other)]  # fmt: skip
        return view.render(
            request, "_detail.html", item=item, photo=photo, history=about[::-1],
            siblings=now.items[photo.id], candidates=now.catalogue.candidates(photo.id),
            readable=photo.state is PhotoState.READABLE,
        )  # fmt: skip

    @pages.get("/duplicates")
    def duplicates(request: Request, start: Annotated[int, Query(ge=0)] = 0) -> Response:
        now = session.now()
        labels = {name: mine[0].crop.label for name, mine in now.items.items() if mine}
        groups = groups_of(now.catalogue, now.decisions, labels)
        return view.render(
            request, "duplicates.html", groups=groups[start : start + GROUPS], start=start,
            total=len(groups), seen=now.seen, here="duplicates",
        )  # fmt: skip

    @pages.get("/log")
    def log(request: Request) -> Response:
        now = session.now()
        holding = {row.number for row in live(now.rows)}
        paths = {name: photo.path for name, photo in now.catalogue.photos.items()}
        return view.render(request, "log.html", rows=now.rows[: -LOG_ROWS - 1 : -1], paths=paths,
                           holding=holding, total=len(now.rows), here="log")  # fmt: skip

    @pages.post("/who")
    def name(who: Annotated[str, Form(max_length=1000)] = "") -> Response:
        answer = RedirectResponse("/log", 303)
        answer.set_cookie(WHO_COOKIE, quote(_name(who)), max_age=30 * 24 * 3600, httponly=True,
                          samesite="strict")  # fmt: skip
        return answer

    return pages


def _item(session: ReviewSession, crop_id: str) -> Item:
    item = session.find(crop_id)
    if item is None:
        raise Refusal(404, "gone", f"there is no close-up {crop_id} any more; load the page again")
    return item


def _pictures(session: ReviewSession, pictures: Pictures) -> APIRouter:
    routes = APIRouter()

    def answer(data: bytes, version: str, asked: str) -> Response:
        # The address names what the picture shows, so it never changes; an old address may.
        keep = FOREVER if asked == version else "no-store"
        return Response(data, media_type="image/jpeg", headers={"cache-control": keep})

    def size_of(size: int) -> int:
        if size not in SIZES:
            raise Refusal(422, "size", f"pictures are made in the sizes {SIZES}, not {size}")
        return size

    @routes.get("/closeup/{crop_id}")
    def closeup(crop_id: str, size: int = SIZES[0], v: str = "") -> Response:
        item, catalogue = _item(session, crop_id), session.now().catalogue
        if not item.crop.side:
            raise Refusal(404, "no_pixels", f"{crop_id} has no close-up: {item.crop.reason}")
        photo = catalogue.photos[item.crop.photo_id]
        try:
            data = pictures.closeup(catalogue, photo, item.crop, size_of(size))
        except ProjectError as err:
            raise Refusal(404, "changed", str(err)) from err
        return answer(data, closeup_version(photo, item.crop), v)

    @routes.get("/photo/{photo_id}")
    def photo(photo_id: str, size: int = SIZES[-1], v: str = "") -> Response:
        found = session.now().catalogue.photos.get(photo_id)
        if found is None or found.state is not PhotoState.READABLE:
            raise Refusal(404, "gone", f"there is no readable photo {photo_id}")
        try:
            data = pictures.photo(found, size_of(size))
        except ProjectError as err:
            raise Refusal(404, "changed", str(err)) from err
        return answer(data, version_of(found.sha256), v)

    return routes


def _decisions(session: ReviewSession, view: _View) -> APIRouter:
    routes = APIRouter()

    @routes.post("/decisions")
    def decide(request: Request, sent: Sent) -> Response:
        _only_json(request)
        done = session.decide(view.who(request), decisions_of(sent, session), sent.seen)
        return answer(request, done)

    @routes.post("/undo")
    def undo(request: Request, sent: Undo) -> Response:
        _only_json(request)
        return answer(request, session.undo(view.who(request), sent.numbers))

    def answer(request: Request, done: Appended) -> Response:
        """What was written, when it is: the tiles of every photo that it is about, anew."""
        now = session.now()
        names = dict.fromkeys(
            [n for row in done.rows for n in (row.decision.photo, row.decision.other) if n]
            + sorted(done.overtaken)
        )
        photos = {
            name: {item.crop.id: view.tile(request, item)
                   for item in now.items.get(name, ())}
            for name in names if name in now.catalogue.photos
        }  # fmt: skip
        return JSONResponse({
            "numbers": [row.number for row in done.rows],
            "overtaken": sorted(done.overtaken),
            "photos": photos,
            "seen": {name: now.seen.get(name, 0) for name in names},
            "counts": view.counts(),
            "decided": len(live(now.rows)),
        })  # fmt: skip

    return routes


def _only_json(request: Request) -> None:
    """Refuse what a form of another site could send, whatever headers its browser leaves out."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "unsupported", "send decisions as application/json")
