"""Read a TOML file that may be a stranger's."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from closeup.core.errors import ProjectError


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    ProjectError
        Where the file is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf8"))
    except OSError as err:
        raise ProjectError(f"{file} cannot be read: {err.strerror or err}") from err
    except (ValueError, RecursionError) as err:
        raise ProjectError(f"{file} is not valid TOML: {err}; fix or delete it") from err
