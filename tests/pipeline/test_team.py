"""Which backbones may answer together, and how they are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from closeup.pipeline.team import teams


def fit(name: str, layers: int = 1, view: str = "closeup") -> Any:
    head = SimpleNamespace(layers=(None,) * layers)
    return SimpleNamespace(candidate=SimpleNamespace(backbone=name, view=view),
                           fitted=SimpleNamespace(head=head))  # fmt: skip


def names(frozen: Any, count: int) -> list[str]:
    return [team.name for team in teams(frozen, [fit("abc"[n]) for n in range(count)])]


def test_one_or_two_with_the_frozen_one() -> None:
    assert names(fit("a@cov"), 1) == ["fine-tuned", "both together"]
    assert names(fit("a@cov"), 2) == [
        "fine-tuned a", "fine-tuned b", "frozen and fine-tuned a together",
        "frozen and fine-tuned b together", "fine-tuned a and fine-tuned b together",
        "all together",
    ]  # fmt: skip


@pytest.mark.parametrize("frozen", [fit("a", layers=2), fit("a", view="photo")])
def test_a_frozen_one_that_cannot_join_is_in_no_team(frozen: Any) -> None:
    assert names(frozen, 1) == ["fine-tuned"]
    two = "fine-tuned a and fine-tuned b together"  # "both" would be taken for frozen and tuned
    assert names(frozen, 2) == ["fine-tuned a", "fine-tuned b", two]
    assert names(frozen, 3)[-1] == "all together"
