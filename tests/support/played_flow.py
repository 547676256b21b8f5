"""Flows of the client, played against a script instead of a server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from halftone.client.flow import Core, Flow, Lost, Open, Read, Send, Sleep, Steps, Tell
from halftone.client.request import Answer, Request

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "halftone" / "client" / "recorded.json").read_text())


def recorded(name: str) -> Answer:
    """What a running system has answered once."""
    held = RECORDED[name]
    return Answer(held["status"], held["headers"], held["body"].encode())


class Play:
    """Answers a flow's effects with what the script says, and notes what was asked.

    The script holds answers, pieces of an open one, and ``Lost``; time passes when the flow sleeps, or when a read finds silence.
    """

    def __init__(self, script: Iterable[Answer | bytes | Lost], *, heard: bool = True, retry_for: float = 15.0) -> None:
        self.now = 1000.0
        self.core = Core("http://halftone.test", retry_for, clock=lambda: self.now, heard=heard)
        self.asked: list[Request] = []
        self.slept: list[float] = []
        self.told: list[Any] = []
        self._script = list(script)

    def run(self, flow: Flow[Any]) -> Any:
        steps = Steps(flow)
        while steps.effect is not None:
            effect = steps.effect
            try:
                value = self._play(effect)
            except Lost as lost:
                steps.failed(lost)
            else:
                steps.done(value)
        assert self._script == [], "the flow ended before its script"
        return steps.result

    def _play(self, effect: Any) -> Any:
        match effect:
            case Sleep(seconds):
                self.slept.append(seconds)
                self.now += seconds
                return None
            case Tell(value):
                self.told.append(value)
                return None
            case Send(request) | Open(request):
                self.asked.append(request)
                return self._next(Answer)
            case Read():
                return self._next(bytes)
        raise AssertionError(effect)

    def _next(self, kind: type) -> Any:
        assert self._script, "the flow asks for more than its script holds"
        found = self._script.pop(0)
        if isinstance(found, Lost):
            if str(found) == "no answer in time":
                self.now += self.asked[-1].seconds or 30.0
            raise found
        assert isinstance(found, kind), found
        return found
