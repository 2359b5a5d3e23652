"""What the pages send: decisions as JSON, looked up in the tables before they are believed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from closeup.core.types import Box
from closeup.decisions import (
    LONGEST_LABEL,
    MOST_BOXES,
    Decision,
    Kind,
)
from closeup.web.refusal import Refusal
from closeup.web.review.session import ReviewSession

MOST_AT_ONCE = 5000
Id = Annotated[str, Field(min_length=1, max_length=1000)]
Corner = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OnCloseups(_Strict):
    """The same decision about one close-up or several."""

    kind: Literal["accept", "reject", "relabel"]
    crops: Annotated[list[Id], Field(min_length=1, max_length=MOST_AT_ONCE)]
    label: Annotated[str, Field(max_length=4 * LONGEST_LABEL)] = ""


class OnPhotos(_Strict):
    """Nothing is to be found in these photos."""

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


class Sent(_Strict):
    """A decision, and for each photo the number of the last one that its page showed.

    A photo without a number is one that nobody had decided about when the page was made.
    """

    decision: Annotated[OnCloseups | OnPhotos | OnBoxes | OnPairs, Field(discriminator="kind")]
    seen: dict[str, int] = {}


class Undo(_Strict):
    """The numbers to take back; none: whatever one decided last."""

    numbers: Annotated[list[int], Field(max_length=MOST_AT_ONCE)] = []


def decisions_of(sent: Sent, session: ReviewSession) -> list[Decision]:
    """The decisions, each about something that is there.

    Raises
    ------
    Refusal
        404 where a close-up or photo is not, 422 where a photo has no pixels for a box.
    """
    given = sent.decision
    photos = session.now().catalogue.photos
    if isinstance(given, OnCloseups):
        found = []
        for name in given.crops:
            item = session.find(name)
            if item is None:
                raise Refusal(404, "gone", f"there is no close-up {name} any more; load the page "
                              "again")  # fmt: skip
            found.append(Decision(Kind(given.kind), item.crop.photo_id, name, label=given.label))
        return found
    if isinstance(given, OnPairs):
        names = [name for pair in given.pairs for name in pair]
    else:
        names = given.photos if isinstance(given, OnPhotos) else [given.photo]
    for name in names:
        if name not in photos:
            raise Refusal(404, "gone", f"there is no photo {name} any more; load the page again")
    if isinstance(given, OnPhotos):
        return [Decision(Kind.NOT_FOUND, name) for name in given.photos]
    if isinstance(given, OnPairs):
        return [Decision(Kind(given.kind), one, other=other) for one, other in given.pairs]
    photo = photos[given.photo]
    inside = tuple(Box(*box).clip(photo.width, photo.height) for box in given.boxes)
    return [Decision(Kind.BOXES, photo.id, boxes=inside)]
