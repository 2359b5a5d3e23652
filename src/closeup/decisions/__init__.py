"""What people decided in review: an append-only log in the project folder.

Nothing in it is changed or deleted (the database itself refuses that); undoing adds a row that
names the one undone. Which decisions are active is a pure function of the rows, :func:`current`.
"""

from closeup.decisions.fold import NOTHING, Current, Verdict, current, last_batch, live
from closeup.decisions.kinds import LONGEST_LABEL, MOST_BOXES, Decision, Kind, Row, checked
from closeup.decisions.log import DECISIONS_FILE, Appended, Decisions, read_decisions

REVIEW_PORT = 8100
REVIEW_URL = f"http://127.0.0.1:{REVIEW_PORT}"
"""Default address of ``closeup review``; reports link to it."""

__all__ = [
    "DECISIONS_FILE",
    "LONGEST_LABEL",
    "MOST_BOXES",
    "NOTHING",
    "REVIEW_PORT",
    "REVIEW_URL",
    "Appended",
    "Current",
    "Decision",
    "Decisions",
    "Kind",
    "Row",
    "Verdict",
    "checked",
    "current",
    "last_batch",
    "live",
    "read_decisions",
]
