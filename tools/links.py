"""Check every link between the repository's pages, without a network: files and anchors exist.

    python tools/links.py

Reads the Markdown files of the root and of ``docs/`` as GitHub shows them (the site's generator
checks its own pages); exits 1 and names each dead link.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)


def pages(root: Path) -> list[Path]:
    """The Markdown files of the root and of ``docs/``."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def without_code(text: str) -> str:
    """A page without its blocks and spans of code."""
    return re.sub(r"`[^`\n]+`", "", BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """The names that GitHub gives a page's headings, and those given by hand."""
    plain = BLOCK.sub("", text)
    found: dict[str, int] = {}
    names = set(re.findall(r'\bid="([^"]+)"', plain))
    for heading in re.findall(r"^#+ +(.+?)\s*#*$", plain, re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        again = found.get(name, 0)
        found[name] = again + 1
        names.add(f"{name}-{again}" if again else name)
    return names


def dead_links(page: Path, root: Path = ROOT) -> list[str]:
    """The links of a page that lead nowhere; those to other sites are not followed."""
    text = page.read_text(encoding="utf8")
    plain = without_code(text)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", plain)
    targets += re.findall(r'\b(?:href|src|srcset)="([^"]+)"', plain)
    targets += re.findall(r"^\[[^]]+\]: +(\S+)", plain, re.M)
    dead = []
    for target in targets:
        if re.match(r"[a-z]+:|//", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        there = file.exists() and file.is_relative_to(root)
        if not there or (anchor and anchor not in anchors(file.read_text(encoding="utf8"))):
            dead.append(target)
    return dead


def main() -> int:
    """Name each dead link; 1 where there is one."""
    dead = [f"{page.relative_to(ROOT)}: {target} leads nowhere"
            for page in pages(ROOT) for target in dead_links(page)]  # fmt: skip
    print(*dead, sep="\n", end="\n" if dead else "")
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(main())
