"""The wrapper `./just`, with a Python that only notes what it is asked: nothing is downloaded here."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Plays the interpreter, inside .venv and outside: makes an environment of itself, and writes down each call of pip.
PYTHON = """#!/bin/sh
case "$*" in
    *ensurepip*) echo "$0" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "#!$3/bin/python" >"$3/bin/pip" && echo venv >>"$NOTES" ;;
    "-m pip "*)
        echo "$*" >>"$NOTES"
        printf '#!/bin/sh\\nprintf "%%s|" "$@"\\n' >"${0%/*}/just" && chmod +x "${0%/*}/just" ;;
esac
"""


@dataclass(frozen=True)
class Tree:
    """A copy of what the wrapper looks at, in a folder whose name has a space."""

    root: Path
    python: Path
    notes: Path

    def run(self, *words: str, **environment: str) -> str:
        """What `just` was started with, each argument followed by a bar."""
        settings = {**os.environ, "PYTHON": str(self.python), "NOTES": str(self.notes), **environment}
        command: list[str | Path] = [self.root / "just", *words]
        done = subprocess.run(command, cwd=self.root.parent, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def installs(self) -> list[str]:
        """What has been made or installed since the last look."""
        noted = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return [line.partition("constraints.txt ")[2] or line for line in noted]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "a tree"
    root.mkdir()
    for name in ("just", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root / name)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return Tree(root, python, tmp_path / "notes")


TOOLS = "rust-just hatchling editables"
BASE = "--no-build-isolation --editable ."
DEV = "--no-build-isolation --editable .[dev]"


@pytest.mark.parametrize("script", ["just", ".ci/run"])
def test_scripts_can_be_run_as_they_are(script: str) -> None:
    """A clone is all one needs: both are executable, and `just` is for any POSIX shell."""
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = "sh" if script == "just" else "bash"
    assert path.read_text().splitlines()[0] in {"#!/bin/sh", "#!/usr/bin/env bash"}
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0


def test_a_first_run_makes_an_environment_and_passes_the_words_on(tree: Tree) -> None:
    """Words arrive whole, whatever the folder one is in."""
    given = tree.run("demo", "a word", "*", "--port=1")
    assert tree.installs() == ["venv", TOOLS, BASE]
    assert given == f"--justfile|{tree.root}/justfile|--working-directory|{tree.root}|demo|a word|*|--port=1|"


@pytest.mark.parametrize("recipe", ["test", "check", "bench", "faults", "fmt", "contracts"])
def test_recipes_for_developers_get_what_tests_need(tree: Tree, recipe: str) -> None:
    """Each of these starts a tool that the base does not have."""
    tree.run(recipe)
    assert tree.installs() == ["venv", TOOLS, DEV]


def test_a_list_of_recipes_needs_just_alone(tree: Tree) -> None:
    """Looking costs seconds, not a minute."""
    tree.run()
    tree.run("--list")
    assert tree.installs() == ["venv", TOOLS]


def test_what_is_installed_is_not_installed_again(tree: Tree) -> None:
    """The larger installation serves the smaller need too."""
    tree.run("test")
    tree.installs()
    for words in (["test", "-x"], ["demo"], []):
        tree.run(*words)
    assert tree.installs() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_dependency_is_installed(tree: Tree, name: str) -> None:
    """Pulling a commit with another pin needs no thought, and keeps the environment."""
    tree.run("demo")
    tree.installs()
    with (tree.root / name).open("a") as file:
        file.write("# changed\n")
    tree.run("demo")
    assert tree.installs() == [TOOLS, BASE]


def test_a_broken_environment_is_made_anew(tree: Tree) -> None:
    """The Python it was made with may have gone in an upgrade."""
    tree.run("demo")
    tree.installs()
    (tree.root / ".venv/bin/python").unlink()
    tree.run("demo")
    assert tree.installs() == ["venv", TOOLS, BASE]


def test_a_moved_tree_gets_a_new_environment(tree: Tree) -> None:
    """Scripts in an environment hold its path: those of a moved one run what is no longer there."""
    tree.run("demo")
    tree.installs()
    moved = Tree(tree.root.rename(tree.root.with_name("elsewhere")), tree.python, tree.notes)
    moved.run("demo")
    assert moved.installs() == ["venv", TOOLS, BASE]


def test_a_failed_installation_is_tried_again(tree: Tree) -> None:
    """Half an installation is none: its error ends the run, and the next run starts over."""
    tree.python.write_text(PYTHON.replace('"-m pip "*)', '"-m pip "*)\n case "$*" in *isolation*) [ -z "${OFFLINE:-}" ] || exit 7 ;; esac'))
    with pytest.raises(AssertionError):
        tree.run("demo", OFFLINE="1")
    tree.installs()
    tree.run("demo")
    assert tree.installs() == [TOOLS, BASE]


def test_without_a_python_it_says_what_is_missing(tree: Tree, tmp_path: Path) -> None:
    """A newcomer without Python 3.11 reads one sentence, not a traceback."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "cat", "cksum", "grep", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run([tree.root / "just", "demo"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 or later" in done.stderr
