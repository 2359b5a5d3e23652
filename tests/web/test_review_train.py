"""The button that trains: what it says, while another training runs, and once it has failed."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from closeup.core.project import Project
from closeup.core.types import Box
from closeup.decisions.kinds import Kind
from closeup.decisions.log import Decisions
from closeup.model.history import read_history
from closeup.web.review import training
from closeup.web.review.app import make_review_app
from closeup.web.review.session import ReviewSession
from closeup.web.review.training import Trainer, TrainingRun
from tests.web.browsing import DESK, PHONE, fits, is_accessible
from tests.web.conftest import running, until
from tests.web.reviewing import asking, config_of, with_issues
from tests.web.test_review_page import panel_shows, reviewing, said, tiles

PATIENCE = 300_000


def ended(trainer: Trainer) -> str:
    """The state in which the training ends."""
    thread = trainer._thread
    if thread is not None:
        thread.join(300)
    assert trainer.run is not None
    return trainer.run.state


def test_it_trains_and_shows_what_changed(browser: Browser, project: Path) -> None:
    with_issues(project)
    with reviewing(browser, project, DESK, "/") as page:
        panel_shows(page, tiles(page).first)
        page.keyboard.press("s")
        said(page, "Relabelled")
        page.get_by_role("link", name="Train", exact=True).first.click()
        expect(page.get_by_role("region", name="Trainings").locator("tbody tr")).to_have_count(1)
        page.wait_for_load_state()
        page.get_by_role("button", name="Train now").click()
        expect(page.locator(".training progress")).to_be_visible()
        is_accessible(page)

        # Meanwhile one can go on.
        with asking(project) as client:
            item = next(i for i in ReviewSession(project).snapshot().all_items if i.score > 0)
            body = {"decision": {"kind": "accept", "crops": [item.crop.id]},
                    "seen": {item.crop.photo_id: 9}}  # fmt: skip
            assert client.post("/decisions", json=body).json()["numbers"] == [2]

        again = page.get_by_role("button", name="Train again")
        expect(again).to_be_visible(timeout=PATIENCE)
        result = page.locator(".training")
        expect(result).to_contain_text(re.compile(r"Training 2 (is|was)"))
        expect(result).to_contain_text("1 photo relabelled")
        expect(result).to_contain_text(
            re.compile(r"macro-F1 \d\.\d{3} → \d\.\d{3}, a difference of [+-]\d\.\d{3} \([+-]")
        )
        expect(result.get_by_role("row", name=re.compile("Label issues 3 "))).to_be_visible()
        expect(page.get_by_role("region", name="Trainings").locator("tbody tr")).to_have_count(2)
        is_accessible(page)
        page.set_viewport_size(PHONE["viewport"])
        assert fits(page)
        result.get_by_role("link", name="No object found").click()
        expect(page.locator("h1")).to_contain_text("No object found")
    assert [row.decision.kind for row in Decisions(project).rows()] == [Kind.RELABEL, Kind.ACCEPT]
    assert len(read_history(Project(project)).trainings) == 2


def test_it_can_be_stopped_by_keys_and_says_when_the_server_is_gone(
    browser: Browser, project: Path
) -> None:
    app = make_review_app(config_of(project))
    trainer: Trainer = app.state.review.trainer
    now = datetime.now(UTC)
    trainer._run = TrainingRun("running", now, "detect 1 of 9")
    with running(app) as (url, end), browser.new_page() as page:
        page.goto(f"{url}/train")
        stop = page.get_by_role("button", name="Stop")
        stop.focus()
        trainer._run = TrainingRun("running", now, "detect 2 of 9")
        expect(page.get_by_text("detect 2 of 9")).to_be_visible()  # all of it was replaced
        expect(stop).to_be_focused()
        end.set()
        expect(page.locator("#error")).to_contain_text("still running?")


def test_a_project_in_use_is_told_and_left_alone(project: Path) -> None:
    with asking(project) as client, Project(project).held():
        trainer: Trainer = client.app.state.review.trainer  # type: ignore[attr-defined]
        assert client.post("/train", json={}).json() == {"running": True}
        assert ended(trainer) == "failed"
        page = client.get("/train").text
        assert "The training failed." in page
        assert "is in use: process" in page
        part = client.get("/train/state")
        assert part.headers["hx-refresh"] == "true"
    assert len(read_history(Project(project)).trainings) == 1


def test_what_the_command_says_is_shown(project: Path) -> None:
    file = project / "closeup.toml"
    text = file.read_text()
    source = Project(project).config().photos.source
    assert source
    file.write_text(text.replace(json.dumps(source)[1:-1], "/nowhere/photos"))
    assert "/nowhere" in file.read_text()
    trainer = Trainer(ReviewSession(project))
    trainer.start()
    assert ended(trainer) == "failed"
    assert trainer.run is not None
    assert "were at /nowhere/photos" in trainer.run.says


@pytest.mark.parametrize("how", ["button", "server"])
def test_it_is_stopped_and_nothing_is_lost(project: Path, how: str) -> None:
    before = (project / "model" / "model.json").read_bytes()
    with_issues(project)
    session = ReviewSession(project)
    item = next(i for i in session.snapshot().all_items if i.score > 0)
    with asking(project) as client:
        client.post("/decisions", json={"decision": {
            "kind": "boxes", "photo": item.crop.photo_id, "boxes": [list(Box(0, 0, 50, 50))]
        }})  # fmt: skip
        trainer: Trainer = client.app.state.review.trainer  # type: ignore[attr-defined]
        client.post("/train", json={})
        process = trainer._process
        client.post("/train", json={})  # is running already
        assert trainer._process is process
        assert process is not None
        assert client.get("/train/state").headers.get("hx-refresh") is None
        if how == "button":
            client.post("/train/stop", json={})
            assert "Stopped." in client.get("/train").text
    assert process.returncode is not None
    assert trainer.run is not None
    assert trainer.run.state == "stopped"
    assert (project / "model" / "model.json").read_bytes() == before
    with Project(project).held():  # nobody holds it any more
        assert len(read_history(Project(project)).trainings) == 1


def test_no_file_of_the_present_folder_takes_a_modules_place(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(ReviewSession(project))
    trainer.start()
    assert ended(trainer) == "done", trainer.run


def test_a_folder_may_be_called_like_an_option(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.rename(project.parent / "--seed")
    monkeypatch.chdir(project.parent)
    trainer = Trainer(ReviewSession(Path("--seed")))
    trainer.start()
    assert ended(trainer) == "done", trainer.run


def test_after_a_failure_of_the_system_the_next_one_can_begin(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise OSError("no more processes")

    with asking(project) as client:
        trainer: Trainer = client.app.state.review.trainer  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", fails)
            said = client.post("/train", json={})
            assert (said.status_code, said.json()["error"]["code"]) == (500, "failed")
            assert "no more processes" in said.text
        assert trainer.run is None
        client.post("/train", json={})
        thread = trainer._thread
        assert thread is not None
        with monkeypatch.context() as patch:
            patch.setattr(training, "read_history", fails)
            patch.setattr(threading, "excepthook", lambda _: None)
            thread.join(300)
        assert trainer.run is not None
        assert (trainer.run.state, trainer._process) == ("failed", None)
        assert "The training failed." in client.get("/train").text


def test_what_is_done_before_it_can_be_stopped_is_not_called_stopped(project: Path) -> None:
    trainer = Trainer(ReviewSession(project))
    trainer.start()
    trainer._stopped = True  # as `stop` does, but too late
    assert ended(trainer) == "done"


def test_nothing_to_do_is_told(project: Path) -> None:
    trainer = Trainer(ReviewSession(project))
    trainer.start()
    until(lambda: trainer.run is not None and trainer.run.state != "running")
    assert trainer.run is not None
    assert trainer.run.state == "done", trainer.run.says
    assert trainer.run.training is None
    with asking(project) as client:
        review = client.app.state.review  # type: ignore[attr-defined]
        review.trainer._run = trainer.run
        assert "Nothing has changed since the last training." in client.get("/train").text
