"""``closeup review``: review the close-ups of a project in a browser."""

from closeup.web.review.app import ReviewConfig, make_review_app

__all__ = ["ReviewConfig", "make_review_app"]
