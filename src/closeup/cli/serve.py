"""``closeup serve``: a model's answers over HTTP, and a page to ask it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from closeup.cli import options as opt
from closeup.cli.output import say

LONGEST = 86_400.0
"""Most seconds to wait at the end for requests that were accepted, whatever the timeout."""


@opt.takes("engine")
def serve(
    model: opt.ModelFolder,
    host: opt.Host = "127.0.0.1",
    port: opt.Port = 8000,
    token: opt.Token = "",
    allow_host: opt.AllowHost = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Photos that may wait; more are refused with status 503.")
    ] = 64,
    max_upload: Annotated[
        float, typer.Option(min=0.001, help="Largest request, in megabytes.")
    ] = 32,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, help="Largest photo, in megapixels.")
    ] = 50,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Longest time for an upload or an answer, in seconds.")
    ] = 30,
    examples: Annotated[
        bool,
        typer.Option(
            help="Show the project's test photos to try, and with an answer the training "
            "close-ups most similar to it, if MODEL is in its project."
        ),
    ] = True,
    corrections: Annotated[
        bool,
        typer.Option(
            help="Let visitors correct an answer: their photo is kept in the project, if MODEL is "
            "in it, and the next training uses it. Needs --token with --allow-host."
        ),
    ] = True,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let the pages of this site use the API: https://shop.example; may be repeated.",
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="What a proxy in front puts before every path, such as /apples.",
        ),
    ] = "",
    **options: object,
) -> None:
    """Serve a model over HTTP, with a page for a browser or a phone, until Ctrl-C."""
    with opt.serve_extra("serve"):
        from closeup.cli.sharing import invite, open_access
        from closeup.web.run import Address, checked_root, serve_app
        from closeup.web.serve.app import ServeConfig, make_serve_app
        from closeup.web.serve.corrections import takes_corrections
        from closeup.web.serve.examples import project_of
        from closeup.web.serve.service import Limits
        from closeup.web.serve.uploads import UploadLimits
    from closeup.core.config import EngineConfig, validated
    from closeup.core.parallel import one_blas_thread
    from closeup.model.model import load_model

    access = open_access("serve", host, token, allow_host or (), cors or ())
    root = checked_root(root_path)
    loaded = load_model(model, validated(EngineConfig, options))
    project = project_of(model, loaded)
    # Without a token, whoever the proxy lets through could fill the project.
    known = bool(access.token) or not allow_host
    config = ServeConfig(
        name_of(model),
        access,
        Limits(queue, int(max_megapixels * 1e6)),
        UploadLimits(int(max_upload * 1e6), min(32, queue), timeout),
        timeout,
        project if examples else None,
        project if corrections and known and takes_corrections(project) else None,
        root,
    )

    def announce(urls: list[str]) -> None:
        say(f"{config.name} answers at {urls[0]} (press Ctrl-C to stop)")
        if config.project is not None:
            say("the page shows test photos to try and similar training close-ups; --no-examples "
                "turns this off")  # fmt: skip
        if config.corrections is not None:
            say(f"photos that visitors correct are kept in {config.corrections / 'corrected'} for "
                "the next training; --no-corrections turns this off")  # fmt: skip
        invite(access, urls)

    with one_blas_thread():  # here, in the main thread: the model's threads come and go
        # What was accepted may still be arriving, and is then answered.
        grace = math.ceil(2 * min(timeout, LONGEST)) + 1
        app = make_serve_app(loaded, config)
        serve_app(app, Address(host, port), announce=announce, grace=grace)


def name_of(folder: Path) -> str:
    """What to call a model: its folder, or the project's where that is just called ``model``."""
    full = folder.resolve()
    return (full.parent.name if full.name == "model" else full.name) or "model"
