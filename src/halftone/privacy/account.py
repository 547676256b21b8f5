"""An account: what its ledger comes to, and whether another cost fits. Pure decisions on integers: the keeper's rows follow them.

A filter, not an odometer: a cost passes if the composed sum stays within each limit, also where costs are chosen adaptively (Whitehouse,
Ramdas, Rogers and Wu 2023).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from contracts.cost import NOTHING, USUAL_TERMS, BudgetTerms, Composition, Cost, Room
from contracts.ids import AccountId, Code

THRESHOLDS: tuple[Literal[50, 80, 100], ...] = (50, 80, 100)
"""Percent of a limit that are told of when they are spent."""


@dataclass(frozen=True)
class Quota:
    """A limit besides the account's: of a person, or of a project."""

    holder: str
    limit: Cost
    spent: Cost = NOTHING
    reserved: Cost = NOTHING

    @property
    def scope(self) -> Literal["person", "project"]:
        return "project" if self.holder.startswith("prj_") else "person"


@dataclass(frozen=True)
class Account:
    """What a ledger's rows come to."""

    id: AccountId
    entries: int = 0
    limit: Cost | None = None
    spent: Cost = NOTHING
    """Charged, over all time."""
    reserved: Cost = NOTHING
    before: Cost = NOTHING
    """Of what is spent, that of earlier refresh windows: it counts against the limit no more."""
    terms: BudgetTerms = USUAL_TERMS
    window_days: int | None = None
    window_end: int | None = None
    """When the present refresh window ends, in ms since 1970."""
    approval: Cost | None = None
    """A charge above it waits for a second person."""
    observed: int = 0
    unbounded: int = 0

    @property
    def untouched(self) -> bool:
        """Whether nothing was ever spent or set aside."""
        return self.spent == self.reserved == NOTHING

    @property
    def counted(self) -> Cost:
        """What counts against the limit now."""
        return self.spent - self.before

    def with_reserved(self, cost: Cost) -> Account:
        return replace(self, reserved=self.reserved + cost)

    def waits(self, cost: Cost) -> bool:
        """Whether a cost is above what may pass without a second person."""
        return self.approval is not None and (cost.rho > self.approval.rho or cost.delta > self.approval.delta)


@dataclass(frozen=True)
class Decision:
    """Whether a cost fits, and what is left under each limit that applies."""

    code: Code | None
    rooms: tuple[Room, ...]

    @property
    def left(self) -> Cost:
        """What would fit: the least of what each limit leaves."""
        return least(room.left for room in self.rooms)


def decide(account: Account, cost: Cost, quotas: Iterable[Quota] = (), terms: BudgetTerms | None = None) -> Decision:
    """Why a cost does not fit, if it does not: the first limit that it would break is named."""
    rooms, code = rooms_of(account, quotas)
    if code is None and terms is not None and terms != account.terms:
        code = "budget-terms-changed"
    pure = account.terms.composition is Composition.PURE
    if code is None and pure and _impure(cost):
        code = "mechanism-not-pure"
    for room in rooms if code is None else ():
        code = code or (_pure_excess(cost, room) if pure else _excess(cost, room))
    # A sum that was over its limit before leaves nothing, not even room for nothing: a lowered limit refuses everything.
    if code is None and account.limit is not None and _over(account.counted + account.reserved, account.limit, pure=pure):
        code = "budget-exhausted"
    return Decision(code, rooms)


def rooms_of(account: Account, quotas: Iterable[Quota] = ()) -> tuple[tuple[Room, ...], Code | None]:
    """What each limit leaves; and why there is none, where none is set."""
    if account.limit is None:
        return (Room(scope="dataset", left=NOTHING),), "budget-not-set"
    rooms = [Room(scope="dataset", left=(account.counted + account.reserved).left(account.limit))]
    rooms += [Room(scope=quota.scope, left=(quota.spent + quota.reserved).left(quota.limit)) for quota in quotas]
    return tuple(rooms), None


def least(costs: Iterable[Cost]) -> Cost:
    """Part by part, the smallest."""
    held = list(costs)
    return Cost(**{part: min((getattr(cost, part) for cost in held), default=0) for part in ("rho", "delta", "pure")})


def crossed(before: Account, after: Account) -> list[Literal[50, 80, 100]]:
    """Which thresholds a change has brought the spent part of the limit to, or over."""
    return [percent for percent in THRESHOLDS if _reached(after, percent) and not _reached(before, percent)]


def _reached(account: Account, percent: int) -> bool:
    if account.limit is None:
        return False
    parts = ("pure",) if account.terms.composition is Composition.PURE else ("rho", "delta")
    spent, limit = account.counted, account.limit
    return any(getattr(spent, part) and 100 * getattr(spent, part) >= percent * getattr(limit, part) for part in parts)


def _impure(cost: Cost) -> bool:
    return cost.delta > 0 or (cost.rho > 0 and cost.pure == 0)


def _excess(cost: Cost, room: Room) -> Code | None:
    if cost.rho > room.left.rho:
        return "budget-exhausted" if room.scope == "dataset" else "quota-exhausted"
    if cost.delta > room.left.delta:
        return "budget-delta-exhausted" if room.scope == "dataset" else "quota-exhausted"
    return None


def _pure_excess(cost: Cost, room: Room) -> Code | None:
    if cost.pure <= room.left.pure:
        return None
    return "budget-exhausted" if room.scope == "dataset" else "quota-exhausted"


def _over(taken: Cost, limit: Cost, *, pure: bool) -> bool:
    return taken.pure > limit.pure if pure else not taken.within(limit)
