"""Which of the detector's categories appear in these photos, per label: choosing the parent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PlainSerializer

from closeup.core.serialization import to_json
from closeup.core.text import visible
from closeup.core.types import ANY, Box, Detection, Floats, Photo, PhotoState
from closeup.detect.categories import LARGER

HIT = 0.25
"""Score from which a category counts as detected, in hit rates and coverage."""

THRESHOLDS = (0.05, 0.1, 0.25, 0.5)
"""Score thresholds that are compared, the lowest first."""

_MIN_GAIN = 0.02  # share of the photos that a further category or a lower threshold must add
_MOST = 3  # categories in a recommendation
_SHOWN = 10  # categories in the text table
_ENOUGH_PAIRS = 5  # photos with both boxes that it takes to compare the overlap
_SAME_OBJECT = 0.5  # median IoU from which two categories name one object
_MARGIN = 0.10  # a label found this much less often than the rest matters in practice
_SIGNIFICANCE = 0.01
_USABLE = 0.5  # a parent that is found in a smaller share of the photos comes with a warning
_FLOOR = 0.01  # scores below this say nothing
# People hold, wear and stand next to what is photographed, so a person in most photos is weak
# evidence that people are the subject.
_BEARERS = frozenset({"person"})
_BEARER_WEIGHT = 0.5

Share = Annotated[float, PlainSerializer(lambda share: round(share, 4))]
"""0 to 1; four digits in JSON."""
Threshold = Annotated[float, PlainSerializer("{:g}".format)]


@dataclass(frozen=True, slots=True)
class Category:
    """How often one category is detected.

    `hit_rate` is the share of the readable photos with a box that scores :data:`HIT` or more,
    `per_label` the same for each label. `median_area` is the median share of such a photo that its
    best box covers, 0 without any. `strength`, not part of the JSON, is as in :func:`scout`.
    """

    name: str
    hit_rate: Share
    per_label: dict[str, Share]
    median_area: Share
    strength: Annotated[float, Field(exclude=True)]


@dataclass(frozen=True, slots=True)
class Choice:
    """A possible parent and the share of photos that it covers at each of THRESHOLDS."""

    categories: Annotated[tuple[str, ...], Field(alias="parent")]
    coverage: dict[Threshold, Share]


@dataclass(frozen=True, slots=True)
class Scouting:
    """What :func:`scout` found; as JSON, the form of ``closeup scout --json``.

    Of `photos`, `unreadable` could not be read; rates are over the others. `categories` has every
    category detected at least once, the strongest first. `recommended` is the parent, one category
    or a few, empty where nothing was detected, with its score `threshold`; `coverage` is the share
    of photos with one of them (score >= HIT). `choices` are the recommendation, each strong
    category alone, and ``("any",)``. `warnings` are sentences on what to check before going on.
    """

    photos: int
    unreadable: int
    categories: tuple[Category, ...]
    recommended: tuple[str, ...]
    threshold: float
    coverage: Share
    choices: tuple[Choice, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> Any:
        """Plain values, shares rounded to four digits."""
        return to_json(self)

    def to_text(self) -> str:
        """Tables for a person, plain text, what was seen most first."""
        readable = self.photos - self.unreadable
        failed = f", {self.unreadable} more could not be read" if self.unreadable else ""
        lines = [f"{readable} photos examined{failed}"]
        shown = sorted(self.categories, key=lambda c: (-c.hit_rate, c.name))[:_SHOWN]
        if shown:
            width = max(16, *(len(c.name) + 2 for c in shown))
            lines += [
                "",
                f"{'category':<{width}}{'seen in':>9}{'area':>7}   fewest, most (by label)",
            ]
        for c in shown:
            low, high = (extreme(c.per_label.items(), key=itemgetter(1)) for extreme in (min, max))
            spread = f"{low[0]} {low[1]:.0%}, {high[0]} {high[1]:.0%}"
            lines.append(
                f"{c.name:<{width}}{c.hit_rate:>9.1%}{c.median_area:>7.0%}   "
                f"{'the same for all' if low[1] == high[1] else spread}"
            )
        lines += coverage_table({",".join(one.categories): one for one in self.choices}, "parent")
        if shown:
            lines += [
                "",
                f"seen in: the photos in which it scores {HIT:g} or more",
                "area: how much of such a photo its box covers (median)",
                "fewest, most: the labels in which it is seen least and most often",
                ">= 0.05: the photos in which the parent scores 0.05 or more",
            ]
        lines += ["", *(f"Warning: {warning}" for warning in self.warnings)]
        if self.recommended:
            lines.append(f"Recommended: parent {','.join(self.recommended)}")
        return "\n".join(map(visible, lines))


def coverage_table(choices: Mapping[str, Choice], head: str) -> list[str]:
    """A line for each choice, under the name that it has here: its coverage at each threshold."""
    if not choices:
        return []
    width = max(24, *(len(name) + 2 for name in choices))
    lines = ["", f"{head:<{width}}" + "".join(f"{f'>= {t:g}':>9}" for t in THRESHOLDS)]
    return lines + [
        f"{name:<{width}}" + "".join(f"{choice.coverage[t]:>9.1%}" for t in THRESHOLDS)
        for name, choice in choices.items()
    ]


@dataclass(frozen=True, slots=True)
class Scouted:
    """A parent that nobody named: how it was chosen.

    `parent` is what scouting `photos` of the `of` photos with `detector` recommended, ``("any",)``
    where it recommended nothing. `found` is the share of the readable ones among them in which it
    scores the run's threshold or more.
    """

    parent: tuple[str, ...]
    detector: str
    photos: int
    of: int
    found: Share
    warnings: tuple[str, ...]

    def sentence(self) -> str:
        """For people."""
        looked = f"no --parent was given, so {self.photos} of the {self.of} photos were scouted"
        if self.parent == (ANY,):
            return f"{looked}: every category is accepted, as with --parent {ANY}"
        return (
            f"{looked}: the parent is {','.join(self.parent)}, found in {self.found:.0%} of them; "
            "`closeup scout` shows what else there is"
        )


def scout(photos: Sequence[Photo], detections: Iterable[Detection]) -> Scouting:
    """Tabulate the categories that are detected in the photos and recommend the parent.

    The parent should be detected with confidence in most photos, and in those of every label. So a
    category's *strength* is the geometric mean over the labels of its mean best score (0 in photos
    without it; hit rate times mean score): a category that one label lacks comes out weak, and
    large labels do not outvote small ones. ``person`` counts half, because people hold and wear
    things; nothing else distinguishes an object from what is always around it, so check the table
    as well.

    The strongest category is recommended, and further ones are added greedily while each is
    detected in at least 2 % of all photos in which the previous ones have no score above the
    lowest threshold (using the lower end of its 95 % interval), and its boxes overlap theirs where
    both are detected: another name for the same object, not another object.

    The recommended threshold is the highest of :data:`THRESHOLDS` that covers all but 2 % of the
    photos that the lowest one covers. In labelled photos the object is known to be there, so a
    lower threshold costs little, and every photo not covered loses its close-up.

    Unreadable photos are counted but do not affect the rates; detections of other photos are
    ignored. Where nothing was found or no photo is readable, there is a warning instead of a
    recommendation.
    """
    readable = [photo for photo in photos if photo.state is PhotoState.READABLE]
    best = _best_boxes(readable, detections)
    labels = np.array([photo.label for photo in readable])
    tabulated = [_tabulate(name, found, readable, labels) for name, found in best.items()]
    seen = [category for category in tabulated if category.hit_rate > 0]
    categories = sorted(seen, key=lambda c: (-c.strength, c.name))
    recommended = _recommend([c.name for c in categories], best)
    choices = _choices(recommended, categories, best, len(readable))
    reached, threshold = dict.fromkeys(THRESHOLDS, 0.0), THRESHOLDS[0]
    if recommended:
        reached = choices[0].coverage
        threshold = max(t for t in THRESHOLDS if reached[t] >= reached[threshold] - _MIN_GAIN)
    hits = _scores(recommended, best, len(readable)) >= threshold
    return Scouting(
        photos=len(photos),
        unreadable=len(photos) - len(readable),
        categories=tuple(categories),
        recommended=recommended,
        threshold=threshold,
        coverage=reached[HIT],
        choices=choices,
        warnings=tuple(_warnings(recommended, categories, labels, hits, threshold)),
    )


@dataclass(frozen=True, slots=True)
class _Best:
    """A category's best box in each photo: ``(n,)`` scores, 0 where there is none, and boxes."""

    scores: Floats
    boxes: dict[int, Box]


