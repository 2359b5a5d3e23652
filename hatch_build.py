"""README for the page of the package, where links into the repository would lead nowhere.

With ``CLOSEUP_ADDRESS`` (the repository's own address, given at a release) they lead there, to the
files of that version; without it, links to files become plain words and pictures are left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def readme(text: str, address: str, version: str) -> str:
    """README with whole addresses for its links and pictures."""

    def whole(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if not address:
            return "" if picture else words
        kind = "raw" if picture else "blob"
        return f"{picture}[{words}]({address.rstrip('/')}/{kind}/v{version}/{target})"

    return LINK.sub(whole, text)


class Readme(MetadataHookInterface):
    """What hatchling calls for the fields that ``pyproject.toml`` leaves to it."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the readme, and the address where it is known."""
        root, address = Path(self.root), os.environ.get("CLOSEUP_ADDRESS", "")
        text = (root / "README.md").read_text(encoding="utf8")
        source = (root / "src/closeup/_version.py").read_text(encoding="utf8")
        version = re.search(r'__version__ = "(.+)"', source)
        assert version
        told = {"content-type": "text/markdown", "text": readme(text, address, version[1])}
        metadata["readme"] = told
        if address:
            metadata["urls"] = {"Source": address}
