"""The auditor against what is done to its home: put back with all that lies in it, its key changed or swapped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.auditor import LogRolledBack
from actors.log_keys import KeyReplaced
from auditor_bench import Start, copy_database, event, put_back, starting
from contracts import subjects
from contracts.recorded import KeyRotated
from contracts.records import CheckpointSigned
from halftone.merkle import (
    Keys,
    VerifierKey,
    dump_key,
    generate_key,
    load_key,
)
from infra.bus.connection import jetstream
from infra.bus.provision import provision
from infra.bus.tail import last_message
from infra.commands.log_home import ask_for_rotation
from infra.home import write_secret
from tests.conftest import PATIENCE, Bus


@pytest.fixture
async def start(bus: Bus) -> AsyncIterator[Start]:
    """Starts the auditor of the home; starting again ends the one before."""
    async with starting(bus.home.path) as start_:
        yield start_


@pytest.mark.parametrize("witness", ["broker", "directory", "file"])
async def test_a_home_that_was_put_back_is_found_out_by_others(start: Start, tmp_path: Path, witness: str) -> None:
    """Database and checkpoint file are both older: the broker, or whoever was given checkpoints, knows better."""
    kept = tmp_path / "kept"
    if witness == "directory":
        kept.mkdir()
    settings = {} if witness == "broker" else {"checkpoint_to": str(kept)}
    bench, events = await start(**settings), [event() for _ in range(6)]
    await bench.append(*events[:3])
    await bench.sign()
    home, older = bench.runtime.home, tmp_path / "older"
    copy_database(home, older)
    note = bench.file.read_text()
    await bench.append(*events)
    await bench.sign()
    if witness == "broker":
        sent = [e for e in await bench.sent() if isinstance(e.message, CheckpointSigned)][-1]
        async with asyncio.timeout(PATIENCE):
            while await last_message(bench.runtime.client, subjects.AUDIT, sent.subject) is None:  # noqa: ASYNC110  # the broker's
                await asyncio.sleep(0.01)
    else:
        await bench.auditor.witness.deliver()
        assert [path.name for path in kept.glob("*")] == (["checkpoint-0000000000000000006"] if witness == "directory" else [])
        await jetstream(await bench.bus("provisioner")).delete_stream(subjects.AUDIT)
        await provision(jetstream(await bench.bus("provisioner")))
    await bench.runtime.store.close()
    put_back(home, older)
    bench.file.write_text(note)
    again = await start(**settings)
    with pytest.raises(LogRolledBack, match="6 entries was signed, the log holds 3"):
        await again.auditor.sign()


async def test_the_log_goes_over_to_another_key(start: Start) -> None:
    """Both keys sign that it does; whoever knows either checks all of the log, and that the key was changed is an event."""
    bench, events = await start(), [event() for _ in range(4)]
    await bench.append(*events[:2])
    old = bench.verifier
    new = ask_for_rotation(bench.runtime.home.path)
    assert ask_for_rotation(bench.runtime.home.path) == new != old
    await bench.auditor._rotate()
    await bench.append(*events)
    signed = await bench.sign()
    audit = bench.runtime.home.audit
    assert (audit / "public-key").read_text().strip() == new
    assert not (audit / "signing-key.next").exists()
    rotations = json.loads((audit / "rotations.json").read_text())
    for known in (old, new):
        assert Keys(known, rotations).verify(bench.file.read_text()) == signed
        assert {checkpoint.size for checkpoint in map(Keys(known, rotations).verify, await bench.notes())} == {2, 4}
    told = [e.message for e in await bench.sent() if isinstance(e.message, KeyRotated)]
    assert [(m.size, m.note) for m in told] == [(2, rotations[0])]
    again = await start()
    assert (await again.sign()) == signed


@pytest.mark.parametrize("step", ["rotations.json", "public-key", "signing-key"])
async def test_a_crash_amid_a_rotation_is_survived(start: Start, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever was written by then: the next start ends it, by one note, and under the new key."""
    bench = await start()
    await bench.append(event())
    await bench.sign()
    new = ask_for_rotation(bench.runtime.home.path)

    def crash(path: Path, text: str) -> None:
        write_secret(path, text if text.endswith("\n") else text + "\n")
        if path.name == step:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("actors.log_keys.write_secret", crash)
        patched.setattr("actors.log_keys.write_public", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            await bench.auditor._rotate()
    again = await start()
    await again.auditor._rotate()
    await again.append(event())
    await again.sign()
    audit = again.runtime.home.audit
    rotations = json.loads((audit / "rotations.json").read_text())
    assert (len(rotations), (audit / "public-key").read_text().strip()) == (1, new)
    assert load_key((audit / "signing-key").read_text()).public_key().public_bytes_raw() == VerifierKey.parse(new).key.public_bytes_raw()
    assert Keys(new, rotations).verify(again.file.read_text()).size == 2


async def test_a_key_that_was_swapped_signs_nothing(start: Start) -> None:
    """Nothing leads to it from the one that the log was signed with. One from outside is followed when the old one is given too."""
    bench = await start()
    await bench.append(event())
    await bench.sign()
    secret = bench.runtime.home.audit / "signing-key"
    kept, outside, last = secret.read_text().strip(), dump_key(generate_key()), dump_key(generate_key())
    secret.write_text(dump_key(generate_key()) + "\n")
    with pytest.raises(KeyReplaced, match="was signed with"):
        await start()
    secret.unlink()
    with pytest.raises(KeyReplaced, match="is gone"):
        await start()
    with pytest.raises(KeyReplaced, match="was signed with"):
        await start(signing_key=outside)
    secret.write_text(kept + "\n")
    for given in (outside, outside, f"{last},{outside}", last):
        again = await start(signing_key=given)
        await again.auditor._rotate()
        await again.append(event())
        await again.sign()
        assert not secret.exists()
    rotations = json.loads((again.runtime.home.audit / "rotations.json").read_text())
    assert len(rotations) == 2
    assert Keys(bench.verifier, rotations).verify(again.file.read_text()).size == 5
