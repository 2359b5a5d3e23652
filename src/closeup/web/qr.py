"""QR codes in a terminal."""

from __future__ import annotations

from typing import IO

import segno
from rich.console import Console
from rich.text import Text

BORDER = 4
"""Light modules around the code, as its standard asks for."""
_HALVES = " ▀▄█"
"""By two modules: bit 0 for the upper, bit 1 for the lower one, set where it is dark."""


def print_qr(text: str, stream: IO[str]) -> None:
    """Print a QR code, black on white whatever the terminal's own colours are.

    Two modules share a character; where the encoding lacks block characters, each is two spaces
    wide. Nothing where there are no colours: the code could come out inverted.
    """
    console = Console(file=stream, highlight=False, soft_wrap=True)
    rows = [list(row) for row in segno.make(text, micro=False).matrix_iter(border=BORDER)]
    blocks = _can_encode(_HALVES, console.encoding)
    wide = len(rows[0]) * (1 if blocks else 2)
    coloured = console.is_terminal and console.color_system and not console.no_color
    if not coloured or console.width < wide:
        return
    black, white = "#000000", "#ffffff"  # by number: the names are the terminal's own colours
    if blocks:
        rows += [[0] * len(rows[0])] * (len(rows) % 2)
        for upper, lower in zip(rows[::2], rows[1::2], strict=True):
            line = "".join(_HALVES[a + 2 * b] for a, b in zip(upper, lower, strict=True))
            console.print(Text(line, f"{black} on {white}"))
        return
    for row in rows:
        console.print(Text.assemble(*(("  ", f"on {black if dark else white}") for dark in row)))


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
