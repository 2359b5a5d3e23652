"""Text from elsewhere, made safe to display.

A file name, a label or a network's card may hold line breaks, terminal codes or characters that
change the reading direction. Displayed as they are, they could fake a line of output, or worse.
"""

from __future__ import annotations

import hashlib
import html
import unicodedata
from collections.abc import Iterable, Sequence

# Control characters, halves of a pair (how Python keeps bytes that are not UTF-8), line ends.
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NOT_IN_NAMES = frozenset('/\\:*?"<>|%')
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}).union(
    f"{port}{number}" for port in ("COM", "LPT") for number in "123456789\u00b9\u00b2\u00b3"
)  # which Windows opens instead of a file of this name
_LONGEST_FOLDER = 120
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str, keep: str = "") -> str:
    """`text` on one line, with escapes for everything a terminal would act on, except `keep`.

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
    """The same JSON with escapes for characters that a terminal would act on."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(char):04x}" if _is_unsafe(char) else char for char in text)


def readable(value: object) -> object:
    """For pages: a string as by :func:`visible`, with its line breaks; anything else unchanged."""
    return type(value)(visible(value, keep="\n\t")) if isinstance(value, str) else value


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    >>> print(markdown("a_b [1]"))
    a\\_b \\[1\\]
    """
    plain = html.escape(visible(" ".join(text.split())), quote=False)
    return "".join(f"\\{one}" if one in "\\`*_[]|#" else one for one in plain)


def first_of(names: Iterable[str], most: int = 5) -> str:
    """The first names in order, at most `most`, and how many more there are.

    >>> first_of(["c", "a", "b"], 2), first_of(["a"], 2)
    ('a, b and 1 more', 'a')
    """
    return listed(sorted(names), most)


def listed(names: Sequence[str], most: int = 8) -> str:
    """The names as they come, at most `most`, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def enumerated(names: Sequence[str]) -> str:
    """All of the names, as in a sentence.

    >>> enumerated(["a"]), enumerated(["a", "b"]), enumerated(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def folder_name(label: str) -> str:
    """A label as the name of a folder: the same label if it is safe, and unique for each label.

    >>> folder_name("Granny Smith"), folder_name("a/b"), folder_name(".."), folder_name("con")
    ('Granny Smith', 'a%2Fb', '%2E%2E', '%63on')
    """
    if not label:
        return "%unlabelled"
    ends = (0, len(label) - 1)
    safe = "".join(
        "".join(f"%{byte:02X}" for byte in char.encode())
        if char in _NOT_IN_NAMES or not char.isprintable() or (place in ends and char in ". ")
        else char
        for place, char in enumerate(label)
    )
    if safe.partition(".")[0].rstrip().upper() in _DEVICES:
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if len(safe.encode()) > _LONGEST_FOLDER:
        digest = hashlib.blake2b(label.encode(), digest_size=8).hexdigest()
        safe = f"{safe.encode()[: _LONGEST_FOLDER - 20].decode(errors='ignore')}%{digest}"
    return safe


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.04), duration(7.25), duration(187), duration(18639)
    ('0.04 s', '7.2 s', '3 min 7 s', '5 h 11 min')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def rough_duration(seconds: float) -> str:
    """Seconds for people, where they are only known roughly.

    >>> rough_duration(31.4), rough_duration(91), rough_duration(18639)
    ('31 s', '2 min', '5 h 11 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else duration(seconds)


def _is_unsafe(char: str) -> bool:
    return char in _TURNING or unicodedata.category(char) in _UNSAFE
