"""How far a stream was read: kept in the same transaction as the effect of what was read."""

from __future__ import annotations

from sqlalchemy import MetaData, bindparam, select

from contracts.ids import MessageId
from infra.database.dialect import insert
from infra.database.prepared import Prepared
from infra.database.store import Transaction
from infra.database.tables import common_tables

_METADATA = MetaData()
common_tables(_METADATA)
_TABLE = _METADATA.tables["positions"]
_INSERT = insert(_TABLE)
_READ = Prepared(select(_TABLE).where(_TABLE.c.stream == bindparam("key")))
REACH = Prepared(
    _INSERT.on_conflict_do_update(
        index_elements=["stream"], set_={"sequence": _INSERT.excluded.sequence, "message_id": _INSERT.excluded.message_id}
    )
)
"""Writes a stream's position: stream, sequence, message_id."""


def read_position(stream: str, tx: Transaction) -> tuple[int, MessageId | None]:
    """The last sequence whose effect is here, and its message's id; (0, None) if nothing was read."""
    row = _READ.first(tx.connection, key=stream)
    return (row.sequence, row.message_id) if row is not None else (0, None)


def write_position(stream: str, sequence: int, message_id: MessageId, tx: Transaction) -> None:
    REACH.run(tx.connection, stream=stream, sequence=sequence, message_id=message_id)
