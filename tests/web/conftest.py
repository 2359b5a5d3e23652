"""A tiny model, and a service on it, real or in the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import closeup
from closeup.web.run import Address, Server, listen, make_access_policy
from closeup.web.serve.app import ServeConfig, make_serve_app
from tests import tiny
from tests.web.browsing import browser
from tests.web.reviewing import copy_of, make_reviewed

__all__ = ["browser"]

TOKEN = "a-token-of-the-tests"
CONFIG = ServeConfig("tiny", make_access_policy("serve", "127.0.0.1", ""))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``out/model`` and ``photos``."""
    base = tmp_path_factory.mktemp("served")
    tiny.make_project(base)
    return base


@pytest.fixture(scope="session")
def model(folder: Path) -> closeup.Model:
    return closeup.load(folder / "out" / "model")


@pytest.fixture(scope="session")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's project, to be looked at only."""
    return make_reviewed(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture
def project(reviewed: Path, tmp_path: Path) -> Path:
    """A copy of it, to be worked on."""
    return copy_of(reviewed, tmp_path / "watches")


@pytest.fixture
def photo(folder: Path) -> Path:
    return folder / "photos" / "ash" / "1.png"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What opens a browser is for continuous integration: that alone takes half a minute."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, half a minute at most."""
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("what was waited for did not come about")


Ask = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def ask(model: closeup.Model) -> Ask:
    """Opens a client of an application on the tiny model, with changes to its configuration."""

    @contextmanager
    def opened(**changes: object) -> Iterator[TestClient]:
        app = make_serve_app(model, replace(CONFIG, **changes))  # type: ignore[arg-type]
        with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
            yield client

    return opened


@contextmanager
def running(app: FastAPI, grace: int = 20) -> Iterator[tuple[str, threading.Event]]:
    """The application on a free port of this machine; its address, and the event that ends it."""
    ready, end = threading.Event(), threading.Event()
    with listen(Address(port=0)) as listener:
        server = Server(app, grace, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})

        def stop() -> None:
            end.wait()
            server.should_exit = True

        stopper = threading.Thread(target=stop)
        thread.start()
        stopper.start()
        try:
            assert ready.wait(30)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", end
        finally:
            end.set()
            stopper.join(30)
            thread.join(30)
            assert not thread.is_alive()
