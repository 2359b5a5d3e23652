"""``closeup predict --ray``: answers for very many photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError

if TYPE_CHECKING:
    from closeup.batch import Summary

_MOST_LABELS = 20


def predict_by_ray(
    model: Path,
    paths: Sequence[str],
    out: str | None,
    address: str,
    *,
    json: bool,
    always: bool,
    engine: EngineConfig,
) -> None:
    """Run it and print the summary; exit with code 1 where photos are left without an answer."""
    from closeup.batch import predict
    from closeup.batch.parts import UNREADABLE
    from closeup.core.serialization import to_json

    if not out:
        raise UsageError("--ray needs --out DIR, a folder for the answers")
    if len(paths) != 1:
        raise UsageError("--ray takes one folder, pattern (in quotes) or list of photos")
    with progress_on_stderr() as progress:
        found = predict(model, paths[0], out=out, address=address, always=always, engine=engine,
                        progress=progress, notice=say)  # fmt: skip
    if json:
        print_json(to_json(found))
    else:
        show(*_lines(found))
    say(f"written: {out}/answers ({found.photos:,} photos)")
    if found.left:
        say(f"{found.left:,} photos have no answer yet: {found.failures[0]}; run the same command "
            "again")  # fmt: skip
    if found.left or set(found.counts) == {UNREADABLE}:
        raise typer.Exit(1)


def _lines(found: Summary) -> Iterator[str]:
    """What the run did, then how many objects have each label and what changed."""
    rate = f" at {found.answered / found.seconds:.1f} a second" if found.answered else ""
    yield (f"{found.listed:,} photos: {found.answered:,} answered now{rate}, "
           f"{found.known:,} before")  # fmt: skip
    changes = found.changes if found.before else {}
    for label, count in list(found.counts.items())[:_MOST_LABELS]:
        since = f"  ({changes[label]:+,})" if label in changes else ""
        yield f"{count:>12,}  {label}{since}"
    if (more := len(found.counts) - _MOST_LABELS) > 0:
        yield f"{'':>12}  and {more} more labels"
