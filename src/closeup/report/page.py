"""The page itself: one HTML file without scripts that loads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from closeup.core import text
from closeup.core.text import readable
from closeup.evaluate.findings import majority_share
from closeup.evaluate.learning_curve import LearningCurve
from closeup.evaluate.scores import MAX_MISTAKES, Scores
from closeup.evaluate.trust import Trust
from closeup.model.history import History
from closeup.report.charts import Line, line_chart
from closeup.report.data import MAX_COPIES, MAX_LABEL_ISSUES, MAX_SAMPLES, ReportData

if TYPE_CHECKING:
    from jinja2 import Template

MAX_ROWS = 200  # rows shown of a table (labels, skipped files, notes); the others are counted
MAX_MATRIX = 40  # the confusion matrix is drawn up to this number of labels; more do not fit a page
MAX_PAIRS = 10
HEADINGS = {
    "c": "C",
    "macro_f1": "macro-F1",
    "error": "standard error",
    "loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
    "validation_macro_f1": "validation macro-F1",
    "rate": "learning rate",
}
"""Names of the head log's columns, for people."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`count` of the `support` test close-ups of `truth` were answered `answer`."""

    truth: str
    answer: str
    count: int
    support: int


def render_report(data: ReportData) -> str:
    """The report as one HTML file, whose size is bounded however many photos there are.

    Every text is escaped, and the content security policy of the page forbids loading anything.
    """
    result, scores, trust = data.result, data.result.scores, data.result.trust
    curve = result.findings.curve
    return page_template().render(
        data=data,
        result=result,
        scores=scores,
        curve=curve,
        wrong=sum(row.answer != row.truth for row in result.results),
        chart=head_chart(result.log),
        growth=curve_chart(curve) if curve else "",
        trainings=history_chart(data.history) if data.history else "",
        MAX_LABEL_ISSUES=MAX_LABEL_ISSUES,
        MAX_COPIES=MAX_COPIES,
        reliability=reliability_chart(trust) if trust else "",
        withholding=withholding_chart(trust) if trust else "",
        pairs=confused_pairs(scores) if scores else [],
        guess=majority_share(scores),
        HEADINGS=HEADINGS,
        MAX_ROWS=MAX_ROWS,
        MAX_MATRIX=MAX_MATRIX,
        MAX_SAMPLES=MAX_SAMPLES,
        MAX_MISTAKES=MAX_MISTAKES,
    )


