"""README as the page of the package shows it: no link and no picture that leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://example.org/owner/closeup"
TARGETS = re.compile(r"\]\(([^)]+)\)")


def metadata() -> ProjectMetadata[PluginManager]:
    return ProjectMetadata(str(ROOT), PluginManager())


def test_with_an_address_every_link_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEUP_ADDRESS", ADDRESS)
    told = metadata()
    version = told.version
    text = told.core.readme
    links = TARGETS.findall(text)
    assert len(links) == len(TARGETS.findall((ROOT / "README.md").read_text(encoding="utf8"))) > 20
    assert f"{ADDRESS}/blob/v{version}/docs/your-data.md" in links
    assert f"{ADDRESS}/raw/v{version}/docs/images/demo.jpg" in links
    assert not [link for link in links if not link.startswith("https://")]
    assert told.core.urls == {"Source": ADDRESS}


def test_without_one_words_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOSEUP_ADDRESS", raising=False)
    told = metadata()
    assert not [link for link in TARGETS.findall(told.core.readme) if ":" not in link]
    assert "![" not in told.core.readme
    assert "your photos" in told.core.readme
    assert told.core.readme_content_type == "text/markdown"
    assert told.core.urls == {}
