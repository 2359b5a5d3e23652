"""The report's charts, each from what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from closeup.evaluate.bootstrap import count_interval
from closeup.evaluate.learning_curve import LearningCurve
from closeup.evaluate.trust import Trust
from closeup.model.history import History
from closeup.report.charts import Axes, Line, line_chart

ANY_LOSS = (0.0, math.inf)


def head_chart(log: Mapping[str, Any]) -> Markup:
    """The head's cross-validation or epochs; empty where the log has no table."""
    table: Sequence[dict[str, float]] = log.get("table", ())
    if not table:
        return Markup("")
    if log["kind"] in ("logistic", "ridge"):
        name, what = ("c", "C") if log["kind"] == "logistic" else ("penalty", "penalty")
        direction = "weaker" if name == "c" else "stronger"
        points = [(math.log10(row[name]), row["macro_f1"]) for row in table]
        ranges = [(row["macro_f1"] - row["error"], row["macro_f1"] + row["error"]) for row in table]
        ticks = [(x, f"{10 ** round(x):g}") for x, _ in points if abs(x - round(x)) < 1e-6]
        axes = Axes(ticks, f"{what} ({direction} regularisation to the right)", "macro-F1",
                    math.log10(log[name]))  # fmt: skip
        return line_chart(
            [Line("", "one", points, ranges)], axes,
            f"Macro-F1 in cross-validation for each {what}; {what} = {log[name]:g} was chosen",
        )  # fmt: skip
    lines = [Line("training", "two", [(row["epoch"], row["loss"]) for row in table])]
    if "validation_loss" in table[0]:
        losses = [(row["epoch"], row["validation_loss"]) for row in table]
        lines.insert(0, Line("validation", "one", losses))
    ticks = [(row["epoch"], f"{row['epoch']:g}") for row in table[:: max(1, len(table) // 8)]]
    return line_chart(
        lines, Axes(ticks, "epoch", "loss", log["best_epoch"], ANY_LOSS),
        f"Training and validation loss by epoch; epoch {log['best_epoch']} was kept",
    )  # fmt: skip


def reliability_chart(trust: Trust) -> Markup:
    """Accuracy against confidence in bins of equal width, with the diagonal."""
    points = [(row.confidence, count_interval(row.accuracy * row.count, row.count))
              for row in trust.calibration.bins if row.count]  # fmt: skip
    return line_chart(
        [Line("ideal", "two", [(0.0, 0.0), (1.0, 1.0)]), Line.of("measured", "one", points)],
        Axes(_shares("{:g}"), "confidence", "accuracy", trust.calibration.confidence, square=True),
        "Accuracy against confidence on the test part; the vertical line is the mean confidence",
    )  # fmt: skip


def withholding_chart(trust: Trust) -> Markup:
    """Accuracy of the most confident answers against the share answered."""
    points = [(point.coverage, point.accuracy) for point in trust.selective.curve]
    return line_chart(
        [Line.of("", "one", points)],
        Axes(_shares("{:.0%}"), "share answered, the most confident first", "accuracy",
             trust.answered.value),
        "Accuracy of the most confident answers against the share answered; the vertical line is "
        "the share that the model answers",
    )  # fmt: skip


def curve_chart(curve: LearningCurve) -> Markup:
    """The measured and the fitted score against photos per class."""
    last = curve.line[-1].photos
    step = next(s for s in (m * 10**e for e in range(6) for m in (1, 2, 5)) if last / s <= 7)
    ticks = [(x * step, f"{x * step:g}") for x in range(1, int(last // step) + 1)]
    return line_chart(
        [Line.of("fitted", "two", [(p.photos, p.score) for p in curve.line], band=True),
         Line.of("measured", "one", [(p.photos, p.score) for p in curve.measured])],
        Axes(ticks, "training photos per class", "macro-F1", curve.photos),
        "Macro-F1 in cross-validation against the number of training photos per class, and the "
        "fitted curve beyond; the vertical line is the present number",
    )  # fmt: skip


def history_chart(history: History) -> Markup:
    """Macro-F1 by training, of those on the split of the one in use; empty for fewer than two."""
    split = history.used.split if history.used else ""
    rows = [row for row in history.trainings if row.split == split]
    tested = [(float(row.number), row.macro_f1) for row in rows if row.macro_f1]
    held_out = [(row.number, row.out_of_fold.value) for row in rows if row.out_of_fold]
    lines = [Line.of("test", "one", tested)] if tested else []
    lines += [Line("out of fold", "two", held_out)] if held_out else []
    if not lines or len(rows) < 2:
        return Markup("")
    ticks = [(float(row.number), str(row.number)) for row in rows[:: -(-len(rows) // 12)]]
    return line_chart(
        lines, Axes(ticks, "training", "macro-F1", history.in_use),
        "Macro-F1 of each training, on the test part and out of fold; the vertical line is the one "
        "in use",
    )  # fmt: skip


def _shares(form: str) -> list[tuple[float, str]]:
    """Ticks from 0 to 1."""
    return [(x / 10, form.format(x / 10)) for x in range(0, 11, 2)]
