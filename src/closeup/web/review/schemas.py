"""The JSON that the pages send: decisions, checked against the tables before they are written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from closeup.core.errors import UsageError
from closeup.core.types import Box
from closeup.decisions.kinds import LONGEST_LABEL, MOST_BOXES, Decision, Kind
from closeup.web.refusal import Refusal
from closeup.web.review.session import ReviewSession

MOST_AT_ONCE = 5000
Id = Annotated[str, Field(min_length=1, max_length=1000)]
Corner = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OnCloseups(_Strict):
    """The same decision about one or several close-ups."""

    kind: Literal["accept", "reject", "relabel"]
    crops: Annotated[list[Id], Field(min_length=1, max_length=MOST_AT_ONCE)]
    label: Annotated[str, Field(max_length=4 * LONGEST_LABEL)] = ""


class OnPhotos(_Strict):
    """These photos show no object."""

    kind: Literal["not_found"]
    photos: Annotated[list[Id], Field(min_length=1, max_length=MOST_AT_ONCE)]


class OnBoxes(_Strict):
    """The boxes of one photo, in its pixels."""

    kind: Literal["boxes"]
    photo: Id
    boxes: Annotated[
        list[tuple[Corner, Corner, Corner, Corner]], Field(min_length=1, max_length=MOST_BOXES)
    ]


class OnPairs(_Strict):
    """Whether pairs of photos belong together."""

    kind: Literal["same", "different"]
    pairs: Annotated[list[tuple[Id, Id]], Field(min_length=1, max_length=MOST_AT_ONCE)]


class OnCopies(_Strict):
    """Keep one of several photos of the same picture, and leave the copies out."""

    kind: Literal["keep"]
    photo: Id
    copies: Annotated[list[Id], Field(min_length=1, max_length=MOST_AT_ONCE)]

    def decisions(self, session: ReviewSession) -> list[Decision]:
        """The close-ups of the copies are rejected; what is kept is no longer."""
        items, found = session.snapshot().items, []
        for name in self.copies:
            found += [Decision(Kind.REJECT, name, item.crop.id) for item in items[name]
                      if not item.verdict.rejected]  # fmt: skip
        return found + [Decision(Kind.ACCEPT, self.photo, item.crop.id)
                        for item in items[self.photo] if item.verdict.rejected]  # fmt: skip


class DecisionRequest(_Strict):
    """A decision, and for each photo the number of the last decision that its page showed.

    A photo without a number had no decision yet when the page was made.
    """

    decision: Annotated[
        OnCloseups | OnPhotos | OnBoxes | OnPairs | OnCopies, Field(discriminator="kind")
    ]
    seen: dict[str, int] = {}

    def decisions(self, session: ReviewSession) -> list[Decision]:
        """The decisions; a 404 Refusal if one is about something that does not exist."""
        given = self.decision
        if isinstance(given, OnCloseups):
            photo_ids = [session.item(name).crop.photo_id for name in given.crops]
            return [Decision(Kind(given.kind), photo, name, label=given.label)
                    for photo, name in zip(photo_ids, given.crops, strict=True)]  # fmt: skip
        photos = session.snapshot().data.photos
        if isinstance(given, OnPairs):
            named = [name for pair in given.pairs for name in pair]
        elif isinstance(given, OnCopies):
            named = [given.photo, *given.copies]
            if given.photo in given.copies:
                raise UsageError("a photo that is kept is no copy to leave out")
        else:
            named = given.photos if isinstance(given, OnPhotos) else [given.photo]
        for name in named:
            if name not in photos:
                raise Refusal(404, "gone", f"photo {name} no longer exists; reload the page")
        if isinstance(given, OnCopies):
            return given.decisions(session)
        if isinstance(given, OnPhotos):
            return [Decision(Kind.NOT_FOUND, name) for name in named]
        if isinstance(given, OnPairs):
            return [Decision(Kind(given.kind), one, other=other) for one, other in given.pairs]
        photo = photos[given.photo]
        boxes = tuple(Box(*box).clip(photo.width, photo.height) for box in given.boxes)
        return [Decision(Kind.BOXES, photo.id, boxes=boxes)]


class UndoRequest(_Strict):
    """The numbers of the decisions to undo; none for the user's last one."""

    numbers: Annotated[list[int], Field(max_length=MOST_AT_ONCE)] = []
