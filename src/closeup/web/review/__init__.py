"""``closeup review``: go through the close-ups of a project in a browser and decide."""

from closeup.web.review.app import ReviewConfig, make_review_app

__all__ = ["ReviewConfig", "make_review_app"]
