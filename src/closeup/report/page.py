"""The page itself: data into HTML that needs nothing beside it, no script and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from closeup.core.text import readable
from closeup.evaluate.scores import MAX_MISTAKES, Scores
from closeup.report.charts import Line, line_chart
from closeup.report.data import MAX_COPIES, MAX_DOUBTFUL, MAX_SAMPLES, ReportData

MAX_ROWS = 200
"""Rows of a table (labels, skipped files, notes) that are shown; the rest is counted."""
MAX_MATRIX = 40
"""Labels up to which the confusion matrix is drawn; more do not fit a page."""
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
    """The report as one HTML file, of bounded size whatever the number of photos.

    Every text of the data is escaped; the page may load nothing (its own content policy says so).
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("closeup", "report"),
        autoescape=True,
        finalize=readable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration, score=score, count=count)
    return environment.get_template("page.html").render(
        data=data,
        scores=data.scores,
        chart=head_chart(data.head_log),
        growth=curve_chart(data.curve) if data.curve else "",
        MAX_DOUBTFUL=MAX_DOUBTFUL,
        MAX_COPIES=MAX_COPIES,
        reliability=reliability_chart(data.trust) if data.trust else "",
        withholding=withholding_chart(data.trust) if data.trust else "",
        pairs=confused_pairs(data.scores) if data.scores else [],
        guess=majority_share(data.scores) if data.scores else 0.0,
        HEADINGS=HEADINGS,
        MAX_ROWS=MAX_ROWS,
        MAX_MATRIX=MAX_MATRIX,
        MAX_SAMPLES=MAX_SAMPLES,
        MAX_MISTAKES=MAX_MISTAKES,
    )


def confused_pairs(scores: Scores, limit: int = MAX_PAIRS) -> list[Pair]:
    """The most frequent wrong answers, by count and then by share; single ones are left out."""
    pairs = [
        Pair(truth, answer, count, sum(row))
        for truth, row in zip(scores.labels, scores.confusion, strict=True)
        for answer, count in zip(scores.labels, row, strict=True)
        if count > 1 and truth != answer
    ]
    return sorted(pairs, key=lambda p: (-p.count, p.support, p.truth, p.answer))[:limit]


def majority_share(scores: Scores) -> float:
    """Accuracy of always answering the test part's most frequent label."""
    return max((sum(row) for row in scores.confusion), default=0) / max(scores.n, 1)


def head_chart(log: Mapping[str, Any]) -> Markup:
    """The head's cross-validation or epochs as a chart; nothing where there is no table."""
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
        lines, ticks, "epoch; the lines are losses", log["best_epoch"],
        f"Loss of training and validation by epoch; epoch {log['best_epoch']} was kept",
    )  # fmt: skip


def reliability_chart(trust: Any) -> Markup:
    """Accuracy over stated confidence in equal-width bins, beside the diagonal."""
    bins = [row for row in trust.calibration.bins if row.count]
    points = [(row.confidence, row.accuracy) for row in bins]
    # Half a 95 % interval of a share, by Agresti and Coull (1998).
    errors = [1.96 * math.sqrt((p := (row.accuracy * row.count + 2) / (row.count + 4)) * (1 - p)
                               / (row.count + 4)) for row in bins]  # fmt: skip
    ticks = [(x / 10, f"{x / 10:g}") for x in range(0, 11, 2)]
    return line_chart(
        [Line("ideal", "two", [(0.0, 0.0), (1.0, 1.0)]), Line("measured", "one", points, errors)],
        ticks, "stated confidence; the lines are accuracy", trust.calibration.confidence,
        "Accuracy over stated confidence on the test part; the vertical line is the mean "
        "confidence",
    )  # fmt: skip


def withholding_chart(trust: Any) -> Markup:
    """Accuracy of the surest answers over the share that is answered."""
    curve = trust.selective.curve
    points = [(point.coverage, point.accuracy.value) for point in curve]
    errors = [(point.accuracy.high - point.accuracy.low) / 2 for point in curve]
    ticks = [(x / 10, f"{x * 10} %") for x in range(0, 11, 2)]
    return line_chart(
        [Line("accuracy", "one", points, errors)], ticks, "share answered, surest first",
        trust.answered.value,
        "Accuracy of the surest answers over the share answered; the vertical line is what the "
        "model answers",
    )  # fmt: skip


def curve_chart(curve: Any) -> Markup:
    """The measured and the fitted score over photos a class."""
    measured = [(point.photos, point.score.value) for point in curve.measured]
    errors = [(point.score.high - point.score.low) / 2 for point in curve.measured]
    fitted = [(point.photos, point.score.value) for point in curve.line]
    spread = [(point.score.high - point.score.low) / 2 for point in curve.line]
    last = fitted[-1][0]
    step = next(s for s in (m * 10**e for e in range(6) for m in (1, 2, 5)) if last / s <= 7)
    ticks = [(x * step, f"{x * step:g}") for x in range(1, int(last // step) + 1)]
    return line_chart(
        [Line("fitted", "two", fitted, spread), Line("measured", "one", measured, errors)],
        ticks, "training photos a label; the lines are macro-F1", curve.photos,
        "Macro-F1 in cross-validation over the number of training photos a label, and the fitted "
        "curve beyond; the vertical line is what there is now",
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
    """A whole number with its thousands set apart.

    >>> count(12345)
    '12,345'
    """
    return f"{number:,}"


def score(value: float) -> str:
    """A score from 0 to 1 with three decimals."""
    return f"{value:.3f}"


def duration(seconds: float) -> str:
    r"""Seconds for people.

    >>> duration(0.04), duration(7.25), duration(187)
    ('0.04\xa0s', '7.2\xa0s', '3\xa0min 7\xa0s')
    """
    space = "\N{NO-BREAK SPACE}"
    if seconds < 1:
        return f"{seconds:.2f}{space}s"
    if seconds < 60:
        return f"{seconds:.1f}{space}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{space}min {rest}{space}s"
