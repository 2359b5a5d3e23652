"""The page itself: one HTML file that loads nothing, and runs nothing but its own `page.js`."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from closeup.core import text
from closeup.core.text import readable
from closeup.evaluate.checks import CheckState
from closeup.evaluate.findings import majority_share
from closeup.evaluate.scores import MAX_MISTAKES, ClassScore, Scores
from closeup.report import curves, verdict
from closeup.report.data import MAX_COPIES, MAX_LABEL_ISSUES, MAX_SAMPLES, ReportData, Sample
from closeup.report.result import RunResult
from closeup.report.verdict import Level

if TYPE_CHECKING:
    from jinja2 import Template

MAX_ROWS = 200  # rows shown of a table (skipped files, notes); the others are counted
MAX_CLASSES = 1000  # rows shown of the table of classes
MIN_SEARCH = 30  # a longer table can be searched
MAX_MATRIX = 40  # the confusion matrix of more classes does not fit a page
MAX_PAIRS = 10
MAX_STEPS = 3  # of what to do first; the others are folded away
MAX_STRIP = 10  # close-ups on the first screen
LEVELS = {
    None: "fine",
    Level.SERIOUS: "serious",
    Level.WORTH_DOING: "worth",
    Level.GOOD_TO_KNOW: "know",
}
"""CSS classes of the levels."""
HEADINGS = {
    "epoch": "epoch",
    "c": "C",
    "penalty": "penalty",
    "macro_f1": "macro-F1",
    "error": "standard error",
    "loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
    "validation_macro_f1": "validation macro-F1",
    "rate": "learning rate",
}
"""The head log's columns in order, and their names for people."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`count` of the `support` test close-ups of `truth` were answered `answer`."""

    truth: str
    answer: str
    count: int
    support: int


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: its photos, in which share of them it was found, its score (None: untested)."""

    label: str
    photos: int
    found: float
    score: ClassScore | None


def render_report(data: ReportData) -> str:
    """The report as one HTML file, whose size is bounded however many photos there are.

    Every text is escaped. The content security policy of the page forbids loading anything, and
    running anything but the script that searches tables and opens sections.
    """
    result, scores, trust = data.result, data.result.scores, data.result.trust
    curve, order = result.findings.curve, list(CheckState)
    strip, samples = on_strip(data.samples)
    return page_template().render(
        data=data,
        result=result,
        scores=scores,
        curve=curve,
        folder=shlex.quote(str(result.report.parent)),
        verdict=verdict.verdict(result),
        figures=verdict.figures(result),
        steps=verdict.steps(result),
        checks=sorted(result.checks, key=lambda check: order.index(check.state)),
        notes_or_checks=bool(result.notes or result.checks),
        classes=class_rows(result),
        strip=strip,
        samples=samples,
        wrong=sum(row.answer != row.truth for row in result.results),
        columns=[name for name in HEADINGS if name in set().union(*result.log.get("table", ()))],
        chart=curves.head_chart(result.log),
        growth=curves.curve_chart(curve) if curve else "",
        trainings=curves.history_chart(data.history) if data.history else "",
        reliability=curves.reliability_chart(trust) if trust else "",
        withholding=curves.withholding_chart(trust) if trust else "",
        pairs=confused_pairs(scores) if scores else [],
        guess=majority_share(scores),
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
        percent=percent, duration=duration, score="{:.3f}".format, count=count, sentence=sentence
    )
    script = files("closeup.report").joinpath("page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals.update(
        script=Markup(script),  # a file of the package
        script_hash=f"sha256-{digest}",
        HEADINGS=HEADINGS, LEVELS=LEVELS, MAX_CLASSES=MAX_CLASSES, MAX_COPIES=MAX_COPIES,
        MAX_LABEL_ISSUES=MAX_LABEL_ISSUES, MAX_MATRIX=MAX_MATRIX, MAX_MISTAKES=MAX_MISTAKES,
        MAX_ROWS=MAX_ROWS, MAX_STEPS=MAX_STEPS, MIN_SEARCH=MIN_SEARCH,
    )  # fmt: skip
    return environment.get_template("page.html")


def on_strip(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The samples for the first screen, evenly from all; and the others."""
    some = samples[:MAX_SAMPLES]
    step = max(1, -(-len(some) // MAX_STRIP))
    return some[::step], [sample for place, sample in enumerate(some) if place % step]


def class_rows(result: RunResult) -> list[ClassRow]:
    """Every class, the weakest first; those without a score last."""
    counts = result.counts
    of = {row.label: row for row in result.scores.per_class} if result.scores else {}
    rows = [
        ClassRow(label, counts.labels.get(label, 0), counts.found_per_label.get(label, 0.0),
                 of.get(label))
        for label in dict.fromkeys([*counts.labels, *of])
    ]  # fmt: skip

    def place(row: ClassRow) -> tuple[bool, float, str]:
        tested = row.score is not None and row.score.support > 0
        return not tested, row.score.f1.value if row.score and tested else 0.0, row.label

    return sorted(rows, key=place)


def confused_pairs(scores: Scores, limit: int = MAX_PAIRS) -> list[Pair]:
    """The most frequent wrong answers, by count and then by share; single ones are left out."""
    pairs = [
        Pair(truth, answer, count, sum(row))
        for truth, row in zip(scores.labels, scores.confusion, strict=True)
        for answer, count in zip(scores.labels, row, strict=True)
        if count > 1 and truth != answer
    ]
    return sorted(pairs, key=lambda p: (-p.count, p.support, p.truth, p.answer))[:limit]


def sentence(text: str) -> Markup:
    """`text` with a capital and a full stop, and what stands in backticks as code.

    >>> sentence("see `closeup review`")
    Markup('See <code>closeup review</code>.')
    """
    end = "" if text.endswith(("…", ".")) else "."
    plain, *rest = f"{text[:1].upper()}{text[1:]}{end}".split("`")
    shown = escape(plain)
    for place, part in enumerate(rest):
        shown += (Markup("<code>{}</code>") if place % 2 == 0 else Markup("{}")).format(part)
    return shown


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
