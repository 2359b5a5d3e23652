"""What a site says about robots: robots.txt by RFC 9309, and the header X-Robots-Tag.

Python's own parser follows the RFC (the longest rule wins, ``*`` and ``$``) only in its newest
versions; those before read a site wrongly that opens one folder below a closed one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

AGENT = "closeup"
"""The product token that rules name us by."""
MOST_BYTES = 500 * 1024
"""How much of a robots.txt is read, as the RFC asks for at least."""

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_FORBIDDING = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A path pattern, normalised, and whether what matches may be fetched."""

    pattern: str
    allow: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What a robots.txt says to one agent; `delay` is the pause it asks for, in seconds.

    `known` tells whether there is one.
    """

    rules: tuple[Rule, ...] = ()
    delay: float = 0.0
    known: bool = True

    def allows(self, path: str) -> bool:
        """Whether a path, with its query, may be fetched.

        >>> rules = parse("User-agent: *\\nDisallow: /a\\nAllow: /a/b$", "closeup")
        >>> rules.allows("/a/b"), rules.allows("/a/bc"), rules.allows("/")
        (True, False, True)
        """
        found = _normal(path or "/").replace("*", "%2A").replace("$", "%24")
        if found == "/robots.txt":
            return True
        matching = [rule for rule in self.rules if _matches(rule.pattern, found)]
        best = max(matching, key=lambda rule: (len(rule.pattern), rule.allow), default=None)
        return best is None or best.allow


def parse(text: str, agent: str = AGENT) -> Rules:
    """The rules of a robots.txt for an agent: those of all its groups, else of ``*``."""
    groups: dict[str, list[Rule]] = {}
    delays: dict[str, float] = {}
    names: set[str] = set()  # of the group being read, ours and `*` only
    ruled = False
    for line in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")):
        field, colon, value = line.partition("#")[0].partition(":")
        field, value = field.strip().lower(), value.strip()
        if not colon:
            continue
        if field == "user-agent":
            if ruled:
                names, ruled = set(), False
            token = re.match(r"[a-z_-]+|\*", value.lower())
            if token and token[0] in (agent, "*"):
                names.add(token[0])
                groups.setdefault(token[0], [])
        elif field in ("allow", "disallow"):
            ruled = True
            if value:
                rule = Rule(_pattern(value), field == "allow")
                for name in names:
                    groups[name].append(rule)
        elif field == "crawl-delay":
            ruled = True
            if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value):
                delays.update(dict.fromkeys(names, float(value)))
    name = agent if agent in groups else "*"
    return Rules(tuple(groups.get(name, ())), delays.get(name, 0.0))


def _pattern(path: str) -> str:
    """A rule's path, normalised; a ``$`` that is not at the end is an ordinary character."""
    path = _normal(path)
    return path[:-1].replace("$", "%24") + path[-1:]


def _normal(path: str) -> str:
    """Percent-encoded as RFC 9309 compares paths: only what must be, in upper case."""
    ascii_only = "".join(
        char if char.isascii() else "".join(f"%{b:02X}" for b in char.encode(errors="replace"))
        for char in path
    )

    def shortest(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if char in _UNRESERVED else found[0].upper()

    return re.sub(r"%([0-9a-fA-F]{2})", shortest, ascii_only)


def _matches(pattern: str, path: str) -> bool:
    """Whether a path begins as the pattern says, in time linear in their lengths.

    The pieces between ``*`` are looked for one after the other, each as early as possible, so no
    pattern from a stranger can make it search for long.
    """
    ends = pattern.endswith("$")
    first, *pieces = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    if not pieces:
        return not ends or path == first
    at = len(first)
    for piece in pieces[:-1]:
        at = path.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    last = pieces[-1]
    if ends:
        return path.endswith(last) and len(path) - len(last) >= at
    return path.find(last, at) >= 0


def forbidden_by(headers: Iterable[tuple[bytes, bytes]], agent: str = AGENT) -> str:
    """The directive of an answer's headers that forbids the use of a photo; ``""`` for none.

    ``X-Robots-Tag`` may name an agent before its directives; ``TDM-Reservation: 1`` reserves text
    and data mining.

    >>> forbidden_by([(b"X-Robots-Tag", b"otherbot: noindex, closeup: noai")])
    'noai'
    """
    for name, value in headers:
        lowered, text = name.lower(), value.decode("latin-1").lower()
        if lowered == b"tdm-reservation" and text.strip() == "1":
            return "tdm-reservation"
        if lowered != b"x-robots-tag":
            continue
        ours = True
        for part in text.split(","):
            before, colon, after = part.partition(":")
            who = before.strip()
            if colon and who not in _WITH_VALUE and re.fullmatch(r"[\w*-]+", who):
                ours, part = who in ("*", agent), after
            if ours and part.strip() in _FORBIDDING:
                return part.strip()
    return ""
