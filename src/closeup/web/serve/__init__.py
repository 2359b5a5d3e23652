"""``closeup serve``: a model's answers over HTTP, and a page to try it."""

from closeup.web.serve.app import ServeConfig, make_serve_app
from closeup.web.serve.examples import project_of
from closeup.web.serve.service import Limits
from closeup.web.serve.uploads import UploadLimits

__all__ = ["Limits", "ServeConfig", "UploadLimits", "make_serve_app", "project_of"]
