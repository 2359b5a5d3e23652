"""Closeup: turn a small pile of labelled photos into a fine-grained image classifier.

The object is found through a parent category that a COCO detector already knows, cut out of the
original pixels as a close-up, and told apart by a transfer-learned classifier::

    import closeup

    result = closeup.run("photos", out="watches", parent="clock")
    model = closeup.load("watches/model")
    print(model.predict("new.jpg").label)

Names are imported when first used: ``import closeup`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "CloseupError",
    "Model",
    "Prediction",
    "RunResult",
    "__version__",
    "crop",
    "load",
    "run",
    "scout",
    "train",
]

if TYPE_CHECKING:
    from closeup.api import crop, load, run, scout, train
    from closeup.errors import CloseupError
    from closeup.model import Model
    from closeup.pipeline.summary import RunResult
    from closeup.types import Prediction

_HOMES = {
    "CloseupError": "closeup.errors",
    "Model": "closeup.model",
    "Prediction": "closeup.types",
    "RunResult": "closeup.pipeline.summary",
    "crop": "closeup.api",
    "load": "closeup.api",
    "run": "closeup.api",
    "scout": "closeup.api",
    "train": "closeup.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'closeup' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
