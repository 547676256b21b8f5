"""The documentation is complete: every command and option, every problem's code, every event, and figures that are computed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from contracts.events import EVENTS
from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.client import HalftoneError
from halftone.privacy.conversion import job_cost
from infra.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMMON = {"--url", "--token", "--home", "--json"}
PACKAGES = ("api", "src/halftone", "actors", "infra", "contracts")
SPOKEN = re.compile(
    r'"code": "([a-z0-9-]+)"|\bcode="([a-z0-9-]+)"|TaskRefused\(\s*"([a-z0-9-]+)"|"(cannot-[a-z-]+)"'
    r'|"((?:budget|quota)-(?:not-set|exhausted|delta-exhausted|terms-changed|declined))"'
)
"""Codes that no class has, as the code says them."""


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(command: Any = None, path: tuple[str, ...] = ("halftone",)) -> Iterator[tuple[str, Any]]:
    """Every command with its whole name."""
    command = command or typer.main.get_command(app)
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield " ".join(path), command
        return
    for name, each in subcommands.items():
        yield from commands(each, (*path, name))


def sections() -> dict[str, str]:
    """The text of docs/cli.md on each command."""
    parts = re.split(r"^### `(halftone [a-z -]*[a-z])((?: [A-Z]+)*)`$", page("cli.md"), flags=re.MULTILINE)
    return {name: arguments + text for name, arguments, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}


def test_every_command_is_documented_and_no_other() -> None:
    """In a section of its own."""
    assert sections().keys() == {name for name, _ in commands()}


@pytest.mark.parametrize(("name", "command"), [*commands()], ids=lambda value: value if isinstance(value, str) else "")
def test_every_argument_and_option_is_documented_and_no_other(name: str, command: Any) -> None:
    """The common ones as such, the others by name."""
    text = sections()[name]
    options = {word for each in command.params if each.param_type_name == "option" for word in (*each.opts, *each.secondary_opts)}
    options -= {"--help"}
    said = set(re.findall(r"`(--?[a-z-]+)`", text))
    if "Takes the [common options]" in text:
        said |= COMMON
    assert said == options
    arguments = [each.name.upper() for each in command.params if each.param_type_name == "argument"]
    assert re.match(r"(?: [A-Z]+)*", text)[0].split() == arguments


def test_every_command_says_what_it_does() -> None:
    """In its help."""
    for name, command in commands():
        assert command.help, name
        assert all(each.help for each in command.params), name


def codes() -> set[str]:
    """Every code that a class of ours declares, or that is spoken without one."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= {code for match in SPOKEN.findall(text) for code in match if code}
            found |= {code for each in ast.walk(ast.parse(text)) if isinstance(each, ast.ClassDef) for code in _declared(each)}
    return found


def _declared(kind: ast.ClassDef) -> Iterator[str]:
    for statement in kind.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                yield code
            case ast.Assign(
                targets=[ast.Tuple(elts=[ast.Name(), ast.Name(id="code")])], value=ast.Tuple(elts=[_, ast.Constant(value=str(code))])
            ):
                yield code
            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code))):
                yield code


def test_every_problem_is_documented_and_no_other() -> None:
    """With its meaning, and what to do."""
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", page("errors.md"), re.MULTILINE)
    documented = [code for code, _ in rows]
    assert len(documented) == len(set(documented))
    assert all(cell.strip() for _, cells in rows for cell in cells.split(" | "))
    assert {"budget-exhausted", "row-ragged", "log-tampered", "worker-lost", "model-gone"} <= codes()
    framework = {"method-not-allowed", "request-refused"}
    assert codes() - set(documented) == set()
    assert set(documented) - codes() - framework == set()


def test_every_exception_of_the_client_is_documented() -> None:
    """Those that no answer is behind; the others are told by their code."""
    kinds: list[type[HalftoneError]] = []
    todo = [HalftoneError]
    while todo:
        todo += (some := todo.pop().__subclasses__())
        kinds += some
    text = page("errors.md")
    own = [kind.__name__ for kind in kinds if kind.__mro__[1] is HalftoneError and kind.__name__ not in {"Problem", "JobEnded"}]
    assert own
    assert [name for name in own if f"| `{name}` |" not in text] == []


def test_every_event_is_documented() -> None:
    """By entity and verb, where subscribers look for their subjects."""
    rows = dict(re.findall(r"^\| `halftone\.evt\.([a-z]+)\.<[a-z]+>\.<what>` \| ([a-z_, ]+)", page("subscribers.md"), re.MULTILINE))
    found = {(entity, verb) for entity, verbs in rows.items() for verb in verbs.replace(",", " ").split()}
    assert {(kind.ENTITY, kind.VERB) for kind in EVENTS} <= found


def test_every_field_and_type_of_a_schema_is_documented() -> None:
    """And the example is one."""
    text = page("schemas.md")
    fields = {*ColumnSchema.model_fields, *TableSchema.model_fields} - {"attested_by"}
    assert [name for name in (*fields, *ColumnType) if f"`{name}`" not in text and f'"{name}"' not in text] == []
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert len(TableSchema.model_validate_json(example).columns) == 6


def test_the_table_of_epsilons_is_computed() -> None:
    """rho of a job and how many fit into a budget, as the ledger would have it."""
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \|$", page("choosing-epsilon.md"), re.MULTILINE)
    assert len(rows) >= 5
    for epsilon, rho, *fit in rows:
        cost = job_cost(float(epsilon), 1e-9).rho
        assert rho == f"{cost / 1e12:.6f}"
        assert [int(each) for each in fit] == [job_cost(budget, 1e-9).rho // cost for budget in (1.0, 3.0, 8.0)]
