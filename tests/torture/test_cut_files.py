"""Files cut off as a power cut may leave them: caches are made anew, tables are named."""

from __future__ import annotations

import shutil

import pytest

from tests.torture.children import TABLES, Fault, no_traceback, state
from tests.torture.conftest import Tried, World


def _said(world: World) -> dict[str, str]:
    return {name: said for name, said in state(world.out).items() if name != "report.html"}


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_cut_cache_is_made_anew(clean: World, tried: Tried, share: float) -> None:
    other = (*clean.words()[:-1], "openvino", "--head", "prototype", "--pad", "0.2")
    assert clean.nursery.run(*clean.words()[:-1], "openvino").code == 0
    kept = clean.base / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(clean.out, kept)
    assert clean.nursery.run(*other).code == 0
    expected = _said(clean)
    clean.fresh()
    shutil.copytree(kept, clean.out)
    compiled = list((clean.base / "cache" / "compiled").rglob("*.blob"))
    cached = [clean.out / "signatures.safetensors", *(clean.out / "embeddings").iterdir()]
    assert compiled
    for file in (*compiled, *cached):
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])
    ended = clean.nursery.run(*other)
    assert ended.code == 0, ended.err
    assert _said(clean) == expected
    tried("caches cut off (compiled graphs, embeddings, signatures): made anew", len(cached))


def test_a_cut_part_of_a_pass_is_passed_over(clean: World, tried: Tried) -> None:
    clean.finish()
    expected, cut = _said(clean), 0
    for at in range(30, 100, 24):
        clean.fresh()
        clean.nursery.run(*clean.words(), fault=Fault(at=at))
        for number, file in enumerate(sorted((clean.out / "unfinished").glob("*"))):
            data = file.read_bytes()
            file.write_bytes([data[: len(data) // 2], data[:-1], b"", data][number % 4])
            cut += 1
        ended = clean.nursery.run(*clean.words())
        assert ended.code == 0, ended.err
        assert _said(clean) == expected
    assert cut
    tried("parts of a killed pass cut off: passed over", cut)


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"results", "suggested"}))
def test_a_cut_table_is_named_and_made_anew_once_deleted(
    clean: World, tried: Tried, name: str
) -> None:
    clean.finish()
    expected = _said(clean)
    file = clean.out / f"{name}.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    no_traceback(clean.nursery.run(*clean.words()), [file.name, "delete it and run again"])
    file.unlink()
    ended = clean.nursery.run(*clean.words())
    assert ended.code == 0, ended.err
    assert _said(clean) == expected
    tried("a table cut off: named, and made anew once deleted", 1)


@pytest.mark.parametrize("name", ["results.parquet", "scores.json", "model/model.json"])
def test_what_belongs_to_the_model_is_put_back_from_the_history(
    clean: World, tried: Tried, name: str
) -> None:
    clean.finish()
    expected = _said(clean)
    for harm in (b"", (clean.out / name).read_bytes()[:-9], None):
        (clean.out / name).unlink()
        if harm is not None:
            (clean.out / name).write_bytes(harm)
        ended = clean.nursery.run(*clean.words())
        assert ended.code == 0, ended.err
        assert _said(clean) == expected
    tried("scores, results or the card of the model cut off or gone: put back from the history", 3)
