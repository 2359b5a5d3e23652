"""Downloads: progress, resume, hashes, and what to do when nothing helps."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from closeup.core.errors import NetworkDamaged, NetworkMissing
from closeup.networks.download import HubFile, download, is_offline, look
from tests.networks.hub_server import COMMIT, Hub, hub_server

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
    with pytest.raises(NetworkMissing, match="does not exist, or put the file at") as caught:
        download(REPO, "absent.bin")
    assert str(place) in str(caught.value)
    assert "timm/some-net" in str(caught.value)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkMissing, match="cannot be reached"):
        download(REPO, FILE)


def test_a_hub_out_of_reach_is_told_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    files = [HubFile(REPO, FILE), HubFile("other/net", "onnx/model.onnx", COMMIT)]
    with pytest.raises(NetworkMissing) as caught:
        look(files)
    assert str(caught.value).startswith("2 files are not on disk and 127.0.0.1:9 cannot be reached")
    assert caught.value.__notes__ == [f"  {file.title}: {file.place}" for file in files]


def test_offline_asks_nobody_and_says_where_to_put_the_file(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NetworkMissing, match="switched off") as caught:
        download(REPO, FILE, offline=True)
    place = tmp_path / "cache" / "downloads" / "timm--some-net" / "main" / FILE
    assert str(place) in str(caught.value)
    assert hub.asked == []
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)  # as the message said
    assert download(REPO, FILE, sha256=SHA256, offline=True) == place


def _in_hub_cache(tmp_path: Path, data: bytes, blob: str) -> Path:
    """A file in huggingface_hub's own cache: a link to a blob that is named after its content."""
    folder = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}"
    for part in ("refs", "blobs", f"snapshots/{COMMIT}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "blobs" / blob).write_bytes(data)
    file = folder / "snapshots" / COMMIT / FILE
    file.symlink_to(folder / "blobs" / blob)
    return file


def test_a_file_that_another_tool_has_fetched_is_used(hub: Hub, tmp_path: Path) -> None:
    file = _in_hub_cache(tmp_path, DATA, SHA256)
    assert download(REPO, FILE, sha256=SHA256, offline=True) == file
    assert download(REPO, FILE, offline=True) == file  # its name says what it must hold
    assert download(REPO, FILE) == file
    assert _downloads(hub) == []
    assert download(REPO, FILE, sha256=SHA256).read_bytes() == DATA


@pytest.mark.parametrize(
    ("data", "blob", "wanted"),
    [(DATA[:-1], SHA256, ""), (DATA, "made-by-hand", ""), (DATA[:-1], SHA256, SHA256)],
    ids=["damaged", "cannot be checked", "another one"],
)
def test_a_doubtful_file_of_another_tool_is_not_taken(
    hub: Hub, tmp_path: Path, data: bytes, blob: str, wanted: str
) -> None:
    file = _in_hub_cache(tmp_path, data, blob)
    with pytest.raises(NetworkMissing, match="switched off"):
        download(REPO, FILE, sha256=wanted, offline=True)
    found = download(REPO, FILE, sha256=wanted)
    assert found.is_relative_to(tmp_path / "cache")
    assert found.read_bytes() == DATA
    assert file.exists()  # it is not ours to delete


def test_an_outdated_file_of_another_tool_is_not_taken(hub: Hub, tmp_path: Path) -> None:
    old = DATA[::-1]
    _in_hub_cache(tmp_path, old, hashlib.sha256(old).hexdigest())
    assert download(REPO, FILE).read_bytes() == DATA


def test_the_newest_revision_is_fetched_again_when_it_changes(hub: Hub) -> None:
    file = download(REPO, FILE)
    hub.files[f"{REPO}/resolve/main/{FILE}"] = DATA[::-1]
    assert download(REPO, FILE, offline=True).read_bytes() == DATA
    assert download(REPO, FILE) == file
    assert file.read_bytes() == DATA[::-1]
    count = len(_downloads(hub))
    download(REPO, FILE)
    assert len(_downloads(hub)) == count


def test_a_pinned_file_is_never_asked_for_again(hub: Hub) -> None:
    hub.files[f"{REPO}/resolve/{COMMIT}/{FILE}"] = DATA
    file = download(REPO, FILE, revision=COMMIT)
    asked = len(hub.asked)
    assert download(REPO, FILE, revision=COMMIT) == file
    assert len(hub.asked) == asked


def test_what_is_on_disk_serves_where_the_hub_is_down(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = download(REPO, FILE)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert download(REPO, FILE) == file


def test_small_files_are_checked_by_gits_own_hash(hub: Hub) -> None:
    hub.small = (FILE,)
    assert download(REPO, FILE).read_bytes() == DATA
    hub.files[f"{REPO}/resolve/main/other.json"] = b"{}"
    hub.etag = "0" * 40
    with pytest.raises(NetworkDamaged, match="what the hub calls 0000"):
        download(REPO, "other.json")


def test_a_wrong_size_is_refused_before_the_download(hub: Hub) -> None:
    file = HubFile(REPO, FILE, sha256=SHA256, bytes=len(DATA) + 1)
    with pytest.raises(NetworkDamaged, match=f"has {len(DATA)} bytes, expected {len(DATA) + 1}"):
        look([file])
    assert _downloads(hub) == []


def test_a_file_put_there_by_hand_must_have_its_size(hub: Hub) -> None:
    file = HubFile(REPO, FILE, bytes=len(DATA))
    file.place.parent.mkdir(parents=True)
    file.place.write_bytes(DATA[:-1])
    with pytest.raises(NetworkDamaged, match=f"expected {len(DATA)} bytes, found {len(DATA) - 1}"):
        look([file], offline=True)


def test_a_transfer_shorter_than_stated_is_refused(hub: Hub) -> None:
    hub.size = len(DATA) + 10
    with pytest.raises((NetworkDamaged, NetworkMissing)):
        download(REPO, FILE)


@pytest.mark.parametrize("status", [401, 403])
def test_gated_is_told_from_missing(hub: Hub, status: int) -> None:
    hub.gated[REPO] = status
    with pytest.raises(NetworkMissing, match="accept their terms first, at") as caught:
        download(REPO, FILE)
    for part in (f"https://huggingface.co/{REPO}", "hf auth login", "HF_TOKEN", "or put the file"):
        assert part in str(caught.value)
    assert "does not exist" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_reason_does_not_guess_one(hub: Hub, status: int) -> None:
    hub.private[REPO] = status
    with pytest.raises(NetworkMissing, match=rf"does not let you have it \({status}\)"):
        download(REPO, FILE)


def test_large_files_come_from_elsewhere_without_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with hub_server() as store:
        store.files, store.break_after = hub.files, 100_000
        hub.elsewhere = store.url
        assert download(REPO, FILE, sha256=SHA256).read_bytes() == DATA
        assert [way for way, _ in store.asked] == ["GET", "GET"]
        assert store.asked[1] == ("GET", "bytes=100000-")
        assert set(store.tokens) == {""}
    assert hub.tokens == ["Bearer hf_secret"]


def test_a_proxy_is_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session

    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    close_session()  # which has read the environment
    try:
        assert download(REPO, FILE).read_bytes() == DATA
    finally:
        close_session()
    assert set(hub.hosts) == {"hub.invalid"}


def test_several_files_are_looked_for_at_once(hub: Hub, tmp_path: Path) -> None:
    hub.gated["a/gated"] = 403
    files = [
        HubFile(REPO, FILE),
        HubFile(REPO, "absent.bin"),
        HubFile("a/gated", FILE),
        HubFile("no/repo", FILE),
        HubFile(REPO, FILE, "d" * 40),
    ]
    with pytest.raises(NetworkMissing) as caught:
        look(files)
    assert str(caught.value) == "4 files are not on disk and cannot be downloaded:"
    said = "\n".join(caught.value.__notes__)
    for file in files[1:]:
        assert f"{file.title}: " in said
        assert str(file.place) in said
    for reason in ("absent.bin does not exist", "accept their terms", "no/repo", "has no revision"):
        assert reason in said
    assert _downloads(hub) == []


def test_offline_every_missing_file_is_named(hub: Hub) -> None:
    files = [HubFile(REPO, FILE), HubFile("other/net", "onnx/model.onnx", COMMIT)]
    with pytest.raises(NetworkMissing) as caught:
        look(files, offline=True)
    assert str(caught.value) == (
        "2 files are not on disk and downloads are switched off; go online, or put them here:"
    )
    assert caught.value.__notes__ == [f"  {file.title}: {file.place}" for file in files]
    for file in files:
        file.place.parent.mkdir(parents=True)
        file.place.write_bytes(DATA)  # as the message said
    assert [source.path for source in look(files, offline=True)] == [f.place for f in files]
    assert hub.asked == []


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False)])
def test_offline_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() is expected
