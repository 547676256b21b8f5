"""The client: one Halftone, asked from Python."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Self

import httpx

from halftone.client.access import Access, locate
from halftone.client.answers import Engine, Health
from halftone.client.audit import AsyncAudit, Audit
from halftone.client.budgets import AsyncBudgets, Budgets
from halftone.client.datasets import AsyncDatasets, Datasets
from halftone.client.drivers import AwaitingDriver, BlockingDriver
from halftone.client.errors import NotConfigured
from halftone.client.faces import Awaiting, Blocking, Part, operation
from halftone.client.flow import Core, Flow, ask
from halftone.client.handles import AsyncJob, Job, Seed, asking, handing, promised
from halftone.client.jobs import AsyncEvaluations, AsyncJobs, AsyncModels, Evaluations, Jobs, Models
from halftone.client.letters import AsyncDeadLetters, DeadLetters
from halftone.client.reading import Dataset, dataset_id, fetch, parsed
from halftone.client.request import Request, get
from halftone.client.tokens import AsyncTokens, Tokens

TIMEOUT = 30.0
"""Seconds that an answer may let wait for itself."""
RETRY_FOR = 15.0
"""Seconds of silence or of 503 after which a client gives up."""


class _Halftone(Part):
    """What is asked of a Halftone, by what it is about."""

    @handing
    def synthesize(
        self,
        dataset: Dataset,
        *,
        epsilon: float,
        delta: float | None = None,
        rows: int | None = None,
        engine: str | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> Flow[Seed]:
        """Have a synthetic table made of a real one, at a cost to its budget; gives the job.

        ``rows`` that are not stated are a noisy count of the real ones; a ``seed`` is of the drawing, noise is never seeded.
        """
        stated = {"epsilon": epsilon, "delta": delta, "rows": rows, "engine": engine, "seed": seed, "name": name}
        return (yield from _asked(self.core, "synthesize", {"dataset": dataset_id(dataset), **stated}))

    @handing
    def sample(self, model: str, *, rows: int | None = None, seed: int | None = None, name: str | None = None) -> Flow[Seed]:
        """Have more rows drawn from a model that was fitted before, at no cost; gives the job."""
        return (yield from _asked(self.core, "sample", {"model": model, "rows": rows, "seed": seed, "name": name}))

    @handing
    def evaluate(self, dataset: Dataset | Job | AsyncJob, *, real: Dataset | None = None, seed: int | None = None) -> Flow[Seed]:
        """Have a synthetic dataset (or what a job made) measured against the real one; gives the job. For holders of the raw right."""
        measured = dataset.dataset if isinstance(dataset, Job | AsyncJob) else dataset_id(dataset)
        stated = {"dataset": measured, "real": None if real is None else dataset_id(real), "seed": seed}
        return (yield from _asked(self.core, "evaluate", stated))

    @handing
    def export(self, dataset: Dataset, *, format: str, version: int | None = None) -> Flow[Seed]:  # noqa: A002  # as the API calls it
        """Have a dataset's rows written as a file (parquet, csv, jsonl or xlsx); gives the job, whose ``save(path, role="export")`` has it.

        ``datasets.save`` does so in one step. Rows of a real dataset are for holders of the raw right, and entered as observed.
        """
        return (yield from _asked(self.core, "export", {"dataset": dataset_id(dataset), "format": format, "version": version}))

    @handing
    def noop(self) -> Flow[Seed]:
        """Have nothing done, through every part that a real job passes; gives the job."""
        return (yield from _asked(self.core, "noop", {}))

    @operation
    def engines(self) -> Flow[list[Engine]]:
        """What there is to synthesize with."""
        answer = yield from ask(self.core, get("/v1/engines"))
        return [parsed(Engine, item) for item in answer.json()["items"]]

    @operation
    def health(self) -> Flow[Health]:
        """Whether the edge serves, and what keeps it from it. Needs no right."""
        return (yield from fetch(self.core, Health, Request("GET", "/health/ready", also=frozenset({503}))))


def _asked(core: Core, kind: str, body: dict[str, Any]) -> Flow[Seed]:
    answer = yield from ask(core, asking("/v1/jobs", {"kind": kind, **body}))
    return promised(core, answer.json())


def _core(access: Access, retry_for: float) -> Core:
    if not access.url.startswith(("http://", "https://")):
        raise NotConfigured(f"{access.url!r} is no address of a Halftone: it begins with http:// or https://, as in http://127.0.0.1:8787.")
    try:
        httpx.URL(access.url)
    except httpx.InvalidURL as error:
        raise NotConfigured(f"{access.url!r} is no address of a Halftone: {error}.") from error
    return Core(access.url, retry_for)


def _options(access: Access, timeout: float) -> dict[str, Any]:
    """What httpx is made with: a proxy of the environment is not asked for this machine, and plain HTTP needs no certificates."""
    headers = {"Authorization": f"Bearer {access.token}", "User-Agent": "halftone-client"}
    here = _is_here(httpx.URL(access.url).host)
    return {
        "base_url": access.url,
        "headers": headers,
        "timeout": timeout,
        "trust_env": not here,
        "verify": access.url.startswith("https:"),
    }


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Halftone(_Halftone, Blocking):
    """A Halftone, in a program that blocks.

    Address and token are those given; else those of the ``home`` given; else of HALFTONE_URL and HALFTONE_TOKEN; else of the home that
    HALFTONE_HOME names, or ./.halftone. ``timeout`` is how many seconds an answer may take, ``retry_for`` how many a lost connection, a
    429 or a 503 is borne. Use it in a with statement, or close it. Raises NotConfigured.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        home: str | Path | None = None,
        timeout: float = TIMEOUT,
        retry_for: float = RETRY_FOR,
    ) -> None:
        access = locate(url, token, home)
        core = _core(access, retry_for)
        super().__init__(core, BlockingDriver(httpx.Client(**_options(access, timeout))))
        self.url = access.url
        self.datasets = Datasets(core, self.driver)
        self.jobs = Jobs(core, self.driver)
        self.models = Models(core, self.driver)
        self.budgets = Budgets(core, self.driver)
        self.evaluations = Evaluations(core, self.driver)
        self.audit = Audit(core, self.driver)
        self.dead_letters = DeadLetters(core, self.driver)
        self.tokens = Tokens(core, self.driver)

    def close(self) -> None:
        """Close every connection."""
        self.driver.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncHalftone(_Halftone, Awaiting):
    """A Halftone, in a program that awaits: every method of ``Halftone`` under the same name, to be awaited or iterated with async for."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        home: str | Path | None = None,
        timeout: float = TIMEOUT,  # of each answer, not of this call
        retry_for: float = RETRY_FOR,
    ) -> None:
        access = locate(url, token, home)
        core = _core(access, retry_for)
        super().__init__(core, AwaitingDriver(httpx.AsyncClient(**_options(access, timeout))))
        self.url = access.url
        self.datasets = AsyncDatasets(core, self.driver)
        self.jobs = AsyncJobs(core, self.driver)
        self.models = AsyncModels(core, self.driver)
        self.budgets = AsyncBudgets(core, self.driver)
        self.evaluations = AsyncEvaluations(core, self.driver)
        self.audit = AsyncAudit(core, self.driver)
        self.dead_letters = AsyncDeadLetters(core, self.driver)
        self.tokens = AsyncTokens(core, self.driver)

    async def close(self) -> None:
        """Close every connection."""
        await self.driver.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
