"""Terms of budgets: pure epsilon beside rho and delta, units and neighbours, windows, quotas, and what waits for a second person."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, PrimaryKeyConstraint, Text, false

from contracts.ids import DEFAULT_PROJECT
from infra.database.dialect import Integer

revision = "0003"
down_revision = "0002"


def upgrade(kind: str) -> None:
    """Every account that there is has the terms of before: zCDP, add or remove a row."""
    if kind == "edge":
        op.create_table(
            "units", Column("account", Text, nullable=False), Column("column", Text, nullable=False), PrimaryKeyConstraint("account")
        )
    if kind == "budget_keeper":
        _accounts()
        _ledger()
        _new()


def _accounts() -> None:
    for name in ("spent_pure", "reserved_pure", "before_rho", "before_delta", "before_pure"):
        op.add_column("accounts", Column(name, BigInteger, nullable=False, server_default="0"))
    for name in ("limit_pure", "window_end", "approval_rho", "approval_delta", "approval_pure"):
        op.add_column("accounts", Column(name, BigInteger))
    op.add_column("accounts", Column("composition", Text, nullable=False, server_default="zcdp"))
    op.add_column("accounts", Column("neighbours", Text, nullable=False, server_default="add-remove"))
    op.add_column("accounts", Column("by_user", Boolean, nullable=False, server_default=false()))
    op.add_column("accounts", Column("contribution", Integer, nullable=False, server_default="1"))
    op.add_column("accounts", Column("window_days", Integer))
    for name in ("observed", "unbounded"):
        op.add_column("accounts", Column(name, Integer, nullable=False, server_default="0"))
    op.execute("UPDATE accounts SET limit_pure = 0 WHERE limit_rho IS NOT NULL")
    op.execute(
        "UPDATE accounts SET observed = (SELECT count(*) FROM ledger WHERE ledger.account = accounts.account AND ledger.kind = 'observed')"
    )


def _ledger() -> None:
    for name in ("rho", "delta"):
        op.execute(f"ALTER TABLE ledger RENAME COLUMN {name} TO cost_{name}")
    for name in ("cost_pure", "spent_pure"):
        op.add_column("ledger", Column(name, BigInteger, nullable=False, server_default="0"))
    op.add_column("ledger", Column("limit_pure", BigInteger))
    op.add_column("ledger", Column("project", Text, nullable=False, server_default=DEFAULT_PROJECT))
    op.execute("UPDATE ledger SET limit_pure = 0 WHERE limit_rho IS NOT NULL")
    op.create_index("ix_ledger_job", "ledger", ["job"])


def _new() -> None:
    parts = ("rho", "delta", "pure")
    op.create_table(
        "quotas",
        Column("account", Text, nullable=False),
        Column("holder", Text, nullable=False),
        *(Column(f"{name}_{part}", BigInteger, nullable=False) for name in ("limit", "spent", "reserved") for part in parts),
        PrimaryKeyConstraint("account", "holder"),
    )
    op.create_table(
        "held",
        Column("account", Text, nullable=False),
        Column("job", Text, nullable=False),
        Column("step", Text, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("command", Text, nullable=False),
        PrimaryKeyConstraint("account", "job"),
    )
