"""Arguments and options that several commands share, and those made from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_origin

import typer

from closeup.core.errors import UsageError, how_to_install

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Command = TypeVar("Command", bound=Callable[..., None])

Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Project folder; it remembers the options you give.",
        show_default=False,
    ),
]  # fmt: skip
ProjectFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A project folder made by `closeup run`.")
]
ModelFolder = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model folder made by `closeup run`.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
NewSplit = Annotated[
    bool,
    typer.Option(
        "--new-split",
        help="Draw anew which photos are tested and in which fold the others are, from the labels "
        "as they are now; for another draw of the same photos, give another --seed.",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        envvar="RAY_ADDRESS",
        help="With Ray: a cluster's address, 'auto' for the one this machine belongs to, 'local' "
        "for this machine's processors.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        help="Address to listen on; 0.0.0.0 for all of this machine's. One that other machines can "
        "reach needs --token, or a terminal to show a one-time link and its QR code in."
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")]
Token = Annotated[
    str,
    typer.Option(
        envvar="CLOSEUP_TOKEN",
        show_default=False,
        help="Secret that every request must carry, at least 16 characters.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="Another host name to answer to, such as a proxy's; may be repeated."),
]


def takes(*wanted: str) -> Callable[[Command], Command]:
    """Give a command with ``**options`` the options of the configuration that it takes.

    Parameters
    ----------
    wanted
        Sections (``"crop"``) or single options (``"crop.pad"``). An option that is not given on
        the command line arrives as None, since ``closeup.toml`` may hold its value.
    """
    from closeup.core.config import flag_of, option_fields

    def decorate(command: Command) -> Command:
        own = signature(command, eval_str=True).parameters.values()
        parameters = [one for one in own if one.kind is not Parameter.VAR_KEYWORD]
        for name, (section, field) in option_fields().items():
            flag = flag_of(name, field)
            if flag and not {section, f"{section}.{name}"}.isdisjoint(wanted):
                parameters.append(_parameter(name, flag, field))
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _parameter(name: str, flag: str, field: FieldInfo) -> Parameter:
    """An option for typer, which reads lists as text with commas."""
    kind: Any = str if get_origin(field.annotation) is tuple else field.annotation
    spelled = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    option = typer.Option(*spelled, help=f"{field.description}{_facts(field)}")
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _facts(field: FieldInfo) -> str:
    """Default and range of an option, as typer writes them."""
    default = field.default
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, tuple):
        default = ",".join(default)
    signs = {"ge": "{}<=", "gt": "{}<", "le": "<={}", "lt": "<{}"}
    limits = {
        name: sign.format(getattr(limit, name))
        for limit in field.metadata
        for name, sign in signs.items()
        if hasattr(limit, name)
    }
    facts = [] if default == "" else [f"default: {default}"]
    if limits:
        low, high = limits.get("ge") or limits.get("gt"), limits.get("le") or limits.get("lt")
        facts.append(f"{low or ''}x{high or ''}")
    return f"  [{'; '.join(facts)}]" if facts else ""


@contextmanager
def serve_extra(verb: str) -> Iterator[None]:
    """Say what to install where a package of the web pages is missing."""
    try:
        yield
    except ModuleNotFoundError as err:
        raise UsageError(f"closeup {verb} needs {err.name}: {how_to_install('serve')}") from err