def _best_boxes(photos: Sequence[Photo], detections: Iterable[Detection]) -> dict[str, _Best]:
    place = {photo.id: number for number, photo in enumerate(photos)}
    best: dict[str, _Best] = {}
    for detection in detections:
        number = place.get(detection.photo_id)
        if number is None:
            continue
        found = best.get(detection.category)
        if found is None:
            found = best[detection.category] = _Best(np.zeros(len(photos), np.float32), {})
        if detection.score > found.scores[number]:
            found.scores[number] = detection.score
            found.boxes[number] = detection.box
    return best


def _tabulate(
    name: str, found: _Best, photos: Sequence[Photo], labels: NDArray[np.str_]
) -> Category:
    hits = found.scores >= HIT
    shares = [
        found.boxes[i].area / (photos[i].width * photos[i].height)
        for i in np.flatnonzero(hits).tolist()
    ]
    by_label = {str(label): labels == label for label in np.unique(labels)}
    means = [max(_FLOOR, float(found.scores[mine].mean())) for mine in by_label.values()]
    strength = math.exp(sum(map(math.log, means)) / len(means))
    return Category(
        name=name,
        hit_rate=float(hits.mean()),
        per_label={label: float(hits[mine].mean()) for label, mine in by_label.items()},
        median_area=float(np.median(shares)) if shares else 0.0,
        strength=strength * (_BEARER_WEIGHT if name in _BEARERS else 1.0),
    )


