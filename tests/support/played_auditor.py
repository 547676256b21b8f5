"""Makes leaves of an edge's events, and signs, as the auditor does: for tests that have an edge and no actors."""

from __future__ import annotations

import asyncio
from typing import Any

from contracts import subjects
from contracts.envelope import Envelope
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned
from halftone.merkle import Checkpoint, MemoryNodes, canonical, generate_key, leaf_hash, root, sign_checkpoint, verifier_key
from infra.bus.connection import jetstream


class PlayedAuditor:
    """A log of a system whose auditor does not run."""

    def __init__(self, system: Any) -> None:
        self._system, self.key, self.nodes = system, generate_key(), MemoryNodes()
        self.verifier = verifier_key("halftone", self.key.public_key())
        self.events: list[Envelope] = []
        (system.home.audit / "public-key").write_text(self.verifier + "\n")

    @property
    def size(self) -> int:
        return len(self.events)

    async def log(self) -> None:
        """Every event that there is, under a checkpoint that the edge has seen."""
        state = (await jetstream(self._system.bus).stream_info(subjects.EVENTS)).state
        known = {event.id for event in self.events}
        entries = []
        for event in await self._system.stored(subjects.EVENTS, ""):
            if event.id not in known:
                content = event.model_dump(mode="json", exclude_none=True)
                leaf = leaf_hash(canonical(content))
                entries.append(AuditEntry(index=self.size, event=event.id, leaf=leaf.hex(), entry=content))
                self.nodes.append([leaf])
                self.events.append(event)
        if entries:
            for first in range(0, len(entries), 50):
                await self._system.say(AuditAppended(entries=tuple(entries[first : first + 50])))
            note = sign_checkpoint(Checkpoint("halftone", self.size, root(self.size, self.nodes.get)), self.key, "halftone")
            await self._system.say(CheckpointSigned(size=self.size, note=note))
        async with asyncio.timeout(10):
            while await self._signed() < self.size:  # noqa: ASYNC110  # it is another process's
                await asyncio.sleep(0.01)
        assert self.size >= state.last_seq

    async def _signed(self) -> int:
        answer = await self._system.http.get("/v1/audit/checkpoint")
        return int(answer.text.split("\n")[1]) if answer.status_code == 200 else -1
