"""What a report tells, as plain data; and which pictures are worth showing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from closeup.core.types import Crop, CropState
from closeup.evaluate.scores import Scores

MAX_SAMPLES = 24
MAX_DOUBTFUL = 24
MAX_COPIES = 24
MAX_EXPLAINED = 12


@dataclass(frozen=True, slots=True)
class PhotoCounts:
    """Every photo by what became of it: `photos` is the sum of the other four."""

    photos: int
    cropped: int
    not_found: int
    unreadable: int
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label: its readable photos, and the share (0 to 1) in which the object was found."""

    label: str
    photos: int
    found: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One close-up to show.

    `photo` (with the box drawn) and `crop` are data URIs made by :func:`thumbnail`, ``""`` for a
    picture that there is none of.
    """

    file: str
    label: str
    photo: str
    crop: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong answer on the test part; `confidence` is 0 to 1, pictures as in :class:`Sample`.

    `found` is False where the whole photo stood in for an object that was not found. `alike` are
    the training close-ups most alike: label and picture of each; `hinge` is the close-up lit where
    the answer hangs on it, ``""`` where that was not asked for. `review` is where it can be
    decided upon, ``""`` for nowhere.
    """

    file: str
    truth: str
    answer: str
    confidence: float
    found: bool
    photo: str
    crop: str
    alike: Sequence[tuple[str, str]] = ()
    hinge: str = ""
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
class NetworkRow:
    """A frozen network that took part; `role` is ``"detector"`` or ``"backbone"``."""

    role: str
    name: str
    licence: str
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that the page shows. No sequence needs to be cut to length: the page does that.

    Attributes
    ----------
    title
        What the photos are of, usually the project folder's name.
    scores
        Measured on the test part; None where nothing was held out.
    head_log
        How the head was chosen: ``Fitted.log``.
    compared
        Rows with `candidate` (backbone, view, head), `macro_f1`, `mean`, `error`, `megabytes`,
        `work` and `picked`; shown where there are several.
    trust
        How far the answers can be trusted (``pipeline.trust.Trust``); None where not measured.
    review
        What people decided and what it changed (``pipeline.reviewed.Reviewed``); None where
        nothing was.
    checks
        Rows with `code`, `title`, `state`, `detail` and `advice`.
    doubtful, doubtful_total
        Training close-ups whose labels may be wrong, the likeliest first, and how many in all;
        `truth` is the given label, `answer` the suggested one, `confidence` how likely it is wrong.
    curve
        The learning curve (``learning.LearningCurve``); None where there are too few photos.
    pads
        Rows with `pad`, `mean` and `error`: the paddings that were compared.
    copies, copies_total
        Near duplicates that are not identical, the least alike first, and how many in all.
    samples, mistakes
        In the order to show; see :func:`pick_samples` and :func:`worst_mistakes`.
    mistakes_total
        Wrong answers in all, of which `mistakes` are the ones with pictures.
    skipped
        Files that could not be read, show no found object, or were left out, in the order to show.
    facts
        Further ``(name, value)`` lines about the photos: sizes of the parts, identical photos …
    notes
        What a reader should be warned of, one sentence each.
    seconds
        Wall-clock seconds of each stage, in order.
    commands
        ``(purpose, command line)``, the one that reproduces the run first.
    made
        When and with what, for the page's last line.
    """

    title: str
    scores: Scores | None
    counts: PhotoCounts
    labels: Sequence[LabelRow]
    head_log: Mapping[str, Any]
    compared: Sequence[Any] = ()
    trust: Any = None
    review: Any = None
    checks: Sequence[Any] = ()
    doubtful: Sequence[Mistake] = ()
    doubtful_total: int = 0
    curve: Any = None
    pads: Sequence[Any] = ()
    copies: Sequence[CopyPair] = ()
    copies_total: int = 0
    samples: Sequence[Sample] = ()
    mistakes: Sequence[Mistake] = ()
    mistakes_total: int = 0
    skipped: Sequence[Skipped] = ()
    networks: Sequence[NetworkRow] = ()
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    seconds: Mapping[str, float] | None = None
    commands: Sequence[tuple[str, str]] = ()
    config_toml: str = ""
    made: str = ""


def pick_samples(crops: Sequence[Crop], limit: int = MAX_SAMPLES) -> list[Crop]:
    """Close-ups to show, at most `limit`: labels in turn, each spread from sure to unsure.

    Objects that were found only; none where there is none. Labels are shown in order, so that a
    page with few labels shows several close-ups of each.
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
