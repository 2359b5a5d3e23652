"""What a process does while it works on what others made: it starts nothing and calls nobody."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

FIXTURE = Path(__file__).parent.parent / "fixtures" / "format-1"

# Python tells an audit hook of every such step, whichever library takes it.
_WATCHED = """
import sys, json
FORBIDDEN = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen",
             "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class",
             "urllib.Request"}
seen = []
def hook(event, arguments):
    if event in FORBIDDEN:
        seen.append([event, repr(arguments)[:200]])
sys.addaudithook(hook)
"""


def watched(code: str, cwd: Path) -> list[list[str]]:
    """The forbidden steps that `code` takes in a process of its own."""
    script = f"{_WATCHED}\n{code}\nprint(json.dumps(seen))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=False, cwd=cwd)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    code = "import pickle, subprocess; pickle.loads(b'cos\\nsystem\\n.'); subprocess.run(['true'])"
    events = {event for event, _ in watched(code, tmp_path)}
    assert {"pickle.find_class", "subprocess.Popen"} <= events


def test_a_model_and_a_project_start_nothing_and_call_nobody(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "old")
    toml = tmp_path / "old" / "project" / "closeup.toml"
    toml.write_text(toml.read_text().replace('"/photos"', json.dumps(str(tmp_path / "old/photos"))))
    code = (
        "import closeup\n"
        "model = closeup.load('old/project/model')\n"
        "import os, shutil, pathlib\n"
        "answer = model.predict(next(pathlib.Path('old/photos').rglob('*.jpg')))\n"
        "assert answer.objects, answer\n"
        "os.environ['CLOSEUP_CACHE'] = 'cache'\n"
        "for kind, name in (('detector', 'tiny-box'), ('backbone', 'tiny-pool')):\n"
        "    shutil.copytree(f'old/project/model/{kind}', f'cache/networks/{name}')\n"
        "assert closeup.run(out='old/project', pad=0.3).counts.photos == 20\n"
    )
    assert watched(code, tmp_path) == []
