"""From rows to tables, by rules under which a row that comes again changes nothing.

What is said once is kept as it was first said. Where it is said again, totals go with the later ledger row, profiles and schemas with
the later event, states with the higher rank. A batch of events reads and writes each row it touches once, however many touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects.sqlite import Insert, dialect, insert

from api.views.fold import Row, Rows
from halftone.merkle import appended

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


_TOTALS = ("spent_rho", "spent_delta", "reserved_rho", "reserved_delta", "limit_rho", "limit_delta")
RULES: dict[str, Rule] = {
    "jobs": Rule({"rank": ("state", "ended", "outcome")}, ("attempt", "sequence")),
    "versions": Rule({"profiled_at": ("profile",), "declared_at": ("declared", "attested_by", "attested")}),
    "accounts": Rule({"entry": _TOTALS, "limited": ("epsilon", "delta")}, ("sequence",)),
    "checkpoints": Rule({"sequence": ("note", "time")}),
}
"""Tables whose rows grow. Those of the others are written once, and never again."""
ONCE = ("job_events", "job_datasets", "artifacts", "datasets", "ledger", "audit_entries", "audit_nodes")


class Statement:
    """An insert whose rows go past SQLAlchemy's handling of parameters, which would cost as much as all the rest: these need none."""

    def __init__(self, statement: Insert) -> None:
        compiled = statement.compile(dialect=dialect())
        names = compiled.positiontup or []
        self._text = str(compiled)
        self._values: Callable[[Row], tuple[Any, ...]] = itemgetter(*names)

    def execute(self, connection: Connection, rows: Iterable[Row]) -> None:
        connection.exec_driver_sql(self._text, list(map(self._values, rows)))


class Merge:
    """The statements, made once."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._once = {name: Statement(insert(tables[name]).on_conflict_do_nothing()) for name in ONCE}
        self._growing = {name: Statement(_replacing(tables[name])) for name in RULES}

    def apply(self, connection: Connection, rows: Rows) -> None:
        """Merge what a batch of events adds."""
        if rows.get("audit_entries"):
            rows["audit_nodes"] += self._completed_nodes(connection, rows["audit_entries"])
        for name, statement in self._once.items():
            if rows.get(name):
                statement.execute(connection, rows[name])
        for name, statement in self._growing.items():
            if rows.get(name):
                statement.execute(connection, self._merged(connection, name, rows[name]))

    def _merged(self, connection: Connection, name: str, rows: Sequence[Row]) -> Iterable[Row]:
        """Rows as they are after a batch, each key once."""
        table, rule = self._tables[name], RULES[name]
        key = itemgetter(*table.primary_key.columns.keys())
        held = _held(connection, table, rows, key)
        blank = dict.fromkeys(table.columns.keys())
        for row in rows:
            rule.merge(held.setdefault(key(row), blank.copy()), row)
        return held.values()

    def _completed_nodes(self, connection: Connection, entries: Iterable[Row]) -> list[Row]:
        """The tree's nodes that new leaves complete. Leaves that the tree has are left out, and so is what follows a gap."""
        t = self._tables["audit_nodes"]
        size = held = connection.execute(select(func.coalesce(func.max(t.c.place) + 1, 0)).where(t.c.level == 0)).scalar_one()
        leaves: list[bytes] = []
        for entry in entries:
            if entry["place"] > size:
                log.error("view.audit_gap", size=size, index=entry["place"])
                break
            if entry["place"] == size:
                leaves.append(entry["leaf"])
                size += 1

        def get(level: int, index: int) -> bytes:
            query = select(t.c.hash).where((t.c.level == level) & (t.c.place == index))
            found: bytes = connection.execute(query).scalar_one()
            return found

        return [{"level": level, "place": index, "hash": value} for level, index, value in appended(held, leaves, get)]


def _held(connection: Connection, table: Table, rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, Row]:
    # By the key's first column alone: SQLite finds no index for an IN over several.
    first = next(iter(table.primary_key.columns))
    near = table.select().where(first.in_({row[first.name] for row in rows}))
    wanted = {key(row) for row in rows}
    found = (dict(row) for row in connection.execute(near).mappings())
    return {key(row): row for row in found if key(row) in wanted}


def _replacing(table: Table) -> Insert:
    statement = insert(table)
    others = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=others)
