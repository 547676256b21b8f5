"""Ledgers: read with filters, exported whole, and releases that nothing bounds entered by hand."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

from litestar import Response, Router, get, post, put
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.response import Stream

from api.auth import VERB
from api.bodies import json_body
from api.edge import CATCH_UP, Edge
from api.policy import Verb
from api.reasons import kept, told
from api.v1.bodies import QuotaBody, ReasonBody
from api.v1.budgets import account_of
from api.v1.parameters import Asked, Cursor, DatasetPath, Limit, MinSequence, TheEdge, bad_cursor, context, moment
from api.views.ledger import EntryFilter
from contracts.commands import EnterRelease, SetQuota
from contracts.cost import DELTA_SCALE, EPSILON_SCALE
from contracts.ids import AccountId
from contracts.views import LedgerEntryView, Page, QuotaView

AT_ONCE = 500
"""Entries that an export reads at a time."""
COLUMNS = (
    *("entry", "time", "kind", "job", "step", "attempt", "cost_rho", "cost_delta", "cost_pure", "cost_epsilon"),
    *("spent_rho", "spent_delta", "spent_pure", "spent_epsilon", "reserved_rho", "limit_rho", "limit_delta", "limit_pure"),
    *("epsilon", "delta", "code", "principal", "project", "holder", "why", "mechanisms", "event", "index"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What begins a cell that a spreadsheet would run."""


@get("/{dataset:str}/entries", operation_id="listEntries", summary="Read a ledger, oldest first", opt={VERB: Verb.BUDGET_READ})
async def entries(  # noqa: PLR0917  # the framework passes them by name
    dataset: DatasetPath,
    edge: TheEdge,
    kind: Annotated[str | None, QueryParameter(max_length=64, description="only entries of this kind, such as charged")] = None,
    job: Annotated[str | None, QueryParameter(max_length=80, description="only entries of this job")] = None,
    principal: Annotated[str | None, QueryParameter(max_length=80, description="only entries that this principal caused")] = None,
    since: Annotated[dt.datetime | None, QueryParameter(description="only entries made then or later; RFC 3339")] = None,
    until: Annotated[dt.datetime | None, QueryParameter(description="only entries made before then")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
    min_seq: MinSequence = None,
) -> Page[LedgerEntryView]:
    """The account's rows, each with what it came to; each is an event, and so a leaf of the audit log."""
    if cursor is not None and not (cursor.isdecimal() and cursor.isascii() and len(cursor) < 19):
        raise bad_cursor(cursor)
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    wanted = EntryFilter(kind=kind, job=job, principal=principal, since=moment("since", since), until=moment("until", until))
    page = await edge.views.entries(view.account, int(cursor or 0), limit, wanted)
    return Page[LedgerEntryView](items=await told(edge.objects, page.items), next=page.next)


@get(
    "/{dataset:str}/ledger",
    operation_id="exportLedger",
    summary="Export a ledger, whole",
    opt={VERB: Verb.BUDGET_READ},
    media_type="application/octet-stream",
)
async def export(
    dataset: DatasetPath,
    edge: TheEdge,
    form: Annotated[Literal["csv", "json"], QueryParameter(name="format", description="csv or json")] = "csv",
) -> Stream:
    """Every entry, oldest first: as CSV, in which no cell begins like a formula, or as a JSON array."""
    view = await edge.dataset(dataset)
    found = _all(edge, view.account)
    media, body = ("text/csv; charset=utf-8", _csv(found)) if form == "csv" else ("application/json", _json(found))
    name = f"{view.id}-ledger.{form}"
    return Stream(body, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})


async def _all(edge: Edge, account: AccountId) -> AsyncIterator[LedgerEntryView]:
    after: int | None = 0
    while after is not None:
        page = await edge.views.entries(account, after, AT_ONCE)
        for entry in await told(edge.objects, page.items):
            yield entry
        after = None if page.next is None else int(page.next)


async def _json(found: AsyncIterator[LedgerEntryView]) -> AsyncIterator[str]:
    before = "["
    async for entry in found:
        yield before + entry.model_dump_json(exclude_none=True)
        before = ",\n"
    yield "[]\n" if before == "[" else "]\n"


