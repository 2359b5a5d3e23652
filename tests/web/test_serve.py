"""Every route of the service, and every refusal."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import closeup
from closeup.cli.app import app as command
from closeup.core.errors import NetworkDamaged
from closeup.model.model import Model
from closeup.web.guard import AccessPolicy
from closeup.web.serve import uploads
from closeup.web.serve.app import make_serve_app
from closeup.web.serve.examples import project_of
from closeup.web.serve.service import Limits
from closeup.web.serve.uploads import UploadLimits
from tests.web.conftest import CONFIG, TOKEN, Ask, running

JPEG = {"content-type": "image/jpeg"}


def cli_answers(folder: Path, photos: list[Path]) -> list[dict[str, object]]:
    """What ``closeup predict --json`` prints."""
    arguments = ["predict", str(folder / "out" / "model"), *map(str, photos), "--json"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_answers_what_the_command_line_does(ask: Ask, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    photos = [*sorted((folder / "photos").rglob("*.png")), tmp_path / "broken.jpg"]
    expected = cli_answers(folder, photos)
    limits = UploadLimits(most_photos=len(photos))
    with ask(uploads=limits) as client:
        files = [("photo", (str(photo), photo.read_bytes())) for photo in photos]
        assert client.post("/predict", files=files).json() == expected
        for photo, answer in list(zip(photos, expected, strict=True))[::7]:
            one = client.post("/predict", files={"photo": (str(photo), photo.read_bytes())})
            assert one.json() == answer
            bare = client.post("/predict", content=photo.read_bytes(), headers=JPEG)
            assert bare.json() == {**answer, "photo": ""}


def test_many_at_once_get_their_own_answers(model: Model, folder: Path) -> None:
    photos = sorted((folder / "photos").rglob("*.png"))[:24]
    expected = cli_answers(folder, photos)
    with running(make_serve_app(model, CONFIG)) as (url, _), ThreadPoolExecutor(8) as pool:

        def post(photo: Path) -> object:
            answer = httpx2.post(f"{url}/predict", content=photo.read_bytes(), headers=JPEG)
            return answer.json()

        assert list(pool.map(post, photos)) == [{**answer, "photo": ""} for answer in expected]


def test_no_photo_is_refused(ask: Ask) -> None:
    with ask() as client:
        assert client.post("/predict").json()["error"]["code"] == "empty"
        assert client.post("/predict", files={"photo": ("a.jpg", b"")}).status_code == 400
        form = {"photo": "text"}
        none = client.post("/predict", files={"x": (None, b"text")}, data=form)
        assert (none.status_code, none.json()["error"]["code"]) == (400, "no_photo")


def test_a_broken_photo_is_refused_with_the_reason(ask: Ask, photo: Path) -> None:
    whole = photo.read_bytes()
    heif = b"\0\0\0\x18ftypheic" + bytes(20)
    cases = {whole[: len(whole) // 2]: (400, "truncated"), b"words": (400, "not_an_image"),
             heif: (415, "unsupported")}  # fmt: skip
    with ask() as client:
        for data, (status, code) in cases.items():
            for answer in (
                client.post("/predict", content=data, headers=JPEG),
                client.post("/predict", files={"photo": ("a.jpg", data)}),
                client.post("/predict?draw=1", files={"photo": ("a.jpg", data)}),
            ):
                assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            page = client.post("/predict?draw=1", files={"photo": ("a.jpg", data)},
                               headers={"accept": "text/html"})  # fmt: skip
            assert page.status_code == status
            assert page.headers["content-type"].startswith("text/html")


def test_too_large_is_refused_in_every_way(ask: Ask, photo: Path) -> None:
    data = photo.read_bytes()
    with ask(limits=Limits(max_pixels=10)) as client:
        answer = client.post("/predict", content=data, headers=JPEG)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    with ask(uploads=UploadLimits(most_bytes=1000, most_photos=2)) as client:
        assert client.post("/predict", content=bytes(1001), headers=JPEG).status_code == 413
        counted = client.post("/predict", content=iter([bytes(600)] * 2), headers=JPEG)
        assert counted.status_code == 413
        three = [("photo", (f"{i}.png", b"x")) for i in range(3)]
        assert client.post("/predict", files=three).json()["error"]["code"] == "too_many"


def test_a_photo_in_json_is_answered_as_the_file_is(ask: Ask, photo: Path) -> None:
    data = photo.read_bytes()
    text = base64.b64encode(data).decode()
    forms = [text, f"data:image/png;base64,{text}", f"DATA:;charset=x;BASE64,{text}",
             base64.encodebytes(data).decode()]  # fmt: skip
    with ask() as client:
        expected = client.post("/predict?nearest=2", content=data, headers=JPEG).json()
        for form in forms:
            said = client.post("/predict?nearest=2", json={"image": form, "more": 1})
            assert (said.status_code, said.json()) == (200, expected)
        drawn = client.post("/predict?draw=1", json={"image": text})
        assert drawn.headers["content-type"] == "image/jpeg"
        as_text = {"content-type": "application/json; charset=utf-8"}
        body = json.dumps({"image": text})
        assert client.post("/predict", content=body, headers=as_text).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 415, "unsupported"), (b"{", 415, "unsupported"), (b"[]", 415, "unsupported"),
        (b'{"image": 1}', 415, "unsupported"), (b"[" * 100_000, 415, "unsupported"),
        (b'"\xff"', 415, "unsupported"), (b"9" * 9999, 415, "unsupported"),
        (b'{"image": "data:image/png,abc"}', 415, "unsupported"),
        (b'{"image": "data:image/png;base64"}', 415, "unsupported"),
        (b'{"image": "a"}', 400, "damaged"), (b'{"image": "\\u00e4"}', 400, "damaged"),
        (b'{"image": "YWJj!"}', 400, "damaged"), (b'{"image": "\\ud800"}', 400, "damaged"),
        (b'{"image": ""}', 400, "empty"), (b'{"image": "YWJj"}', 400, "not_an_image"),
    ],
)  # fmt: skip
def test_json_without_a_photo_is_refused(ask: Ask, body: bytes, status: int, code: str) -> None:
    with ask() as client:
        said = client.post("/predict", content=body, headers={"content-type": "application/json"})
        assert (said.status_code, said.json()["error"]["code"]) == (status, code)


def test_json_has_the_same_limits_before_it_is_decoded(
    ask: Ask, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = base64.b64encode(photo.read_bytes()).decode()
    with ask(limits=Limits(max_pixels=10)) as client:
        assert client.post("/predict", json={"image": text}).status_code == 413
    monkeypatch.setattr(uploads, "photo_in_json", lambda _: 1 / 0)
    with ask(uploads=UploadLimits(most_bytes=1000)) as client:
        assert client.post("/predict", json={"image": "a" * 1000}).status_code == 413


def test_what_is_no_photo_by_its_type_is_refused(ask: Ask) -> None:
    with ask() as client:
        answer = client.post("/predict", json={"photo": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported")
        assert client.post("/predict?draw=x", content=b"x", headers=JPEG).status_code == 422


def test_the_annotated_photo_is_a_picture(ask: Ask, photo: Path) -> None:
    data = photo.read_bytes()
    with ask() as client, Image.open(photo) as given:
        plain = np.asarray(given.convert("RGB"))
        for accept, kind in (("*/*", "JPEG"), ("image/png", "PNG")):
            answer = client.post("/predict?draw=1", content=data, headers=JPEG | {"accept": accept})
            assert answer.headers["content-type"] == f"image/{kind.lower()}"
            with Image.open(io.BytesIO(answer.content)) as drawn:
                assert drawn.format == kind
                assert drawn.size == given.size
                assert (np.asarray(drawn) != plain).any()
        two = [("photo", ("a.png", data)), ("photo", ("b.png", data))]
        assert client.post("/predict?draw=1", files=two).status_code == 400


def test_the_model_tells_of_itself(ask: Ask, model: Model) -> None:
    with ask() as client:
        said = client.get("/model").json()
    assert said["name"] == "tiny"
    assert said["card"]["labels"] == list(model.labels)
    assert said["card"]["scores"]["n"] == model.card.scores["n"]
    assert said["limits"] == {"bytes": 32_000_000, "photos": 32, "pixels": 50_000_000}


def test_metrics_count_what_was_answered(ask: Ask, photo: Path) -> None:
    with ask() as client:
        client.post("/predict", content=photo.read_bytes(), headers=JPEG)
        client.post("/predict", content=b"x", headers=JPEG)
        client.get("/absent")
        client.get("/healthz", headers={"host": "evil.example"})
        text = client.get("/metrics").text
    assert 'requests_total{method="POST",route="/predict",status="200"} 1.0' in text
    assert 'requests_total{method="POST",route="/predict",status="400"} 1.0' in text
    assert 'requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'requests_total{method="GET",route="other",status="403"} 1.0' in text
    assert 'closeup_photos_total{outcome="error"} 1.0' in text
    assert "closeup_batch_photos_count 1.0" in text
    assert "closeup_photos_pending 0.0" in text


@pytest.mark.parametrize("path", ["/", "/about", "/docs"])
def test_pages_have_neither_inline_script_nor_style(ask: Ask, path: str) -> None:
    with ask() as client:
        page = client.get(path).text
    assert "tiny" in page
    assert "style=" not in page
    assert "<script>" not in page
    assert "http" not in page.replace("http://127.0.0.1", "").replace("w3.org", "")


def test_a_token_guards_all_but_health(ask: Ask, photo: Path) -> None:
    with ask(access=AccessPolicy("serve", TOKEN)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        for path in ("/", "/about", "/docs", "/model", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 401
        data = photo.read_bytes()
        assert client.post("/predict", content=data, headers=JPEG).status_code == 401
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/predict", content=data, headers=JPEG | bearer).status_code == 200
        document = client.get("/openapi.json", headers=bearer).json()
        assert document["paths"]["/predict"]["post"]["security"]
        assert "401" in document["paths"]["/predict"]["post"]["responses"]


def test_a_model_that_fails_is_told_and_survived(
    ask: Ask, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photo.read_bytes()
    with ask() as client:
        real = Model.predict_many

        def fails(*_args: object, **_options: object) -> Iterator[closeup.Prediction]:
            raise NetworkDamaged("the network gives nonsense")

        monkeypatch.setattr(Model, "predict_many", fails)
        answer = client.post("/predict", content=data, headers=JPEG)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
        monkeypatch.setattr(Model, "predict_many", real)
        assert client.post("/predict", content=data, headers=JPEG).status_code == 200


class Slow:
    """Holds the model back until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        real = Model.predict_many

        def slow(
            model: Model, photos: list[object], *, nearest: int = 0
        ) -> Iterator[closeup.Prediction]:
            self.begun.set()
            assert self.go.wait(30)
            return real(model, photos)  # type: ignore[arg-type]

        patch.setattr(Model, "predict_many", slow)


