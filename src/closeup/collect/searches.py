"""What a search has found, kept as a list beside the photos, so that it is asked only once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from closeup.collect.address import Address
from closeup.collect.collecting import check_folder
from closeup.collect.contact import checked_contact
from closeup.collect.lists import read_addresses
from closeup.collect.sources import search
from closeup.core.errors import SourceError, SourcePaused, UsageError
from closeup.core.progress import Progress, Say, say_nothing, silent
from closeup.core.project import write_atomically
from closeup.photos.licences import DEFAULT_CODES, licence_codes

_KEPT_EVERY = 200


@dataclass(frozen=True, slots=True)
class Search:
    """Words at a source, and what is wanted of what they find; see :func:`sources.search`.

    `open_data`: the folder of iNaturalist's files, read instead of asking.
    """

    source: str
    words: str
    label: str
    count: int = 100
    licences: tuple[str, ...] = DEFAULT_CODES
    open_data: Path | None = None

    def file(self, folder: Path, *, whole: bool) -> Path:
        """Where what it found is kept; as a hidden file until the search has ended."""
        words = " ".join(self.words.split())
        about = [words, self.label, self.count, sorted(licence_codes(self.licences)),
                 str(self.open_data or "")]  # fmt: skip
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:10]
        return folder / f"{'' if whole else '.'}found-{self.source}-{digest}.jsonl"


def find(
    wanted: Search,
    folder: Path,
    contact: str,
    *,
    say: Say = say_nothing,
    progress: Progress = silent,
    ask: Callable[..., Iterator[Address]] | None = None,
) -> list[Address]:
    """The addresses that a search gives, from its list where it has ended before.

    A search that was stopped is asked again, and what it had found is not lost. One that its source
    pauses gives what it has.

    Raises
    ------
    UsageError
        For wrong arguments, or words that the source does not know.
    SourceError
        Where the source fails before it has given anything.
    """
    check_folder(folder)
    if not wanted.label:
        raise UsageError("--from needs --label: what the photos show, as your labels call it")
    left_out = Counter[str]()
    results = (ask or search)(
        wanted.source, wanted.words, label=wanted.label, count=wanted.count,
        licences=wanted.licences, contact=checked_contact(contact), folder=wanted.open_data,
        left_out=left_out,
    )  # fmt: skip
    whole, part = (wanted.file(folder, whole=one) for one in (True, False))
    if whole.is_file():
        found = read_addresses(whole)
        say(f"{len(found)} addresses were found before; delete {whole} to search again")
        return found
    known = {one.url: one for one in read_addresses(part)} if part.is_file() else {}
    ended = True
    progress("search", len(known), wanted.count)
    try:
        for number, one in enumerate(results, start=1):
            known[one.url] = one
            if number % _KEPT_EVERY == 0:
                _write(part, known)
            progress("search", min(len(known), wanted.count), wanted.count)
    except (SourcePaused, SourceError) as err:
        if not known:
            raise
        say(str(err))
        ended = False
    finally:
        if known:
            _write(part, known)
    found = list(known.values())[: wanted.count]
    if not found:
        raise SourceError(f"{wanted.source} finds nothing for {wanted.words!r} under these "
                          f"licences{_listed(left_out)}; try other words")  # fmt: skip
    if ended:
        _write(whole, {one.url: one for one in found})
        part.unlink(missing_ok=True)
    say(f"{len(found)} address{'es' if len(found) > 1 else ''} found{_listed(left_out)}")
    return found


def _listed(left_out: Counter[str]) -> str:
    """What was left out, in brackets."""
    each = ", ".join(f"{count} {why}" for why, count in left_out.most_common())
    return f" (left out: {each})" if each else ""


def _write(file: Path, known: dict[str, Address]) -> None:
    lines = (json.dumps({name: value for name, value in asdict(one).items() if value},
                        ensure_ascii=False) for one in known.values())  # fmt: skip
    write_atomically(file, "".join(f"{line}\n" for line in lines).encode())
