"""``closeup history``: the trainings of a project, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closeup.cli import options as opt
from closeup.cli.output import columns, print_json, show

if TYPE_CHECKING:
    from closeup.evaluate.scores import Difference
    from closeup.model.history import History, Training


def history(out: opt.ProjectFolder, json: opt.Json = False) -> None:
    """List the trainings of a project, the newest last, and what changed between them."""
    from closeup.api import history as read

    found = read(out)
    if json:
        print_json(found.to_json())
        return
    if not found.trainings:
        show("no training yet; the next `closeup run`, `train` or `report` begins the history")
        return
    show(*table(found))


def table(found: History) -> list[str]:
    """The lines for a terminal."""
    rows = [("", "nr", "date", "test macro-F1", "n", "out of fold", "what changed")]
    lines = []
    for one in found.trainings:
        mark = "" if one.number in found.restorable else "-"
        mark = "*" if one.number == found.in_use else mark
        test = "–" if one.macro_f1 is None else str(one.macro_f1)
        fold = "–" if one.out_of_fold is None else f"{one.out_of_fold.value:.3f}"
        date = one.date[:16].replace("T", " ")
        what = str(one.changes) if one.changes else "first training"
        if one.restored or not one.used:
            what = f"{'restored by hand' if one.restored else 'not put to use'}; {what}"
        rows.append((mark, str(one.number), date, test, str(one.test), fold, what))
    for place, line in enumerate(columns(rows)):
        if place and found.trainings[place - 1].new_split:
            lines.append("   --- another split: scores above and below are not comparable ---")
        lines.append(line)
    notes = []
    if found.in_use:
        notes.append("*: in use")
    if len(found.restorable) < len(found.trainings):
        notes.append("-: its model is no longer kept")
    return [*lines, "", *([". ".join(notes)] if notes else []),
            "Take another with `closeup train DIR --restore NR`."]  # fmt: skip


def training_lines(training: Training) -> list[str]:
    """What a run prints of its training."""
    state = "in use" if training.used else "not put to use"
    lines = [f"training {training.number}: {state}"]
    if training.changes and (what := str(training.changes)):
        lines[0] += f"   (changed: {what})"
    against = training.against
    if against is None:
        return lines
    if against.out_of_fold is not None:
        lines.append(
            f"  out of fold {_gap(against.out_of_fold)}   (macro-F1 less that of training "
            f"{against.number}, {against.n_out_of_fold} training close-ups of both)"
        )
    if against.test is not None:
        lines.append(
            f"  test        {_gap(against.test)}   (the same on {against.n} test close-ups of both)"
        )
    if against.old_labels is not None:
        lines.append(
            f"  old labels  {_gap(against.old_labels)}   (the same with the labels from before; "
            f"{against.relabelled} changed)"
        )
    return lines


def _gap(difference: Difference) -> str:
    delta = difference.delta
    return f"{delta.value:+.3f} ({delta.low:+.3f} to {delta.high:+.3f})"
