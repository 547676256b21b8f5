"""What holds after every fault, whatever it was: looked up in SQL, streams, objects and over HTTP, and never taken from one alone.

(a) every job that was promised has ended; (b) each with one terminal event; (c) what was charged is what the mechanisms that started
cost, nothing stays reserved, and no limit is passed; (d) the views are what the events fold into; (e) the log verifies, and holds each
event once; (f) every object that is there is referred to, and every one that is referred to is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from actors.ledger import PARTS
from api.views.projector import Fold
from api.views.queries import Views
from api.views.tables import FOLDED
from contracts import subjects
from contracts.envelope import Envelope
from contracts.events import (
    DatasetDeleted,
    JobAccepted,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRefused,
    MechanismStarted,
    PayloadErased,
)
from contracts.jobs import IngestSpec
from fault_system import FaultSystem
from halftone.merkle import verify_checkpoint, verify_log
from infra.bus.connection import connect, jetstream
from infra.bus.tail import Stored, Tail
from infra.bus.topology import DURABLES
from infra.supervisor import ENTRIES
from running_system import eventually

ENDS = (JobCompleted, JobFailed, JobCancelled, JobRefused)
_OBJECT = re.compile(r"obj_[0-9a-f]{32}")
Streams = dict[str, list[Stored]]


def check(system: FaultSystem) -> Streams:
    """Wait until nothing moves any more, and check all of it. Gives the streams as they were read."""
    jobs = system.until_ended()
    until_empty(lambda: moving(system), 120)
    streams = asyncio.run(read(system.bus_url()))
    events = [Envelope.load(message.body) for message in streams[subjects.EVENTS]]
    assert system.accepted <= jobs.keys()
    _one_end_each(system, events)
    _charged(system, events)
    asyncio.run(_views_are_folded(system, streams))
    _logged(system, events)
    # Uploads are removed a moment after their job has ended.
    until_empty(lambda: objects_astray(system, events), 30)
    return streams


def moving(system: FaultSystem) -> list[str]:
    """What has not come to rest: all that was sent is to be published, handled, folded, logged and signed."""
    last, pending = asyncio.run(_states(system.bus_url()))
    logged = dict(system.rows("auditor", "select stream, sequence from positions"))
    folded = dict(system.rows("views", "select stream, sequence from positions"))
    ((entries,),) = system.rows("auditor", "select count(*) from entries")
    found = [f"{name}: {n} waiting" for name, n in pending.items() if n]
    for name in system.databases():
        ((unsent,),) = system.rows(name, "select count(*) from outbox where sequence is null")
        found += [f"outbox of {name}: {unsent}"] if unsent else []
    found += [f"view of {name}: {folded.get(name, 0)} of {last[name]}" for name in FOLDED if folded.get(name, 0) != last[name]]
    if logged.get(subjects.EVENTS) != last[subjects.EVENTS]:
        found.append(f"log: {logged.get(subjects.EVENTS)} of {last[subjects.EVENTS]}")
    if _signed(system) != entries:
        found.append(f"signed: {_signed(system)} of {entries}")
    # Each is erased a moment after its job has ended, and that is an event as well.
    found += [f"upload {name}" for (name,) in system.rows("edge", "select source from datasets where source is not null")]
    return found + [f"worker {worker.pid}" for worker in system.workers()]


def until_empty(look: Callable[[], Collection[str]], seconds: float) -> None:
    """Wait until there is nothing any more; what is left says more than that something is."""
    left: list[Collection[str]] = []

    def empty() -> bool:
        left[:] = [look()]
        return not left[0]

    with contextlib.suppress(AssertionError):
        eventually(empty, seconds)
    assert not left[0], left[0]


def _signed(system: FaultSystem) -> int:
    audit = system.home / "audit"
    return verify_checkpoint((audit / "checkpoint").read_text(), (audit / "public-key").read_text().strip()).size


async def _states(url: str) -> tuple[dict[str, int], dict[str, int]]:
    """The last sequence of each stream, and by durable the messages that it has not settled."""
    client = await connect(url, "provisioner")
    try:
        js = jetstream(client)
        last = {name: (await js.stream_info(name)).state.last_seq for name in FOLDED}
        ours = [await js.consumer_info(durable.stream, durable.name) for durable in DURABLES if durable.user in ENTRIES]
        return last, {info.name: (info.num_pending or 0) + (info.num_ack_pending or 0) for info in ours}
    finally:
        await client.close()


async def read(url: str, *names: str) -> Streams:
    """Streams from their first message to their last."""
    client = await connect(url, "provisioner")
    try:
        return {name: await _whole(Tail(client, name, "")) for name in names or FOLDED}
    finally:
        await client.close()


async def _whole(tail: Tail) -> list[Stored]:
    held: list[Stored] = []
    while more := [message async for message in tail._fetch(held[-1].sequence + 1 if held else 1, 500)]:
        held += more
    return held


def _one_end_each(system: FaultSystem, events: Sequence[Envelope]) -> None:
    """(a) and (b), in the stream: what was accepted has ended once, and nothing else has; no event is there twice."""
    assert max(Counter(event.id for event in events).values()) == 1
    accepted = Counter(event.message.job for event in events if isinstance(event.message, JobAccepted))
    ended = Counter(event.message.job for event in events if isinstance(event.message, ENDS))
    assert system.accepted <= accepted.keys()
    assert accepted == ended
    assert set(ended.values()) <= {1}


def _charged(system: FaultSystem, events: Sequence[Envelope]) -> None:
    """(c), between ledger, totals and stream."""
    started = {(m.account, m.job, m.step, m.attempt) for e in events if isinstance(m := e.message, MechanismStarted)}
    rows = system.rows(
        "budget_keeper", "select account, job, step, attempt, kind, cost_rho, cost_delta, cost_pure from ledger where job is not null"
    )
    of = {kind: {row[:4]: row[5:] for row in rows if row[4] == kind} for kind in ("reserved", "charged", "released")}
    assert of["charged"].keys() == started
    assert all(of["reserved"][run] == cost for run, cost in of["charged"].items())
    open_ = of["reserved"].keys() - of["charged"].keys() - of["released"].keys()
    assert open_ == set(), "reserved for jobs that have ended"
    names = ", ".join(f"{total}_{part}" for total in ("spent", "reserved", "limit") for part in PARTS)
    for account, *totals in system.rows("budget_keeper", f"select account, {names} from accounts"):
        costs = [cost for run, cost in of["charged"].items() if run[0] == account]
        spent, reserved, limit = (totals[at : at + len(PARTS)] for at in range(0, len(totals), len(PARTS)))
        assert spent == [sum(part) for part in zip([0] * len(PARTS), *costs, strict=True)]
        assert reserved == [0] * len(PARTS)
        assert all(most is None or part <= most for part, most in zip(spent, limit, strict=True))


async def _views_are_folded(system: FaultSystem, streams: Streams) -> None:
    """(d): the rows that the edge has are those that the streams give when they are folded from their start."""
    with tempfile.TemporaryDirectory() as folder:
        anew = await folded(streams, Path(folder) / "views.sqlite")
    held = view_rows(system)
    other = {name: sorted(set(anew[name]) ^ set(held[name]), key=repr)[:4] for name in anew if anew[name] != held[name]}
    assert not other, other


async def folded(streams: Streams, path: Path) -> dict[str, list[Any]]:
    """Every table of the views, made of whole streams in a database of its own."""
    views = Views(f"sqlite:///{path}")
    await views.open()
    try:
        for name, messages in streams.items():
            fold = Fold(views.tables, name)
            for at in range(0, len(messages), 500):
                await views.write(lambda tx, batch=messages[at : at + 500], fold=fold: fold.apply(batch, tx.connection))
        return {table: _sorted(await views.all(select(views.tables[table]))) for table in _tables()}
    finally:
        await views.close()


def view_rows(system: FaultSystem) -> dict[str, list[Any]]:
    """Every table of the running edge's views."""
    return {table: _sorted(system.rows("views", f"select * from {table}")) for table in _tables()}


