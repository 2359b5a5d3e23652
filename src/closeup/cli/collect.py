"""``closeup collect``: photos of a list of web addresses, with their origin and rights."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from closeup.cli import options as opt
from closeup.cli.output import columns, print_json, progress_on_stderr, say, show
from closeup.core.text import duration
from closeup.photos.licences import DEFAULT_CODES

if TYPE_CHECKING:
    from closeup.collect import Address, CollectResult

Source = Literal["openverse", "commons", "inaturalist", "gbif"]
_MOST = 20


def collect(
    addresses: Annotated[
        str,
        typer.Argument(
            metavar="LIST",
            show_default=False,
            help="Web addresses of photos: a table (CSV, Parquet, JSON lines) with the columns url "
            "and label, or a text file. With --from, the words to search for.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="PHOTOS",
            show_default=False,
            help="Folder for the photos, one sub-folder per label.",
        ),
    ],
    contact: Annotated[
        str,
        typer.Option(
            envvar="CLOSEUP_CONTACT",
            show_default=False,
            help="Your mail or web address; it is sent to every site with the name of this tool, "
            "so that its owner can reach you.",
        ),
    ] = "",
    label: Annotated[
        str,
        typer.Option(
            show_default=False, help="Label where the list gives none; of a search's photos."
        ),
    ] = "",
    source: Annotated[
        Source | None,
        typer.Option("--from", help="Search for openly licensed photos here.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="With --from: photos at most.")] = 100,
    licence: Annotated[
        str, typer.Option(help="With --from: licences that you can use, separated by commas.")
    ] = ",".join(DEFAULT_CODES),
    open_data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="With --from inaturalist: a folder with its open data, to search in that.",
        ),
    ] = None,
    retry: Annotated[
        str,
        typer.Option(
            metavar="STATES",
            show_default=False,
            help="Earlier outcomes to try again: failed, refused, or failed,refused.",
        ),
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Photos to fetch at the same time.")] = 16,
    per_host: Annotated[
        int, typer.Option(min=1, help="Requests to one host at the same time.")
    ] = 2,
    rate: Annotated[
        float, typer.Option(min=0.001, help="Requests to one host per second, at most.")
    ] = 2.0,
    max_mb: Annotated[
        float, typer.Option(min=0.001, max=10_000, help="Largest photo, in megabytes.")
    ] = 30.0,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Largest photo, in pixels (width x height).")
    ] = 200_000_000,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one answer may take in all.")
    ] = 120.0,
    ignore_robots: Annotated[
        bool,
        typer.Option(
            "--ignore-robots",
            help="Also fetch what robots.txt or X-Robots-Tag forbids; the table records it.",
        ),
    ] = False,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private",
            help="Also fetch from private addresses (your own machine and network).",
        ),
    ] = False,
    json: opt.Json = False,
) -> None:
    """Fetch the photos of a list into a folder that `closeup run` takes.

    Photos go to PHOTOS/LABEL/, each content once. PHOTOS/collected.parquet has a row for every
    address: its licence and creator, and why it gave no photo if it did not. Run it again to go on
    where it was stopped, or with a longer list.

    With --from, the list is what an open collection finds for LIST, some words.
    """
    from closeup.collect import Limits
    from closeup.collect import collect as verb

    limits = Limits(jobs=jobs, per_host=per_host, rate=rate, total=timeout,
                    max_bytes=int(max_mb * 1e6), max_pixels=max_pixels)  # fmt: skip
    with progress_on_stderr() as progress:
        listed: Path | list[Address] = Path(addresses)
        if source:
            from closeup.collect.searches import Search, find

            wanted = Search(source, addresses, label, count, tuple(licence.split(",")), open_data)
            listed = find(wanted, out, contact, say=say, progress=progress)
        found = verb(
            listed, out, contact=contact, label=label, retry=retry, limits=limits,
            ignore_robots=ignore_robots, allow_private=allow_private, progress=progress,
        )  # fmt: skip
    if json:
        print_json(found.to_json())
    else:
        show(*_lines(found))
        for line in _next(found):
            say(line)
    if not found.saved and not found.duplicate:
        raise typer.Exit(1)


def _lines(found: CollectResult) -> Iterator[str]:
    """What became of the addresses: in all, by label, by reason, by licence."""
    rate = f" in {duration(found.seconds)}" if found.asked else ""
    yield (f"{found.addresses:,} addresses: {found.saved:,} saved, {found.duplicate:,} duplicates, "
           f"{found.refused:,} refused, {found.failed:,} failed")  # fmt: skip
    yield f"asked for {found.asked:,} now{rate}; {found.bytes / 1e6:.1f} MB of new photos"
    yield ""
    counted = ("saved", "duplicate", "refused", "failed")
    rows = [[*(f"{mine[what]:,}" for what in counted), name]
            for name, mine in list(found.labels.items())[:_MOST]]  # fmt: skip
    yield from columns([[*counted, "label"], *rows])
    yield from _more(found.labels)
    if found.reasons:
        yield ""
        yield "why not:"
        yield from (f"{count:>7,}  {why}" for why, count in list(found.reasons.items())[:_MOST])
        yield from _more(found.reasons)
    if found.licences:
        yield ""
        yield "licences of the saved photos:"
        yield from (f"{count:>7,}  {name or 'unknown'}"
                    for name, count in list(found.licences.items())[:_MOST])  # fmt: skip
        yield from _more(found.licences)


def _more(named: dict[str, int] | dict[str, dict[str, int]]) -> Iterator[str]:
    if len(named) > _MOST:
        yield f"         and {len(named) - _MOST} more"


def _next(found: CollectResult) -> Iterator[str]:
    """What to look at, and what to do."""
    folder = shlex.quote(found.photos)
    yield f"every address is in {folder}/collected.parquet"
    if found.conflicts:
        yield (f"{found.conflicts:,} addresses show a photo that the list has under another label "
               "too: it is kept under the first; `reason` in the table names both")  # fmt: skip
    old = [name for name, count in (("failed", found.failed), ("refused", found.refused)) if count]
    if old and not found.asked:
        yield f"nothing was asked for again; to try those again, add --retry {','.join(old)}"
    elif found.failed:
        yield "--retry failed asks again for those that failed"
    if found.saved:
        yield f"Next: closeup run {folder} --out {folder}-closeup"
