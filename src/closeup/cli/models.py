"""``closeup models list | pull | remove | add``: the networks, and bringing in one's own."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.core.errors import UsageError
from closeup.core.text import visible

if TYPE_CHECKING:
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
            about = entry.about if entry else card.description
            rows.append((_mark(name, entry), "here", _cost(entry), f"{card.bytes / 1e6:.0f}",
                         f"{size}", card.licence, about))  # fmt: skip
    for name, entry in more.items():
        if entry.kind == kind:
            megabytes = entry.about_megabytes
            rows.append((_mark(name, entry), "PyTorch" if entry.needs_torch else "pull",
                         _cost(entry), f"{megabytes:.0f}" if megabytes else "",
                         f"{_count(entry) or ''}", _licence(entry), entry.about))  # fmt: skip
    widths = [min(16, max(len(visible(row[i])) for row in rows)) for i in range(6)]
    room = get_terminal_size().columns
    print(title)
    for row in rows:
        cells = [visible(cell) for cell in row]
        fixed = [cell[:width].ljust(width) for cell, width in zip(cells, widths, strict=False)]
        print("  ".join((*fixed, cells[-1]))[:room].rstrip())
    print()


def _mark(name: str, entry: Entry | None) -> str:
    return f"{name} *" if entry and entry.default else name


def _cost(entry: Entry | None) -> str:
    return f"{entry.cost:g}x" if entry and entry.cost else ""


def _count(entry: Entry) -> int:
    """Categories of a detector, length of a backbone's embedding; 0 where it is not known yet."""
    if entry.kind == "detector":
        return entry.classes
    return entry.dim * (2 if entry.pool == "both" else 1)


def _licence(entry: Entry) -> str:
    return entry.licence if entry.commercial else f"!{entry.licence}"


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
) -> None:
    """Fetch networks from the model hub.

    Those that are published as ONNX graphs need no PyTorch; others are converted with it. Once
    pulled, a network needs neither the hub nor PyTorch.
    """
    from closeup.networks.catalogue import catalogue, defaults
    from closeup.networks.lookup import plan_pull

    plan = plan_pull(names or defaults())
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
            card = network.card
            show(
                f"{card.name}: {card.bytes / 1e6:.1f} MB, licence {card.licence}, {network.folder}"
            )


@models.command("remove")
def remove_networks(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Networks to delete.")],
) -> None:
    """Delete networks from the cache; models that were made with them keep their own copies.

    The networks that come with the package stay.
    """
    from closeup.networks.lookup import remove

    for name in names:
        show(f"{name}: removed from {remove(name)}")


@models.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="An ONNX detector, or a checkpoint.")],
    name: Annotated[str, typer.Option(help="Name to give the network.")],
    family: Annotated[
        Literal["yolox", "picodet", "detr", "detr-logits"] | None,
        typer.Option(help="Family of an ONNX detector, which says what its outputs mean."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="A detector's categories: coco80, coco91, objects365, a file with a name per "
            "line, or a,b,c."
        ),
    ] = None,
    timm: Annotated[str | None, typer.Option(help="timm architecture of a checkpoint.")] = None,
    torchvision: Annotated[
        str | None, typer.Option(help="torchvision architecture of a checkpoint.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE argument of the architecture; may be repeated."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Input size: WIDTHxHEIGHT, or one number.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean of the pixel values: one number, or three with commas.")
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation of the pixel values: one number, or three with commas."
        ),
    ] = None,
    color: Annotated[
        Literal["rgb", "bgr"] | None, typer.Option(help="Order of the colour channels.")
    ] = None,
    scale: Annotated[
        Literal["unit", "byte"] | None,
        typer.Option(help="Pixel values: unit (0 to 1) or byte (0 to 255)."),
    ] = None,
    resize: Annotated[
        Literal["letterbox", "stretch"] | None,
        typer.Option(help="How a photo is resized to the input."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the weights come from.")] = None,
) -> None:
    """Add an ONNX detector or a checkpoint of your own."""
    from closeup.networks.add import add_backbone, add_onnx

    overrides = _overrides(
        size=_numbers("size", size, "x"),
        mean=_numbers("mean", mean, ","),
        std=_numbers("std", std, ","),
        color=color,
        scale=scale,
        resize=resize,
    )
    about = {k: v for k, v in {"licence": licence, "source": source}.items() if v is not None}
    if not file.is_file():
        raise UsageError(f"{file} does not exist or is not a file; check the path")
    if family is not None:
        if timm or torchvision or classes is None:
            raise UsageError(
                "an ONNX detector needs --family and --classes (coco80, coco91, or a file with a "
                "name per line); --timm and --torchvision are for checkpoints"
            )
        network = add_onnx(
            file, name=name, family=family, classes=classes, overrides=overrides, about=about
        )
    else:
        network = add_backbone(
            file,
            name=name,
            timm=timm or "",
            torchvision=torchvision or "",
            args=_arguments(arg or []),
            overrides=overrides,
            about=about,
            say=show,
        )
    card = network.card
    what = (
        f"{len(card.classes)} categories"
        if card.kind == "detector"
        else f"embedding of {card.dim} numbers"
    )
    print(
        f"{card.name}: a {card.kind} ({card.family}), input {card.input.width}x"
        f"{card.input.height} {card.input.resize}, {what}, {card.bytes / 1e6:.1f} MB\n"
        f"Use it with --{card.kind} {card.name}"
    )


def _overrides(**given: object) -> Any:
    from pydantic import ValidationError

    from closeup.networks import InputOverrides

    try:
        return InputOverrides.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as err:
        first = err.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {first['msg']}") from err


def _numbers(option: str, text: str | None, separator: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.lower().split(separator)]
    except ValueError as err:
        example = "640x480 or 416" if option == "size" else "0.5 or 0.485,0.456,0.406"
        raise UsageError(f"--{option} {text}: expected numbers such as {example}") from err


def _arguments(pairs: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs; a value is a Python literal where it reads as one, else text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--arg {pair}: expected KEY=VALUE, such as pad_type=same")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found