async def _csv(found: AsyncIterator[LedgerEntryView]) -> AsyncIterator[str]:
    yield _line(COLUMNS)
    async for entry in found:
        yield _line(_cells(entry))


def _cells(entry: LedgerEntryView) -> tuple[object, ...]:
    flat = entry.model_dump(mode="json")
    for name in ("cost", "spent", "reserved", "limit"):
        flat |= {f"{name}_{part}": value for part, value in (flat[name] or {}).items()}
    flat["mechanisms"] = json.dumps(flat["mechanisms"]) if flat["mechanisms"] else None
    return tuple(flat.get(column) for column in COLUMNS)


def _line(cells: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([safe(cell) for cell in cells])
    return line.getvalue()


def safe(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: a text that would be one gets an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


@get("/{dataset:str}/quotas", operation_id="listQuotas", summary="List quotas", opt={VERB: Verb.BUDGET_READ})
async def quotas(dataset: DatasetPath, edge: TheEdge, min_seq: MinSequence = None) -> Page[QuotaView]:
    """What people and projects may spend, besides the lineage's own limit, which alone binds those who share."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    return Page[QuotaView](items=tuple(await edge.views.quotas(view.account)))


@put(
    "/{dataset:str}/quotas/{holder:str}",
    dto=json_body(QuotaBody, {"epsilon": "state a number above 0, such as 1.0"}),
    return_dto=None,
    operation_id="setQuota",
    summary="Set a quota",
    opt={VERB: Verb.BUDGET_SET},
)
async def set_quota(
    dataset: DatasetPath,
    holder: Annotated[str, PathParameter(pattern=r"^(prn|prj)_[0-9a-f]{32}$", description="id of a person (prn_…) or project (prj_…)")],
    data: JSONBody[QuotaBody],
    request: Asked,
    edge: TheEdge,
) -> Response[Page[QuotaView]]:
    """Give a person or a project a limit of its own; what was spent before counts. 202 instead of 200: the keeper has not yet."""
    view = await edge.dataset(dataset)
    before = await account_of(edge, view)
    reason = await kept(edge.objects, data.reason)
    command = SetQuota(account=view.account, holder=holder, epsilon=data.epsilon, delta=data.delta, reason=reason)
    await edge.gateway.send(command, context(request, view.project))
    stated = (holder, data.epsilon / EPSILON_SCALE, data.delta / DELTA_SCALE)
    set_now = await _entered(edge, view.account, before.entry, lambda entry: (entry.holder, entry.epsilon, entry.delta) == stated)
    page = Page[QuotaView](items=tuple(await edge.views.quotas(view.account)))
    return Response(page, status_code=200 if set_now else 202)


@post(
    "/{dataset:str}/releases",
    dto=json_body(ReasonBody),
    return_dto=None,
    operation_id="enterRelease",
    summary="Say that raw figures were given away",
    opt={VERB: Verb.BUDGET_RELEASE},
)
async def enter_release(
    dataset: DatasetPath, data: JSONBody[ReasonBody], request: Asked, edge: TheEdge
) -> Response[LedgerEntryView | None]:
    """Enter that figures shown without noise were given to others, or used to choose a release: no later certificate claims a total.

    201 with the entry, or 202 if the keeper has not written it yet.
    """
    view = await edge.dataset(dataset)
    before = await account_of(edge, view)
    reason = await kept(edge.objects, data.reason)
    await edge.gateway.send(EnterRelease(account=view.account, reason=reason), context(request, view.project))
    entry = await _entered(edge, view.account, before.entry, lambda entry: entry.reason == reason)
    return Response(None if entry is None else (await told(edge.objects, (entry,)))[0], status_code=202 if entry is None else 201)


async def _entered(edge: Edge, account: AccountId, after: int, ours: Callable[[LedgerEntryView], bool]) -> LedgerEntryView | None:
    """The entry that a command has made, once it is in the views; None if it takes too long."""

    async def look() -> LedgerEntryView | None:
        ledger = await edge.views.entries(account, after, 100)
        return next((entry for entry in ledger.items if ours(entry)), None)

    return await edge.until(look, CATCH_UP)


router = Router("/budgets", route_handlers=[entries, export, quotas, set_quota, enter_release], tags=["budgets"])
