"""``closeup review``: review the close-ups of a project in a browser."""
