"""A kill exactly at each change of a file: the next run ends as if there had been none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.torture.children import KILLED, Fault, open_tables, stamps, state
from tests.torture.conftest import Amount, Tried, World


@pytest.mark.parametrize("verb", ["run", "crop"])
def test_a_kill_at_any_change_of_a_file_loses_nothing(
    clean: World, amount: Amount, tried: Tried, verb: str
) -> None:
    whole = clean.finish() if verb == "run" else clean.nursery.run(*clean.words(verb))
    assert whole.code == 0, whole.err
    expected = state(clean.out)
    kills = 0
    for at in range(1, whole.changes + 1, amount.stride):
        clean.fresh()
        ended = clean.nursery.run(*clean.words(verb), fault=Fault(at=at))
        if ended.code != KILLED:
            continue  # the other thread wrote one file less
        kills += 1
        open_tables(clean.out)
        finished = stamps(clean.out, "crops/*/*.jpg") if _pass_is_kept(clean.out) else {}
        again = clean.nursery.run(*clean.words(verb))
        assert again.code == 0, (at, again.err)
        assert state(clean.out) == expected, at
        kept = stamps(clean.out, "crops/*/*.jpg")
        assert not {name for name, stamp in finished.items() if kept[name] != stamp}, at
    assert kills > whole.changes / amount.stride * 0.8
    tried(f"`{verb}` killed at every change of a file, then run again", kills)


def _pass_is_kept(out: Path) -> bool:
    """Whether the detections are in their table: then the pass had ended."""
    return (out / "detections.parquet").is_file()


def test_a_kill_while_a_changed_run_writes_loses_neither_result(
    clean: World, amount: Amount, tried: Tried
) -> None:
    words = clean.words()
    assert clean.nursery.run(*words).code == 0
    old = state(clean.out)
    kept = clean.base / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(clean.out, kept)
    other = (*words, "--pad", "0.5", "--head", "prototype")
    whole = clean.nursery.run(*other)
    new = state(clean.out)
    assert whole.code == 0
    assert new != old
    kills = 0
    for number, at in enumerate(range(1, whole.changes + 1, amount.stride)):
        clean.fresh()
        shutil.copytree(kept, clean.out)
        if clean.nursery.run(*other, fault=Fault(at=at)).code != KILLED:
            continue
        kills += 1
        open_tables(clean.out)
        # Back to the old settings, or on to the new ones: either must come out whole.
        back = (*words, "--pad", "0.1", "--head", "")
        wanted, after = (old, back) if number % 2 else (new, other)
        again = clean.nursery.run(*after)
        assert again.code == 0, (at, again.err)
        assert _results(state(clean.out)) == _results(wanted), at
        answer = clean.nursery.run("predict", clean.out / "model", clean.photos / "ash" / "0.png")
        assert answer.code == 0, (at, answer.err)
    assert kills
    tried("a changed `run` killed at every change of a file, then finished or taken back", kills)


def _results(files: dict[str, str]) -> dict[str, str]:
    """All but the embeddings, a cache of the last run that needed any, and the history and the
    report, which also tell of what was tried and taken back."""
    without = ("embeddings/", "history/", "report.html")
    return {name: said for name, said in files.items() if not name.startswith(without)}


def test_photos_of_a_killed_pass_are_not_looked_at_again(
    clean: World, tried: Tried, amount: Amount
) -> None:
    """Every photo that a part was written of keeps its close-up, and is not decoded again."""
    whole = clean.finish()
    seen = 0
    for at in range(1, whole.changes, 5 if amount.long else 23):
        clean.fresh()
        if clean.nursery.run(*clean.words(), fault=Fault(at=at)).code != KILLED:
            continue
        parts = len(list((clean.out / "unfinished").glob("*.safetensors")))
        before = stamps(clean.out, "crops/*/*.jpg")
        if not parts or (clean.out / "photos.parquet").exists():
            continue
        again = clean.nursery.run(*clean.words())
        assert again.code == 0, again.err
        after = stamps(clean.out, "crops/*/*.jpg")
        assert sum(after[name] == stamp for name, stamp in before.items()) >= parts, at
        seen += 1
    assert seen
    tried("a pass killed between two photos: what it had finished is not done again", seen)
