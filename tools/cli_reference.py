"""Write docs/cli.md from the command line's own help; ``--check`` fails where it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer.main
from typer.cli import get_docs_for_click
from typer.models import Context

from closeup.cli.app import VERBS, app, load

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = "<!-- Made by tools/cli_reference.py from the command line's own help. -->\n\n"


def reference() -> str:
    """The reference of all commands as Markdown."""
    command: Any = typer.main.get_command(app)
    command.commands = {verb: load(verb) for verb in VERBS}
    context = Context(command, info_name="closeup")
    text = get_docs_for_click(obj=command, ctx=context, name="closeup")
    return HEAD + text.strip() + "\n"


def main() -> None:
    """Write the page, or with ``--check`` exit 1 where it is out of date."""
    text = reference()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf8") != text:
        sys.exit(f"{PAGE.name} is out of date: run `python tools/cli_reference.py`")


if __name__ == "__main__":
    main()
