"""Boxes of frames joined to objects, and the vote that names them."""

from __future__ import annotations

import pytest

from closeup.core.types import UNKNOWN, Answer, Box
from closeup.model.tracks import TRACK_COLUMNS, Sighting, Track, Tracker


def answer(x: float, label: str = "omega", confidence: float = 0.9, y: float = 0) -> Answer:
    box = Box(x, y, x + 10, y + 10)
    reason = "not confident" if label == UNKNOWN else ""
    return Answer(box, "clock", 0.8, label, confidence, ((label, confidence),), reason)


def track_of(*labels: str) -> Track:
    return Track("a.mp4", 1, [Sighting(n / 5, answer(0, label)) for n, label in enumerate(labels)])


@pytest.mark.parametrize(
    ("labels", "label", "votes", "reason"),
    [
        ("aaa", "a", 3, ""),
        ("aa", UNKNOWN, 2, "seen in 2 of at least 3 frames"),
        ("aaabb", "a", 3, ""),  # 60 %
        ("aaabbb", UNKNOWN, 3, "no label in 60% of its frames"),
        ("aa?", UNKNOWN, 2, "no label in 60% of its frames"),  # two frames are too few
        ("aaa??", "a", 3, ""),  # withheld answers count as frames
        ("aaa???", UNKNOWN, 3, "no label in 60% of its frames"),
        ("????", UNKNOWN, 0, "not confident"),
    ],
)
def test_the_vote(labels: str, label: str, votes: int, reason: str) -> None:
    track = track_of(*(UNKNOWN if one == "?" else one for one in labels))
    assert (track.label, track.votes, track.reason) == (label, votes, reason)


def test_a_class_may_be_called_unknown() -> None:
    given = Answer(Box(0, 0, 9, 9), "clock", 0.8, UNKNOWN, 0.9, ((UNKNOWN, 0.9),))
    track = Track("a.mp4", 1, [Sighting(n / 5, given) for n in range(3)])
    assert (track.label, track.votes, track.reason) == (UNKNOWN, 3, "")


def test_confidence_is_that_of_the_frames_with_the_label() -> None:
    track = track_of("a", "a", "a", "b")
    track.sightings[3] = Sighting(0.6, answer(0, "b", 0.1))
    assert track.confidence == pytest.approx(0.9)


def test_a_row_and_an_object_tell_the_same() -> None:
    track = track_of("a", "a", "b", "a")
    row, told = dict(zip(TRACK_COLUMNS, track.row(), strict=True)), track.to_dict()
    shared = row.keys() & told.keys()
    assert shared >= {"film", "track", "start", "end", "frames", "label", "votes", "reason"}
    assert {name: row[name] for name in shared} == {name: told[name] for name in shared}
    assert [one["time"] for one in told["sightings"]] == [0, 0.2, 0.4, 0.6]
    assert told["counts"] == {"a": 3, "b": 1}


def test_two_objects_that_pass_each_other_keep_their_tracks() -> None:
    tracker = Tracker("a.mp4", patience=1)
    for n in range(9):
        left, right = answer(4.0 * n), answer(32 - 4.0 * n, "rolex", y=1)
        given = [left, right] if n % 2 else [right, left]
        tracker.update(n / 5, given)
    first, second = sorted(tracker.ended(), key=lambda track: track.number)
    assert {tuple(first.counts), tuple(second.counts)} == {("omega",), ("rolex",)}
    assert len(first.sightings) == len(second.sightings) == 9


def test_a_quick_object_is_followed_by_its_motion() -> None:
    tracker = Tracker("a.mp4", patience=1)
    for n, x in enumerate((0, 6, 16, 26, 36, 46)):  # the last ones lie beside the one before
        tracker.update(n / 5, [answer(x)])
    (track,) = tracker.ended()
    assert len(track.sightings) == 6


def test_a_gap_is_bridged_and_a_long_one_ends_the_track() -> None:
    tracker = Tracker("a.mp4", patience=1)
    for time in (0.0, 0.2, 1.0):
        tracker.update(time, [answer(0)])
        assert tracker.ended(time) == []
    assert [track.number for track in tracker.ended(2.5)] == [1]
    assert tracker.ended(2.5) == []
    tracker.update(2.5, [answer(0)])
    tracker.update(2.7, [])
    assert [track.number for track in tracker.ended()] == [2]


def test_what_is_elsewhere_is_another_object() -> None:
    tracker = Tracker("a.mp4", patience=1)
    (first,) = tracker.update(0, [answer(0)])
    same, other = tracker.update(0.2, [answer(1), answer(50)])
    assert same is first
    assert other is not first
