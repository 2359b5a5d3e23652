"""One answer for one object in a film: boxes joined to tracks, and a vote of each track's frames.

The vote is that of Frigate's sub labels: an object is named after at least three frames, by the
label that 60 % of them agree on.
https://docs.frigate.video/configuration/custom_classification/object_classification
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from closeup.core.types import UNKNOWN, Answer, Box

LEAST_FRAMES = 3
LEAST_SHARE = 0.6
_LEAST_OVERLAP = 0.2  # of a box with where its track is, or should be by now

TRACK_COLUMNS = ("film", "track", "start", "end", "frames", "label", "votes", "confidence",
                 "reason", "x1", "y1", "x2", "y2", "parent", "error")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object in one frame, `time` in seconds from the beginning of the film."""

    time: float
    answer: Answer


@dataclass(slots=True)
class Track:
    """An object through a film.

    - `film`: the name of the film or camera
    - `number`: from 1, in the order in which the objects appeared
    - `sightings`: in the order of their times
    """

    film: str
    number: int
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def start(self) -> float:
        """Seconds from the beginning of the film to the first frame with the object."""
        return self.sightings[0].time

    @property
    def end(self) -> float:
        """Seconds from the beginning of the film to the last frame with the object."""
        return self.sightings[-1].time

    @property
    def counts(self) -> dict[str, int]:
        """How many frames say which label, most first; withheld answers are ``"unknown"``."""
        return dict(Counter(one.answer.label for one in self.sightings).most_common())

    @property
    def votes(self) -> int:
        """How many frames say the most frequent label, withheld answers apart."""
        return self._winner[1]

    @property
    def _winner(self) -> tuple[str, int]:
        given = Counter(one.answer.label for one in self.sightings if not one.answer.reason)
        return given.most_common(1)[0] if given else ("", 0)

    @property
    def reason(self) -> str:
        """Why the track has no label; ``""`` where it has one."""
        frames = len(self.sightings)
        if frames < LEAST_FRAMES:
            return f"seen in {frames} of at least {LEAST_FRAMES} frames"
        if not self.votes:  # what most frames say
            return Counter(one.answer.reason for one in self.sightings).most_common(1)[0][0]
        if self.votes < max(LEAST_FRAMES, LEAST_SHARE * frames):
            return f"no label in {LEAST_SHARE:.0%} of its frames"
        return ""

    @property
    def label(self) -> str:
        """What at least three frames and 60 % of them say, else ``"unknown"``."""
        return UNKNOWN if self.reason else self._winner[0]

    @property
    def confidence(self) -> float:
        """The mean probability of the label in the frames that say it; without one, of all."""
        without, label = bool(self.reason), self._winner[0]
        shares = [one.answer.confidence for one in self.sightings
                  if without or one.answer.label == label]  # fmt: skip
        return float(np.mean(shares))

    @property
    def best(self) -> Answer:
        """The answer of the frame in which the object is largest."""
        return max((one.answer for one in self.sightings), key=lambda answer: answer.box.area)

    def expected(self, time: float) -> Box:
        """Where the object should be at a time, by its last two boxes."""
        last = self.sightings[-1]
        before = self.sightings[-2] if len(self.sightings) > 1 else last
        if last.time <= before.time:
            return last.answer.box
        steps = (time - last.time) / (last.time - before.time)
        old, new = before.answer.box, last.answer.box
        x = steps * (new.x1 + new.x2 - old.x1 - old.x2) / 2
        y = steps * (new.y1 + new.y2 - old.y1 - old.y2) / 2
        return Box(new.x1 + x, new.y1 + y, new.x2 + x, new.y2 + y)

    def to_dict(self) -> dict[str, Any]:
        """The stable object of ``predict --json`` for a film (docs/formats.md)."""
        return {
            "film": self.film,
            "track": self.number,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "frames": len(self.sightings),
            "label": self.label,
            "votes": self.votes,
            "confidence": round(self.confidence, 6),
            "reason": self.reason,
            "counts": self.counts,
            "sightings": [
                {
                    "time": round(one.time, 3),
                    "box": [round(v, 2) for v in one.answer.box],
                    "label": one.answer.label,
                    "confidence": round(one.answer.confidence, 6),
                }
                for one in self.sightings
            ],
        }

    def row(self) -> tuple[Any, ...]:
        """A row of :data:`TRACK_COLUMNS`; the box and the parent are those of :attr:`best`."""
        best = self.best
        return (self.film, self.number, round(self.start, 3), round(self.end, 3),
                len(self.sightings), self.label, self.votes, self.confidence, self.reason,
                *(round(v, 2) for v in best.box), best.parent, "")  # fmt: skip


class Tracker:
    """Joins the boxes of each frame to the tracks of the frames before.

    The pairs are those with the largest sum of overlaps (intersection over union), of a box with
    the track's last one or with where the track should be by now. What overlaps with none begins a
    new one.

    Parameters
    ----------
    patience
        After so many seconds without a box a track has ended.
    """

    def __init__(self, film: str, patience: float) -> None:
        self._film, self._patience = film, patience
        self._open: list[Track] = []
        self._begun = 0

    def update(self, time: float, answers: Sequence[Answer]) -> list[Track]:
        """The track of each answer, in their order."""
        from scipy.optimize import linear_sum_assignment

        overlaps = np.array(
            [
                [max(one.box.iou(t.sightings[-1].answer.box), one.box.iou(t.expected(time)))
                 for t in self._open] for one in answers
            ]
        ).reshape(len(answers), len(self._open))  # fmt: skip
        pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
        joined = {row: self._open[n] for row, n in pairs if overlaps[row, n] >= _LEAST_OVERLAP}
        tracks = []
        for place, answer in enumerate(answers):
            track = joined.get(place)
            if track is None:
                self._begun += 1
                track = Track(self._film, self._begun)
                self._open.append(track)
            track.sightings.append(Sighting(time, answer))
            tracks.append(track)
        return tracks

    def ended(self, time: float | None = None) -> list[Track]:
        """The tracks that have ended by a time, each once; without a time all that are left."""
        over = [t for t in self._open if time is None or time - t.end > self._patience]
        self._open = [track for track in self._open if track not in over]
        return over
