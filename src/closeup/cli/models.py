"""``closeup models list | pull | add``: the networks, and bringing in one's own."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, show
from closeup.core.errors import UsageError
from closeup.core.text import visible

models = typer.Typer(
    name="models",
    help="List, fetch and add networks: the detectors and backbones that models are made with.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@models.command("list")
def list_networks(json: opt.Json = False) -> None:
    """List installed networks and those that can be pulled."""
    from closeup.networks import installed, known, networks_folder

    here = installed()
    names = {network.card.name for network in here}
    more = {name: kind for name, kind in known().items() if name not in names}
    if json:
        cards = [n.card.model_dump(mode="json") | {"folder": str(n.folder)} for n in here]
        print_json({"installed": cards, "available": more})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "kind", "family", "input", "MB", "licence", box=None, pad_edge=False)
    for card in (network.card for network in here):
        size, licence = f"{card.input.width}x{card.input.height}", Text(visible(card.licence))
        table.add_row(card.name, card.kind, card.family, size, f"{card.bytes / 1e6:.1f}", licence)
    if here:
        Console(soft_wrap=False).print(table)
    else:
        print("No networks are installed yet.")
    print(f"\ncache: {networks_folder()}")
    for kind in ("detector", "backbone"):
        print(f"{kind}s to pull: {', '.join(n for n, k in more.items() if k == kind) or 'none'}")
    print("Any timm architecture works as a backbone too. Add your own: closeup models add FILE …")


@models.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Networks to fetch.")],
) -> None:
    """Fetch networks from the model hub and convert them.

    Once pulled, a network needs neither the hub nor PyTorch.
    """
    from closeup.networks import find, known

    kinds = known()
    with progress_on_stderr() as progress:
        for name in names:
            network = find(name, kinds.get(name, "backbone"), progress=progress)
            card = network.card
            show(f"{name}: {card.bytes / 1e6:.1f} MB, licence {card.licence}, {network.folder}")


@models.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="An ONNX detector, or a checkpoint.")],
    name: Annotated[str, typer.Option(help="Name to give the network.")],
    family: Annotated[
        Literal["yolox", "picodet", "detr"] | None,
        typer.Option(help="Family of an ONNX detector, which says what its outputs mean."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="A detector's categories: coco80, coco91, a file with a name per line, or a,b,c."
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
    from closeup.networks.add import add_checkpoint, add_onnx

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
        network = add_checkpoint(
            file,
            name=name,
            timm=timm or "",
            torchvision=torchvision or "",
            args=_arguments(arg or []),
            overrides=overrides,
            about=about,
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
