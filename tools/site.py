"""What the site's generator asks for while it builds: what lies outside ``docs/``.

GitHub looks for the changelog, the contributor's guide and the security policy in the root of the
repository, so they stay there, and the site shows the same files. It also has a copy of each file
that a page links to (``../examples/first_model.py``). MkDocs calls these functions (``hooks`` in
``mkdocs.yml``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
SHOWN = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
         "SECURITY.md": "security.md", "README.md": "index.md"}  # fmt: skip
"""Where the site shows a file of the root; README's reader finds the start page."""


LONG = re.compile(r"(?<!<pre>)<code>(?=[^<]{50})")
OUTSIDE = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the root's pages to those of ``docs/``."""
    for name, shown in SHOWN.items():
        if name != "README.md":
            text = (ROOT / name).read_text(encoding="utf8")
            files.append(File.generated(config, shown, content=from_root(text)))
    texts = [file.content_string for file in files if file.src_uri.endswith(".md")]
    for name in {name for text in texts for name in OUTSIDE.findall(text) if name not in SHOWN}:
        if (ROOT / name).is_file():  # else the link is dead, which the build tells
            files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that leave ``docs/`` lead to the same pages of the site."""
    return OUTSIDE.sub(lambda link: SHOWN.get(link[1], link[1]), markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's dialog for those who hear the page; let long commands in a text wrap."""
    output = LONG.sub('<code class="long">', output)
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def from_root(text: str) -> str:
    """A page of the root, its links as they are from within ``docs/``."""
    text = re.sub(r"(?<=\]\()docs/", "", text)
    return re.sub(r"(?<=\]\()([A-Z]+\.md)", lambda link: SHOWN[link[1]], text)
