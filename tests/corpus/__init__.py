"""Bad, odd and hostile picture files, each with what must become of it.

:func:`make` writes them all below a folder, one sub-folder per kind. What each kind must end as is
stated beside it, in :mod:`tests.corpus.kinds`, and nothing is drawn by chance.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.kinds import ANY, BOMBS, KINDS, PASSED_OVER, READABLE, Kind

__all__ = ["ANY", "BOMBS", "KINDS", "PASSED_OVER", "READABLE", "Kind", "Made", "make"]


@dataclass(frozen=True, slots=True)
class Made:
    """One entry of the corpus: its bytes path below the root, and the outcomes it may have."""

    path: bytes
    kind: str
    outcomes: frozenset[str]


def make(root: Path, *, bombs: bool = True) -> list[Made]:
    """Write the corpus into new folders ``root/KIND``; with or without the decompression bombs.

    What this file system or user cannot hold (names that are no text, say) is left out.
    """
    made = []
    for kind in KINDS:
        if kind.name in BOMBS and not bombs:
            continue
        folder = root / kind.name
        folder.mkdir(parents=True)
        for name, put in kind.files():
            place = os.path.join(os.fsencode(folder), name)  # noqa: PTH118 (bytes)
            try:
                put(place)
            except OSError:
                if not kind.may_fail:
                    raise
                continue
            path = os.fsencode(kind.name) + b"/" + name
            made.append(Made(path, kind.name, frozenset(kind.outcomes)))
    return made
