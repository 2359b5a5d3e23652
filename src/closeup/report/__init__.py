"""The report: one self-contained HTML page about a run."""

from __future__ import annotations

from closeup.evaluate.scores import worst_mistakes
from closeup.report.data import (
    LabelRow,
    Mistake,
    NetworkRow,
    PhotoCounts,
    ReportData,
    Sample,
    Skipped,
    pick_samples,
)
from closeup.report.page import render_report
from closeup.report.thumbnail import thumbnail

__all__ = [
    "LabelRow",
    "Mistake",
    "NetworkRow",
    "PhotoCounts",
    "ReportData",
    "Sample",
    "Skipped",
    "pick_samples",
    "render_report",
    "thumbnail",
    "worst_mistakes",
]
