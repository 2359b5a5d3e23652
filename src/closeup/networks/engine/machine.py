"""The folder in which this machine keeps caches."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "CLOSEUP_CACHE"


def cache_folder() -> Path:
    """Where networks and compiled graphs are kept: ``CLOSEUP_CACHE``, else the user's cache."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser().absolute()
    from platformdirs import PlatformDirs

    return PlatformDirs("closeup", appauthor=False, opinion=False).user_cache_path
