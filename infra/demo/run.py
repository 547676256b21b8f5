"""The demonstration: one private copy of a real table, what it cost, how good it is, and the proof."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.bus.connection import connect, jetstream
from infra.bus.topology import subscriber_durable
from infra.demo.api import Api, DemoFailed
from infra.home import BusAccess, Home

HERE = Path(__file__).parent
ROWS = 32_561
BUDGET, EPSILON, TOO_MUCH = 3.0, 1.0, 3.0
START_SECONDS = 60.0
console = Console(highlight=False, soft_wrap=True)

__all__ = ["DemoFailed", "run"]


def run(home: Path | None) -> None:
    """Run it on a fresh home. Raises DemoFailed."""
    home = home or Path(".halftone-demo") / dt.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    if home.exists():
        raise DemoFailed(f"{home} exists already: the demonstration wants a home of its own")
    asyncio.run(_run(home.resolve()))


async def _run(home: Path) -> None:
    began = time.monotonic()
    async with _system(home) as url:
        say(f"Everything runs at [bold]{url}[/] after {time.monotonic() - began:.1f} s: broker, five actors, the edge.")
        api = Api(url, Home(home).admin_token.read_text().strip())
        listener = asyncio.create_task(_listen(home))
        try:
            await _tour(api, home)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            await api.close()
    say(f"\nDone in {time.monotonic() - began:.0f} s. The results are in {home / 'results'}:")
    for file in sorted((home / "results").iterdir()):
        console.print(f"  {file}  ({file.stat().st_size:,} bytes)")
    console.print(f"Open this home again with:\n  ./just up --home {shlex.quote(str(home))}")


@contextlib.asynccontextmanager
async def _system(home: Path) -> AsyncIterator[str]:
    """Start everything in processes of its own, on free ports; stop it as Ctrl-C would."""
    environment = os.environ | {"HALFTONE_HOME": str(home), "HALFTONE_PORT": "0", "HALFTONE_NATS_PORT": "0", "HALFTONE_HOST": "127.0.0.1"}
    environment.pop("HALFTONE_ADMIN_TOKEN", None)
    command = (sys.executable, "-m", "infra")
    system = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        yield await asyncio.wait_for(_url(system), START_SECONDS)
    finally:
        if system.returncode is None:
            system.terminate()
            await system.wait()


async def _url(system: asyncio.subprocess.Process) -> str:
    assert system.stdout is not None  # noqa: S101  # asked for where it was started
    async for line in system.stdout:
        if b" is ready at " in line:
            return line.decode().split(" is ready at ")[1].split()[0]
    raise DemoFailed("the system did not start: see the lines above")


async def _listen(home: Path) -> None:
    """An outside subscriber: a durable on the bus that gets every completed job, also those that end while it is away."""
    client: Client = await connect(BusAccess.load(Home(home)).url("subscriber"), "subscriber")
    durable = subscriber_durable("default")
    subscription = await jetstream(client).pull_subscribe_bind(durable.name, durable.stream)
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                for message in await subscription.fetch(1, timeout=5):
                    event = json.loads(message.data)
                    console.print(f"  [dim]bus subscriber:[/] {event['type']} {event['data']['job']}")
                    await message.ack()
    finally:
        await client.close()


async def _tour(api: Api, home: Path) -> None:
    results = home / "results"
    results.mkdir()
    dataset = await _bring_in(api)
    await _set_budget(api, dataset)
    synthetic = await _synthesize(api, dataset, results)
    await _evaluate(api, synthetic, results)
    charge = await _show_ledger(api, dataset)
    await _check_log(api, home, charge, results)
    await _ask_too_much(api, dataset)


async def _bring_in(api: Api) -> str:
    say("\n1. Upload the Adult census table, and declare what is public about it.")
    registered = await api.upload(HERE / "adult.csv.gz", "adult")
    await _follow(api, registered["job"], "ingest")
    dataset = str(registered["dataset"])
    attested = await api.put(f"/v1/datasets/{dataset}/schema", json.loads((HERE / "adult-schema.json").read_text()))
    columns = attested["tables"][0]["columns"]
    console.print(f"  schema of {len(columns)} columns attested by {attested['attested_by']}: an engine under privacy knows only this")
    return dataset


async def _set_budget(api: Api, dataset: str) -> None:
    say(f"\n2. Give its people a budget of epsilon {BUDGET:g}, for everything that will ever be asked of them.")
    budget = await api.put(f"/v1/budgets/{dataset}", {"epsilon": BUDGET})
    preview = await api.post(f"/v1/budgets/{dataset}:preview", {"epsilon": EPSILON})
    console.print(f"  epsilon {BUDGET:g} at delta {budget['delta']:g} is rho {budget['limit']['rho'] / 1e12:.6f}")
    console.print(
        f"  a job of epsilon {EPSILON:g} costs rho {preview['cost']['rho'] / 1e12:.6f}: [bold]{preview['admits']} such jobs fit[/]"
    )


async def _synthesize(api: Api, dataset: str, results: Path) -> str:
    say(f"\n3. Synthesize {ROWS:,} rows at epsilon {EPSILON:g}.")
    accepted = await api.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": EPSILON, "rows": ROWS})
    job = await _follow(api, accepted["id"], "synthesize")
    table = next(output for output in job["outputs"] if output["role"] == "table")
    await api.download(table["href"], results / "adult-synthetic.parquet")
    return str(job["spec"]["target"])


async def _evaluate(api: Api, synthetic: str, results: Path) -> None:
    say("\n4. Measure it against the real table (raw figures, for curators: entered in the ledger as observed).")
    accepted = await api.post("/v1/jobs", {"kind": "evaluate", "dataset": synthetic})
    await _follow(api, accepted["id"], "evaluate")
    report = await api.get(f"/v1/evaluations/{accepted['id']}")
    (results / "evaluation.json").write_text(json.dumps(report, indent=1))
    table = Table("figure", "synthetic", "floor", "ceiling", box=None)
    for name, figure in report["figures"].items():
        table.add_row(name.replace("_", " "), *(f"{figure[key]:.4f}" for key in ("value", "floor", "ceiling")))
    console.print(table)
    console.print(f"  floor: {report['floor']}\n  ceiling: {report['ceiling']}")


async def _show_ledger(api: Api, dataset: str) -> str:
    """Print the ledger; answers with the id of the event that charged it."""
    say("\n5. What it cost: the ledger.")
    entries = (await api.get(f"/v1/budgets/{dataset}/entries"))["items"]
    table = Table("entry", "kind", "rho", "spent (as epsilon)", "job", box=None)
    for entry in entries:
        cost = "" if entry["cost"] is None else f"{entry['cost']['rho'] / 1e12:.6f}"
        table.add_row(str(entry["entry"]), entry["kind"], cost, f"{entry['spent']['epsilon'] or 0:.3f}", entry["job"] or "")
    console.print(table)
    return next(str(entry["event"]) for entry in entries if entry["kind"] == "charged")


async def _check_log(api: Api, home: Path, charge: str, results: Path) -> None:
    say("\n6. The proof: this charge is in the log, and the log is what was signed. Checked offline.")
    proof = await api.get(f"/v1/audit/proofs/{charge}")
    (results / "charge-proof.json").write_text(json.dumps(proof, indent=1))
    await _command("audit", "verify", "--home", str(home), "--proof", str(results / "charge-proof.json"))
    await _command("audit", "verify", "--home", str(home))


async def _command(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "infra.cli", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise DemoFailed(f"halftone {' '.join(arguments)} failed")
    console.print(f"  {output.decode().strip()}")


async def _ask_too_much(api: Api, dataset: str) -> None:
    say(f"\n7. Ask for more than is left: epsilon {TOO_MUCH:g} once more.")
    accepted = await api.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": TOO_MUCH})
    job = await _follow(api, accepted["id"], "synthesize")
    if job["state"] != "refused":
        raise DemoFailed(f"the job should have been refused; it is {job['state']}")
    console.print(f"  [bold]refused:[/] {job['problem']['detail']}")


async def _follow(api: Api, job: str, name: str) -> Any:
    """Show a job's progress until it ends; answers with the job, which has not failed."""
    columns = (TextColumn(f"  {name}"), BarColumn(40), TextColumn("{task.percentage:3.0f} %  {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        shown = bar.add_task("accepted", total=1.0)
        ended = await api.job(job, lambda fraction, step: bar.update(shown, completed=fraction, description=step))
    if ended["state"] in {"failed", "cancelled"}:
        raise DemoFailed(f"{name} job {job}: {ended['state']}: {json.dumps(ended.get('problem'))}")
    return ended


def say(line: str) -> None:
    """Tell what happens next."""
    console.print(line)
