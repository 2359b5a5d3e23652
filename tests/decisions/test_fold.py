"""What holds now, against a model that goes through the rows one by one without any cleverness."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closeup.core.errors import UsageError
from closeup.core.types import Box
from closeup.decisions.fold import NOTHING, Verdict, current, last_batch
from closeup.decisions.kinds import Decision, Kind, Row, checked

BOX = Box(1, 2, 30, 40)


def rows_of(*decisions: Decision, who: str = "ann") -> list[Row]:
    return [Row(n, n, "", who, decision) for n, decision in enumerate(decisions, start=1)]


def test_nobody_has_decided() -> None:
    assert current([]) == NOTHING
    assert not current([])
    assert current([]).verdict("a", "a") == Verdict()
    assert last_batch([], "ann") == []


def test_one_decision_holds() -> None:
    now = current(rows_of(Decision(Kind.REJECT, "a", "a")))
    assert now.verdicts == {"a": {"a": Verdict(rejected=True)}}
    assert now.photos == {"a"}
    assert now.counts()[Kind.REJECT] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Decision(Kind.ACCEPT, ""),
        Decision(Kind.ACCEPT, "a"),
        Decision(Kind.NOT_FOUND, "a", "a"),
        Decision(Kind.RELABEL, "a", "a"),
        Decision(Kind.RELABEL, "a", "a", label=" \n"),
        Decision(Kind.RELABEL, "a", "a", label="x" * 201),
        Decision(Kind.RELABEL, "a", "a", label="a\0b"),
        Decision(Kind.REJECT, "a", "a", label="b"),
        Decision(Kind.BOXES, "a"),
        Decision(Kind.NOT_FOUND, "a", boxes=(BOX,)),
        Decision(Kind.BOXES, "a", boxes=(Box(0, 0, math.nan, 4),)),
        Decision(Kind.BOXES, "a", boxes=(Box(0, 0, 0.5, 4),)),
        Decision(Kind.BOXES, "a", boxes=(Box(9, 0, 4, 4),)),
        Decision(Kind.BOXES, "a", boxes=(BOX, Box(1, 2, 31, 40))),
        Decision(Kind.BOXES, "a", boxes=tuple(Box(i, 0, i + 1, 1) for i in range(101))),
        Decision(Kind.SAME, "a", other="a"),
        Decision(Kind.SAME, "a"),
        Decision(Kind.ACCEPT, "a", "a", other="b"),
        Decision(Kind.UNDO, "a"),
        Decision(Kind.ACCEPT, "a", "a", undoes=1),
    ],
)
def test_what_says_too_little_or_too_much_is_refused(wrong: Decision) -> None:
    with pytest.raises(UsageError):
        checked(wrong)


def test_a_label_and_a_pair_are_put_in_order() -> None:
    assert checked(Decision(Kind.RELABEL, "a", "a", label=" Granny \t Smith ")).label == (
        "Granny Smith"
    )
    assert checked(Decision(Kind.SAME, "b", other="a")).pair == ("a", "b")


def test_a_label_or_a_box_ends_a_rejection_and_labels_outlive_boxes() -> None:
    label = Decision(Kind.RELABEL, "a", "a", label="elm")
    reject = Decision(Kind.REJECT, "a", "a")
    boxes = Decision(Kind.BOXES, "a", boxes=(BOX,))
    assert current(rows_of(reject, label)).verdict("a", "a") == Verdict(label="elm")
    now = current(rows_of(label, reject, boxes))
    assert now.verdict("a", "a") == Verdict(label="elm")
    assert now.boxes == {"a": (BOX,)}
    assert not current(rows_of(reject, boxes)).verdicts
    assert current(rows_of(boxes, reject)).verdict("a", "a").rejected


def test_a_close_up_stays_rejected_while_another_of_its_photo_is_drawn() -> None:
    one, two, moved = BOX, Box(50, 2, 80, 40), Box(51, 2, 81, 40)

    def drawn(*boxes: Box) -> Decision:
        return Decision(Kind.BOXES, "a", boxes=boxes)

    first = [drawn(one, two), Decision(Kind.REJECT, "a", "a")]
    rounded = Box(1 + 1e-9, 2, 30, 40 - 1e-9)  # as a browser gives it back
    for after, rejected in [
        (drawn(rounded, moved), True),  # the other one was moved,
        (drawn(one), True),  # or removed,
        (drawn(one, two, moved), True),  # or is new
        (drawn(moved, two), False),
        (drawn(one, two), False),  # saved as it was: it is wanted
        (Decision(Kind.NOT_FOUND, "a"), False),
    ]:
        assert current(rows_of(*first, after)).verdict("a", "a").rejected is rejected
    second = [drawn(one, two), Decision(Kind.REJECT, "a", "a-2")]
    assert current(rows_of(*second, drawn(moved, two))).verdict("a", "a-2").rejected


def test_undoing_brings_back_what_held_before_and_can_be_undone() -> None:
    first = Decision(Kind.RELABEL, "a", "a", label="elm")
    second = Decision(Kind.RELABEL, "a", "a", label="oak")
    undo = Decision(Kind.UNDO, "a", undoes=2)
    assert current(rows_of(first, second, undo)).verdict("a", "a").label == "elm"
    assert current(rows_of(first, second, undo)).undone == 1
    redo = Decision(Kind.UNDO, "a", undoes=3)
    assert current(rows_of(first, second, undo, redo)).verdict("a", "a").label == "oak"


def test_one_takes_back_ones_own_and_all_that_was_done_at_once() -> None:
    accept = Decision(Kind.ACCEPT, "a", "a")
    rows = [Row(1, 1, "", "ann", accept), Row(2, 2, "", "ann", accept),
            Row(3, 2, "", "ann", accept), Row(4, 4, "", "bob", accept)]  # fmt: skip
    assert [row.number for row in last_batch(rows, "ann")] == [2, 3]
    assert [row.number for row in last_batch(rows, "bob")] == [4]
    gone = [Row(5, 5, "", "ann", Decision(Kind.UNDO, "a", undoes=n)) for n in (2, 3)]
    assert [row.number for row in last_batch([*rows, *gone], "ann")] == [1]


names = st.sampled_from("abc")
simple = st.one_of(
    st.builds(
        lambda kind, p, n: Decision(
            kind, p, f"{p}{n}", label=f"l{n}" if kind is Kind.RELABEL else ""
        ),
        st.sampled_from([Kind.ACCEPT, Kind.REJECT, Kind.RELABEL]), names, st.integers(1, 2),
    ),
    st.builds(lambda p, n: Decision(Kind.BOXES, p, boxes=(Box(0, 0, n, n),)),
              names, st.integers(1, 3)),
    st.builds(lambda p: Decision(Kind.NOT_FOUND, p), names),
    st.builds(lambda kind: Decision(kind, "a", other="b"),
              st.sampled_from([Kind.SAME, Kind.DIFFERENT])),
)  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for number in range(1, draw(st.integers(0, 25)) + 1):
        if rows and draw(st.booleans()):
            decision = Decision(Kind.UNDO, "a", undoes=draw(st.integers(1, number - 1)))
        else:
            decision = draw(simple)
        rows.append(Row(number, number, "", "ann", decision))
    return rows


def holds(rows: list[Row], number: int) -> bool:
    """Whether no undoing that itself holds names the row."""
    return not any(
        row.decision.undoes == number and holds(rows, row.number)
        for row in rows if row.number > number
    )  # fmt: skip


@given(logs())
def test_it_is_what_a_simple_model_says(rows: list[Row]) -> None:
    label: dict[str, str] = {}
    word: dict[str, str] = {}
    boxes: dict[str, tuple[Box, ...]] = {}
    pair: dict[tuple[str, str], bool] = {}
    for row in rows:
        d = row.decision
        if d.kind is Kind.UNDO or not holds(rows, row.number):
            continue
        if d.kind is Kind.RELABEL:
            label[d.crop], word[d.crop] = d.label, ""
        elif d.crop:
            word[d.crop] = str(d.kind)
        elif d.other:
            pair["a", "b"] = d.kind is Kind.SAME
        else:
            boxes[d.photo] = d.boxes
            word |= {name: "" for name, w in word.items() if name[0] == d.photo and w == "reject"}
    now = current(rows)
    for name in (f"{p}{n}" for p in "abc" for n in (1, 2)):
        expected = Verdict(label.get(name, ""), word.get(name) == "reject",
                           word.get(name) == "accept")  # fmt: skip
        assert now.verdict(name[0], name) == expected
    assert now.boxes == boxes
    assert now.pairs == pair
    assert Verdict() not in [v for mine in now.verdicts.values() for v in mine.values()]
