"""The folder that this machine gives to keep things in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "CLOSEUP_CACHE"


def cache_folder() -> Path:
    """Where networks and compiled graphs are kept: ``CLOSEUP_CACHE``, else the user's cache.

    The folder may not exist yet.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "closeup"
