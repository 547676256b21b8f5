"""A broker that lost what it had acknowledged: its store is put back from an older copy, and all of it is published again."""

from __future__ import annotations

import shutil
import signal
import time

import pytest

from contracts import subjects
from contracts.envelope import Envelope
from contracts.events import BusRepaired
from fault_invariant import check
from fault_load import Load, Mix, material
from fault_scale import SEED, Note, scale
from fault_system import FaultSystem


@pytest.mark.fault(10, "the broker's store put back from an older copy")
def test_a_broker_that_lost_its_tail_is_told_again(own: FaultSystem, note: Note) -> None:
    """Every event is in the stream again, once; views and log agree with it; jobs that were asked for in the lost part have ended."""
    made = material(own, SEED)
    check(own)
    assert own.stop(signal.SIGTERM) == 0
    store, copy = own.home / "nats" / "store", own.home.parent / "copy"
    shutil.copytree(store, copy)
    own.start()
    load = Load(own, made, Mix(noop=scale(190, 15), ingest=scale(4, 0), synthesize=scale(6, 0)), SEED)
    note("runs", len(load.promised()))
    before = {message.message_id for message in check(own)[subjects.EVENTS]}
    # Some are asked for, and not done, when it stops.
    Load(own, made, Mix(noop=10, synthesize=scale(2, 1)), SEED + 1).promised()
    assert own.stop(signal.SIGTERM) == 0
    shutil.rmtree(store)
    copy.rename(store)
    began = time.monotonic()
    own.start()
    own.probe()
    note("recovery", time.monotonic() - began)
    events = check(own)[subjects.EVENTS]
    assert before <= {message.message_id for message in events}
    told = [message for message in (Envelope.load(each.body).message for each in events) if isinstance(message, BusRepaired)]
    assert {"edge", "synthesizer"} <= {repaired.part for repaired in told if repaired.stream == "events"}
