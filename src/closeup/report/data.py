"""What the page shows in addition to the run's result; and which close-ups to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from closeup.core.types import Crop, CropState
from closeup.model.history import History
from closeup.report.result import RunResult

MAX_SAMPLES = 24
MAX_LABEL_ISSUES = 24
MAX_COPIES = 24
MAX_EXPLAINED = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """One close-up to show.

    `photo` (with the box drawn) and `crop` are data URIs made by :func:`thumbnail`; ``""`` where
    there is no picture.
    """

    file: str
    label: str
    photo: str
    crop: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong answer on the test part; `confidence` is 0 to 1, pictures as in :class:`Sample`.

    `found` is False where the whole photo was used because no object was found. `alike` are
    the most similar training close-ups: label and picture of each. `explanation` is the close-up,
    bright where the answer depends on it; ``""`` where that was not asked for. `review` is a link
    to where a person can decide about it, ``""`` for none.
    """

    file: str
    truth: str
    answer: str
    confidence: float
    found: bool
    photo: str
    crop: str
    alike: Sequence[tuple[str, str]] = ()
    explanation: str = ""
    review: str = ""


@dataclass(frozen=True, slots=True)
class CopyPair:
    """Two photos of one picture: files, labels, similarity from 0 to 1, and pictures of both."""

    file: str
    other: str
    label: str
    other_label: str
    similarity: float
    photo: str
    other_photo: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file that was not used as planned, with a stable code (possibly ``""``) and a reason."""

    file: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page. No sequence needs to be cut to length: the page does that.

    - `title`: what the photos are of, usually the project folder's name
    - `label_issues`: training close-ups whose labels may be wrong, the most likely first; `truth`
      is the given label, `answer` the suggested one, `confidence` how likely it is wrong
    - `copies`, `copies_total`: near duplicates that are not identical, the least similar first, and
      how many in all
    - `samples`, `mistakes`: in the order to show; see :func:`pick_samples` and
      :func:`worst_mistakes`
    - `skipped`: files that could not be read, show no found object, or were left out, in the order
      to show
    - `history`: the trainings of the project; None for none
    - `facts`: further ``(name, value)`` lines about the photos: sizes of the parts, identical
      photos …
    - `commands`: ``(purpose, command line)``, the one that reproduces the run first
    - `made`: when and with what, for the page's last line
    """

    title: str
    result: RunResult
    label_issues: Sequence[Mistake] = ()
    copies: Sequence[CopyPair] = ()
    copies_total: int = 0
    samples: Sequence[Sample] = ()
    mistakes: Sequence[Mistake] = ()
    skipped: Sequence[Skipped] = ()
    history: History | None = None
    facts: Sequence[tuple[str, str]] = ()
    commands: Sequence[tuple[str, str]] = ()
    config_toml: str = ""
    made: str = ""


def pick_samples(crops: Sequence[Crop], limit: int = MAX_SAMPLES) -> list[Crop]:
    """Close-ups to show, at most `limit`: labels in turn, each from high to low confidence.

    Only of found objects. Labels are shown in order; where there are few, each has several
    close-ups.
    """
    by_label: dict[str, list[Crop]] = {}
    for crop in sorted(crops, key=lambda c: (-c.score, c.id)):
        if crop.state is CropState.CROPPED:
            by_label.setdefault(crop.label, []).append(crop)
    chosen: list[Crop] = []
    for place, label in enumerate(sorted(by_label)):
        mine = by_label[label]
        share = min(len(mine), -(-(limit - len(chosen)) // (len(by_label) - place)))
        chosen += [mine[int((i + 0.5) * len(mine) / share)] for i in range(share)]
    return chosen
