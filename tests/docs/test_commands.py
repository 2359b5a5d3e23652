"""The commands and programs on README and the pages of docs/ do what they say they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import NOT_RUN, PAGES, PROGRAMS, Block, blocks, reason_of
from tests.docs.world import make_base, make_world

QUICK = {"hand-over.md"}
"""Pages whose commands are run in every test run; the others' only by continuous integration."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("pages"))


def steps(page: Path) -> list[tuple[Block, str]]:
    """The commands of a page, and its programs as a whole."""
    return [(block, text) for block in blocks(page)
            for text in ([block.text] if block.is_python else block.commands)]  # fmt: skip


def to_run(page: Path) -> list[tuple[Block, str]]:
    """What is run of a page."""
    return [(block, text) for block, text in steps(page) if not reason_of(text)]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.name, marks=[] if page.name in QUICK else [pytest.mark.slow])
     for page in PAGES if to_run(page)],
)  # fmt: skip
def test_the_commands_of_a_page(page: Path, base: Path, tmp_path: Path) -> None:
    world = make_world(base, tmp_path / "page")
    for block, text in to_run(page):
        try:
            world.execute(text) if block.is_python else world.run(text)
        except BaseException as err:
            err.add_note(f"in {block.where}:\n{text}")
            raise


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_that_is_not_run_is_no_command(page: Path) -> None:
    """What the tests do not take for commands must not look like one to a reader."""
    for block in blocks(page):
        lines = block.text.splitlines()
        looks = [line for line in lines if line.removeprefix("$ ").startswith(
            tuple(f"{name} " for name in PROGRAMS))]  # fmt: skip
        if looks and not block.is_python:
            assert block.commands, f"{block.where}: say ```sh, so that it is run: {looks[0]}"


def test_nothing_is_left_out_that_is_on_no_page() -> None:
    reasons = {reason_of(text) for page in PAGES for _, text in steps(page)}
    assert set(NOT_RUN.values()) <= reasons


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("closeup run PHOTOS", ""),
        ("closeup train watches --finetune  # needs PyTorch", "needs PyTorch"),
        ("closeup run PHOTOS # what your project needs", ""),
        ("closeup models pull d-fine-n   # 104 MB: needs the hub", "needs the hub"),
        ("closeup models list", ""),
        ("pip install -e .", "sets up a machine; tests/test_install.py runs the install lines"),
    ],
)
def test_the_reason_is_what_the_page_says(text: str, reason: str) -> None:
    assert reason_of(text) == reason


def test_of_an_output_only_the_commands_are_taken() -> None:
    mixed = Block("", "", "$ closeup run a\nclosed 3\ncloseup is no command here\n")
    assert mixed.commands == ["closeup run a"]
    told = Block("", "console", "$ closeup run a \\\n>     --out b\nanswer\n")
    assert told.commands == ["closeup run a      --out b"]
    assert Block("", "text", "closeup run a\n").commands == []
    assert Block("", "sh", "closeup run a \\\n  --out b  # so\n").commands == [
        "closeup run a    --out b  # so"
    ]
