"""Labels that look alike are one class: never silently two."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from closeup.core.text import first_of


def plain(label: str) -> str:
    """What labels are compared by: not by case, Unicode form, or dots and spaces at the end.

    >>> plain("Omega. ") == plain("omega"), plain("A1") == plain("A2")
    (True, False)
    """
    composed = unicodedata.normalize("NFC", label).casefold()
    words = " ".join(composed.split())
    return unicodedata.normalize("NFC", words.rstrip(" .") or words)


def one_spelling(labels: Iterable[str]) -> dict[str, str]:
    """The spelling to use for each label: the most frequent of those that look alike."""
    counts = Counter(label for label in labels if label)
    best: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        best.setdefault(plain(label), label)
    return {label: best[plain(label)] for label in counts}


def notes_on_spelling(spelling: dict[str, str]) -> Sequence[str]:
    """A sentence on labels that are written in several ways; none where all are the same."""
    others: dict[str, list[str]] = {}
    for label, used in spelling.items():
        if label != used:
            others.setdefault(used, []).append(ascii_where_alike(label, used))
    pairs = [f"{used} (also written {', '.join(sorted(mine))})" for used, mine in others.items()]
    return [f"labels that look alike are one class: {first_of(pairs)}"] if pairs else []


def ascii_where_alike(label: str, other: str) -> str:
    """`label` so that a person sees how it differs from `other`.

    >>> ascii_where_alike("Omega ", "omega"), ascii_where_alike("e\\u0301", "\\u00e9")
    ("'Omega '", "'e\\\\u0301'")
    """
    same = unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", other)
    return ascii(label) if same else repr(label)
