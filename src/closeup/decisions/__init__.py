"""What people decided in review: an append-only log in the project folder.

Nothing in it is changed or deleted (the database itself refuses that); undoing adds a row that
names the one undone. Which decisions are active is a pure function of the rows, :func:`current`.
"""

REVIEW_PORT = 8100
REVIEW_URL = f"http://127.0.0.1:{REVIEW_PORT}"
"""Default address of ``closeup review``; reports link to it."""
