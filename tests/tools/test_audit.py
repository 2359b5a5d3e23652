from __future__ import annotations

import json
from typing import Any

import pytest

from tools.audit import UNREACHABLE, verdict

FINE = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code"),
    [([], UNREACHABLE), ([SKIPPED], UNREACHABLE), ([FINE], 0), ([FINE, BAD], 1),
     ([FINE, FINE, SKIPPED], 0), ([FINE, SKIPPED, SKIPPED], UNREACHABLE)],
)  # fmt: skip
def test_the_code_says_what_was_found(packages: list[dict[str, Any]], code: int) -> None:
    assert verdict(json.dumps({"dependencies": packages}))[0] == code


@pytest.mark.parametrize("answer", ["", "null", "{}", "Traceback"])
def test_no_answer_is_no_audit(answer: str) -> None:
    assert verdict(answer) == (
        UNREACHABLE, ["the advisory service cannot be reached; nothing was audited"]
    )  # fmt: skip


def test_what_is_known_is_named() -> None:
    assert verdict(json.dumps({"dependencies": [BAD]}))[1] == ["b 2: CVE-1, mended in 3"]
