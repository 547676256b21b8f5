"""The layout's rules, which no type checker knows: sizes, pins, licences, and who imports whom."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("contracts", "src/halftone", "actors", "api", "infra")
HEAVY = {"jax", "jaxlib", "torch", "scikit-learn", "sdv", "mbi"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BASE = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]]
OTEL = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["otel"]]
BUILD = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
TOOLS = [Requirement("rust-just"), Requirement("editables")]
DIRECT = [*BASE, *dict.fromkeys((*DEV, *OTEL)), *BUILD, *TOOLS]


def pins() -> dict[str, str]:
    """Name and version of each line of constraints.txt; a line that is more than a pin does not parse."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)(; [\w.]+ != '\w+')?", line) for line in lines if not line.startswith("#")]
    assert all(found), "constraints.txt holds comments and lines of the form name==version, and nothing else"
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def listed() -> set[str]:
    """The distributions that decision 2 gives a licence and a reason for."""
    page = (ROOT / "docs/decisions/0002-dependencies.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| ([a-z0-9-]+) \| [^|]*\w[^|]* \| [^|]*\w[^|]* \|$", page, re.MULTILINE))


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_no_file_outgrows_its_subject(package: str) -> None:
    """A module has one subject; past 400 lines it has two."""
    long = {str(path.relative_to(ROOT)): n for path in (ROOT / package).rglob("*.py") if (n := path.read_bytes().count(b"\n")) > 400}
    assert long == {}


def test_nobody_imports_what_the_architecture_forbids() -> None:
    """The rules of .importlinter hold."""
    lint = Path(sys.executable).with_name("lint-imports")
    # The tree that is tested is not always the one that is installed.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    done = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_each_direct_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    """An installation under constraints.txt is the one that was tested."""
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None
    assert requirement.specifier.contains(version)


def test_decision_2_lists_the_direct_dependencies_and_no_others() -> None:
    """Each has a licence and a reason, and none stays listed after it has gone."""
    assert listed() == {canonicalize_name(requirement.name) for requirement in DIRECT}


def test_the_base_is_light() -> None:
    """Neither asked for nor dragged in: an installation without extras holds no torch, no jax and nothing that needs them."""
    seen: set[str] = set()
    todo = [each for each in BASE if each.marker is None or each.marker.evaluate()]
    while todo:
        requirement = todo.pop()
        if str(requirement) not in seen:
            seen |= {str(requirement), canonicalize_name(requirement.name)}
            asked = [{"extra": extra} for extra in ("", *requirement.extras)]
            needs = [Requirement(line) for line in metadata.requires(requirement.name) or ()]
            todo += [each for each in needs if each.marker is None or any(map(each.marker.evaluate, asked))]
    assert {"nats-py", "greenlet", "pydantic-core"} <= seen
    assert not HEAVY & seen


def test_tests_are_no_package() -> None:
    """Tests are imported by path (--import-mode=importlib); an __init__.py would put them on the path of others."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("module", sorted((ROOT / "contracts").rglob("*.py")), ids=lambda path: path.stem)
def test_contracts_need_pydantic_and_nothing_else(module: Path) -> None:
    """Whoever reads our messages needs one third-party library."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    assert {name.partition(".")[0] for name in found} - sys.stdlib_module_names <= {"contracts", "pydantic"}
