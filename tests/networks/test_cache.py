"""Networks on disk: whole or not at all, and checked when loaded."""

from __future__ import annotations

import json
import multiprocessing
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from closeup.core.errors import NetworkDamaged, NetworkError, NetworkMissing, UsageError
from closeup.networks import Card, file_hash, installed, load, save
from closeup.networks.cache import refuse_existing
from closeup.networks.card import Origin
from closeup.networks.preprocess import InputSpec

DATA = b"\x08\x09 not really a graph, but the cache does not look inside"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    file = tmp_path / "source.onnx"
    file.write_bytes(DATA)
    return file


def make_card(graph: Path, name: str = "net", **changes: Any) -> Card:
    facts: dict[str, Any] = {
        "name": name,
        "kind": "backbone",
        "family": "embedding",
        "sha256": file_hash(graph),
        "bytes": graph.stat().st_size,
        "input": InputSpec(width=32, height=32),
    }
    return Card(**{**facts, **changes})


def test_nothing_is_installed_in_an_empty_cache(cache: Path) -> None:
    builtin = {network.card.name for network in installed()}
    assert "net" not in builtin
    assert not cache.exists()


def test_saved_and_loaded_are_the_same(tmp_path: Path, graph: Path) -> None:
    saved = save(make_card(graph), graph, tmp_path / "deep" / "net")
    assert load(tmp_path / "deep" / "net") == saved
    assert saved.file.read_bytes() == DATA
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["net"]


def test_saving_again_replaces(tmp_path: Path, graph: Path) -> None:
    folder = tmp_path / "net"
    save(make_card(graph), graph, folder)
    graph.write_bytes(DATA * 2)
    save(make_card(graph, licence="MIT"), graph, folder)
    assert load(folder).card.licence == "MIT"
    assert load(folder).file.read_bytes() == DATA * 2


def test_weights_come_along_where_there_are_some(tmp_path: Path, graph: Path) -> None:
    origin = Origin(framework="timm", architecture="net", sha256="0" * 64)
    card = make_card(graph, origin=origin)
    assert save(make_card(graph), graph, tmp_path / "none").weights is None
    assert save(card, graph, tmp_path / "net").weights is None
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    # The same card again, and now with weights: they are added.
    saved = save(card, graph, tmp_path / "net")
    assert saved.weights == tmp_path / "net" / "weights.safetensors"
    assert saved.weights.read_bytes() == b"weights"
    assert load(tmp_path / "net").card.origin == origin


def test_a_card_of_another_graph_is_not_saved(tmp_path: Path, graph: Path) -> None:
    card = make_card(graph, sha256="0" * 64)
    with pytest.raises(NetworkDamaged, match="SHA-256"):
        save(card, graph, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, graph: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NetworkError, match="cannot be written"):
        save(make_card(graph), graph, tmp_path / "file" / "net")


def test_no_folder_and_no_card(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(NetworkMissing, match="holds no network"):
            load(folder)


def test_a_changed_graph_names_both_hashes(tmp_path: Path, graph: Path) -> None:
    network = save(make_card(graph), graph, tmp_path / "net")
    network.file.write_bytes(DATA[::-1])
    with pytest.raises(NetworkDamaged) as caught:
        load(network.folder)
    for part in (str(network.file), network.card.sha256, file_hash(network.file), "again"):
        assert part in str(caught.value)
    assert load(network.folder, verify=False) == network


def test_a_cut_or_lost_graph_is_seen_without_hashing(tmp_path: Path, graph: Path) -> None:
    network = save(make_card(graph), graph, tmp_path / "net")
    network.file.write_bytes(DATA[:-1])
    with pytest.raises(NetworkDamaged, match=r"bytes, its card says"):
        load(network.folder, verify=False)
    network.file.unlink()
    with pytest.raises(NetworkDamaged, match="missing"):
        load(network.folder, verify=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graph": "../source.onnx"}, "plain file name"),
        ({"graph": "/etc/passwd"}, "plain file name"),
        ({"format": 99}, "update closeup"),
        ({"family": "nonsense"}, "family"),
        ({"surprise": 1}, "surprise"),
        ({"name": "../up"}, "name"),
        (
            {
                "origin": {
                    "framework": "timm",
                    "architecture": "net",
                    "sha256": "0" * 64,
                    "weights": "../secret.safetensors",
                }
            },
            "weights",
        ),
        ({"input": {"width": 1, "height": 1}}, "width"),
    ],
)
def test_a_wrong_card(tmp_path: Path, graph: Path, change: dict[str, Any], message: str) -> None:
    folder = save(make_card(graph), graph, tmp_path / "net").folder
    file = folder / "card.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(NetworkDamaged, match=message):
        load(folder)


def test_a_card_that_is_no_json(tmp_path: Path, graph: Path) -> None:
    folder = save(make_card(graph), graph, tmp_path / "net").folder
    (folder / "card.json").write_bytes(b"\x80{")
    with pytest.raises(NetworkDamaged, match=r"card\.json"):
        load(folder)


def test_installed_leaves_out_the_damaged_and_the_half_written(
    cache: Path, graph: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = cache / "networks"
    for name in ("b", "a", "cut", ".new-x"):
        save(make_card(graph, name.strip(".")), graph, base / name)
    (base / "cut" / "graph.onnx").write_bytes(b"")
    found = [network.card.name for network in installed() if network.folder.parent == base]
    assert found == ["a", "b"]
    assert "cut" in caplog.text


def _save_often(graph: Path, folder: Path, licence: str) -> None:
    for _ in range(40):
        save(make_card(graph, licence=licence), graph, folder)


def _both(graph: Path, folder: Path, licences: str) -> list[SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_save_often, args=(graph, folder, x)) for x in licences]
    for job in jobs:
        job.start()
    return jobs


def test_processes_that_make_the_same_network_never_disturb_a_reader(
    tmp_path: Path, graph: Path
) -> None:
    folder = tmp_path / "base" / "net"
    save(make_card(graph, licence="A"), graph, folder)
    jobs = _both(graph, folder, "AA")
    while any(job.is_alive() for job in jobs):
        load(folder)
    assert [job.exitcode for job in jobs] == [0, 0]
    assert [path.name for path in folder.parent.iterdir()] == ["net"]


def test_processes_that_give_one_name_to_two_networks_leave_a_whole_one(
    tmp_path: Path, graph: Path
) -> None:
    folder = tmp_path / "base" / "net"
    jobs = _both(graph, folder, "AB")
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    assert load(folder).card.licence in "AB"
    assert [path.name for path in folder.parent.iterdir()] == ["net"]


def test_a_name_is_taken_until_it_may_be_replaced(cache: Path) -> None:
    refuse_existing("net", replace=False)
    (cache / "networks" / "net").mkdir(parents=True)
    for name in ("net", "nano-embed"):
        with pytest.raises(UsageError, match=f"a network called {name} already, in .*--replace"):
            refuse_existing(name, replace=False)
        refuse_existing(name, replace=True)
