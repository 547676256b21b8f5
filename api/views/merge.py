"""From rows to tables, by rules under which a row that comes again changes nothing.

What is said once is kept as it was first said. Where it is said again, totals go with the later ledger row, profiles and schemas with
the later event, states with the higher rank. A batch of events reads and writes each row it touches once, however many touch it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, Select, Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import Insert

from api.views.fold import Row, Rows
from halftone.merkle import appended
from infra.database.dialect import insert
from infra.database.prepared import Prepared

log = structlog.get_logger()


@dataclass(frozen=True)
class Rule:
    """How two rows of one key become one. Columns that the rule does not name stay as they were first said."""

    later: Mapping[str, tuple[str, ...]]
    """A column that rises, and the columns that go with it."""
    most: tuple[str, ...] = ()
    """Columns of which the greatest value counts."""
    ruled: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        together = (name for names in self.later.values() for name in names)
        object.__setattr__(self, "ruled", frozenset({*self.later, *together, *self.most}))

    def merge(self, held: Row, new: Row) -> None:
        """Work a row, which has the columns that it knows of, into the one that is held, which has all."""
        for by, names in self.later.items():
            if _rises(held[by], new.get(by)):
                held[by] = new[by]
                for name in names:
                    held[name] = new.get(name)
        for name in self.most:
            if _rises(held[name], new.get(name)):
                held[name] = new[name]
        for name, value in new.items():
            if held[name] is None and name not in self.ruled:
                held[name] = value


def _rises(held: int | None, new: int | None) -> bool:
    return new is not None and (held is None or new > held)


_TOTALS = tuple(f"{name}_{part}" for name in ("spent", "reserved", "limit") for part in ("rho", "delta", "pure"))
_BEFORE = ("before_rho", "before_delta", "before_pure")
RULES: dict[str, Rule] = {
    "jobs": Rule({"rank": ("state", "ended", "outcome"), "decided": ("approval",)}, ("attempt", "sequence", "held")),
    "versions": Rule({"profiled_at": ("profile",), "declared_at": ("declared", "attested_by", "attested")}),
    "accounts": Rule({"entry": _TOTALS, "limited": ("epsilon", "delta", "terms"), "refreshed": _BEFORE}, ("sequence",)),
    "checkpoints": Rule({"sequence": ("note", "time")}),
}
"""Tables whose rows grow. Those of the others are written once, and never again."""
ONCE = (
    "job_events",
    "job_datasets",
    "artifacts",
    "datasets",
    "deletions",
    "ledger",
    "mechanisms",
    "audit_entries",
    "audit_ids",
    "audit_nodes",
    "dead_letters",
    "letter_ends",
    "repairs",
)


class Merge:
    """The statements, made once."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._keys = {name: tuple(tables[name].primary_key.columns.keys()) for name in RULES}
        self._blank = {name: dict.fromkeys(tables[name].columns.keys()) for name in RULES}
        self._once = {name: Prepared(insert(tables[name]).on_conflict_do_nothing()) for name in ONCE}
        self._held = {name: Prepared(_by_key(tables[name])) for name in RULES}
        self._growing = {name: Prepared(_replacing(tables[name])) for name in RULES}
        nodes = tables["audit_nodes"]
        self._size = Prepared(select(func.coalesce(func.max(nodes.c.place) + 1, 0).label("leaves")).where(nodes.c.level == 0))
        self._node = Prepared(_by_key(nodes))

    def apply(self, connection: Connection, rows: Rows) -> dict[str, Sequence[Row]]:
        """Merge what a batch of events adds. Gives the rows that have grown, as they are now."""
        if rows.get("audit_entries"):
            rows["audit_nodes"] += self._completed_nodes(connection, rows["audit_entries"])
        for name, statement in self._once.items():
            if rows.get(name):
                statement.run_many(connection, rows[name])
        grown = {name: self._merged(connection, name, rows[name]) for name in self._growing if rows.get(name)}
        for name, merged in grown.items():
            self._growing[name].run_many(connection, merged)
        return grown

    def _merged(self, connection: Connection, name: str, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows as they are after a batch, each key once."""
        rule, keys = RULES[name], self._keys[name]
        merged: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            key = tuple([row[column] for column in keys])
            if key not in merged:
                held = self._held[name].first(connection, **dict(zip(keys, key, strict=True)))
                merged[key] = self._blank[name].copy() if held is None else held._asdict()
            rule.merge(merged[key], row)
        return list(merged.values())

    def _completed_nodes(self, connection: Connection, entries: Iterable[Row]) -> list[Row]:
        """The tree's nodes that new leaves complete. Leaves that the tree has are left out, and so is what follows a gap."""
        size = held = self._size.first(connection).leaves
        leaves: list[bytes] = []
        for entry in entries:
            if entry["place"] > size:
                log.error("view.audit_gap", size=size, index=entry["place"])
                break
            if entry["place"] == size:
                leaves.append(entry["leaf"])
                size += 1

        def get(level: int, index: int) -> bytes:
            found: bytes = self._node.first(connection, level=level, place=index).hash
            return found

        return [{"level": level, "place": index, "hash": value} for level, index, value in appended(held, leaves, get)]


def _by_key(table: Table) -> Select[Any]:
    return select(table).where(*(column == bindparam(column.name) for column in table.primary_key.columns))


def _replacing(table: Table) -> Insert:
    statement = insert(table)
    others = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=others)
