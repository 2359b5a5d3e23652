"""README's five lines, as they stand there, in a process that has no PyTorch.

The hub is a local server with stand-ins for the two networks; the catalogue is the package's own
but for their hashes and sizes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import tiny
from tests.conftest import ROOT
from tests.networks import ready_graphs
from tests.networks.hub_server import Hub, hub_server

WITHOUT_EXTRAS = """
import sys
for name in ("torch", "torchvision", "timm", "transformers", "onnxscript", "onnx_ir"):
    sys.modules[name] = None  # as if it were not installed
from pathlib import Path
from closeup.networks import catalogue
catalogue.CATALOGUE_FILE = Path(sys.argv.pop(1))
from closeup.cli import main
main()
"""


def readme_lines() -> list[str]:
    """The commands of README's first real job, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf8")
    _, _, after = text.partition("## The real job in five lines")
    block = after.partition("```sh\n")[2].partition("```")[0]
    return [line.partition("#")[0].strip() for line in block.strip().splitlines()]


@dataclass(frozen=True)
class Fresh:
    """An empty cache, a hub, and photos."""

    hub: Hub
    base: Path
    catalogue: Path

    def run(self, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line of README on the photos."""
        words = shlex.split(line.replace("PHOTOS", "photos").replace("new.jpg", "new.png"))
        assert words[0] == "closeup"
        command = [sys.executable, "-c", WITHOUT_EXTRAS, str(self.catalogue), *words[1:]]
        settings = {
            **os.environ,
            **{"CLOSEUP_CACHE": str(self.base / "cache"), "HF_ENDPOINT": self.hub.url},
            **{"HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(self.base / "hub")},
            **environment,
        }
        return subprocess.run(
            command, cwd=self.base, env=settings, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    tiny.need_onnx()
    base = tmp_path_factory.mktemp("fresh")
    photos = tiny.make_photos(base / "photos", per_label=12)
    (base / "new.png").write_bytes((photos / "ash" / "3.png").read_bytes())
    with hub_server() as hub:
        catalogue = ready_graphs.serve(hub, base / "published", "d-fine-n", "dinov2-s")
        yield Fresh(hub, base, catalogue)


def test_there_are_five_lines_and_the_core_is_enough() -> None:
    lines = readme_lines()
    assert [line.split()[1] for line in lines] == ["models", "scout", "run", "review", "predict"]
    assert "networks" not in lines[0]


def test_the_five_lines_without_pytorch(fresh: Fresh) -> None:
    pull, scout, run, _, predict = readme_lines()  # tests/web has a browser for `review`
    done = fresh.run(pull)
    assert done.returncode == 0, done.stderr
    assert re.search(r"d-fine-n, dinov2-s: \d+\.\d MB to download", done.stderr)
    assert "d-fine-n: " in done.stdout
    assert "licence Apache-2.0" in done.stdout
    done = fresh.run(scout)
    assert done.returncode == 0, done.stderr
    assert "clock" in done.stdout
    done = fresh.run(run)
    assert done.returncode == 0, done.stderr
    done = fresh.run(predict)
    assert done.returncode == 0, done.stderr
    assert "ash" in done.stdout


def test_without_a_network_the_lines_say_what_is_missing(fresh: Fresh, tmp_path: Path) -> None:
    done = fresh.run(readme_lines()[0], CLOSEUP_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "6 files are not on disk and downloads are switched off" in done.stderr
    assert done.stderr.count(str(tmp_path)) == 6
    assert "Traceback" not in done.stderr


def test_what_needs_pytorch_says_so(fresh: Fresh) -> None:
    for name in ("mobilenetv2", "faster-rcnn", "resnet18.a1_in1k", "PekingU/rtdetr_r18vd"):
        done = fresh.run(f"closeup models pull {name}")
        assert done.returncode == 1
        assert f"converting {name} needs PyTorch" in done.stderr
        assert "pip install -e '.[torch]'" in done.stderr
        assert "Traceback" not in done.stderr
    assert "did you mean d-fine-n?" in fresh.run("closeup models pull dfine-n").stderr
