"""Dead letters: messages that were given up, for those who run a Halftone."""

from __future__ import annotations

from contracts.views import DeadLetterView
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Flow, ask
from halftone.client.handles import Seed, asking, handing, promised
from halftone.client.reading import fetch, pages
from halftone.client.request import Request, get


class _DeadLetters(Part):
    """Messages that were given up, and what becomes of them."""

    @iteration
    def list(self, *, settled: bool | None = None, limit: int | None = None) -> Items[DeadLetterView]:
        """Dead letters, the newest first; those that were settled, or those that wait."""
        asked = None if settled is None else str(settled).lower()
        return Items(pages(self.core, DeadLetterView, "/v1/dead-letters", limit=limit, settled=asked, min_seq=self.core.min_seq))

    @operation
    def get(self, letter: str) -> Flow[DeadLetterView]:
        """One letter, with the message that was given up."""
        return (yield from fetch(self.core, DeadLetterView, get(f"/v1/dead-letters/{letter}")))

    @handing
    def replay(self, letter: str) -> Flow[Seed]:
        """Ask for a new job in place of the one that failed with the letter; gives it."""
        answer = yield from ask(self.core, asking(f"/v1/dead-letters/{letter}:replay", {}))
        return promised(self.core, answer.json())

    @operation
    def discard(self, letter: str) -> Flow[DeadLetterView]:
        """Say that nothing is to be done about a letter; it stays listed, as settled."""
        return (yield from fetch(self.core, DeadLetterView, Request("POST", f"/v1/dead-letters/{letter}:discard", body={})))


class DeadLetters(_DeadLetters, Blocking):
    """Dead letters, in a program that blocks."""


class AsyncDeadLetters(_DeadLetters, Awaiting):
    """Dead letters, in a program that awaits."""
