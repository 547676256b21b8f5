"""``halftone budget verify``: the log's events folded, and compared with the keeper's database, to the unit."""

from __future__ import annotations

import json as json_module
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from infra.commands import output, places
from infra.commands.session import HomeOption, JsonOption

if TYPE_CHECKING:
    from contracts.cost import Cost
    from halftone.privacy.fold import FoldedLedger

_PARTS = ("rho", "delta", "pure")


def verify(home: HomeOption = None, json: JsonOption = False) -> None:
    """Fold the log's events into budgets, and compare these with the keeper's database. Needs the home's files alone."""
    from halftone.privacy.fold import LedgerFold

    databases = places.home_of(home) / "db"
    with closing(_opened(databases / "auditor.sqlite")) as log, closing(_opened(databases / "budget_keeper.sqlite")) as keeper:
        # The keeper first: what it writes meanwhile is in the log later, never the other way round.
        held = {row["account"]: dict(row) for row in keeper.execute("SELECT * FROM accounts")}
        quotas = [dict(row) for row in keeper.execute("SELECT * FROM quotas")]
        fold = LedgerFold().take_all(_events(log))
        waiting = sum(_missing(keeper, account, fold.ledgers) for account in held)
    wrong = fold.wrong + [f"{account}: in the log, and not in the database" for account in fold.ledgers.keys() - held.keys()]
    for account, ledger in sorted(fold.ledgers.items()):
        if account in held and held[account]["entries"] <= ledger.account.entries:
            wrong += _differences(ledger, held[account], [row for row in quotas if row["account"] == account])
    if json:
        output.print_json({"accounts": len(held), "events": fold.events, "waiting": waiting, "wrong": wrong})
    for line in wrong[:20] if not json else ():
        output.note(line)
    if wrong:
        raise typer.Exit(output.ERROR)
    if not json:
        typer.echo(f"verified: {len(held)} budgets are what their {fold.events} events in the log come to, to the unit")
    if waiting:
        output.note(f"{waiting} newer entries are not in the log yet")


def _opened(path: Path) -> sqlite3.Connection:
    if not path.exists():
        output.fail(f"{path.absolute()} does not exist: name the home with --home")
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    return database


def _events(log: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    for row in log.execute("SELECT entry FROM entries ORDER BY idx"):
        if b"halftone.budget." in bytes(row["entry"]):
            yield json_module.loads(row["entry"])


def _missing(keeper: sqlite3.Connection, account: str, ledgers: dict[str, FoldedLedger]) -> int:
    known = ledgers[account].account.entries if account in ledgers else 0
    row = keeper.execute("SELECT count(*) AS entries FROM ledger WHERE account = ? AND entry > ?", (account, known)).fetchone()
    return int(row["entries"])


def _differences(ledger: FoldedLedger, row: dict[str, Any], quotas: list[dict[str, Any]]) -> Iterator[str]:
    account = ledger.account
    if row["entries"] != account.entries:
        yield f"{account.id}: the log has {account.entries} entries, the database {row['entries']}"
    for name in ("spent", "reserved", "before", "limit", "approval"):
        found: Cost | None = getattr(account, name)
        if _parts(row, name) != (None if found is None else tuple(getattr(found, part) for part in _PARTS)):
            yield f"{account.id}: {name} is {found} by the events, and {_parts(row, name)} in the database"
    for name in ("observed", "unbounded"):
        if row[name] != getattr(account, name):
            yield f"{account.id}: {getattr(account, name)} {name} entries by the events, and {row[name]} in the database"
    folded = {quota.holder: (quota.limit, quota.spent, quota.reserved) for quota in ledger.held_quotas()}
    kept = {quota["holder"]: tuple(_parts(quota, name) for name in ("limit", "spent", "reserved")) for quota in quotas}
    plain = {holder: tuple(tuple(getattr(cost, part) for part in _PARTS) for cost in costs) for holder, costs in folded.items()}
    if plain != kept:
        yield f"{account.id}: quotas are {plain} by the events, and {kept} in the database"


def _parts(row: dict[str, Any], name: str) -> tuple[int, ...] | None:
    found = tuple(row[f"{name}_{part}"] for part in _PARTS)
    return None if found[0] is None else found
