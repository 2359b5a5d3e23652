from __future__ import annotations

from email.message import Message

import pytest

from tools import licences
from tools.licences import Package, licence_of, packages, suits


def facts(**headers: str) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return message


def test_no_word_is_no_licence() -> None:
    assert licence_of(facts()) == ""  # type: ignore[arg-type]
    assert not suits("")
    assert licence_of(facts(License="All rights reserved, see below")) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"License_Expression": "MIT AND Zlib", "License": "GPL"}, "MIT AND Zlib"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: GNU Affero General Public License v3"},
         "GNU Affero General Public License v3"),
        ({"License": "Apache 2.0"}, "Apache-2.0"),
    ],
)  # fmt: skip
def test_what_the_metadata_say(headers: dict[str, str], expected: str) -> None:
    assert licence_of(facts(**headers)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "AGPL-3.0-or-later AND MIT", "SSPL-1.0", "?"])
def test_what_does_not_suit(licence: str) -> None:
    assert not Package("a", "1", licence, "").suits


def test_proprietary_packages_come_with_pytorch_alone() -> None:
    assert Package("nvidia-cublas", "1", "", "torch").suits
    assert not Package("nvidia-cublas", "1", "", "").suits


def test_every_package_that_is_brought_along_suits() -> None:
    found = packages()
    names = {one.name for one in found if not one.extra}
    assert {"numpy", "pillow", "onnxruntime", "openvino", "pydantic", "markupsafe"} <= names
    assert {"fastapi", "starlette"} <= {one.name for one in found if one.extra == "serve"}
    assert [one for one in found if not one.suits] == []


def test_one_that_does_not_suit_ends_in_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert licences.main() == 0
    monkeypatch.setattr(licences, "packages", lambda: [Package("a", "1", "GPL-3.0-only", "")])
    assert licences.main() == 1
