"""Write the table of networks in docs/networks.md from the catalogue.

``python tools/networks_table.py`` rewrites it; with ``--check`` it only says whether it is true.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from closeup.networks.catalogue import Entry, catalogue

PAGE = Path(__file__).resolve().parent.parent / "docs" / "networks.md"
BEGIN, END = "<!-- catalogue -->\n", "<!-- end of catalogue -->"
HEAD = (
    "| name | what it is | needs PyTorch | time | MB | licence | published figures | from |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def row(entry: Entry) -> str:
    """A network as a row of the table."""
    licence = entry.licence if entry.commercial else f"**{entry.licence}** (non-commercial)"
    if entry.terms:
        licence += f"; {entry.terms}"
    figures = ", ".join(f"{name} {value:g}" for name, value in entry.published.items())
    page = f"https://huggingface.co/{entry.repo}"
    place = f"[{entry.repo}]({page})" if entry.repo else f"torchvision {entry.architecture}"
    if entry.revision:
        place += f" at `{entry.revision[:7]}`"
    cells = (
        f"`{entry.name}`" + " (default)" * entry.default,
        entry.about,
        "yes" if entry.needs_torch else "no",
        f"{entry.cost:g}" if entry.cost else "",
        f"{entry.about_megabytes:.0f}" if entry.about_megabytes else "",
        licence,
        figures and f"[{figures}]({entry.published_by})",
        place,
    )
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """The page with the table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf8").partition(BEGIN)
    after = rest.partition(END)[2]
    parts = []
    for kind, title in (("detector", "Detectors"), ("backbone", "Backbones")):
        rows = "".join(row(entry) for entry in catalogue().values() if entry.kind == kind)
        parts.append(f"### {title}\n\n{HEAD}{rows}")
    table = "\n".join(parts)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Rewrite the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    wanted = page()
    if parser.parse_args().check:
        if PAGE.read_text(encoding="utf8") != wanted:
            sys.exit(f"{PAGE.name} is out of date: run python tools/networks_table.py")
        return
    PAGE.write_text(wanted, encoding="utf8")


if __name__ == "__main__":
    main()