def _recommend(names: Sequence[str], best: Mapping[str, _Best]) -> tuple[str, ...]:
    """The strongest category, and others that name the same object in photos it misses."""
    chosen = list(names[:1])
    while chosen and len(chosen) < _MOST:
        n = len(best[chosen[0]].scores)
        unreached = _scores(chosen, best, n) < THRESHOLDS[0]
        gains = {
            name: int((unreached & (best[name].scores >= HIT)).sum())
            for name in names
            if name not in chosen and _same_object(best[name], [best[c] for c in chosen])
        }
        name = max(gains, key=lambda name: gains[name], default="")
        if not name or _lower_bound(gains[name], n) < _MIN_GAIN:
            break
        chosen.append(name)
    return tuple(chosen)


def _same_object(candidate: _Best, chosen: Sequence[_Best]) -> bool:
    """Whether the boxes overlap where both are detected; True where they hardly ever are."""
    overlaps = [
        candidate.boxes[i].iou(other.boxes[i])
        for other in chosen
        for i in candidate.boxes.keys() & other.boxes.keys()
        if min(candidate.scores[i], other.scores[i]) >= THRESHOLDS[1]
    ]
    return len(overlaps) < _ENOUGH_PAIRS or float(np.median(overlaps)) >= _SAME_OBJECT


def _lower_bound(hits: int, n: int) -> float:
    """Lower end of the 95 % interval of a share (Wilson, 1927)."""
    z = 1.96
    share = hits / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n)


def _scores(names: Iterable[str], best: Mapping[str, _Best], n: int) -> Floats:
    """The best score of any of the categories in each of `n` photos, ``(n,)``."""
    found = [best[name].scores for name in names]
    return np.max(found, axis=0) if found else np.zeros(n, np.float32)


def _choices(
    recommended: tuple[str, ...], categories: Sequence[Category], best: Mapping[str, _Best], n: int
) -> tuple[Choice, ...]:
    if not categories:
        return ()
    alone = [(c.name,) for c in categories[:_MOST] if (c.name,) != recommended]
    choices = []
    for parent in [recommended, *alone, (ANY,)]:
        scores = _scores(best if parent == (ANY,) else parent, best, n)
        choices.append(Choice(parent, {t: float((scores >= t).mean()) for t in THRESHOLDS}))
    return tuple(choices)


def _warnings(
    recommended: Sequence[str],
    categories: Sequence[Category],
    labels: NDArray[np.str_],
    hits: NDArray[np.bool_],
    threshold: float,
) -> list[str]:
    if not recommended:
        why = "no category was detected" if len(labels) else "no photo could be read"
        return [
            f"{why}, so none is recommended; try another detector "
            f"({LARGER} knows 365 categories), or your own boxes"
        ]
    parent = ",".join(recommended)
    overall = float(hits.mean())
    found = [
        f"{parent} is found in only {overall:.0%} of the photos (score >= {threshold:g}), so it "
        f"may not describe your object; try another detector ({LARGER} knows 365 categories), "
        "another parent, `--parent any`, or your own boxes"
    ] if overall < _USABLE else []  # fmt: skip
    found += [
        f"{parent} is found in {share:.0%} of the photos of {label} but in {rest:.0%} of the "
        f"others (score >= {threshold:g}): what remains of {label} is a biased selection; keep "
        "missed detections as whole photos, lower the threshold or use another detector"
        for label, share, rest in _seldom(labels, hits)
    ]
    first = next(c for c in categories if c.name == recommended[0])
    for other in categories:
        if other.name not in recommended and other.strength >= 0.6 * first.strength:
            found.append(
                f"{other.name} is nearly as frequent as {first.name}; "
                "make sure you choose the one that is your object"
            )
    return found


def _seldom(labels: NDArray[np.str_], hits: NDArray[np.bool_]) -> list[tuple[str, float, float]]:
    """Labels found much less often than all others: ``(label, its rate, the others' rate)``.

    Much less: by at least ten points, and by Fisher's exact test (one-sided, 1 %, Bonferroni over
    the labels) not by chance.
    """
    names = [str(label) for label in np.unique(labels)]
    seldom = []
    for name in names if len(names) > 1 else ():
        mine, others = hits[labels == name], hits[labels != name]
        if others.mean() - mine.mean() < _MARGIN:
            continue
        from scipy.stats import fisher_exact  # takes a moment to import

        table = [[side.sum(), len(side) - side.sum()] for side in (mine, others)]
        if fisher_exact(table, alternative="less").pvalue < _SIGNIFICANCE / len(names):
            seldom.append((name, float(mine.mean()), float(others.mean())))
    return seldom
