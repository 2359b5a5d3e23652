"""What is imported is declared in pyproject.toml, and what is declared is imported."""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_architecture import FILES, PACKAGE, ROOT, imports_of

NAMED_OTHERWISE = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
ROOMS_OF_EXTRAS = {
    "heif": ("photos/reading.py",),
    "ray": ("batch/",),
    "serve": ("web/",),
    "video": ("model/video.py",),
    "torch": ("learn/finetune/", "networks/convert/", "networks/variants.py"),
}
"""Where the packages of an extra may be imported."""
IMPORTED_BY_OTHERS = {"onnxscript"}  # by torch.onnx.export
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]


def names_of(requirements: list[str]) -> set[str]:
    """The packages that are required, without versions."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


CORE = names_of(PROJECT["dependencies"])
EXTRAS = {name: names_of(PROJECT["optional-dependencies"][name]) for name in ROOMS_OF_EXTRAS}


def packages_imported_by(file: Path) -> set[str]:
    """The packages of others that a file imports."""
    tops = {name.partition(".")[0] for name, _ in imports_of(file)}
    others = tops - set(sys.stdlib_module_names) - {"closeup"}
    return {canonicalize_name(NAMED_OTHERWISE.get(top, top)) for top in others}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_what_is_imported_is_declared(file: Path) -> None:
    here = file.relative_to(PACKAGE).as_posix()
    allowed = set(CORE)
    for extra, rooms in ROOMS_OF_EXTRAS.items():
        if here.startswith(rooms):
            allowed |= EXTRAS[extra]
    undeclared = packages_imported_by(file) - allowed
    assert not undeclared, f"{file} imports {sorted(undeclared)}"


def test_what_is_declared_is_imported() -> None:
    users = defaultdict(set)
    for file in FILES:
        for package in packages_imported_by(file):
            users[package].add(file.relative_to(PACKAGE).as_posix())
    declared = CORE.union(*EXTRAS.values())
    assert declared - users.keys() - IMPORTED_BY_OTHERS == set()
    every_room = tuple(room for rooms in ROOMS_OF_EXTRAS.values() for room in rooms)
    of_extras_alone = {p for p in CORE if all(file.startswith(every_room) for file in users[p])}
    assert not of_extras_alone, "these belong in an extra"


def test_no_package_is_declared_twice() -> None:
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        assert len(names_of(lines)) == len(lines)
    assert not CORE & EXTRAS["serve"]
    assert not CORE & EXTRAS["torch"]
