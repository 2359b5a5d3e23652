"""What the page shows: photos to try, small ones enlarged, guesses that mean little folded."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

from closeup.core.project import Project
from closeup.core.types import Example, Photo, Result
from closeup.model.model import Model
from closeup.web.serve.app import make_serve_app
from closeup.web.serve.examples import MOST_SAMPLES, SAMPLE_SIDE, Samples
from tests.web.browsing import DARK, DESK, PHONE, fits, is_accessible, opened
from tests.web.conftest import CONFIG, Ask, running


@pytest.fixture(scope="module")
def url(model: Model, folder: Path) -> Iterator[str]:
    config = replace(CONFIG, project=folder / "out", corrections=folder / "out")
    with running(make_serve_app(model, config)) as (address, _):
        yield address


def test_samples_are_test_photos_of_as_many_labels_as_there_are(folder: Path) -> None:
    project, rows = Project(folder / "out"), Samples(folder / "out").rows
    examples, results = project.read("dataset", Example), project.read("results", Result)
    assert examples is not None
    assert results is not None
    tested = {row.photo_id for row in examples.rows if row.split == "test"}
    assert {row.photo.id for row in rows} <= tested
    assert len({row.photo.id for row in rows}) == len(rows) == min(MOST_SAMPLES, len(tested))
    labels = {row.truth for row in results.rows}
    assert {row.label for row in rows[: len(labels)]} == labels
    assert Samples(folder / "out").rows == rows
    assert Samples(None).rows == ()


def test_a_sample_is_served_small_and_without_metadata(
    ask: Ask, folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(folder / "out", tmp_path / "out"))
    first = Samples(out).rows[0].photo
    exif = Image.Exif()
    exif[271] = "a camera"
    big = tmp_path / "big.jpg"
    Image.new("RGB", (3000, 2000), (200, 90, 60)).save(big, exif=exif)
    photos = Project(out).read("photos", Photo)
    assert photos is not None
    rows = [
        replace(row, root="", path=str(big), width=3000, height=2000, bytes=big.stat().st_size,
                mtime_ns=big.stat().st_mtime_ns)
        if row.id == first.id else row
        for row in photos.rows
    ]  # fmt: skip
    Project(out).write("photos", Photo, rows, photos.key)
    with ask(project=out) as client:
        said = client.get("/samples/0")
        assert said.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(said.content)) as picture:
            assert max(picture.size) == SAMPLE_SIDE
            assert not picture.getexif()
        for path in ("99", "-1", "x", "0/..", "%00"):
            assert client.get(f"/samples/{path}").status_code in (404, 422)


def test_a_photo_that_changed_since_is_not_shown(ask: Ask, folder: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(folder / "out", tmp_path / "out"))
    first = Samples(out).rows[0].photo
    photos = Project(out).read("photos", Photo)
    assert photos is not None
    other = tmp_path / "other.png"
    Image.new("RGB", (first.width, first.height)).save(other)
    rows = [replace(row, root="", path=str(other)) if row.id == first.id else row
            for row in photos.rows]  # fmt: skip
    Project(out).write("photos", Photo, rows, photos.key)
    with ask(project=out) as client:
        assert client.get("/samples/0").status_code == 404  # a table cannot show any file
        assert client.get("/samples/1").status_code == 200
    gone = [replace(row, root="", path="/gone.png") if row.id == first.id else row
            for row in photos.rows]  # fmt: skip
    Project(out).write("photos", Photo, gone, photos.key)
    assert first.id not in {row.photo.id for row in Samples(out).rows}


def test_without_the_project_there_are_no_samples(ask: Ask) -> None:
    with ask() as client:
        assert "test photo" not in client.get("/").text
        assert client.get("/samples/0").status_code == 404


@pytest.mark.parametrize("how", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
def test_a_sample_is_asked_with_one_click(browser: Browser, url: str, how: dict[str, Any]) -> None:
    with opened(browser, url, how) as page:
        samples = page.locator(".sample")
        expect(samples).to_have_count(MOST_SAMPLES)
        loaded = "(image) => image.decode().then(() => image.naturalWidth > 0)"
        assert all(samples.nth(n).locator("img").evaluate(loaded) for n in range(MOST_SAMPLES))
        is_accessible(page)
        assert fits(page)
        label = samples.nth(2).get_attribute("data-label")
        samples.nth(2).click()
        expect(page.locator(".answer .name")).to_have_text(f"Test photo: {label}")
        expect(page.locator(".answer .verdict .label")).to_have_text(str(label))
        expect(page.locator(".wait")).to_be_hidden()
        is_accessible(page)
        assert fits(page)


def test_on_a_phone_the_answer_is_on_the_screen(browser: Browser, url: str, photo: Path) -> None:
    with opened(browser, url, PHONE) as page:
        page.set_input_files("#file", photo)
        expect(page.locator(".answer .verdict")).to_be_in_viewport(ratio=1)
        expect(page.locator(".answer .photo img")).to_be_in_viewport(ratio=1)


def shown(image: Locator) -> tuple[float, float]:
    box = image.bounding_box()
    assert box
    return box["width"], box["height"]


@pytest.mark.parametrize("how", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(
    ("size", "scale"), [((210, 140), 3.05), ((16, 24), 4), ((60, 1200), 1), ((3000, 60), 1)]
)
def test_small_photos_are_enlarged_and_stay_within_bounds(
    browser: Browser, url: str, tmp_path: Path, size: tuple[int, int], scale: float,
    how: dict[str, Any],
) -> None:  # fmt: skip
    Image.new("RGB", size, (200, 180, 160)).save(tmp_path / "small.png")
    with opened(browser, url, how) as page:
        page.set_input_files("#file", tmp_path / "small.png")
        image = page.locator(".photo img")
        expect(image).to_be_visible()
        width, height = shown(image)
        assert width / height == pytest.approx(size[0] / size[1], rel=0.05)
        assert width <= size[0] * scale + 1
        room, _ = shown(page.locator(".photo"))
        screen = page.evaluate("innerHeight") * 0.6
        # As large as it may be: by its own size, the room beside the answer, or the screen.
        assert (
            width == pytest.approx(size[0] * scale, rel=0.02)
            or width == pytest.approx(room, abs=1)
            or height >= screen * 0.65
        )
        assert height <= screen + 1
        boxes = page.locator(".boxes")
        assert shown(boxes) == pytest.approx((width, height), abs=1)
        assert fits(page)


def test_guesses_are_folded_where_the_photo_is_unlike_anything_known(
    browser: Browser, url: str, photo: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (60, 60), (255, 0, 255)).save(tmp_path / "odd.png")
    Image.new("RGB", (60, 60), (60, 60, 60)).save(tmp_path / "unsure.png")
    with opened(browser, url, DESK) as page:
        page.set_input_files("#file", tmp_path / "odd.png")
        card = page.locator(".answer")
        expect(card.locator(".wait")).to_be_hidden()
        expect(card.locator(".why")).to_have_text(
            "This photo is unlike anything that the model was trained on."
        )
        for part in (".guesses", ".nearest"):
            expect(card.locator(part)).to_be_hidden()
        is_accessible(page)
        card.locator(".folded summary").click()
        for part in (".guesses li", ".nearest li"):
            expect(card.locator(part).first).to_be_visible()
        for file, why in ((photo, ""), (tmp_path / "unsure.png", "not confident enough")):
            card.locator(".close").click()
            page.set_input_files("#file", file)
            expect(card.locator(".guesses li").first).to_be_visible()
            expect(card.locator(".nearest li").first).to_be_visible()
            expect(card.locator(".folded")).to_be_hidden()
            expect(card.locator(".why")).to_contain_text(why)
