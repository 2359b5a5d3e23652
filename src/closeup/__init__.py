"""Closeup: turn a small pile of labelled photos into a fine-grained image classifier.

The object is found through a parent category that a COCO detector already knows, cut out of the
original pixels as a close-up, and classified by transfer learning::

    import closeup

    result = closeup.run("photos", out="watches", parent="clock")
    model = closeup.load("watches/model")
    print(model.predict("new.jpg").label)

Names are imported when first used: ``import closeup`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from closeup._version import __version__

__all__ = [
    "CloseupError",
    "Model",
    "Prediction",
    "RunResult",
    "__version__",
    "crop",
    "history",
    "load",
    "run",
    "scout",
    "suggest",
    "train",
]

if TYPE_CHECKING:
    from closeup.api import crop, history, load, run, scout, suggest, train
    from closeup.core.errors import CloseupError
    from closeup.model.model import Model
    from closeup.model.prediction import Prediction
    from closeup.report.result import RunResult

_HOMES = {
    "CloseupError": "closeup.core.errors",
    "Model": "closeup.model.model",
    "Prediction": "closeup.model.prediction",
    "RunResult": "closeup.report.result",
    **dict.fromkeys(("crop", "history", "load", "run", "scout", "suggest", "train"), "closeup.api"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'closeup' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
