"""The log over HTTP: what is served is checked as a stranger would, with the public key alone."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
import pytest_asyncio

from contracts import subjects
from contracts.envelope import Envelope
from contracts.events import JobAccepted
from contracts.ids import new_message_id
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned
from halftone.merkle import (
    Checkpoint,
    MemoryNodes,
    canonical,
    generate_key,
    leaf_hash,
    root,
    sign_checkpoint,
    verifier_key,
    verify_checkpoint,
    verify_consistency,
    verify_proof,
)
from infra.bus.connection import jetstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Auditor:
    """Makes leaves of events, and signs, as the actor does."""

    def __init__(self, system: Any) -> None:
        self._system, self._key, self.nodes = system, generate_key(), MemoryNodes()
        self.verifier = verifier_key("halftone", self._key.public_key())
        self.size = 0

    async def append(self, event: Envelope) -> int:
        content = event.model_dump(mode="json", exclude_none=True)
        leaf = leaf_hash(canonical(content))
        self.nodes.append([leaf])
        entry = AuditEntry(index=self.size, event=event.id, leaf=leaf.hex(), entry=content)
        self.size += 1
        return int(await self._system.say(AuditAppended(entries=(entry,))))

    async def sign(self) -> int:
        note = sign_checkpoint(Checkpoint("halftone", self.size, root(self.size, self.nodes.get)), self._key, "halftone")
        return int(await self._system.say(CheckpointSigned(size=self.size, note=note)))


@pytest_asyncio.fixture(loop_scope="module")
async def fresh_log(system: Any) -> Auditor:
    """A log with a leaf for each event there is."""
    auditor = Auditor(system)
    auditor.size = await leaves(system)
    known = {entry["event"] for entry in (await system.http.get("/v1/audit/entries?limit=1000")).json()["entries"]}
    for event in await system.stored(subjects.EVENTS, ""):
        if event.id not in known:
            await auditor.append(event)
    state = (await jetstream(system.bus).stream_info(subjects.EVENTS)).state
    async with asyncio.timeout(5):
        while (await leaves(system)) < state.last_seq:
            await system.http.get("/health/live")
    return auditor


async def leaves(system: Any) -> int:
    """Leaves that the edge has received."""
    return len((await system.http.get("/v1/audit/entries?limit=1000")).json()["entries"])


async def test_what_is_served_proves_the_log_to_a_stranger(system: Any) -> None:
    """Checkpoint, entry, inclusion and consistency hold under the public key; an entry waits for its checkpoint."""
    await system.problem(await system.http.get("/v1/audit/checkpoint"), 404, "not-found")
    await system.problem(await system.http.get("/v1/audit/key"), 404, "not-found")
    auditor = Auditor(system)
    (system.home.audit / "public-key").write_text(auditor.verifier + "\n")
    jobs = [await system.noop() for _ in range(5)]
    events = [(await system.stored(subjects.EVENTS, job["id"]))[0] for job in jobs]
    for event in events[:3]:
        await auditor.append(event)
    await auditor.sign()
    for event in events[3:]:
        await auditor.append(event)
    waiting = asyncio.create_task(system.http.get(f"/v1/audit/proofs/{events[4].id}"))
    await system.http.get("/health/live")
    await auditor.sign()
    proof = (await waiting).json()
    key = (await system.http.get("/v1/audit/key")).text.strip()
    checkpoint = verify_proof(canonical(proof["entry"]), proof, key)
    assert (checkpoint.size, proof["index"], proof["event"]) == (5, 4, events[4].id)
    assert Envelope.model_validate(proof["entry"]).type == JobAccepted.TYPE
    note = await system.http.get("/v1/audit/checkpoint")
    assert note.headers["content-type"].startswith("text/plain")
    assert verify_checkpoint(note.text, key) == checkpoint
    grown = (await system.http.get("/v1/audit/consistency?old=3")).json()
    hashes = [base64.b64decode(value) for value in grown["hashes"]]
    verify_consistency(3, 5, root(3, auditor.nodes.get), checkpoint.root, hashes)
    page = (await system.http.get("/v1/audit/entries?start=1&limit=2")).json()
    assert ([entry["index"] for entry in page["entries"]], page["next"]) == ([1, 2], 3)
    assert page["entries"][0]["leaf"] == leaf_hash(canonical(page["entries"][0]["entry"])).hex()


async def test_an_event_that_cannot_be_is_not_waited_for(fresh_log: Auditor, system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the log has a leaf for every event there was, what it does not hold is answered at once; so is what is no event's id."""
    monkeypatch.setattr("api.v1.audit.SIGNED_WITHIN", 3600.0)
    async with asyncio.timeout(10):
        await system.problem(await system.http.get("/v1/audit/proofs/nonsense"), 404, "not-found")
        await system.problem(await system.http.get(f"/v1/audit/proofs/{new_message_id()}"), 404, "not-found")


async def test_what_the_log_does_not_hold_cannot_be_proved(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown event, and sizes that were never signed, are refused."""
    monkeypatch.setattr("api.v1.audit.SIGNED_WITHIN", 0.05)
    await system.problem(await system.http.get(f"/v1/audit/proofs/{new_message_id()}"), 404, "not-found")
    await system.problem(await system.http.get("/v1/audit/consistency?old=1&new=4000"), 422, "request-invalid")
    await system.problem(await system.http.get("/v1/audit/consistency?old=3&new=2"), 422, "request-invalid")
    await system.problem(await system.http.get("/v1/audit/entries?start=-1"), 422, "request-invalid")
