"""Corrected photos: kept with consent, trained on, never tested; and where that is not offered."""

from __future__ import annotations

import io
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from typer.testing import CliRunner

import closeup
from closeup.cli.app import app as command
from closeup.core.errors import ProjectError
from closeup.core.project import Project
from closeup.core.types import Example, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions, read_decisions
from closeup.model.model import Model
from closeup.pipeline.suggested import read_corrected, read_suggested
from closeup.web.review.session import Filter
from closeup.web.serve import corrections
from closeup.web.serve.app import ServeConfig, make_serve_app
from closeup.web.serve.corrections import takes_corrections
from tests import tiny
from tests.web.browsing import DESK, PHONE, fits, is_accessible, opened
from tests.web.conftest import CONFIG, TOKEN, Ask, running
from tests.web.reviewing import asking

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def out(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny project, to be worked on."""
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    return Path(shutil.copytree(folder / "out", tmp_path / "out"))


def new_photo(number: int = 0) -> bytes:
    pixels = np.random.default_rng([5, number]).integers(60, 250, (50, 60, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def sides(out: Path) -> dict[str, str]:
    """The side of each photo, by id."""
    rows = Project(out).read("dataset", Example)
    assert rows is not None
    return {row.photo_id: row.split for row in rows.rows}


def test_a_corrected_photo_is_kept_and_trained_on_and_never_tested(ask: Ask, out: Path) -> None:
    before = sides(out)
    with ask(corrections=out) as client:
        files = {"photo": ("My holiday.PNG", new_photo())}
        kept = client.post("/correct?label=birch", files=files).json()
        assert kept["label"] == "birch"
        assert kept["place"] == "out/corrected"
        again = client.post("/correct?label=ash", content=new_photo(), headers=JPEG).json()
        assert again["photo"] == kept["photo"]  # the latest label counts
        client.post("/correct?label=birch", content=new_photo(1), headers=JPEG)
    ids = [row.photo_id for row in read_corrected(Project(out))]
    assert (out / "corrected" / f"{kept['photo']}.png").read_bytes() == new_photo()
    with asking(out) as review:  # it is there to be looked at before it is trained on
        session = review.app.state.review.session  # type: ignore[attr-defined]
        shown = session.page(Filter(only="suggested")).items
        assert {(one.crop.photo_id, one.crop.label) for one in shown} == {
            (ids[0], read_decisions(out).verdict(ids[0], ids[0]).label),
            (ids[1], read_decisions(out).verdict(ids[1], ids[1]).label),
        }
        assert review.get(session_picture(review.get("/?only=suggested").text)).status_code == 200
    result = closeup.train(out)
    said = "2 photos that visitors of `closeup serve` corrected are trained on, and never tested"
    assert said in result.notes
    assert not any("ignored" in note for note in result.notes)
    after = sides(out)
    assert {name: after[name] for name in before} == before
    assert {name: side for name, side in after.items() if name not in before} == dict.fromkeys(
        ids, "train"
    )
    photos = Project(out).read("photos", Photo)
    assert photos is not None
    labels = {row.label for row in photos.rows if row.id in ids}
    assert labels == {""}  # the label is the decision's, which can be undone
    closeup.run(out=out, new_split=True, seed=5)
    assert {sides(out)[name] for name in ids} == {"train"}
    done = CliRunner().invoke(command, ["train", str(out)])
    assert said in done.output


def session_picture(page: str) -> str:
    return page.partition('src="/closeup/')[2].partition('"')[0].join(("/closeup/", "")).replace(
        "&amp;", "&"
    )  # fmt: skip


def test_an_undone_correction_leaves_training_and_waits_for_a_label(ask: Ask, out: Path) -> None:
    with ask(corrections=out) as client:
        kept = client.post("/correct?label=ash", content=new_photo(), headers=JPEG).json()["photo"]
    log = Decisions(out)
    log.undo("owner", [log.rows()[-1].number])
    log.close()
    result = closeup.train(out)
    assert kept not in sides(out)
    assert not any("corrected" in note for note in result.notes)
    assert [row.photo_id for row in read_suggested(Project(out))] == [kept]


def test_suggesting_keeps_corrected_photos_where_they_are(
    ask: Ask, out: Path, tmp_path: Path
) -> None:
    with ask(corrections=out) as client:
        client.post("/correct?label=ash", content=new_photo(), headers=JPEG)
    (tmp_path / "pool").mkdir()
    for number in range(3):
        (tmp_path / "pool" / f"{number}.png").write_bytes(new_photo(number))
    found = closeup.suggest(out, tmp_path / "pool", count=5)
    assert found.known == 1
    both = read_suggested(Project(out))
    assert len({row.photo_id for row in both}) == len(both) == 1 + len(found.suggested)
    groups = [row.group for row in both]
    assert groups.count(groups[-1]) == 1  # it is no look-alike of a suggested one


def test_it_works_while_the_project_is_trained(ask: Ask, out: Path) -> None:
    with ask(corrections=out) as client, Project(out).held(), ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda n: client.post(
            "/correct?label=ash", content=new_photo(n % 3), headers=JPEG), range(6)))  # fmt: skip
    assert {one.status_code for one in sent} == {200}
    assert len(read_corrected(Project(out))) == 3


@pytest.mark.parametrize("fails", ["write_bytes", "write_json", "append"])
def test_one_that_is_interrupted_leaves_a_project_that_goes_on(
    ask: Ask, out: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def ends(*_args: object) -> None:
        raise ProjectError("killed here")

    with ask(corrections=out) as client, monkeypatch.context() as patch:
        patch.setattr(Decisions if fails == "append" else Project, fails, ends)
        said = client.post("/correct?label=ash", content=new_photo(), headers=JPEG)
        assert said.status_code == 500
        assert len(read_corrected(Project(out))) == (fails == "append")  # waits for a label
        patch.undo()
        assert not any("corrected" in note for note in closeup.train(out).notes)
        assert client.post("/correct?label=ash", content=new_photo(), headers=JPEG).json()
    assert len(read_corrected(Project(out))) == 1


def test_what_is_no_correction_is_refused_and_leaves_nothing(ask: Ask, out: Path) -> None:
    before = sorted(out.rglob("*"))
    two = [("photo", ("a.png", new_photo())), ("photo", ("b.png", new_photo(1)))]
    with ask(corrections=out) as client:
        for path, sent, status in (
            ("/correct?label=none of them", {"content": new_photo()}, 422),
            ("/correct", {"content": new_photo()}, 422),
            ("/correct?label=ash", {"content": b"no photo"}, 400),
            ("/correct?label=ash", {"files": two}, 400),
            (
                "/correct?label=ash",
                {"content": b"x", "headers": {"content-type": "text/plain"}},
                415,
            ),
            (
                "/correct?label=ash",
                {"content": new_photo(), "headers": {"origin": "http://x"}},
                403,
            ),
        ):
            assert client.post(path, **sent).status_code == status  # type: ignore[arg-type]
        assert client.get("/correct?label=ash").status_code == 405
    assert sorted(out.rglob("*")) == before


def test_visitors_cannot_fill_the_disk(
    ask: Ask, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "MOST_PHOTOS", 2)
    with ask(corrections=out) as client:

        def send(number: int) -> int:
            answer = client.post("/correct?label=ash", content=new_photo(number), headers=JPEG)
            return answer.status_code

        assert [send(0), send(1), send(2), send(0)] == [200, 200, 507, 200]
        monkeypatch.setattr(corrections, "MOST_PHOTOS", 99)
        monkeypatch.setattr(corrections, "MOST_BYTES", 3 * len(new_photo()) - 100)
        assert send(3) == 507


def test_the_same_photo_again_writes_nothing_twice(ask: Ask, out: Path) -> None:
    """By another name or under the same label: a training that reads the photo is not disturbed."""
    with ask(corrections=out) as client:
        for name in ("a.png", "b.jpg", "c.bmp"):
            files = {"photo": (name, new_photo())}
            assert client.post("/correct?label=ash", files=files).status_code == 200
        kept = {file: file.stat().st_mtime_ns for file in (out / "corrected").iterdir()}
        assert {file.suffix for file in kept} == {".png", ".json"}
        assert client.post("/correct?label=birch", files=files).status_code == 200
        assert {file: file.stat().st_mtime_ns for file in (out / "corrected").iterdir()} == kept
        assert [row.decision.label for row in Decisions(out).rows()] == ["ash", "birch"]
        for file in kept:
            file.unlink()  # forgotten
        client.post("/correct?label=birch", files=files)
    assert len(read_corrected(Project(out))) == 1


@pytest.mark.parametrize("decided", ["reject", "relabel", "undo"])
def test_no_visitor_overrules_who_runs_the_service(ask: Ask, out: Path, decided: str) -> None:
    with ask(corrections=out) as client:
        name = client.post("/correct?label=ash", content=new_photo(), headers=JPEG).json()["photo"]
        log = Decisions(out)
        if decided == "undo":
            log.undo("owner", [log.rows()[-1].number])
        else:
            label = "elm" if decided == "relabel" else ""
            log.append("owner", [Decision(Kind(decided), name, name, label=label)])
        before = log.rows()
        said = client.post("/correct?label=birch", content=new_photo(), headers=JPEG)
        assert (said.status_code, said.json()["error"]["code"]) == (409, "decided")
        assert log.rows() == before
        log.close()


def test_a_photo_that_training_could_not_read_is_not_kept(ask: Ask, out: Path) -> None:
    file = out / "closeup.toml"
    file.write_text(re.sub("max_pixels = .*", "max_pixels = 2000", file.read_text()))
    with ask(corrections=out) as client:
        said = client.post("/correct?label=ash", content=new_photo(), headers=JPEG)
    assert (said.status_code, said.json()["error"]["code"]) == (413, "too_large")
    assert not (out / "corrected").exists()


def test_a_project_that_is_gone_does_not_come_back(ask: Ask, out: Path) -> None:
    with ask(corrections=out) as client:
        shutil.rmtree(out)
        said = client.post("/correct?label=ash", content=new_photo(), headers=JPEG)
        assert (said.status_code, said.json()["error"]["code"]) == (500, "failed")
        assert client.post("/predict", content=new_photo(), headers=JPEG).status_code == 200
    assert not out.exists()


def test_a_project_that_cannot_be_written_is_told(ask: Ask, out: Path) -> None:
    (out / "corrected").write_text("in the way")
    with ask(corrections=out) as client:
        said = client.post("/correct?label=ash", content=new_photo(), headers=JPEG)
        assert (said.status_code, said.json()["error"]["code"]) == (500, "failed")
        assert client.get("/").status_code == 200


def test_a_forged_row_names_no_file_elsewhere(ask: Ask, out: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(new_photo())
    with ask(corrections=out) as client:
        kept = client.post("/correct?label=ash", content=new_photo(), headers=JPEG).json()["photo"]
    file = out / "corrected" / f"{kept}.json"
    row = json.loads(file.read_text())
    for change in ({"path": "../../secret.png"}, {"path": str(tmp_path / "secret.png")},
                   {"photo_id": "other"}, {"width": 0}, {"box": [1]}):  # fmt: skip
        file.write_text(json.dumps(row | change))
        with pytest.raises(ProjectError, match="does not describe a corrected photo"):
            read_corrected(Project(out))
    file.write_text(json.dumps(row))
    (out / "corrected" / row["path"]).unlink()
    (out / "corrected" / row["path"]).symlink_to(tmp_path / "secret.png")
    with pytest.raises(ProjectError, match="leads outside"):
        read_corrected(Project(out))


def test_it_is_offered_only_where_it_can_be_used(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert takes_corrections(out)
    assert not takes_corrections(None)
    text = (out / "closeup.toml").read_text()
    (out / "closeup.toml").write_text(text.replace('which = "best"', 'which = "all"'))
    assert not takes_corrections(out)
    (out / "closeup.toml").write_text(text.replace('boxes = ""', 'boxes = "a.csv"'))
    assert not takes_corrections(out)
    (out / "closeup.toml").write_text("crop = 3")
    assert not takes_corrections(out)
    (out / "closeup.toml").write_text(text)

    made: list[ServeConfig] = []

    def instead(_model: Model, config: ServeConfig) -> None:
        made.append(config)
        raise ProjectError("enough")

    from closeup.web.serve import app

    monkeypatch.setattr(app, "make_serve_app", instead)
    model, alone = str(out / "model"), str(shutil.copytree(out / "model", out.parent / "alone"))
    proxied = ["--allow-host", "a.example"]
    for arguments in ([model], [model, "--no-corrections"], [alone], [model, *proxied],
                      [model, *proxied, "--token", TOKEN], [model, "--no-examples"]):  # fmt: skip
        done = CliRunner(env={"CLOSEUP_TOKEN": ""}).invoke(command, ["serve", *arguments])
        assert str(done.exception) == "enough"
    offered = [config.corrections is not None for config in made]
    assert offered == [True, False, False, False, True, True]
    assert made[-1].project is None


def test_without_it_there_is_no_such_route(ask: Ask) -> None:
    with ask() as client:
        assert client.post("/correct?label=ash", content=b"x").status_code == 404
        assert "/correct" not in client.get("/openapi.json").json()["paths"]
        assert "Correct" not in client.get("/").text
        assert "They are not stored." in client.get("/").text


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page_of(request: pytest.FixtureRequest) -> dict[str, object]:
    return request.param


def test_a_visitor_corrects_an_answer_knowing_what_is_kept(
    browser: Browser, model: Model, out: Path, tmp_path: Path, page_of: dict[str, object]
) -> None:
    (tmp_path / "new.png").write_bytes(new_photo())
    app = make_serve_app(model, replace(CONFIG, project=out, corrections=out))
    with running(app) as (url, _), opened(browser, url, page_of) as page:
        page.set_input_files("#file", tmp_path / "new.png")
        card = page.locator(".answer")
        summary = card.locator(".correct summary")
        expect(summary).to_have_text("Do you know what it is? Tell the model")  # it is unlike any
        assert not (out / "corrected").exists()
        summary.click()
        for words in ("out/corrected", "as you sent it", "such as the place", "Nothing deletes it"):
            expect(card.locator(".correct")).to_contain_text(words)
        is_accessible(page)
        assert fits(page)
        button = card.get_by_role("button", name="Store my photo")
        button.click()  # nothing is chosen yet
        assert not (out / "corrected").exists()
        card.get_by_label("What is it?").select_option("birch")
        button.click()
        expect(card.locator(".thanks")).to_contain_text("kept as “birch”")
        expect(card.locator(".correct")).to_have_count(0)
        is_accessible(page)
        (row,) = read_corrected(Project(out))
        assert read_decisions(out).verdict(row.photo_id, row.photo_id).label == "birch"
        page.locator(".sample").first.click()
        expect(page.locator(".answer")).to_have_count(2)
        expect(page.locator(".answer").first.locator(".wait")).to_be_hidden()
        expect(page.locator(".correct")).to_have_count(0)  # a test photo is no stranger's


def test_a_refused_correction_is_told_and_can_be_sent_again(
    browser: Browser, model: Model, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "MOST_PHOTOS", 0)
    (tmp_path / "new.png").write_bytes(new_photo())
    app = make_serve_app(model, replace(CONFIG, corrections=out))
    with running(app) as (url, _), browser.new_page() as page:
        page.goto(url)
        page.set_input_files("#file", tmp_path / "new.png")
        page.locator(".correct summary").click()
        page.get_by_label("What is it?").select_option("ash")
        page.get_by_role("button", name="Store my photo").click()
        expect(page.locator(".correct .bad")).to_contain_text("no more corrected photos")
        monkeypatch.setattr(corrections, "MOST_PHOTOS", 1)
        page.get_by_role("button", name="Store my photo").click()
        expect(page.locator(".thanks")).to_be_visible()
