"""Scripts that no test runs still import what exists, inside functions too."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(file for folder in ("bench", "tools") for file in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_what_is_imported_of_closeup_exists(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("closeup"):
            continue
        module = importlib.import_module(node.module or "")
        for name in (alias.name for alias in node.names):
            if not hasattr(module, name):
                importlib.import_module(f"{node.module}.{name}")
