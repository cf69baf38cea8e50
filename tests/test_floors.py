"""The layout of the package: imports go down the floors, parts do not know each other, and torch comes late."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "harness"
FLOORS = [
    {"specs", "errors"},
    {
        "registry",
        "geometry",
        "tuples",
        "seeding",
        "provenance",
        "images",
        "photos",
        "archives",
        "arrays",
        "programs",
        "measured",
        "pml",
        "faiss_loader",
    },
    {"objectives", "miners", "samplers", "regularizers", "metrics", "datasets", "backbones"},
    {"training", "store", "dispatch"},
    {"study", "report"},
    {"launch", "worker", "planning", "doctor", "verify", "tuning"},
    {"cli", "__main__"},
]
FLOOR_OF = {unit: floor for floor, units in enumerate(FLOORS) for unit in units}
PARTS = FLOORS[2]
NEIGHBORS = {("launch", "worker"), ("verify", "worker"), ("__main__", "cli")}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything of ours that a file imports, also inside functions; not what only types need."""
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("harness"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("harness.")}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_the_floors(path):
    unit = unit_of(path)
    for name in imports_of(path):
        other = name.split(".")[1]
        if other not in FLOOR_OF or other == unit:  # `from harness import __version__`, or the own package
            continue
        ground = FLOOR_OF[unit] <= 1  # the two lowest floors are single files that may lean on each other
        allowed = FLOOR_OF[other] < FLOOR_OF[unit] + ground or (unit, other) in NEIGHBORS
        assert allowed, f"{unit} must not import {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if unit_of(p) in PARTS], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_part_knows_no_other_part(path):
    package = f"harness.{unit_of(path)}"
    for name in imports_of(path):
        own_helper = name.startswith(f"{package}._")
        assert name.split(".")[1] not in PARTS or own_helper, f"{path.name} must not import {name}"


@pytest.mark.parametrize(
    "statement",
    [
        "import harness",
        "import harness.cli.app",
        "import harness.cli.status_text, harness.store.standing, harness.store.forecast",
        "import harness.store.spool, harness.store.database, harness.store.frames",
        "import harness.report",
        "import harness.study",
        "import harness.registry; harness.registry.OBJECTIVES.names()",
    ],
)
def test_torch_is_not_imported_by(statement):
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_unit_of_the_package_has_a_floor():
    assert {unit_of(path) for path in MODULES} == set(FLOOR_OF)
