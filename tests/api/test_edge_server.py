"""The edge as a process: what it loads, how it stops, what it does while the broker is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import subjects
from infra.hosting import READY_DESCRIPTOR
from infra.objects import ObjectMissing
from infra.settings import Settings

ROOT = Path(__file__).parents[2]
HEAVY = {"opendp", "sklearn", "torch", "jax", "sdv", "pyarrow", "pandas", "actors"}
RUN = """
import asyncio, json, sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from api.server import run_edge
from infra.settings import Settings
asyncio.run(run_edge(Settings.model_validate_json(sys.argv[1])))
Path(sys.argv[2]).write_text(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


async def test_a_process_stops_in_time_with_streams_open_and_has_loaded_nothing_heavy(fresh: Any, tmp_path: Path) -> None:
    """SIGTERM ends it within two seconds although a client follows a job; the stream ends; neither Arrow nor an engine was imported."""
    await fresh.stop()
    fresh.home.edge_file.unlink()
    settings = Settings.model_validate({**fresh.settings.model_dump(), "host": "127.0.0.1"})
    loaded = tmp_path / "loaded"
    ours, theirs = os.pipe()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))), READY_DESCRIPTOR: str(theirs)}
    arguments = [sys.executable, "-c", RUN, settings.model_dump_json(), str(loaded)]
    process = await asyncio.create_subprocess_exec(*arguments, env=environment, stderr=subprocess.PIPE, pass_fds=(theirs,))
    os.close(theirs)
    try:
        with os.fdopen(ours, "rb", buffering=0) as said:
            assert await asyncio.to_thread(said.read, 1) == b"+"
        headers = {"Authorization": fresh.http.headers["authorization"]}
        async with httpx.AsyncClient(base_url=fresh.home.edge_url(), headers=headers, timeout=10) as client:
            job = (await client.post("/v1/jobs", json={"kind": "noop"})).json()
            await client.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")})
            async with client.stream("GET", job["links"]["events"]) as response:
                lines = response.aiter_lines()
                assert (await anext(lines)).startswith("id: ")
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                async for _ in lines:
                    pass
                assert await process.wait() == 0
                assert time.monotonic() - began < 2
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await fresh.start()
    names = set(json.loads(loaded.read_text()))
    assert "litestar" in names
    assert names & HEAVY == set()


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await look():  # noqa: ASYNC110  # another process comes back when it does
            await asyncio.sleep(0.01)


async def serves(system: Any) -> bool:
    return bool((await system.http.get("/health/ready")).status_code == 200)


async def test_while_the_broker_is_away_nothing_is_accepted_and_reading_goes_on(fresh: Any) -> None:
    """503 with Retry-After for what would need a promise, readiness false with the reason; all is well again when the broker is."""
    job = await fresh.noop()
    await fresh.http.get(job["links"]["self"])
    await fresh.broker.stop()
    response = await fresh.http.post("/v1/jobs", json={"kind": "noop"})
    while response.status_code == 202:
        response = await fresh.http.post("/v1/jobs", json={"kind": "noop"})
    await fresh.problem(response, 503, "bus-away")
    assert int(response.headers["retry-after"]) >= 1
    upload = await fresh.http.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")})
    await fresh.problem(upload, 503, "bus-away")
    ready = await fresh.http.get("/health/ready")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["the broker is away"])
    assert (await fresh.http.get(job["links"]["self"])).json()["id"] == job["id"]
    await fresh.broker.start()
    await eventually(partial(serves, fresh))
    assert (await fresh.http.post("/v1/jobs", json={"kind": "noop"})).status_code == 202


async def test_what_was_accepted_outlives_the_process(fresh: Any) -> None:
    """After a restart the job, its dataset's name and the meaning of the key are what they were."""
    headers = {"Idempotency-Key": "k"}
    job = (await fresh.http.post("/v1/jobs", json={"kind": "noop"}, headers=headers)).json()["id"]
    dataset = (await fresh.upload(name="kept"))["dataset"]
    await fresh.stop()
    await fresh.start()
    assert (await fresh.http.get(f"/v1/jobs/{job}")).json()["id"] == job
    assert (await fresh.http.get(f"/v1/datasets/{dataset}")).json()["name"] == "kept"
    assert (await fresh.http.post("/v1/jobs", json={"kind": "noop"}, headers=headers)).json()["id"] == job
    assert len(await fresh.stored(subjects.COMMANDS, job)) == 1


async def test_tokens_outlive_the_process(fresh: Any) -> None:
    """After a restart what was given out opens, and what was revoked does not."""
    kept, gone = [(await fresh.http.post("/v1/tokens", json={"name": "x", "role": "reader"})).json() for _ in range(2)]
    await fresh.http.delete(f"/v1/tokens/{gone['id']}")
    await fresh.stop()
    await fresh.start()
    for issued, status in ((kept, 200), (gone, 401)):
        response = await fresh.http.get("/v1/jobs", headers={"Authorization": f"Bearer {issued['token']}"})
        assert response.status_code == status
    assert fresh.home.token_key_file.stat().st_mode & 0o777 == 0o600


async def test_a_deletion_is_finished_after_a_crash(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was killed between the commit and the removal of the rows leaves a note, and the next process removes them."""

    async def killed(_: Any) -> int:
        return 0

    with monkeypatch.context() as patch:
        patch.setattr("api.sweep.remove_objects", killed)
        await fresh.stop()
        await fresh.start()
        registered = await fresh.upload()
        sequence = await fresh.ingest(registered["dataset"], registered["job"])
        (version,) = (await fresh.http.get(f"/v1/datasets/{registered['dataset']}?min_seq={sequence}")).json()["versions"]
        assert (await fresh.http.delete(f"/v1/datasets/{registered['dataset']}")).status_code == 200
        await fresh.stop()
    assert fresh.objects.path(version["table"]).exists()
    await fresh.start()
    await eventually(partial(removed, fresh, version["table"]))


async def removed(system: Any, stored: str) -> bool:
    try:
        system.objects.path(stored)
    except ObjectMissing:
        return True
    return False
