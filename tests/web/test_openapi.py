"""The OpenAPI document is right: whatever it allows is answered as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from schemathesis.specs.openapi.checks import positive_data_acceptance

from closeup.model.model import Model
from closeup.web.serve.app import make_serve_app
from tests.web.conftest import CONFIG, Ask, running

ROUTES = [
    ("GET", "/healthz"), ("GET", "/metrics"), ("GET", "/model"), ("GET", "/training/{crop}"),
    ("POST", "/predict"),
]  # fmt: skip


@pytest.fixture(scope="module")
def served(model: Model) -> Iterator[tuple[FastAPI, str]]:
    app = make_serve_app(model, CONFIG)
    with running(app) as (url, _):
        yield app, url


def test_it_names_every_route(served: tuple[FastAPI, str]) -> None:
    paths = served[0].openapi()["paths"]
    assert sorted((m.upper(), p) for p, ways in paths.items() for m in ways) == ROUTES
    predict = paths["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) >= {"multipart/form-data", "image/jpeg"}
    expected = "200 400 403 408 413 415 422 500 503 504"
    assert " ".join(sorted(predict["responses"])) == expected


@pytest.mark.parametrize(("method", "path"), ROUTES)
@settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(data=st.data())
def test_what_it_allows_is_answered_as_it_says(
    served: tuple[FastAPI, str], method: str, path: str, data: st.DataObject
) -> None:
    app, url = served
    schema = schemathesis.openapi.from_dict(app.openapi())
    case = data.draw(schema[path][method].as_strategy())
    # It cannot say that the bytes must be a picture, so these may be refused.
    case.call_and_validate(base_url=url, excluded_checks=[positive_data_acceptance])


def test_answers_and_refusals_fit_their_schemas(ask: Ask, photo: Path) -> None:
    good = ("a.png", photo.read_bytes())
    cases: list[tuple[dict[str, Any], int]] = [
        ({"files": {"photo": good}}, 200),
        ({"files": [("photo", good), ("photo", ("b.png", b"x"))]}, 200),
        ({"files": [("photo", ("b.png", b"x")), ("photo", ("c.png", b""))]}, 400),
        ({"content": b"x", "headers": {"content-type": "image/png"}}, 400),
        ({"json": {}}, 415),
    ]
    with ask() as client:
        document = client.get("/openapi.json").json()
        for sent, status in cases:
            answer = client.post("/predict", **sent)
            assert answer.status_code == status
            assert valid(document, answer)


def valid(document: dict[str, Any], answer: httpx2.Response) -> bool:
    said = document["paths"]["/predict"]["post"]["responses"][str(answer.status_code)]
    schema = said["content"]["application/json"]["schema"]
    checks = validator_for({**schema, "components": document["components"]})
    return bool(checks.is_valid(answer.json()))


def test_the_schemas_can_fail(ask: Ask) -> None:
    with ask() as client:
        assert isinstance(client, TestClient)
        document = client.get("/openapi.json").json()
        wrong = httpx2.Response(200, json={"photo": "a", "found": True, "objects": [{}]})
        assert not valid(document, wrong)