def _tables() -> list[str]:
    return sorted({table for tables in FOLDED.values() for table in tables})


def _sorted(rows: Sequence[Any]) -> list[Any]:
    return sorted((tuple(row) for row in rows), key=repr)


def _logged(system: FaultSystem, events: Sequence[Envelope]) -> None:
    """(e): offline, with the log's rows, its checkpoint and its key."""
    rows = system.rows("auditor", "select event, entry, leaf from entries order by idx")
    audit = system.home / "audit"
    report = verify_log(
        (entry for _, entry, _ in rows),
        (audit / "checkpoint").read_text(),
        (audit / "public-key").read_text().strip(),
        leaf_hashes=(leaf for _, _, leaf in rows),
    )
    assert (report.entries, report.uncovered) == (len(rows), 0)
    names = [event for event, _, _ in rows]
    assert len(set(names)) == len(names)
    assert {event.id for event in events} <= set(names)


def objects_astray(system: FaultSystem, events: Sequence[Envelope]) -> set[str]:
    """(f): files that nothing refers to, drafts, and objects that are referred to and are not there."""
    directory = system.home / "objects"
    files = {path.name for path in directory.rglob("*") if path.is_file()}
    there = {name for name in files if _OBJECT.fullmatch(name) and f"{name}.json" in files}
    odd = files - there - {f"{name}.json" for name in there}
    wanted = _referred_to(events)
    return odd | (there - wanted - _options(events)) | (wanted - there)


def _referred_to(events: Sequence[Envelope]) -> set[str]:
    """What events speak of, without what they say was erased, and what was only an upload."""
    assert not any(isinstance(event.message, DatasetDeleted) for event in events), "no fault deletes datasets"
    spoken_of = [event for event in events if not isinstance(event.message, JobAccepted)]
    erased = [event for event in spoken_of if isinstance(event.message, PayloadErased)]
    return _named(spoken_of) - _named(erased)


def _named(events: Sequence[Envelope]) -> set[str]:
    return {name for event in events for name in _OBJECT.findall(event.dump().decode())}


def _options(events: Sequence[Envelope]) -> set[str]:
    specs = (event.message.spec for event in events if isinstance(event.message, JobAccepted))
    return {spec.options for spec in specs if isinstance(spec, IngestSpec) and spec.options is not None}
