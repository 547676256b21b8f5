"""The log to search and to take away: filters, pages, ranges that prove themselves, tiles, and the program that checks them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tlog_scales.reader import TilesReader

from halftone.merkle import Stretch, TamperedError, canonical, leaf_hash, verify_checkpoint, verify_export, verify_log
from halftone.merkle.tiles import WIDTH
from played_auditor import PlayedAuditor

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def log(system: Any) -> PlayedAuditor:
    """A log of some hundred entries, signed."""
    auditor = PlayedAuditor(system)
    for _ in range(15):
        await asyncio.gather(*(system.noop() for _ in range(20)))
    await auditor.log()
    return auditor


async def found(system: Any, **wanted: Any) -> list[dict[str, Any]]:
    response = await system.http.get("/v1/audit/entries", params={"limit": 1000, **wanted})
    assert response.status_code == 200, response.text
    return list(response.json()["entries"])


async def test_entries_are_found_by_who_what_when_and_how(system: Any, log: PlayedAuditor) -> None:
    """Each filter alone and together; what is found is what the log says, in its order."""
    dataset = await system.ready()
    renamed = await system.http.patch(f"/v1/datasets/{dataset}", json={"name": "Payroll of Bern"})
    assert renamed.status_code == 200
    assert (await system.http.get(f"/v1/datasets/{dataset}/schema:draft")).status_code == 404
    await log.log()
    about = [n for n, e in enumerate(log.events) if dataset in json.dumps(e.model_dump(mode="json"))]
    assert [e["index"] for e in await found(system, resource=dataset)] == about
    assert [e["index"] for e in await found(system, q="payroll of")] == about
    assert {e["entry"]["type"] for e in await found(system, action="dataset")} >= {"halftone.dataset.registered.v1"}
    accepted = [n for n, e in enumerate(log.events) if e.type == "halftone.job.accepted.v1"]
    for action in ("job.accepted", "halftone.job.accepted", "halftone.job.accepted.v1"):
        assert [e["index"] for e in await found(system, action=action)] == accepted
    assert await found(system, action="job_accepted") == []
    nobody = await found(system, actor="prn_" + "1" * 32)
    assert nobody == []
    actor = log.events[5].principal
    assert [e["index"] for e in await found(system, actor=actor)] == [n for n, e in enumerate(log.events) if e.principal == actor]
    moment = log.events[20].time
    assert [e["index"] for e in await found(system, since=moment)] == [n for n, e in enumerate(log.events) if e.time >= moment]
    assert [e["index"] for e in await found(system, until=moment)] == [n for n, e in enumerate(log.events) if e.time < moment]
    assert await found(system, outcome="failed") == []
    both = await found(system, resource=dataset, action="job", q="ACCEPTED")
    assert [e["entry"]["type"] for e in both] == ["halftone.job.accepted.v1"] * 2
    assert await found(system, q="100%_sure") == []


async def test_pages_hold_each_entry_once(system: Any, log: PlayedAuditor) -> None:
    """Following next to the end, with a filter and without."""
    for wanted in ({}, {"action": "job.accepted"}):
        seen: list[int] = []
        start: int | None = 0
        while start is not None:
            page = (await system.http.get("/v1/audit/entries", params={"start": start, "limit": 37, **wanted})).json()
            seen += [entry["index"] for entry in page["entries"]]
            start = page["next"]
        assert seen == [e["index"] for e in await found(system, **wanted)]


@pytest.mark.parametrize(
    ("wanted", "named"),
    [({"since": "yesterday"}, "since"), ({"until": "2026-03-01T10:00:00"}, "until"), ({"outcome": "good"}, "outcome"), ({"q": "x"}, "q")],
)
async def test_a_filter_that_is_none_is_named(system: Any, wanted: dict[str, str], named: str) -> None:
    """With what would be right."""
    document = await system.problem(await system.http.get("/v1/audit/entries", params=wanted), 422, "request-invalid")
    assert named in json.dumps(document)


async def test_any_range_is_exported_with_its_proof(system: Any, log: PlayedAuditor) -> None:
    """As lines that two verifiers accept as they are, and as a table whose proof is asked for; less than all of it is found out."""
    await log.log()
    for start, end in ((0, log.size), (0, 1), (17, 203), (255, 257), (40, 40)):
        lines = (await system.http.get("/v1/audit/export", params={"start": start, "end": end})).content.splitlines(keepends=True)
        head, report = verify_export(lines, log.verifier)
        assert (head.stretch.start, head.stretch.end, report.checkpoint.size, len(lines)) == (start, end, log.size, 1 + end - start)
        table = (await system.http.get("/v1/audit/export", params={"start": start, "end": end, "format": "csv"})).text
        rows = list(csv.DictReader(io.StringIO(table)))
        assert [int(row["index"]) for row in rows] == list(range(start, end))
        proof = (await system.http.get("/v1/audit/stretch", params={"start": start, "end": end})).json()
        leaves = [leaf_hash(row["entry"].encode()) for row in rows]
        assert [leaf.hex() for leaf in leaves] == [row["leaf"] for row in rows]
        assert Stretch.from_dict(proof).root(leaves) == verify_checkpoint(proof["checkpoint"], log.verifier).root
        if end - start > 1:
            with pytest.raises(TamperedError):
                verify_export([*lines[:1], *lines[2:]], log.verifier)
    response = await system.http.get("/v1/audit/export")
    assert response.headers["content-disposition"] == f'attachment; filename="halftone-log-0-{log.size}.jsonl"'
    assert verify_export(response.content.splitlines(keepends=True), log.verifier)[1].entries == log.size


@pytest.mark.parametrize(("start", "end"), [(5, 4), (0, 10**6), (10**6, None)])
async def test_a_range_that_is_none_is_refused(system: Any, log: PlayedAuditor, start: int, end: int | None) -> None:
    """With how many there are."""
    given = {"start": start} if end is None else {"start": start, "end": end}
    for path in ("export", "stretch"):
        document = await system.problem(await system.http.get(f"/v1/audit/{path}", params=given), 422, "request-invalid")
        assert "are signed" in document["detail"]


async def test_another_implementation_reads_the_tiles(system: Any, log: PlayedAuditor) -> None:
    """It computes the signed root from them, and finds each entry; tiles that are not there are 404, full ones may be kept for ever."""
    await log.log()
    held: dict[tuple[str, ...], bytes | None] = {}
    paths = [
        "checkpoint",
        *(f"tile/{kind}/{name}" for kind in ("0", "entries") for name in ("000", f"001.p/{log.size - WIDTH}")),
        "tile/1/000.p/1",
    ]
    for path in paths:
        response = await system.http.get(f"/v1/audit/{path}")
        assert response.status_code == 200, path
        held[tuple(path.split("/"))] = response.content
    assert "immutable" in response.headers["cache-control"]

    class Kept:
        def get(self, *path: str) -> bytes | None:
            return held.get(path)

    reader = TilesReader(Kept())  # type: ignore[arg-type]
    checkpoint = reader.get_checkpoint()
    assert checkpoint.root_hash == reader.calculate_root_hash()
    entries = [reader.get_entry(index) for index in range(log.size)]
    assert entries == [canonical(event.model_dump(mode="json", exclude_none=True)) for event in log.events]
    assert verify_log(entries, held["checkpoint",].decode(), log.verifier).uncovered == 0  # type: ignore[union-attr]
    for path in ("0/001", "0/002", "entries/001", "2/000.p/1", "0/0", "nonsense", "-1/000", "0/000.p/256"):
        assert (await system.http.get(f"/v1/audit/tile/{path}")).status_code == 404, path


async def test_the_program_that_checks_comes_with_the_log(system: Any, log: PlayedAuditor, tmp_path: Path) -> None:
    """Downloaded, it runs alone on the downloaded log."""
    for name, path in (("log.jsonl", "export"), ("verify_log.py", "verify_log.py"), ("key", "key"), ("since", "checkpoint")):
        (tmp_path / name).write_bytes((await system.http.get(f"/v1/audit/{path}")).content)
    command = [sys.executable, "-I", "-S", "verify_log.py", "log.jsonl", "--key", "key", "--since", "since"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (await system.http.get("/v1/audit/rotations")).json() == {"rotations": []}
