"""``closeup models add | check``: bring in a network of one's own, and see whether it is right."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from closeup.cli import options as opt
from closeup.cli.output import print_json, progress_on_stderr, say, show
from closeup.core.errors import PhotoError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closeup.detect.check import Seen, Verdict
    from closeup.networks import Network
    from closeup.photos.picture import Picture

_DRAWN = 20  # boxes of a photo at most


def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="An ONNX file, a checkpoint, a folder as transformers or timm lay it out, or "
            "hf:OWNER/NAME on the hub.",
        ),
    ],
    name: Annotated[str, typer.Option(help="Name to give the network.")],
    family: Annotated[
        Literal["yolox", "yolov5", "yolov8", "nms", "picodet", "detr", "detr-logits", "rcnn"]
        | None,
        typer.Option(help="How a detector's outputs are read, where what is found out is wrong."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="A detector's categories: coco80, coco91, objects365, a file with a name per "
            "line, or a,b,c. Not needed where the file names them or they can be told."
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
    pool: Annotated[
        Literal["class", "mean", "both"] | None,
        typer.Option(
            help="How a vision transformer's tokens become an embedding: the class token, the mean "
            "of the patches, or both side by side.  [default: both]",
            show_default=False,
        ),
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
    origin: Annotated[
        str | None, typer.Option("--source", help="Where the weights come from.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a network of that name.")
    ] = False,
) -> None:
    """Add a network of your own: an ONNX detector or backbone, or a checkpoint.

    What an ONNX file takes and gives is found out, and a detector is checked on photos.
    """
    overrides = _overrides(
        size=_numbers("size", size, "x"),
        mean=_numbers("mean", mean, ","),
        std=_numbers("std", std, ","),
        color=color,
        scale=scale,
        resize=resize,
    )
    about = {k: v for k, v in {"licence": licence, "source": origin}.items() if v is not None}
    given: dict[str, Any] = {"name": name, "overrides": overrides, "about": about}
    wants_detector, wants_backbone = (
        bool(family or classes),
        bool(timm or torchvision or arg or pool),
    )
    if wants_detector and wants_backbone:
        raise UsageError(
            "--family and --classes are for detectors; --timm, --torchvision, --arg and --pool for "
            "backbones; give one kind"
        )
    if wants_detector or (not wants_backbone and _is_detector(source, overrides)):
        from closeup.detect.add import add_detector

        if not Path(source).is_file():
            raise UsageError(f"{source} does not exist or is not a file; check the path")
        network = add_detector(
            Path(source), family=family, classes=classes, replace=replace, say=show, **given
        )
    else:
        from closeup.networks.add import add_backbone

        with progress_on_stderr() as progress:
            network = add_backbone(
                source,
                timm=timm or "",
                torchvision=torchvision or "",
                args=_arguments(arg or []),
                pool=pool,
                replace=replace,
                say=show,
                progress=progress,
                **given,
            )
    _tell(network)


def _is_detector(source: str, overrides: Any) -> bool:
    """Whether it is an ONNX file that gives boxes."""
    file = Path(source)
    if file.suffix.lower() != ".onnx" or not file.is_file():
        return False
    from closeup.detect.add import looks_like_detector

    return looks_like_detector(file, overrides)


def _tell(network: Network) -> None:
    card = network.card
    what = (
        f"{sum(map(bool, card.classes))} categories"
        if card.kind == "detector"
        else f"embedding of {card.dim} numbers"
    )
    show(
        f"{card.name}: a {card.kind} ({card.family}), input {card.input.width}x"
        f"{card.input.height} {card.input.resize}, {what}, {card.bytes / 1e6:.1f} MB",
        f"Use it with --{card.kind} {card.name}",
    )


def check(
    name: Annotated[str, typer.Argument(help="A detector: an installed one, or one to pull.")],
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHOTO…]", help="Photos of your own to look at as well."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Draw what is found into this folder, which must be new or empty."),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Run a detector on photos and say whether it agrees with what must be there.

    Three photos ship with the package: a cat, a cup, a person. Exit code 1 if it does not agree.
    """
    from closeup.core.config import EngineConfig
    from closeup.detect import Detector
    from closeup.detect.check import examine, look
    from closeup.detect.golden import GOLDEN
    from closeup.networks import find
    from closeup.photos.listing import list_paths
    from closeup.photos.reading import read_picture

    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} holds something already; name a new folder")
    files = list_paths(photos) if photos else []
    detector = Detector(find(name, "detector"), EngineConfig())
    verdict = examine(detector)
    seen, broken = list(verdict.seen), []
    if out is not None:
        for number, one in enumerate(seen):
            _draw(one, GOLDEN[number].picture(), out, number + 1)
    for file in files:
        try:
            picture = read_picture(file)
        except PhotoError as err:
            broken.append((file, err.message))
            continue
        seen += look(detector, [(str(file), picture)])
        if out is not None:
            _draw(seen[-1], picture, out, len(seen))
    if json:
        print_json(_as_json(name, verdict, seen))
    else:
        show(*(_line(one) for one in seen), *_conclusion(name, verdict))
    for file, why in broken:
        say(f"{file}: {why}")
    if out is not None:
        say(f"written: {out}")
    if verdict.fault or verdict.agrees is False:
        raise typer.Exit(1)


