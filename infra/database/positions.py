"""How far a stream was read: kept in the same transaction as the effect of what was read."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from contracts.ids import MessageId
from infra.database.store import Transaction


def read_position(stream: str, tx: Transaction) -> tuple[int, MessageId | None]:
    """The last sequence whose effect is here, and its message's id; (0, None) if nothing was read."""
    table = tx.tables["positions"]
    row = tx.connection.execute(select(table).where(table.c.stream == stream)).first()
    return (row.sequence, row.message_id) if row is not None else (0, None)


def write_position(stream: str, sequence: int, message_id: MessageId, tx: Transaction) -> None:
    table = tx.tables["positions"]
    tx.connection.execute(delete(table).where(table.c.stream == stream))
    tx.connection.execute(insert(table).values(stream=stream, sequence=sequence, message_id=message_id))
