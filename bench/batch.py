"""``closeup predict --ray`` against one process: ``python -m bench.batch [--photos 20000]``.

Makes the demo's model and as many photos (its own, each shifted and brightened a little), then runs
both commands, in turn, on a tenth of the photos and on all of them. Prints whether the rows are the
same, both rates (over the whole command, and between the two sizes, which leaves the start out),
their ratio, and the most memory that the command and its workers took, without Ray's own processes.

The short form, ``--photos 4000 --turns 1``, only compares the rates of both once they are under
way. ``--folder`` keeps the demo and the photos for the next time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from bench.machine import describe
from closeup.core.parallel import available_cpus
from closeup.model.model import load_model
from closeup.photos.listing import list_paths

MARK = "CLOSEUP_BENCH"
RAYS_OWN = ("raylet", "gcs_server", "agent", "log_monitor", "monitor.py", "ray::IDLE",
            "default_worker")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One command: its seconds, and the most megabytes that its processes held at once."""

    seconds: float
    megabytes: float


def make_photos(folder: Path, originals: list[Path], count: int) -> None:
    """As many photos, no two the same, in folders of a thousand."""
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in originals]
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = pictures[number % len(pictures)]
        pixels = np.roll(pixels, rng.integers(-9, 10, 2), (0, 1))
        pixels = np.clip(pixels * rng.uniform(0.8, 1.1), 0, 255).astype(np.uint8)
        file = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, quality=85)


def measured(words: list[str]) -> Measured:
    """Run ``closeup WORDS`` while its processes' memory is watched."""
    token = f"{os.getpid()}-{time.monotonic_ns()}"
    words, env = [sys.executable, "-m", "closeup", *words], {**os.environ, MARK: token}
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL)
    most, ended, start = 0.0, threading.Event(), time.perf_counter()

    def watch() -> None:
        nonlocal most
        while not ended.wait(1.0):
            most = max(most, sum(map(_megabytes, _processes(token))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    assert code == 0, words
    return Measured(seconds, most)


def _processes(token: str) -> list[Path]:
    """The command's processes, by an environment variable, without Ray's own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"{MARK}={token}\0".encode() in (folder / "environ").read_bytes()
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if mine and not any(name in words for name in RAYS_OWN):
            found.append(folder)
    return found


def _megabytes(process: Path) -> float:
    """Its share of memory: what several processes share counts once."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def turns(model: Path, photos: Path, base: Path, count: int) -> None:
    """Both commands in turn; prints the rates once they are under way."""
    print(describe(), end="\n\n")
    print("| turn | one process | --ray | ratio |\n| --- | --- | --- | --- |")
    ratios = []
    for turn in range(count):
        out = base / f"turn-{turn}-{os.getpid()}"
        found: dict[str, float] = {}
        for which in ("one", "many") if turn % 2 else ("many", "one"):
            found[which] = (
                _ray_rate(model, photos, out) if which == "many" else _rate(model, photos)
            )
        ratios.append(found["many"] / found["one"])
        print(f"| {turn + 1} | {found['one']:.1f}/s | {found['many']:.1f}/s | {ratios[-1]:.2f} |",
              flush=True)  # fmt: skip
    print(f"\nMedian ratio: {median(ratios):.2f}")


def _rate(model: Path, photos: Path) -> float:
    """Photos a second in this process, after the first ones, which open the networks."""
    loaded, files = load_model(model), list_paths([photos])
    list(loaded.predict_many(files[:64]))
    start = time.perf_counter()
    list(loaded.predict_many(files))
    return len(files) / (time.perf_counter() - start)


def _ray_rate(model: Path, photos: Path, out: Path) -> float:
    """Photos a second once each worker has written a part, by the times of all that follow.

    The slope of a line through them: where one worker ends before the other does not count.
    """
    words = ["predict", str(model), str(photos), "--ray", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "closeup", *words], check=True, capture_output=True)
    parts = sorted((out / "answers").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    done = np.cumsum([pq.read_metadata(file).num_rows for file in parts])
    times = np.array([file.stat().st_mtime_ns for file in parts]) / 1e9
    first = available_cpus() - 1
    return float(np.polyfit(times[first:] - times[0], done[first:], 1)[0])


def same_rows(one: Path, parts: Path) -> bool:
    """Whether both hold the same rows, by the photo's name."""
    expected = pq.read_table(one)
    found = pq.read_table(parts).select(expected.column_names)
    return bool(expected.sort_by("photo") == found.sort_by("photo"))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--model", type=Path, help="another model than the demo's")
    parser.add_argument("--folder", type=Path, help="where to work, and to find photos again")
    parser.add_argument(
        "--turns", type=int, help="only compare rates once under way, so many times"
    )
    given = parser.parse_args()
    base = given.folder or Path(tempfile.mkdtemp(prefix="closeup-batch-"))
    demo = base / "demo"
    if not (demo / "watches" / "model").is_dir():
        words = ["demo", "--out", str(demo)]
        subprocess.run([sys.executable, "-m", "closeup", *words], check=True, stdout=sys.stderr)
    model = given.model or demo / "watches" / "model"
    originals = sorted(list_paths([demo / "photos"]))
    rows = []
    for count in (given.photos,) if given.turns else (given.photos // 10, given.photos):
        photos = base / f"photos-{count}"
        if not photos.is_dir():
            make_photos(photos, originals, count)
        if given.turns:
            turns(model, photos, base, given.turns)
            return
        table, out = base / f"one-{count}.parquet", base / f"out-{count}-{os.getpid()}"
        many = measured(["predict", str(model), str(photos), "--ray", "--out", str(out)])
        one = measured(["predict", str(model), str(photos), "--parquet", str(table)])
        rows.append((count, one, many, same_rows(table, out / "answers")))
    print(describe(), end="\n\n")
    print("| photos | one process | --ray | ratio | memory, one | memory, --ray | same rows |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count, one, many, same in rows:
        print(f"| {count:,} | {count / one.seconds:.1f}/s | {count / many.seconds:.1f}/s "
              f"| {one.seconds / many.seconds:.2f} | {one.megabytes:.0f} MB "
              f"| {many.megabytes:.0f} MB | {'yes' if same else 'NO'} |")  # fmt: skip
    (few, one, many, _), (all_of, one_all, many_all, _) = rows
    more = all_of - few
    ones, manys = one_all.seconds - one.seconds, many_all.seconds - many.seconds
    print(f"\nWithout the start: {more / ones:.1f}/s and {more / manys:.1f}/s, "
          f"ratio {ones / manys:.2f}; memory at {all_of:,} over that at {few:,}: "
          f"{many_all.megabytes / many.megabytes:.2f}.")  # fmt: skip


if __name__ == "__main__":
    main()
