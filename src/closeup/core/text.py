"""Names from elsewhere as text that is safe to show.

A file name, a label or a network's card may hold line breaks, terminal codes or characters that
turn the reading direction: shown as they are, they could fake a line of output, or do worse.
"""

from __future__ import annotations

import unicodedata

# Control characters, halves of a pair (how Python keeps bytes that are not UTF-8), line ends.
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str, keep: str = "") -> str:
    """`text` on one line, what a terminal would act on written as an escape, but for `keep`.

    >>> visible("a\\nb \\x1b[31m"), visible("é 🍎")
    ('a\\\\nb \\\\x1b[31m', 'é 🍎')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if _is_unsafe(char) and char not in keep else char
        for char in text
    )


def visible_json(text: str) -> str:
    """JSON of the same value without characters that a terminal would act on."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(char):04x}" if _is_unsafe(char) else char for char in text)


def readable(value: object) -> object:
    """For pages: a text as :func:`visible` but for line ends; anything else as it is."""
    return type(value)(visible(value, keep="\n\t")) if isinstance(value, str) else value


def _is_unsafe(char: str) -> bool:
    return char in _TURNING or unicodedata.category(char) in _UNSAFE
