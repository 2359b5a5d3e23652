"""Rooms import one way, nothing runs in a circle, and each library stays in its room."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "closeup"
FILES = sorted(PACKAGE.rglob("*.py"))
DOORS = {"cli", "api", "demo", "__main__", "__init__"}
NOT_ROOMS = {"bench", "corpus", "docs", "examples", "fixtures", "fuzz", "tools", "torture",
             "untrusted"}  # fmt: skip
"""Folders of tests that go through the whole package, or test what lies beside it."""
AT_HOME = {
    "av": ("model/video.py",),
    "fastapi": ("web/",),
    "starlette": ("web/",),
    "uvicorn": ("web/",),
    "torch": ("learn/finetune/", "networks/convert/"),
    "torchvision": ("learn/finetune/", "networks/convert/"),
    "timm": ("learn/finetune/", "networks/convert/"),
    "transformers": ("learn/finetune/", "networks/convert/"),
    "openvino": ("networks/engine/", "export/run.py"),
    "onnxruntime": ("networks/engine/", "export/run.py"),
    "ray": ("batch/",),
    "httpx2": ("collect/",),
    "httpcore2": ("collect/",),
}
"""Where a library may be imported."""

each_file = pytest.mark.parametrize(
    "file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix()
)


class Import(NamedTuple):
    """A module that a file imports, and whether for type checkers alone."""

    module: str
    typing_only: bool


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf8"))


def file_of(module: str) -> Path | None:
    """The file of a module of the package, None where it is something else's."""
    top, *parts = module.split(".")
    if top != "closeup":
        return None
    place = PACKAGE.joinpath(*parts)
    for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if file.is_file():
            return file
    return None


@cache
def imports_of(file: Path) -> tuple[Import, ...]:
    """All that a file imports, at its top or inside functions, in full."""

    def visit(node: ast.AST, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, typing_only)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(inner if file_of(inner) else str(node.module), typing_only)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, typing_only)
        else:
            for child in ast.iter_child_nodes(node):
                yield from visit(child, typing_only)

    return tuple(visit(tree_of(file), False))


def room_of(file: Path) -> str:
    """The folder or module directly below the package."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_in_order() -> list[str]:
    """The rooms as the table in docs/architecture.md lists them, without the doors."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
    cells = re.findall(r"^\| (`.+?`) \|", text, flags=re.MULTILINE)
    names = [re.findall(r"`([a-z_]+)(?:/|\.py)`", cell) for cell in cells]
    return [name for row in names for name in row if name not in DOORS]


ROOMS = (
    "core", "photos", "collect", "networks", "crops", "dataset", "detect", "decisions", "learn",
    "evaluate", "model", "report", "pipeline", "export", "batch", "web",
)  # fmt: skip


def test_the_table_of_rooms_is_complete() -> None:
    assert tuple(rooms_in_order()) == ROOMS
    assert {room_of(file) for file in FILES} == {*ROOMS, *DOORS, "_version"}


def test_few_things_lie_at_the_top() -> None:
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 23, sorted(entries)


@each_file
def test_a_room_imports_only_from_rooms_before_it(file: Path) -> None:
    rooms = ["_version", *rooms_in_order()]
    mine = room_of(file)
    allowed = {*rooms, *DOORS} if mine in DOORS else {*rooms[: rooms.index(mine) + 1]}
    targets = [(name, file_of(name)) for name, _ in imports_of(file)]
    wrong = [name for name, target in targets if target and room_of(target) not in allowed]
    # The package's own names are looked up when first used, so they are for users and doors.
    if mine not in {"cli", "api"}:
        wrong += [name for name, target in targets if target == PACKAGE / "__init__.py"]
    assert not wrong, f"{file} imports {sorted(set(wrong))}"


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {
        file: {file_of(name) for name, typing_only in imports_of(file) if not typing_only} - {None}
        for file in FILES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        circle = " -> ".join(f.relative_to(PACKAGE).as_posix() for f in reversed(err.args[1]))
        pytest.fail(circle)


@each_file
def test_libraries_stay_in_their_rooms(file: Path) -> None:
    here = file.relative_to(PACKAGE).as_posix()
    used = {name.partition(".")[0] for name, _ in imports_of(file)}
    wrong = [name for name in used & AT_HOME.keys() if not here.startswith(AT_HOME[name])]
    assert not wrong, f"{file} imports {wrong}"


def bound_names(tree: ast.Module) -> Iterator[str]:
    """The names that a module binds at its top, for type checkers or not, or promises."""
    conditional = (inner for node in tree.body if isinstance(node, ast.If) for inner in node.body)
    for node in (*tree.body, *conditional):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id
                    if target.id == "__all__" and node.value:
                        yield from ast.literal_eval(node.value)


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.name == "__init__.py"],
    ids=lambda file: file.parent.relative_to(PACKAGE).as_posix(),
)
def test_no_name_hides_a_module(file: Path) -> None:
    # Importing such a module puts it in the name's place.
    inside = {path.stem for path in file.parent.iterdir()} - {"__init__", "__pycache__"}
    hiding = inside & set(bound_names(tree_of(file)))
    assert not hiding, f"{file} binds {hiding}, and modules of these names lie beside it"


@each_file
def test_files_stay_small_and_say_what_they_are(file: Path) -> None:
    assert len(file.read_text(encoding="utf8").splitlines()) <= 400
    tree = tree_of(file)
    assert ast.get_docstring(tree)
    broad = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or {"Exception", "BaseException"}
            & {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
        )
    ]
    assert not broad, f"broad except at lines {broad}"


def test_tests_mirror_the_rooms() -> None:
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    rooms = {folder for folder in folders if folder.parts and folder.parts[0] not in NOT_ROOMS}
    missing = [str(folder) for folder in rooms if not (PACKAGE / folder).is_dir()]
    assert not missing, f"tests without a room: {missing}"
    assert {
        room for room in rooms_in_order() if not any((tests / room).rglob("test_*.py"))
    } == set()


@pytest.mark.parametrize(("page", "least"), [("CONTRIBUTING.md", 8), ("docs/architecture.md", 25)])
def test_the_guides_name_what_exists(page: str, least: int) -> None:
    text = (ROOT / page).read_text(encoding="utf8")
    named = re.findall(r"`(?:src/closeup/)?([a-z_]+(?:/[a-z_]+)*(?:/|\.py|\.md|\.toml))`", text)
    assert len(named) > least, named
    places = (ROOT, PACKAGE)
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert not missing


BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "transformers", "onnx"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def run_without_torch(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_module_imports_without_torch() -> None:
    names = [
        ".".join(("closeup", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for file in FILES
    ]
    run_without_torch(
        "import importlib\n" + "".join(f"importlib.import_module({n!r})\n" for n in names)
    )


def test_import_is_light() -> None:
    run_without_torch(
        "import closeup\n"
        "heavy = {'numpy', 'PIL', 'sklearn', 'openvino', 'onnxruntime', 'pyarrow', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )


def test_public_names_resolve() -> None:
    import closeup

    for name in closeup.__all__:
        assert getattr(closeup, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = closeup.nonsense  # type: ignore[attr-defined]
