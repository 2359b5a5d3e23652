"""The same photos, settings and seed give the same, whatever the number of threads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from closeup.learn.embed import Embeddings
from tests.torture.children import TABLES, Nursery, open_tables, state
from tests.torture.conftest import TINY, Amount, Tried, World

TOLERANCE = 1e-4
"""Of embeddings, confidences and weights between numbers of threads: sums in another order."""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_twice_the_same(clean: World, tried: Tried, engine: str) -> None:
    words = (*clean.words()[:-1], engine)
    found = []
    for _ in range(2):
        clean.fresh()
        assert clean.nursery.run(*words).code == 0
        found.append(state(clean.out))
    assert found[0] == found[1]
    tried(f"the same run twice ({engine}): every file the same", 1)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_any_number_of_threads_gives_the_same(
    clean: World, tmp_path: Path, tried: Tried, amount: Amount, engine: str
) -> None:
    words = ("run", clean.photos, *TINY[:-1], engine)
    several = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    projects = []
    numbers = (1, 2, 4, 0) if amount.long else (1, 4)
    for threads in numbers:
        nursery = Nursery(clean.base, threads=threads or 2)
        if not threads and several:
            os.sched_setaffinity(nursery.process.pid, several[:1])
        out = tmp_path / str(threads)
        ended = nursery.run(*words, "--out", out)
        nursery.close()
        assert ended.code == 0, ended.err
        projects.append(out)
    first = open_tables(projects[0])
    for other in projects[1:]:
        tables = open_tables(other)
        for name in TABLES.keys() - {"results", "suggested"}:
            assert tables[name].rows == first[name].rows, name
        for mine, their in zip(first["results"].rows, tables["results"].rows, strict=True):
            assert (mine.crop_id, mine.answer) == (their.crop_id, their.answer)
            assert mine.confidence == pytest.approx(their.confidence, abs=TOLERANCE)
        _close(projects[0], other)
    tried(f"1, 2, 4 threads and one processor ({engine}): the same within {TOLERANCE:g}",
          len(numbers) - 1)  # fmt: skip


def _close(one: Path, other: Path) -> None:
    a, b = (load_file(folder / "model" / "head.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=TOLERANCE, rtol=TOLERANCE)
    mine, their = (Embeddings.read(_plain(folder)) for folder in (one, other))
    assert mine is not None
    assert their is not None
    np.testing.assert_allclose(mine.vectors, their.vectors, atol=TOLERANCE)
    scores = [json.loads((folder / "scores.json").read_text())["scores"] for folder in (one, other)]
    assert scores[0]["macro_f1"]["value"] == pytest.approx(scores[1]["macro_f1"]["value"])


def _plain(project: Path) -> Path:
    (file,) = (f for f in project.glob("embeddings/closeup-*") if "covered" not in f.name)
    return file
