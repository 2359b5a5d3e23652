"""``closeup serve``: a model's answers over HTTP, and a page to try it."""
