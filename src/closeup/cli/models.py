"""``closeup models list | pull | remove | add``: the networks, and bringing in one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.models_add import add, check
from closeup.cli.output import columns, print_json, progress_on_stderr, say, show

if TYPE_CHECKING:
    from closeup.core.progress import Progress
    from closeup.networks import Network
    from closeup.networks.catalogue import Entry

models = typer.Typer(
    name="models",
    help="List, fetch, add and remove networks: the detectors and backbones models are made with.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@models.command("list")
def list_networks(json: opt.Json = False) -> None:
    """List the networks that are here and those that can be pulled."""
    from closeup.networks import installed, networks_folder
    from closeup.networks.catalogue import catalogue

    here = {network.card.name: network for network in installed()}
    more = {name: entry for name, entry in catalogue().items() if name not in here}
    if json:
        cards = [n.card.model_dump(mode="json") | {"folder": str(n.folder)} for n in here.values()]
        rows = [
            entry.model_dump(mode="json") | {"needs_torch": entry.needs_torch}
            for entry in catalogue().values()
        ]
        available = {name: entry.kind for name, entry in more.items()}
        print_json({"installed": cards, "available": available, "catalogue": rows})
        return
    _print_table("detector", here, more)
    _print_table("backbone", here, more)
    print(
        "get    here: ready to use; pull: `closeup models pull NAME`; PyTorch: pulling it converts "
        "it, which needs the extra torch\n"
        "time   of a photo or a close-up on a CPU, relative to the default of its kind (*)\n"
        "!      no commercial use: read the licence first\n"
        "Any timm or torchvision architecture can be pulled as a backbone too. Your own: "
        "`closeup models add FILE --name NAME`\n"
        f"cache: {networks_folder()}"
    )


def _print_table(kind: str, here: Mapping[str, Network], more: Mapping[str, Entry]) -> None:
    """The networks of a kind: first those that are here, then the catalogue's others."""
    from closeup.networks.catalogue import catalogue

    title, count = {
        "detector": ("Detectors: they find the object", "classes"),
        "backbone": ("Backbones: they turn a close-up into a vector of numbers", "vector"),
    }[kind]
    rows = [("name", "get", "time", "MB", count, "licence", "what it is")]
    for name, network in here.items():
        card, entry = network.card, catalogue().get(name)
        if card.kind == kind:
            size = len([one for one in card.classes if one]) or card.dim
            about = entry.about if entry else _about(name, card.description)
            rows.append((_mark(name, entry), "here", _cost(entry), f"{card.bytes / 1e6:.0f}",
                         f"{size}", _licence(card.licence, entry), about))  # fmt: skip
    for name, entry in more.items():
        if entry.kind == kind:
            megabytes = entry.about_megabytes
            rows.append((_mark(name, entry), "PyTorch" if entry.needs_torch else "pull",
                         _cost(entry), f"{megabytes:.0f}" if megabytes else "",
                         f"{_count(entry) or ''}", _licence(entry.licence, entry),
                         entry.about))  # fmt: skip
    show(title, *columns(rows), "")


def _about(name: str, description: str) -> str:
    """A backbone's first sentence, or what a run made it of."""
    parts = dict.fromkeys(part.partition("@")[0] for part in name.split("+"))
    made = ", ".join(parts)
    return description.partition(". ")[0] if made == name else f"made from {made} by a run"


def _mark(name: str, entry: Entry | None) -> str:
    return f"{name} *" if entry and entry.default else name


def _cost(entry: Entry | None) -> str:
    return f"{entry.cost:g}x" if entry and entry.cost else ""


def _count(entry: Entry) -> int:
    """Categories of a detector, length of a backbone's embedding; 0 where it is not known yet."""
    if entry.kind == "detector":
        return entry.classes
    return entry.dim * (2 if entry.pool == "both" else 1)


def _licence(licence: str, entry: Entry | None) -> str:
    return f"!{licence}" if entry and not entry.commercial else licence


@models.command("pull")
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME…]",
            help="Networks to fetch: names of `closeup models list`, of timm or torchvision, or a "
            "detector's repository OWNER/NAME on the hub.  [default: those that `run` uses]",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        str,
        typer.Option(
            help="What a detector of any words (omdet-turbo, owlv2) looks for, separated by commas."
        ),
    ] = "",
) -> None:
    """Fetch networks from the model hub.

    Those that are published as ONNX graphs need no PyTorch; others are converted with it. Once
    pulled, a network needs neither the hub nor PyTorch.
    """
    from closeup.networks.catalogue import catalogue, defaults
    from closeup.networks.lookup import plan_pull
    from closeup.networks.words import OPEN_VOCABULARY

    given = names or list(defaults())
    plan = plan_pull([name for name in given if name not in OPEN_VOCABULARY])
    for network in plan.here:
        show(f"{network.card.name}: here already, in {network.folder}")
    ready = [name for name in plan.wanted if name not in plan.conversions]
    if ready:
        say(f"{', '.join(ready)}: {plan.bytes / 1e6:.1f} MB to download")
    for name in plan.wanted:
        entry = catalogue().get(name)
        if entry and not entry.commercial:
            say(f"{name}: its licence, {entry.licence}, forbids commercial use")
        elif entry and entry.terms:
            say(f"{name}: {entry.licence}; {entry.terms}")
    with progress_on_stderr() as progress:
        for network in plan.carry_out(progress):
            show(_arrived(network))
        for name in (name for name in given if name in OPEN_VOCABULARY):
            show(_pull_for_words(name, words.split(","), progress))


def _pull_for_words(name: str, words: list[str], progress: Progress) -> str:
    """Make the network of these words, or fetch the files of one that only runs in PyTorch."""
    from closeup.networks import find
    from closeup.networks.words import OPEN_VOCABULARY

    if not OPEN_VOCABULARY[name].exports:
        from closeup.networks.convert.open_vocabulary import fetch

        place = fetch(name, progress)["config.json"].parent
        return f'{name}: {place}, for --boxes-by {name} --parent "…"'
    return _arrived(find(name, "detector", words=words, progress=progress))


def _arrived(network: Network) -> str:
    card = network.card
    return f"{card.name}: {card.bytes / 1e6:.1f} MB, licence {card.licence}, {network.folder}"


@models.command("remove", short_help="Delete networks from the cache.")
def remove_networks(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Networks to delete.")],
) -> None:
    """Delete networks from the cache; models that were made with them keep their own copies.

    The networks that come with the package stay.
    """
    from closeup.networks.lookup import remove

    for name in names:
        show(f"{name}: removed from {remove(name)}")


models.command("add", short_help="Add a network of your own.")(add)
models.command("check", short_help="See on photos whether a detector is read rightly.")(check)