def _line(one: Seen) -> str:
    found = ", ".join(f"{f.category} {f.score:.2f}" for f in one.found[:4]) or "nothing"
    if one.must is None:
        return f"{one.name}: {found}"
    if one.match is None:
        return f"{one.name}: no {one.must.category} where it must be; best: {found}"
    overlap = one.match.box.iou(one.must.box)
    return f"{one.name}: {one.must.category} {one.match.score:.2f}, overlap {overlap:.2f}"


def _conclusion(name: str, verdict: Verdict) -> list[str]:
    if verdict.fault:
        return [f"{name} can only be wrong: {verdict.fault}"]
    expected = len(verdict.expected)
    if verdict.agrees is None:
        return [
            f"{name}'s values can be right, but it does not know enough of what is in the photos "
            "that ship with the package: look at what --out draws of your own"
        ]
    matched = sum(one.match is not None for one in verdict.expected)
    says = "agrees" if verdict.agrees else "does not agree"
    return [f"{name} {says} with the golden photos: {matched} of {expected} objects found"]


def _as_json(name: str, verdict: Verdict, seen: Sequence[Seen]) -> dict[str, Any]:
    return {
        "name": name,
        "agrees": False if verdict.fault else verdict.agrees,
        "fault": verdict.fault,
        "photos": [
            {
                "photo": one.name,
                "expected": one.must.category if one.must else None,
                "agrees": None if one.must is None else one.match is not None,
                "found": [
                    {"category": f.category, "score": round(f.score, 4), "box": [*f.box]}
                    for f in one.found[:_DRAWN]
                ],
            }
            for one in seen
        ],
    }


def _draw(one: Seen, picture: Picture, out: Path, number: int) -> None:
    """Write ``NUMBER-NAME.jpg`` into `out`: the photo with its best boxes."""
    import io

    import numpy as np

    from closeup.core.project import write_atomically
    from closeup.core.types import Answer
    from closeup.detect.check import SURE
    from closeup.model.answers import annotate

    sure = [f for f in one.found if f.score >= SURE][:_DRAWN] or one.found[:1]
    boxes = [Answer(f.box, f.category, f.score, f.category, f.score, (), "") for f in sure]
    data = io.BytesIO()
    annotate(np.asarray(picture.upright), boxes).save(data, "JPEG", quality=92)
    file = out / f"{number:02d}-{Path(one.name).stem}.jpg"
    write_atomically(file, data.getvalue(), durable=False)


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
