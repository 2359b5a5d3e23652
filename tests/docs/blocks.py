"""The commands and programs that stand on README and the pages of docs/."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

MADE = {"cli.md"}
"""Pages that are made from the command line itself; their usage lines are no commands."""
WRITTEN = sorted(file for file in (ROOT / "docs").glob("*.md") if file.name not in MADE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.M | re.S)
PROGRAMS = ("closeup", "pip", "python", "pytest", "make", "git", "cd", "source", "export", "curl",
            "docker")  # fmt: skip

NOT_RUN = {
    r"(python -m )?pip install|python -m (venv|build|zipfile)|source|cd|git":
        "sets up a machine; tests/test_install.py runs the install lines",
    r"make|pytest": "the tests themselves",
    r"for|aws": "fetches gigabytes",
    r"python examples/": "tests/examples runs them",
    r"closeup collect": "needs addresses on the web; tests/collect has a server of its own",
    r"docker": "needs Docker; tests/web/test_command.py checks the steps",
    r"curl|export": "needs a running service; tests/web/test_service.py asks the same",
    r"closeup models pull": "needs the hub; tests/networks/test_core_alone.py has a stand-in",
    r"closeup (predict|crop|embed) .*--ray": "starts Ray; tests/batch/test_run.py",
    r".*(s3|gs|abfs)://": "needs a store; tests/batch/test_s3.py",
    r"closeup .*--push": "needs the hub; tests/export/test_hub.py",
    r"closeup models add hf:": "needs the hub; tests/networks/test_add_backbone.py",
}  # fmt: skip
"""What no test of the pages runs, by how the command begins, and why."""


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    - `where`: the page and the line of its first fence
    - `language`: what the fence says
    """

    where: str
    language: str
    text: str

    @property
    def is_python(self) -> bool:
        return self.language == "python"

    @property
    def commands(self) -> list[str]:
        """Its commands as they stand, with their comments; none of a program or an output."""
        if self.is_python or self.language not in ("", "sh", "console"):
            return []
        joined = re.sub(r"\\\n(> ?)?", " ", self.text)
        lines = [line.strip() for line in joined.splitlines() if line.strip()]
        if any(line.startswith("$ ") for line in lines):
            return [line[2:] for line in lines if line.startswith("$ ")]
        found = [
            line for line in lines if re.match(rf"([A-Z_]+=\S+ )?({'|'.join(PROGRAMS)})\b", line)
        ]
        return found if self.language == "sh" or found == lines else []


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in their order."""
    text = page.read_text(encoding="utf8")
    return [
        Block(f"{page.name}:{text[: found.start()].count(chr(10)) + 1}", found[2],
              re.sub(rf"^{found[1]}", "", found[3], flags=re.M))
        for found in FENCE.finditer(text)
    ]  # fmt: skip


def reason_of(text: str) -> str:
    """Why a command or program is not run; ``""`` where it is.

    Either its own comment says what it needs, or it is of a kind in :data:`NOT_RUN`.
    """
    if said := re.search(r"# .*\b(needs [^;\n]+)", text):
        return said[1]
    bare = re.sub(r"^[A-Z_]+=\S+ ", "", text)
    return next((why for kind, why in NOT_RUN.items() if re.match(rf"({kind})\b", bare, re.S)), "")


def words_of(command: str) -> list[str]:
    """A command's words, as a shell would give them, without the comment."""
    return shlex.split(command, comments=True)