@cache
def page_template() -> Template:
    """The page, compiled once for a process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("closeup", "report"),
        autoescape=True,
        finalize=readable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, duration=duration, score="{:.3f}".format, count=count
    )
    return environment.get_template("page.html")


def confused_pairs(scores: Scores, limit: int = MAX_PAIRS) -> list[Pair]:
    """The most frequent wrong answers, by count and then by share; single ones are left out."""
    pairs = [
        Pair(truth, answer, count, sum(row))
        for truth, row in zip(scores.labels, scores.confusion, strict=True)
        for answer, count in zip(scores.labels, row, strict=True)
        if count > 1 and truth != answer
    ]
    return sorted(pairs, key=lambda p: (-p.count, p.support, p.truth, p.answer))[:limit]


def head_chart(log: Mapping[str, Any]) -> Markup:
    """The head's cross-validation or epochs as a chart; empty where the log has no table."""
    table: Sequence[dict[str, float]] = log.get("table", ())
    if not table:
        return Markup("")
    if log["kind"] in ("logistic", "ridge"):
        name, what = ("c", "C") if log["kind"] == "logistic" else ("penalty", "penalty")
        direction = "weaker" if name == "c" else "stronger"
        points = [(math.log10(row[name]), row["macro_f1"]) for row in table]
        errors = [row["error"] for row in table]
        whole = [x for x, _ in points if abs(x - round(x)) < 1e-6]
        ticks = [(x, f"{10 ** round(x):g}") for x in whole]
        line = Line("macro-F1", "one", points, errors)
        return line_chart(
            [line], ticks, f"{what} ({direction} regularisation to the right)",
            math.log10(log[name]),
            f"Macro-F1 in cross-validation for each {what}; {what} = {log[name]:g} was chosen",
        )  # fmt: skip
    lines = [Line("training", "two", [(row["epoch"], row["loss"]) for row in table])]
    if "validation_loss" in table[0]:
        losses = [(row["epoch"], row["validation_loss"]) for row in table]
        lines.insert(0, Line("validation", "one", losses))
    step = max(1, len(table) // 8)
    ticks = [(row["epoch"], f"{row['epoch']:g}") for row in table[::step]]
    return line_chart(
        lines, ticks, "epoch; the lines show losses", log["best_epoch"],
        f"Training and validation loss by epoch; epoch {log['best_epoch']} was kept",
    )  # fmt: skip


def reliability_chart(trust: Trust) -> Markup:
    """Accuracy against confidence in equal-width bins, with the diagonal."""
    bins = [row for row in trust.calibration.bins if row.count]
    points = [(row.confidence, row.accuracy) for row in bins]
    # Half a 95 % interval of a share, by Agresti and Coull (1998).
    errors = [1.96 * math.sqrt((p := (row.accuracy * row.count + 2) / (row.count + 4)) * (1 - p)
                               / (row.count + 4)) for row in bins]  # fmt: skip
    ticks = [(x / 10, f"{x / 10:g}") for x in range(0, 11, 2)]
    return line_chart(
        [Line("ideal", "two", [(0.0, 0.0), (1.0, 1.0)]), Line("measured", "one", points, errors)],
        ticks, "confidence; the lines show accuracy", trust.calibration.confidence,
        "Accuracy against confidence on the test part; the vertical line is the mean confidence",
    )  # fmt: skip


def withholding_chart(trust: Trust) -> Markup:
    """Accuracy of the most confident answers against the share answered."""
    curve = trust.selective.curve
    points = [(point.coverage, point.accuracy.value) for point in curve]
    errors = [(point.accuracy.high - point.accuracy.low) / 2 for point in curve]
    ticks = [(x / 10, f"{x * 10} %") for x in range(0, 11, 2)]
    return line_chart(
        [Line("accuracy", "one", points, errors)], ticks, "share answered, most confident first",
        trust.answered.value,
        "Accuracy of the most confident answers against the share answered; the vertical line is "
        "the share that the model answers",
    )  # fmt: skip


def curve_chart(curve: LearningCurve) -> Markup:
    """The measured and the fitted score against photos per class."""
    measured = [(point.photos, point.score.value) for point in curve.measured]
    errors = [(point.score.high - point.score.low) / 2 for point in curve.measured]
    fitted = [(point.photos, point.score.value) for point in curve.line]
    spread = [(point.score.high - point.score.low) / 2 for point in curve.line]
    last = fitted[-1][0]
    step = next(s for s in (m * 10**e for e in range(6) for m in (1, 2, 5)) if last / s <= 7)
    ticks = [(x * step, f"{x * step:g}") for x in range(1, int(last // step) + 1)]
    return line_chart(
        [Line("fitted", "two", fitted, spread), Line("measured", "one", measured, errors)],
        ticks, "training photos per label; the lines show macro-F1", curve.photos,
        "Macro-F1 in cross-validation against the number of training photos per label, and the "
        "fitted curve beyond; the vertical line is the present number",
    )  # fmt: skip


def history_chart(history: History) -> Markup:
    """Macro-F1 by training, of those on the split of the one in use; empty for fewer than two."""
    split = history.used.split if history.used else ""
    rows = [row for row in history.trainings if row.split == split]
    found = {
        "test": [(row.number, row.macro_f1) for row in rows if row.macro_f1],
        "out of fold": [(row.number, row.out_of_fold) for row in rows if row.out_of_fold],
    }
    lines = [
        Line(name, css, [(n, score.value) for n, score in points],
             [(score.high - score.low) / 2 for _, score in points] if css == "one" else ())
        for (name, points), css in zip(found.items(), ("one", "two"), strict=True) if points
    ]  # fmt: skip
    if not lines or len(rows) < 2:
        return Markup("")
    step = -(-len(rows) // 12)
    ticks = [(float(row.number), str(row.number)) for row in rows[::step]]
    return line_chart(
        lines, ticks, "training; the lines show macro-F1", history.in_use,
        "Macro-F1 of each training, on the test part and out of fold; the vertical line is the one "
        "in use",
    )  # fmt: skip


def percent(share: float) -> str:
    r"""A share as a percentage that says 0 or 100 only where that is exact.

    >>> percent(0.9996), percent(1.0), percent(0.123)
    ('99.9\xa0%', '100\xa0%', '12.3\xa0%')
    """
    if share in (0, 1):
        return f"{share:.0%}".replace("%", "\N{NO-BREAK SPACE}%")
    bounded = min(max(round(share * 100, 1), 0.1), 99.9)
    return f"{bounded:.1f}\N{NO-BREAK SPACE}%"


def count(number: int) -> str:
    """A whole number with separated thousands.

    >>> count(12345)
    '12,345'
    """
    return f"{number:,}"


def duration(seconds: float) -> str:
    r"""Seconds for people, which stay on one line.

    >>> duration(7.25)
    '7.2\xa0s'
    """
    return text.duration(seconds).replace(" ", "\N{NO-BREAK SPACE}")
