"""Downloads: progress, resume, hashes, and what to do when nothing helps."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from closeup.core.errors import NetworkDamaged, NetworkMissing
from closeup.networks.download import download, is_offline
from tests.networks.hub_server import Hub, hub_server

REPO, FILE = "timm/some-net", "model.safetensors"
DATA = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    # huggingface_hub reads its own settings when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # its pauses between attempts
    with hub_server() as server:
        server.files[f"{REPO}/resolve/main/{FILE}"] = DATA
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def _downloads(hub: Hub) -> list[str]:
    return [wanted for method, wanted in hub.asked if method == "GET"]


def _left_over(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.part"))


def test_a_file_arrives_once_with_progress(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    file = download(REPO, FILE, sha256=SHA256, progress=lambda *step: seen.append(step))
    assert file == tmp_path / "cache" / "downloads" / "timm--some-net" / "main" / FILE
    assert file.read_bytes() == DATA
    assert seen[0] == (f"download {FILE}", 0, len(DATA))
    assert seen[-1] == (f"download {FILE}", len(DATA), len(DATA))
    asked = len(hub.asked)
    assert download(REPO, FILE, sha256=SHA256, offline=True) == file
    assert len(hub.asked) == asked
    assert _left_over(tmp_path) == []


def test_a_dropped_line_is_picked_up_at_once(hub: Hub) -> None:
    hub.break_after = 100_000
    assert download(REPO, FILE).read_bytes() == DATA
    assert _downloads(hub) == ["", "bytes=100000-"]


def _break_for_good(hub: Hub) -> None:
    """Let one download stop half-way: the line drops, then the hub is out of order."""
    hub.break_after = 100_000

    def then_refuse(stage: str, done: int, total: int) -> None:
        hub.refuse = 1 if done == 100_000 else 0

    with pytest.raises(NetworkMissing, match="resumes where it stopped"):
        download(REPO, FILE, progress=then_refuse)


def test_a_broken_transfer_goes_on_later(hub: Hub, tmp_path: Path) -> None:
    _break_for_good(hub)
    assert [part.stat().st_size for part in _left_over(tmp_path)] == [100_000]
    seen: list[int] = []
    file = download(REPO, FILE, progress=lambda stage, done, total: seen.append(done))
    assert file.read_bytes() == DATA
    assert seen[0] == 100_000
    assert _downloads(hub)[-1] == "bytes=100000-"


def test_a_line_that_keeps_dropping_is_given_up(hub: Hub) -> None:
    hub.break_after, hub.mute = 100_000, True
    with pytest.raises(NetworkMissing, match="cannot be fetched"):
        download(REPO, FILE)
    assert len(_downloads(hub)) == 5


def test_a_hub_without_ranges_starts_again(hub: Hub) -> None:
    hub.break_after, hub.ranges = 100_000, False
    assert download(REPO, FILE).read_bytes() == DATA
    assert _downloads(hub) == ["", "bytes=100000-"]


def test_a_file_changed_meanwhile_is_not_glued_to_the_old_half(hub: Hub) -> None:
    _break_for_good(hub)
    hub.files[f"{REPO}/resolve/main/{FILE}"] = DATA[::-1]
    assert download(REPO, FILE).read_bytes() == DATA[::-1]


def test_a_wrong_hash_is_refused_and_deleted(hub: Hub, tmp_path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(NetworkDamaged) as caught:
        download(REPO, FILE, sha256=wrong)
    for part in (FILE, wrong, SHA256, "try again"):
        assert part in str(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob(f"{FILE}*") if path.suffix != ".lock"]


def test_what_the_hub_says_of_its_hash_is_checked(hub: Hub) -> None:
    hub.etag = "0" * 64
    with pytest.raises(NetworkDamaged, match="SHA-256"):
        download(REPO, FILE)


def test_a_tag_that_is_no_hash_is_not_taken_for_one(hub: Hub) -> None:
    hub.etag = "abc"
    assert download(REPO, FILE).read_bytes() == DATA


def test_a_damaged_file_on_disk_is_refused_then_fetched_again(hub: Hub) -> None:
    file = download(REPO, FILE, sha256=SHA256)
    file.write_bytes(DATA[:-1])
    with pytest.raises(NetworkDamaged, match="deleted"):
        download(REPO, FILE, sha256=SHA256)
    assert download(REPO, FILE, sha256=SHA256).read_bytes() == DATA


def test_no_such_file_and_no_such_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cache" / "downloads" / "timm--some-net" / "main" / "absent.bin"
    with pytest.raises(NetworkMissing, match="does not exist") as caught:
        download(REPO, "absent.bin")
    assert str(place) in str(caught.value)
    assert "timm/some-net" in str(caught.value)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkMissing, match="cannot be fetched"):
        download(REPO, FILE)


def test_offline_asks_nobody_and_says_where_to_put_the_file(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NetworkMissing, match="switched off") as caught:
        download(REPO, FILE, offline=True)
    place = tmp_path / "cache" / "downloads" / "timm--some-net" / "main" / FILE
    assert str(place) in str(caught.value)
    assert hub.asked == []
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)  # as the message said
    assert download(REPO, FILE, sha256=SHA256, offline=True) == place


def test_a_file_that_another_tool_has_fetched_is_used(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "models--timm--some-net"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c" * 40)
    file = folder / "snapshots" / ("c" * 40) / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA)
    assert download(REPO, FILE, sha256=SHA256, offline=True) == file
    with pytest.raises(NetworkDamaged, match="delete it"):
        download(REPO, FILE, sha256="0" * 64)
    assert file.exists()  # it is not ours to delete


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False)])
def test_offline_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() is expected