def test_a_full_queue_says_when_to_come_again(
    model: Model, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photo.read_bytes()
    app = make_serve_app(model, replace(CONFIG, limits=Limits(queue=2)))
    with running(app) as (url, _), ThreadPoolExecutor(2) as pool:
        slow = Slow(monkeypatch)
        first = pool.submit(httpx2.post, f"{url}/predict", content=data, headers=JPEG)
        assert slow.begun.wait(30)
        files = [("photo", ("a.png", data)), ("photo", ("b.png", data))]
        full = httpx2.post(f"{url}/predict", files=files)
        assert (full.status_code, full.json()["error"]["code"]) == (503, "busy")
        assert int(full.headers["retry-after"]) >= 1
        slow.go.set()
        assert first.result().status_code == 200
        assert httpx2.post(f"{url}/predict", files=files).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(
    model: Model, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_serve_app(model, replace(CONFIG, seconds=0.2))
    with running(app) as (url, _):
        slow = Slow(monkeypatch)
        late = httpx2.post(f"{url}/predict", content=photo.read_bytes(), headers=JPEG)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        slow.go.set()


def test_a_body_that_does_not_come_is_given_up(model: Model) -> None:
    app = make_serve_app(model, replace(CONFIG, uploads=UploadLimits(seconds=0.2)))
    with running(app) as (url, _):
        place = urlsplit(url)
        assert place.hostname
        assert place.port
        with socket.create_connection((place.hostname, place.port), 10) as raw:
            head = f"POST /predict HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 9\r\n\r\nabc"
            raw.sendall(head.encode())
            answer = b""
            while part := raw.recv(4096):
                answer += part
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"too_slow"' in answer


def accepts(url: str) -> bool:
    try:
        httpx2.get(f"{url}/healthz")
    except httpx2.TransportError:
        return False
    return True


def test_shutdown_answers_what_was_accepted(
    model: Model, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photo.read_bytes()
    with running(make_serve_app(model, CONFIG)) as (url, end), ThreadPoolExecutor(1) as pool:
        slow = Slow(monkeypatch)
        begun = pool.submit(httpx2.post, f"{url}/predict", content=data, headers=JPEG)
        assert slow.begun.wait(30)
        end.set()
        while accepts(url):
            pass
        assert not begun.done()
        slow.go.set()
        assert begun.result(30).status_code == 200


def test_the_nearest_training_close_ups_are_named_and_shown(ask: Ask, folder: Path) -> None:
    photo = (folder / "photos" / "ash" / "1.png").read_bytes()
    with ask(project=folder / "out") as client:
        plain = client.post("/predict", content=photo, headers=JPEG).json()
        assert "nearest" not in plain["objects"][0]
        with_them = client.post("/predict?nearest=3", content=photo, headers=JPEG).json()
        near = with_them["objects"][0].pop("nearest")
        assert with_them == plain
        assert len(near) == 3
        assert near[0]["similarity"] >= near[1]["similarity"] >= near[2]["similarity"]
        for one in near:
            picture = client.get(one["picture"])
            assert picture.headers["content-type"] == "image/jpeg"
            with Image.open(io.BytesIO(picture.content)) as shown:
                assert max(shown.size) <= 192
        assert client.post("/predict?nearest=99", content=photo).status_code == 422
        for path in ("absent", "..%2Fcloseup.toml", "%2Fetc%2Fpasswd", "%00"):
            assert client.get(f"/training/{path}").status_code == 404


def test_without_the_project_there_are_no_pictures(ask: Ask, folder: Path) -> None:
    photo = (folder / "photos" / "ash" / "1.png").read_bytes()
    with ask() as client:
        said = client.post("/predict?nearest=2", content=photo, headers=JPEG).json()
        assert [near["picture"] for near in said["objects"][0]["nearest"]] == [None, None]
        assert (
            client.get(f"/training/{said['objects'][0]['nearest'][0]['crop']}").status_code == 404
        )


def test_only_the_project_that_made_a_model_is_its_own(
    folder: Path, model: Model, tmp_path: Path
) -> None:
    assert project_of(folder / "out" / "model", model) == folder / "out"
    shutil.copytree(folder / "out" / "model", tmp_path / "model")
    assert project_of(tmp_path / "model", model) is None
    shutil.copytree(folder / "out", tmp_path / "out")
    scores = tmp_path / "out" / "scores.json"
    scores.write_text(scores.read_text().replace(model.card.key, "another"))
    assert project_of(tmp_path / "out" / "model", model) is None
