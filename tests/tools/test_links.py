"""The link checker finds what leads nowhere, and the repository's own pages have none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.links import ROOT, anchors, dead_links, pages


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("", []),
        ("[a](other.md) [b](other.md#two-words) [c](https://x.org/none) [d](#here)\n# Here", []),
        ("[a](none.md)", ["none.md"]),
        ("[a](other.md#three)", ["other.md#three"]),
        ("[a](#none)", ["#none"]),
        ("![a](none.png)", ["none.png"]),
        ('<img src="none.png">', ["none.png"]),
        ("[a][b]\n\n[b]: none.md", ["none.md"]),
        ("[a](../../outside.md)", ["../../outside.md"]),
        ("```\n[a](none.md)\n```\n`[a](none.md)`", []),
    ],
)
def test_dead_links(tmp_path: Path, text: str, dead: list[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text("# Two words\n", encoding="utf8")
    (tmp_path.parent / "outside.md").write_text("", encoding="utf8")
    page = tmp_path / "docs" / "page.md"
    page.write_text(text, encoding="utf8")
    assert dead_links(page, tmp_path) == dead


def test_anchors_are_githubs() -> None:
    text = "# `closeup run`\n## What, and why?\n## Same\n## Same\n```\n# no heading\n```\n"
    assert anchors(text) == {"closeup-run", "what-and-why", "same", "same-1"}


def test_no_page_has_a_dead_link() -> None:
    assert {page.name: dead_links(page) for page in pages(ROOT) if dead_links(page)} == {}
