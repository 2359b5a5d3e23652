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
            help="Show similar training close-ups with an answer, if MODEL is in its project."
        ),
    ] = True,
    **options: object,
) -> None:
    """Serve a model over HTTP, with a page for a browser or a phone, until Ctrl-C."""
    with opt.serve_extra("serve"):
        from closeup.web.run import Address, make_access_policy, serve_app
        from closeup.web.serve.app import ServeConfig, make_serve_app
        from closeup.web.serve.examples import project_of
        from closeup.web.serve.service import Limits
        from closeup.web.serve.uploads import UploadLimits
    from closeup.core.config import EngineConfig, validated
    from closeup.core.parallel import one_blas_thread
    from closeup.model.model import load_model

    access = make_access_policy("serve", host, token, tuple(allow_host or ()))
    loaded = load_model(model, validated(EngineConfig, options))
    config = ServeConfig(
        name_of(model),
        access,
        Limits(queue, int(max_megapixels * 1e6)),
        UploadLimits(int(max_upload * 1e6), min(32, queue), timeout),
        timeout,
        project_of(model, loaded) if examples else None,
    )

    def announce(url: str) -> None:
        say(f"{config.name} answers at {url} (press Ctrl-C to stop)")
        if config.project is not None:
            say("answers come with similar training close-ups; --no-examples turns this off")

    with one_blas_thread():  # here, in the main thread: the model's threads come and go
        # What was accepted may still be arriving, and is then answered.
        grace = math.ceil(2 * min(timeout, LONGEST)) + 1
        app = make_serve_app(loaded, config)
        serve_app(app, Address(host, port), announce=announce, grace=grace)


def name_of(folder: Path) -> str:
    """What to call a model: its folder, or the project's where that is just called ``model``."""
    full = folder.resolve()
    return (full.parent.name if full.name == "model" else full.name) or "model"
